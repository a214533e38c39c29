"""Files that are none of ours, or not whole, are refused: the error says what they look like."""

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

import fastrecur
from fastrecur import LSTMClassifier
from tests.estimators.data import make_array, tiny
from tests.persistence.model_files import raw, refused

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def fitted():
    """A classifier; no test may change it."""
    return tiny(LSTMClassifier).fit(make_array(n=12), np.arange(12) % 2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", "{}")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"abc"), "looks like text"),
        (lambda path: path.write_text("weights: 1, 2, 3\n" * 20), "looks like text"),
        (lambda path: path.write_bytes(pickle.dumps({"a": np.zeros(3)})), "looks like a pickle.*joblib.load"),
        (zipped, "looks like a zip archive.*skops.io.load"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "it is no safetensors file"),
        (lambda path: path.write_bytes(bytes(100)), "it is no safetensors file"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: os.mkfifo(path), "it is a device or pipe"),
        (lambda path: path.write_bytes(raw({})), "a safetensors file, but none of fastrecur's"),
        (
            lambda path: safetensors.numpy.save_file({"a": np.zeros(3)}, path, {"format": "pt"}),
            "a safetensors file, but none of fastrecur's",
        ),
        (
            lambda path: path.write_bytes(raw({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"ab")),
            "a safetensors file, but none of fastrecur's",
        ),
    ],
    ids=["empty", "short", "text", "pickle", "zip", "npy", "zeros", "folder", "pipe", "nothing", "other", "bfloat16"],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_other_files(make, found, path):
    make(path)
    refused(path, found, r"save\(\)")


def test_a_device_is_not_read():
    with pytest.raises(ValueError, match="'/dev/zero': it is a device or pipe"):
        fastrecur.load("/dev/zero")


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError) as caught:
        fastrecur.load(path)
    assert caught.value.filename in (path, str(path))
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("wrong", [3, None, b"model", ["model"]])
def test_paths_are_text(fitted, wrong):
    for call in (fastrecur.load, fitted.save):
        with pytest.raises(TypeError, match="path must be a str or path-like, found"):
            call(wrong)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short(fitted, path, share):
    fitted.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: max(9, int(share * len(data)))])
    refused(path, "a safetensors file that was cut short or damaged")


def test_a_file_with_more_behind_it(fitted, path):
    fitted.save(path)
    path.write_bytes(path.read_bytes() + b"x")
    refused(path, "cut short or damaged")
