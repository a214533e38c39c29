"""The compile policy: nothing is compiled on import, every kernel is kept on disk, and no stale code is ever found."""

import contextlib
import gc
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import event
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

import fastrecur
from fastrecur.kernels import compile as policy
from tests.helpers import search_for_garbage

ROOT = Path(fastrecur.__file__).parents[1]


def run(script, **environment):
    """What a fresh process prints; PYTHONWARNINGS of this process do not reach it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always", **environment}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result


def dispatchers():
    """Every jitted function of the kernels' modules, by its qualified name."""
    found = {}
    for info in pkgutil.walk_packages(fastrecur.kernels.__path__, "fastrecur.kernels."):
        for function in vars(importlib.import_module(info.name)).values():
            several = getattr(function, "shared", None)
            for f, ending in ((getattr(function, "alone", function), ""), (several, "-shared")):
                if isinstance(f, Dispatcher):
                    found[f"{f.py_func.__module__}.{f.py_func.__qualname__}{ending}"] = f
    return found


#: The kernels of a recurrent layer's training; others serve the network around it.
SHARED = {"rnn_forward", "rnn_backward", "lstm_forward", "lstm_backward", "gru_forward", "gru_backward"}
SHARED |= {"weight_gradient", "input_gradient", "gather_steps", "scatter_steps"}
RECURRENT = SHARED | {f"{name}-shared" for name in SHARED}
RECURRENT |= {"pack_layer", "pack_transposed", "_fill_steps"}
RECURRENT |= {
    "rnn_step",
    "lstm_step",
    "gru_step",
    "_fill_segments",
    "copy_padded",
}


def entry_points():
    """The jitted functions that Python calls."""
    return {name: function for name, function in dispatchers().items() if "nogil" in function.targetoptions}


# --- import ----------------------------------------------------------------------------------------------------------


def test_import_compiles_nothing_and_loads_no_cuda():
    script = """
import sys
import fastrecur, fastrecur.layers, fastrecur.network.layers, fastrecur.network.recurrent
from numba.core.dispatcher import Dispatcher
modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "fastrecur"]
found = {id(f): f for module in modules for f in vars(module).values() if isinstance(f, Dispatcher)}.values()
assert len(found) > 30, len(found)
assert [f for f in found if f.overloads or f.stats.cache_hits or f.stats.cache_misses] == []
assert [name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda"))] == []
"""
    assert run(script).stderr == ""


# --- the two decorators ----------------------------------------------------------------------------------------------


def test_every_entry_point_has_the_cache_and_no_inlined_piece_has():
    entries = entry_points()
    assert {name.rpartition(".")[2] for name in entries} >= RECURRENT
    for name, function in dispatchers().items():
        assert function.targetoptions["error_model"] == "numpy", name
        assert not function.targetoptions.get("fastmath"), name
        assert function._can_compile, name  # lazily, for each set of argument types
        if name in entries:
            kind = policy._SharedCache if name.endswith("-shared") else policy._Cache
            assert isinstance(function._cache, kind if policy.cache_directory() else NullCache), name
        else:
            assert isinstance(function._cache, NullCache), name


def test_cached_code_lies_in_the_directory_of_the_sources():
    if policy.cache_directory() is None:
        pytest.skip("no directory can be written")
    for name, function in entry_points().items():
        assert function._cache.cache_path == policy.cache_directory(), name
    assert policy.source_stamp() in Path(policy.cache_directory()).name


def test_other_locators_of_numba_are_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(policy, "cache_directory", lambda: str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "InTreeCacheLocator")
    cache = policy._Cache(test_other_locators_of_numba_are_not_asked)
    assert cache.cache_path == str(tmp_path)
    assert numba.config.CACHE_LOCATOR_CLASSES == "InTreeCacheLocator"


def test_only_loops_asked_for_run_in_parallel():
    def function():
        pass

    both = policy.SharedKernel(function)
    assert not both.alone.targetoptions.get("parallel")
    assert [name for name, on in both.shared.targetoptions["parallel"].items() if on] == ["prange"]


