"""Whatever happens while a file is written, the old one or the new one is there, whole."""

import builtins
import errno
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastrecur
from fastrecur import GRURegressor
from tests.estimators.data import assert_same_bits, make_array, tiny

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(fastrecur.__file__).parents[1]
X = make_array(n=12)


@pytest.fixture(scope="module")
def models():
    """Two estimators that predict otherwise; no test may change them."""
    return [tiny(GRURegressor, random_state=seed).fit(X, X[:, 0, 0]) for seed in (0, 1)]


@pytest.fixture
def path(tmp_path, models):
    """A file in a folder of its own, with the first model."""
    path = tmp_path / "model.safetensors"
    models[0].save(path)
    return path


def holds(path, model):
    """The file holds the model, and there is nothing beside it."""
    assert_same_bits(fastrecur.load(path).predict(X), model.predict(X))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_file_is_replaced(path, models):
    holds(path, models[0])
    models[1].save(path)
    holds(path, models[1])


@pytest.mark.parametrize("kind", [str, Path, lambda path: os.path.relpath(path)], ids=["str", "Path", "relative"])
def test_paths(path, models, kind):
    models[1].save(kind(path))
    holds(path, models[1])
    assert_same_bits(fastrecur.load(kind(path)).predict(X), models[1].predict(X))


def test_any_file_name(tmp_path, models):
    for name in ("x", "ü ☃.safetensors", "n" * 255, ".hidden", "a'b\"c"):
        models[0].save(tmp_path / name)
        assert_same_bits(fastrecur.load(tmp_path / name).predict(X), models[0].predict(X))


# --- a write that fails ----------------------------------------------------------------------------------------------


class Full:
    """A file on a disk that is full after half of the data."""

    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(error):
    def call(*_, **__):
        raise error

    return call


def break_write(monkeypatch):
    whole = builtins.open
    monkeypatch.setattr("fastrecur.persistence.files.open", lambda *a, **k: Full(whole(*a, **k)), raising=False)


BREAKS = {
    "write": break_write,
    "open": lambda mp: mp.setattr(
        "fastrecur.persistence.files.open", fail(PermissionError(errno.EACCES, "no")), raising=False
    ),
    "fsync": lambda mp: mp.setattr(os, "fsync", fail(OSError(errno.EIO, "broken disk"))),
    "replace": lambda mp: mp.setattr(os, "replace", fail(PermissionError(errno.EPERM, "not allowed"))),
    "no errno": lambda mp: mp.setattr(os, "fsync", fail(OSError("broken"))),
}


@pytest.mark.parametrize("where", BREAKS)
@pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
def test_a_failed_write_changes_nothing(path, models, monkeypatch, where, there):
    if not there:
        path.unlink()
    with monkeypatch.context() as patch:
        BREAKS[where](patch)
        with pytest.raises(OSError, match="cannot save, ") as caught:
            models[1].save(path)
    assert caught.value.filename == str(path)
    assert repr(str(path)) in str(caught.value)
    if there:
        holds(path, models[0])
    else:
        assert not list(path.parent.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interrupted_write_changes_nothing(path, models, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(error()))
        with pytest.raises(error):
            models[1].save(path)
    holds(path, models[0])


LIMITED = """
import os, pickle, resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = pickle.loads(sys.stdin.buffer.read())
try:
    model.save(sys.argv[1])
except OSError as error:
    os.write(1, repr(error).encode())
"""

KILLED = """
import os, pickle, sys, time
import fastrecur.persistence
model = pickle.loads(sys.stdin.buffer.read())
def wait(_):
    os.write(1, b"writing\\n")
    time.sleep(600)
os.fsync = wait
model.save(sys.argv[1])
"""

AGAIN_AND_AGAIN = """
import os, pickle, sys
models = pickle.loads(sys.stdin.buffer.read())
while True:
    for model in models:
        model.save(sys.argv[1])
    os.write(1, b"written\\n")
"""


def start(code, path, thing):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdin.write(pickle.dumps(thing))
    process.stdin.close()
    return process


def test_a_file_system_that_is_full(path, models):
    with start(LIMITED, path, models[1]) as process:
        told = process.stdout.read().decode()
    assert "cannot save, File too large" in told
    holds(path, models[0])


def test_a_save_that_is_killed(path, models):
    with start(KILLED, path, models[1]) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert_same_bits(fastrecur.load(path).predict(X), models[0].predict(X))
    [left] = [found for found in path.parent.iterdir() if found != path]
    assert left.match(".fastrecur-*.tmp")
    models[1].save(path)
    assert_same_bits(fastrecur.load(path).predict(X), models[1].predict(X))


def test_a_save_that_is_killed_at_any_time(path, models):
    """Meanwhile others read: they find one of the models each time."""
    expected = [model.predict(X) for model in models]
    with start(AGAIN_AND_AGAIN, path, models) as process:
        assert process.stdout.readline() == b"written\n"
        for _ in range(100):
            predicted = fastrecur.load(path).predict(X)
            assert any(np.array_equal(predicted, other) for other in expected)
        process.send_signal(signal.SIGKILL)
    predicted = fastrecur.load(path).predict(X)
    assert any(np.array_equal(predicted, other) for other in expected)


def test_threads_that_save_at_once(path, models):
    threads = [threading.Thread(target=models[i % 2].save, args=(path,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    predicted = fastrecur.load(path).predict(X)
    assert any(np.array_equal(predicted, model.predict(X)) for model in models)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


# --- where a file cannot be ------------------------------------------------------------------------------------------


def test_a_missing_folder(tmp_path, models):
    path = tmp_path / "missing" / "model"
    with pytest.raises(
        FileNotFoundError, match=r"cannot save, there is no folder '.*missing': make it first"
    ) as caught:
        models[0].save(path)
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_a_file_for_a_folder(path, models):
    with pytest.raises(OSError, match="there is no folder") as caught:
        models[0].save(path / "model")
    assert caught.value.filename == str(path / "model")


@pytest.mark.parametrize("name", [".", "", "folder"])
def test_a_folder_for_a_file(tmp_path, models, name, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match="this is a folder: add the name of a file"):
        models[0].save(name)
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_devices_and_pipes_are_not_replaced(tmp_path, models):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="device or pipe"):
            models[0].save(path)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_file_that_may_not_be_written(path, models, monkeypatch):
    """Root may write anything: the system's answer is given for it."""
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="the file that is there may not be written") as caught:
        models[1].save(path)
    assert caught.value.filename == str(path)
    holds(path, models[0])


def test_permissions(path, models):
    path.chmod(0o640)
    models[1].save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    umask = os.umask(0o027)
    try:
        models[1].save(path.with_name("new"))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.with_name("new").stat().st_mode) == 0o640


def test_links_are_followed(tmp_path, models):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(Path("there") / "model")
    for model in models:
        model.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert_same_bits(fastrecur.load(tmp_path / "there" / "model").predict(X), model.predict(X))


def test_a_file_that_is_read_meanwhile_stays(path, models):
    with path.open("rb") as file:
        start = file.read(10)
        models[1].save(path)
        file.seek(0)
        assert file.read(10) == start
