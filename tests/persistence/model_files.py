"""Files of models taken apart and put together, for tests that damage or forge them."""

import json
import re
import struct

import pytest
import safetensors.numpy
from safetensors import safe_open

import fastrecur
from fastrecur.persistence.files import digest


def raw(header, data=b""):
    """A safetensors file by hand."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def contents(path):
    """JSON object and tensors of a file."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["fastrecur"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write(path, document, tensors, sealed=True):
    """A forged file, with a digest that is right."""
    if sealed:
        document["sha256"] = digest(document, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, {"fastrecur": json.dumps(document)}))


def refused(path, *parts):
    """The message of `load`, which says what is wrong."""
    with pytest.raises(ValueError, match=f"^Cannot load {re.escape(repr(str(path)))}: ") as caught:
        fastrecur.load(path)
    for part in parts:
        assert re.search(part, str(caught.value), re.DOTALL), f"{part!r} is not in: {caught.value}"
    return str(caught.value)


def loaded_or_none(path):
    """The estimator, or None where `load` refuses the file as it should."""
    try:
        return fastrecur.load(path)
    except ValueError as error:
        if not str(error).startswith("Cannot load "):
            raise
        return None


def places(value):
    """Each value in a JSON object: its container and its key there."""
    for key, element in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(element, dict | list):
            yield from places(element)