def test_one_share_neither_compiles_for_several_threads_nor_starts_their_layer():
    script = """
import numba, numpy as np
from fastrecur.kernels.cpu import lstm
from fastrecur.layers import LSTM
layer = LSTM(3, 5, n_threads=1)
y, _ = layer.forward(np.zeros((4, 6, 3)), training=True)
layer.backward(np.ones_like(y))
assert lstm.lstm_forward.alone.overloads and not lstm.lstm_forward.shared.overloads
try:
    numba.threading_layer()
except ValueError:
    print("not started")
"""
    assert run(script).stdout.split() == ["not", "started"]


class Searching(event.Listener):
    """Whether Python searches for cyclic garbage when each compilation starts."""

    def __init__(self):
        self.seen = []

    def on_start(self, event):
        self.seen.append(gc.isenabled())

    def on_end(self, event):
        pass


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_the_search_for_garbage_rests_while_a_kernel_is_compiled_and_is_as_before_after_it(fails, before, monkeypatch):
    @policy.inline
    def half(x):
        return x / 2

    def quarter(x):
        return half(half(x))

    def eighth(x):
        return half(x).eighth

    monkeypatch.setattr(policy, "cache_directory", lambda: None)
    listener = Searching()
    with search_for_garbage(before):
        expected = pytest.raises(numba.TypingError, match="eighth") if fails else contextlib.nullcontext()
        with event.install_listener("numba:compile", listener), expected:
            assert policy.kernel(eighth if fails else quarter)(1.0) == 0.25
        assert gc.isenabled() == before
    assert listener.seen == [before, False]


@pytest.mark.parametrize("decorator", [policy.inline, policy.in_registers])
def test_a_piece_is_compiled_once_for_all_constants_that_it_is_called_with(decorator, monkeypatch):
    @decorator
    def half(x):
        return x // 2

    def all_halves(x):
        return half(0) + half(8) + half(x)

    monkeypatch.setattr(policy, "cache_directory", lambda: None)
    assert policy.kernel(all_halves)(6) == 7
    assert list(half.overloads) == [(numba.types.intp,)]


def test_without_jit_there_is_no_cache_and_python_runs():
    script = """
from fastrecur.kernels.steps import _fill_steps, step_table
assert not hasattr(_fill_steps, "overloads")
assert step_table([2, 1]).tolist() == [[0, 2, 0, 0], [2, 1, 1, 2]]
"""
    run(script, NUMBA_DISABLE_JIT="1")


# --- the cache on disk -----------------------------------------------------------------------------------------------

COUNT = """
import numpy as np
from fastrecur.kernels.cpu.panels import pack_transposed
from fastrecur.kernels.steps import _fill_steps, step_table
assert step_table([2, 1]).tolist() == [[0, 2, 0, 0], [2, 1, 1, 2]]
out = np.zeros((1, 0, 32), np.float32)
pack_transposed(np.ones((1, 1), np.float32), np.zeros((1, 0), np.int64), 1, out)
for function in (_fill_steps, pack_transposed):
    print(sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values()))
"""


