"""Shares of work, and how many threads may be used where."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numba
import numpy as np
import pytest

import fastrecur
from fastrecur.kernels import threads
from tests.helpers import threading_layer

ROOT = Path(fastrecur.__file__).parents[1]


@pytest.fixture
def any_work_is_worth_a_thread(monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)


# --- shares of rows --------------------------------------------------------------------------------------------------

LENGTHS = {
    "equal": np.full(33, 7),
    "ragged": np.sort(np.random.default_rng(0).integers(1, 50, 100))[::-1],
    "one long row": np.array([1000, 1, 1, 1, 1, 1, 1]),
    "two rows": np.array([5, 1]),
    "empty rows": np.array([4, 2, 0, 0, 0]),
    "one row": np.array([9]),
}
each_length = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
each_number = pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 7, 64])


def assert_covers(bounds, n_items):
    assert bounds[0] == 0
    assert bounds[-1] == n_items
    assert np.all(np.diff(bounds) > 0)
    assert bounds.dtype == np.int64
    assert bounds.flags.c_contiguous


@each_number
@each_length
@pytest.mark.usefixtures("any_work_is_worth_a_thread")
def test_row_shards_cover_the_rows_with_balanced_shares(lengths, n_threads):
    bounds = threads.row_shards(lengths, 1, n_threads)
    assert_covers(bounds, len(lengths))
    assert len(bounds) - 1 <= n_threads
    shares = np.add.reduceat(lengths, bounds[:-1])
    assert shares.sum() == lengths.sum()
    assert shares.max() <= lengths.sum() / n_threads + lengths.max()


@each_number
@pytest.mark.usefixtures("any_work_is_worth_a_thread")
def test_row_shards_use_every_thread_where_rows_are_equal(n_threads):
    shares = np.diff(threads.row_shards(np.full(64, 5), 1, n_threads))
    assert len(shares) == n_threads
    assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_row_shards_of_empty_rows(n_threads):
    np.testing.assert_array_equal(threads.row_shards(np.zeros(3, np.int64), 10**9, n_threads), [0, 3])


def test_small_work_is_not_shared():
    lengths, worth = np.full(10, 10), threads.WORTH_A_THREAD
    assert len(threads.row_shards(lengths, worth // 100 - 1, 4)) == 2
    assert len(threads.row_shards(lengths, 2 * worth // 100, 4)) == 3
    assert len(threads.row_shards(lengths, 3 * worth // 100, 4)) == 4
    assert len(threads.row_shards(lengths, 9 * worth // 100, 4)) == 5
    assert len(threads.even_shards(100, worth // 100 - 1, 4)) == 2
    assert len(threads.even_shards(100, 2 * worth // 100, 4)) == 3
    assert len(threads.even_shards(100, 9 * worth // 100, 4)) == 5
    assert len(threads.even_shards(100, 2 * worth // 100, 1, awake=True)) == 2
    assert len(threads.even_shards(100, 3 * worth // 400 - 1, 4, awake=True)) == 2
    assert len(threads.even_shards(100, 3 * worth // 400, 4, awake=True)) == 3


def test_even_shards_of_whole_rows():
    assert threads.even_shards(160, 10**9, 2, 12).tolist() == [0, 72, 160]
    assert threads.even_shards(160, 10**9, 2, 12, row=80).tolist() == [0, 80, 160]
    assert threads.even_shards(160, 10**9, 4, 12, row=80).tolist() == [0, 36, 80, 116, 160]
    assert threads.even_shards(150, 10**9, 2, 12, row=50).tolist() == [0, 74, 150]


@each_number
@pytest.mark.parametrize("multiple", [1, 6, 12])
@pytest.mark.parametrize("n_items", [0, 1, 5, 12, 13, 24, 35, 100, 1201])
@pytest.mark.usefixtures("any_work_is_worth_a_thread")
def test_even_shards_cover_the_items_in_whole_multiples(n_items, multiple, n_threads):
    bounds = threads.even_shards(n_items, 1, n_threads, multiple)
    if n_items == 0:
        np.testing.assert_array_equal(bounds, [0, 0])
        return
    assert_covers(bounds, n_items)
    assert len(bounds) - 1 == max(1, min(n_threads, n_items // multiple))
    assert np.all(bounds[1:-1] % multiple == 0)
    shares = np.diff(bounds)
    assert shares.max() - shares.min() < 2 * multiple


# --- how many threads ------------------------------------------------------------------------------------------------


def test_a_number_is_kept_up_to_what_numba_can_start(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    assert [threads.resolve_threads(n) for n in (1, 3, 4, 5, 1000)] == [1, 3, 4, 4, 4]


@pytest.fixture
def _cores_counted_anew():
    threads._cores.cache_clear()
    yield
    threads._cores.cache_clear()


@pytest.mark.usefixtures("_cores_counted_anew")
def test_none_is_all_cores_of_the_process(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    for cores, expected in ((1, 1), (3, 3), (8, 8), (20, 8)):
        threads._cores.cache_clear()
        monkeypatch.setattr(joblib, "cpu_count", lambda cores=cores: cores)
        assert threads.resolve_threads(None) == threads.available_threads() == expected


@pytest.mark.usefixtures("_cores_counted_anew")
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_one_inside_a_joblib_worker(backend, monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    assert threads.resolve_threads(None) == 8
    call = joblib.delayed(threads.resolve_threads)
    results = joblib.Parallel(n_jobs=2, backend=backend)([call(None), call(None), call(1)])
    assert results == [1, 1, 1]
    assert threads.resolve_threads(None) == 8
    if backend == "threading":  # a number is meant
        assert joblib.Parallel(n_jobs=2, backend=backend)([call(3), call(2)]) == [3, 2]


# --- teams -----------------------------------------------------------------------------------------------------------


def set_layer(monkeypatch, layer):
    monkeypatch.setattr(threads, "_layer", lambda: layer)


def from_another_thread(n_threads):
    """What a team of another Python thread may use, while the caller is in its own."""
    found = []

    def enter():
        with threads.team(n_threads) as allowed:
            found.append(allowed)

    other = threading.Thread(target=enter)
    other.start()
    other.join(timeout=60)
    return found[0]


def test_tbb_takes_every_caller_and_every_process(monkeypatch):
    set_layer(monkeypatch, "tbb")
    monkeypatch.setattr(threads, "_own_process", os.getpid() + 1)
    with threads.team(3) as outer:
        assert (outer, from_another_thread(2)) == (3, 2)


def test_omp_takes_every_caller_of_the_process_that_may_use_it(monkeypatch):
    set_layer(monkeypatch, "omp")
    with threads.team(3) as outer:
        assert (outer, from_another_thread(2)) == (3, 2)
    monkeypatch.setattr(threads, "_own_process", os.getpid() + 1)
    with threads.team(3) as outer:
        assert (outer, from_another_thread(2)) == (1, 1)


@pytest.mark.parametrize("layer", ["workqueue", "a layer to come"])
def test_other_layers_take_one_caller_at_a_time(layer, monkeypatch):
    set_layer(monkeypatch, layer)
    with threads.team(3) as outer:
        assert (outer, from_another_thread(2)) == (3, 1)
    assert from_another_thread(2) == 2
    with pytest.raises(ZeroDivisionError), threads.team(3):
        raise ZeroDivisionError
    with threads.team(3) as again:
        assert again == 3


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_a_team_of_one_is_in_nobodys_way(layer, monkeypatch):
    set_layer(monkeypatch, layer)
    with threads.team(1) as outer:
        assert (outer, from_another_thread(2)) == (1, 2)
    with threads.team(2):
        assert from_another_thread(1) == 1


def test_the_layer_is_numbas_or_none_before_it_starts(monkeypatch):
    def not_started():
        raise ValueError("Threading layer is not initialized.")

    monkeypatch.setattr(numba, "threading_layer", not_started)
    assert threads._layer() is None
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    assert threads._layer() == "omp"


SURVIVE = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
from fastrecur.kernels import threads
from fastrecur.layers import GRU
threads.WORTH_A_THREAD = threads.WORTH_A_MEETING = 1
try:
    numba.np.ufunc.parallel._launch_threads()
except ValueError:
    print("unavailable")
    sys.exit()
layer, batch = GRU(3, 40, n_threads=2, random_state=0), np.ones((8, 50, 3), np.float32)
given = batch, batch[:1].copy()  # rows for each thread; one sequence for all
expected = [layer.forward(x)[0] for x in given]
assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
with ThreadPoolExecutor(4) as pool:
    for x, wanted in zip(given, expected):
        for y, _ in pool.map(lambda _: layer.forward(x), range(200)):
            assert np.array_equal(y, wanted)
time.sleep(0.2)  # the system ends the pool's threads after Python does, and a fork amid that may keep their locks
child = os.fork()
if child == 0:
    os._exit(0 if all(np.array_equal(layer.forward(x)[0], wanted) for x, wanted in zip(given, expected)) else 1)
assert os.waitpid(child, 0)[1] == 0
print("survived")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_python_threads_and_a_forked_child_survive(layer):
    environment = {**os.environ, **threading_layer(layer), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", SURVIVE], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    if result.stdout.strip() == "unavailable":
        pytest.skip(f"Numba has no layer {layer} here")
    assert "survived" in result.stdout.split()  # before it Numba may tell what it thinks of a fork under tbb


#: 5 outputs, fewer than a panel has: they go through scratch memory.
SHARE_A_HEAP = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from fastrecur.network.head import Head
from fastrecur.network.parameters import Parameters
parameters = Parameters({"head_weight": (5, 64), "head_bias": (5,)}, np.dtype(np.float32))
rng = np.random.default_rng(0)
parameters.flat[:] = rng.normal(size=parameters.flat.size)
head, x = Head(parameters, 64, 5), rng.normal(size=(256, 64)).astype(np.float32)
expected = x @ parameters.arrays["head_weight"].T + parameters.arrays["head_bias"]
def right(_):
    return np.allclose(head.outputs(x, np.empty((256, 5), np.float32)), expected, atol=1e-4)
with ThreadPoolExecutor(8) as pool:
    assert all(pool.map(right, range(8000)))
print("survived")
"""


def test_a_kernel_writes_to_no_memory_of_other_threads():
    """With one heap for all threads (a setting of glibc's) what is written behind a free soon ends the process."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", SHARE_A_HEAP], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "survived"
