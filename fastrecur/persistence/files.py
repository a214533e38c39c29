"""Files of models: safetensors with one entry of metadata, a JSON object. Written at one go, read without trust."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import reprlib
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

import fastrecur

#: The entry of the metadata, and the version of what is in it.
FORMAT, FORMAT_VERSION = "fastrecur", 1

#: safetensors' names of the dtypes of `fastrecur.persistence.encoding`.
_DTYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}

ONLY_OURS = "Only files that a save() of fastrecur wrote can be loaded."
CHANGED = "The checksum is wrong: the file was damaged or changed since it was saved. Save the model again."


def as_path(path: Any) -> Path:
    """Return the path of a file; a TypeError says what else was found."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or path-like, found {path!r}, a {type(path).__name__}.")
    return Path(os.fsdecode(path))


def write_file(path: Path, document: dict, tensors: dict[str, NDArray]) -> None:
    """Write a JSON object and tensors, with the versions and a digest of all of it.

    Raises
    ------
    OSError
        If it cannot be written: the old file is there, whole.
    """
    versions = {"format_version": FORMAT_VERSION, "fastrecur_version": fastrecur.__version__}
    document = versions | document
    document["sha256"] = digest(document, tensors)
    _write(path, safetensors.numpy.save(tensors, {FORMAT: json.dumps(document, allow_nan=False)}))


def _write(path, data):
    """Put ``data`` in the place of ``path`` at one go: whatever happens, the old file or the new one is there."""
    path = Path(os.path.realpath(path))  # through links, not in their place
    temporary = path.with_name(f".fastrecur-{secrets.token_hex(8)}.tmp")
    try:
        check_writable(path)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        reason = f"cannot save, {error.strerror or error}"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(path: Path) -> None:
    """Raise OSError where a file cannot be written, or should not be replaced."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder: add the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {str(path.parent)!r}: make it first")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "this is a device or pipe and no file")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file that is there may not be written")
    if not path.exists() and not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, f"files may not be added to the folder {str(path.parent)!r}")


def read_file(path: Path) -> tuple[dict, dict[str, NDArray], bool]:
    """Read the JSON object and the tensors of a file of ours, of a version that is known.

    Returns
    -------
    document : dict
    tensors : dict of str to array
    intact : bool
        Whether the digest is right.

    Raises
    ------
    ValueError
        If it is no such file.
    OSError
        If it cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise ValueError(f"it is {found}, not a file. Give the name of a file that save() wrote.")
    with open(path, "rb") as file:
        beginning = file.read(64)
    try:
        with safe_open(str(path), framework="numpy") as contents:
            document = _document(contents.metadata() or {})
            tensors = {name: _tensor(contents, name) for name in list(contents.keys())}
    except SafetensorError as error:
        raise ValueError(f"{_appearance(beginning)} {ONLY_OURS} (safetensors: {error})") from error
    return document, tensors, document.get("sha256") == digest(document, tensors)


def _appearance(beginning):
    """What a file that safetensors does not take seems to be, by its first bytes."""
    if not beginning:
        return "it is empty."
    if beginning[8:9] == b"{":
        return "it is a safetensors file that was cut short or damaged."
    if beginning[:1] == b"\x80":
        return "it looks like a pickle, which joblib.load reads, if you trust whoever made it."
    if beginning[:2] == b"PK":
        return "it looks like a zip archive, which skops.io.load or numpy.load may read."
    if all(byte >= 32 or byte in b"\t\n\r" for byte in beginning):
        return "it looks like text."
    return "it is no safetensors file."


def _document(metadata):
    """The JSON object in the metadata of a safetensors file."""
    if FORMAT not in metadata:
        raise ValueError(f"it is a safetensors file, but none of fastrecur's. {ONLY_OURS}")
    try:
        document = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is not JSON ({error}). {CHANGED}") from error
    if not isinstance(document, dict):
        raise ValueError(f"its metadata is {short(document)} and no JSON object. {ONLY_OURS}")
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"its format version is {short(version)}, which there never was. {ONLY_OURS}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"fastrecur {document.get('fastrecur_version')} wrote it in format version {version}, but fastrecur "
            f"{fastrecur.__version__} reads no later one than {FORMAT_VERSION}. Upgrade fastrecur."
        )
    return document


def _tensor(contents, name):
    dtype = contents.get_slice(name).get_dtype()
    if dtype not in _DTYPES:
        raise ValueError(f"its tensor {name!r} is of dtype {dtype}, which no estimator has. {ONLY_OURS}")
    return contents.get_tensor(name)


def digest(document: dict, tensors: dict[str, NDArray]) -> str:
    """SHA-256 of all that is in a file, but for the digest itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    outlines = [[name, tensors[name].dtype.str, tensors[name].shape] for name in sorted(tensors)]
    found = hashlib.sha256(json.dumps([rest, outlines], sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(tensors[name].reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def short(value: Any) -> str:
    """Return a value that a file holds, for a message: a file may hold anything."""
    return reprlib.repr(value)