def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    assert run(COUNT, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["0", "1", "0", "1"]
    assert [path.name for path in tmp_path.iterdir()] == [f"kernels-{policy.source_stamp()}"]
    assert run(COUNT, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split() == ["1", "0", "1", "0"]


ALL_KERNELS = """
import importlib, pkgutil
import numpy as np
import fastrecur.kernels
from fastrecur.kernels import threads
from fastrecur.layers import GRU, LSTM, RNN
from numba.core.dispatcher import Dispatcher
threads.WORTH_A_THREAD = 1
x, shape = np.zeros((4, 6, 3), np.float32), (2, 4, 40)
for kind in (RNN, LSTM, GRU):
    kind(3, 40, num_layers=2).step(x[:, 0])
    state = (np.zeros(shape), np.zeros(shape)) if kind is LSTM else np.zeros(shape)
    for n_threads in (1, 2):
        layer = kind(3, 40, bidirectional=True, n_threads=n_threads)
        for lengths in (None, [6, 2, 5, 1]):
            for x_as_given in (x, np.asfortranarray(x), np.zeros((6, 4, 3), np.float32).swapaxes(0, 1)):
                y, _ = layer.forward(x_as_given, state, lengths, training=True)
                layer.backward(np.ones_like(y), state)
for info in pkgutil.walk_packages(fastrecur.kernels.__path__, "fastrecur.kernels."):
    for name, both in vars(importlib.import_module(info.name)).items():
        kernels = {name: getattr(both, "alone", both), name + "-shared": getattr(both, "shared", None)}
        for name, f in kernels.items():
            if isinstance(f, Dispatcher) and "nogil" in f.targetoptions and f.py_func.__module__ == info.name:
                print(name, sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()), len(f.overloads))
"""


def test_every_kernel_of_a_recurrent_layer_is_found_on_disk_and_large_ones_are_compiled_once():
    if policy.cache_directory() is None:
        pytest.skip("no directory can be written")
    run(ALL_KERNELS)  # compiles what no test before has compiled
    lines = [line.split() for line in run(ALL_KERNELS).stdout.splitlines()]
    counts = {name: [int(number) for number in numbers] for name, *numbers in lines}
    assert {name for name, (_, _, compiled) in counts.items() if compiled} == RECURRENT
    for name in entry_points():
        hits, misses, compiled = counts[name.rpartition(".")[2]]
        assert (hits, misses) == (compiled, 0), name
        if compiled and name.endswith("-shared"):  # whatever the threads, lengths and layouts
            assert compiled == (3 if name.endswith("weight_gradient-shared") else 1), name  # panels of 2, 3, 4 vectors


def test_an_unwritable_directory_costs_one_warning_and_nothing_else(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a directory")
    result = run(COUNT, NUMBA_CACHE_DIR=str(file / "below"))
    assert result.stdout.split() == ["0", "1", "0", "1"]
    assert result.stderr.count("RuntimeWarning") == result.stderr.count("Warning:") == 1
    assert "NUMBA_CACHE_DIR" in result.stderr
    assert file.read_text() == "not a directory"


# --- the name of the directory ---------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the kernels' folder, which the stamp is taken of."""
    folder = tmp_path / "kernels"
    shutil.copytree(Path(policy.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(policy.importlib.resources, "files", lambda package: folder)
    return folder


def stamp():
    return policy.source_stamp.__wrapped__()


def test_the_stamp_is_of_the_sources_only(sources):
    assert stamp() == policy.source_stamp()
    os.utime(sources / "steps.py", (0, 0))
    (sources / "notes.txt").write_text("no source")
    (sources / "__pycache__").mkdir()
    (sources / "__pycache__" / "steps.pyc").write_bytes(b"no source")
    assert stamp() == policy.source_stamp()


def append(path):
    path.write_text(path.read_text() + "\n# edited\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: append(folder / "steps.py"),
        lambda folder: append(folder / "cpu" / "simd.py"),
        lambda folder: append(folder / "compile.py"),
        lambda folder: (folder / "cpu" / "new.py").write_text(""),
        lambda folder: (folder / "cpu" / "lstm.py").unlink(),
        lambda folder: (folder / "cpu" / "lstm.py").rename(folder / "cpu" / "long.py"),
    ],
    ids=["edit", "edit below", "edit of the policy", "new file", "file gone", "file renamed"],
)
def test_every_change_of_a_source_changes_the_stamp(sources, change):
    change(sources)
    assert stamp() != policy.source_stamp()


def test_without_any_file_nothing_is_kept(sources, monkeypatch):
    shutil.rmtree(sources)
    assert stamp() is None
    monkeypatch.setattr(policy, "source_stamp", lambda: None)
    with pytest.warns(RuntimeWarning, match="no files of its kernels"):
        assert policy.cache_directory.__wrapped__() is None


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_other_compilers_have_another_stamp(package, monkeypatch):
    monkeypatch.setattr(getattr(policy, package), "__version__", "0.0")
    assert stamp() != policy.source_stamp()


def test_the_directory_is_made_below_numbas_and_named_by_the_stamp(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "deep" / "down"))
    for name in ("one", "two"):
        monkeypatch.setattr(policy, "source_stamp", lambda name=name: name)
        folder = Path(policy.cache_directory.__wrapped__())
        assert folder == tmp_path / "deep" / "down" / f"kernels-{name}"
        assert list(folder.iterdir()) == []
