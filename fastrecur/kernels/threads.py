"""How work is shared among threads, and when it is not worth it.

Threads take contiguous shares of rows. The bits of a result never depend on the shares, and a kernel with one share
neither starts nor enters Numba's threading layer, so that falling back to one thread is always safe: it is what happens
for small work, and wherever the layer cannot be entered.
"""

import contextlib
import functools
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numba
import numpy as np
from threadpoolctl import ThreadpoolController

from fastrecur.kernels.cpu.target import LARGE_WEIGHTS, VECTOR_BYTES

#: Multiply-adds of a share: about 50 microseconds of a thread with AVX-512 (LSTM, GRU, H 32), 65 without (LSTM, H 25,
#: Zen 3). With 1.2 million there too, a second thread took a third off a step of the GRU (batch 32, T 50, H 32) at one
#: hour; with 2 million it added half as much again at another.
WORTH_A_THREAD = 4_000_000 if VECTOR_BYTES == 64 else 1_200_000

#: So much of `WORTH_A_THREAD` is enough for threads that have just worked and still wait for more.
AWAKE = 3 / 8

#: Multiply-adds of a thread's part of one time step, about 1.5 microseconds, for which it pays to wait for the others.
WORTH_A_MEETING = 50_000

#: Turns that a waiting OpenMP thread (GNU) spins before it sleeps: enough for the pauses between the kernels of a fit.
#: With the library's own 300,000, threads on a busy machine wait for others that only spin: two fits of 0.2 ms
#: a step, with two threads each on two cores, took 23 ms a step side by side, and take 0.8.
SPINS = 3_000
_WAITS = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}

_one_at_a_time = threading.Lock()


def available_threads():
    """Threads for a call that was not told: all cores of the process, 1 inside a joblib worker."""
    backend, _ = joblib.parallel.get_active_backend()
    if getattr(backend, "nesting_level", 0):
        return 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return max(1, min(_cores(os.getpid(), allowed), numba.config.NUMBA_NUM_THREADS))


@functools.lru_cache(maxsize=8)
def _cores(process, allowed):
    """Cores for a process; joblib reads the limits of its container anew at each call, for 50 microseconds."""
    return joblib.cpu_count()


def resolve_threads(n_threads):
    """``n_threads`` as a number: None is `available_threads`; never more than Numba can start."""
    if n_threads is None:
        return available_threads()
    return min(int(n_threads), numba.config.NUMBA_NUM_THREADS)


def _layer():
    """Numba's threading layer, or None before it has started."""
    try:
        return numba.threading_layer()
    except ValueError:
        return None


def _start():
    """Start Numba's threading layer, as loading the first shared kernel would, and return its name.

    Its layer ``omp`` then sets how many OpenMP threads the calling thread may use, to all cores, and does so in the
    OpenMP library whose symbols come first in the process: PyTorch's, where it is loaded. The thread gets back what
    it had; in a library that has only now been loaded, what a new thread has.
    """
    before = {library.filepath: library.get_num_threads() for library in _openmp_libraries()}
    with _short_waits():
        numba.get_num_threads()
    with ThreadPoolExecutor(1) as new_thread:
        for library in _openmp_libraries():
            had = before.get(library.filepath) or new_thread.submit(library.get_num_threads).result()
            library.set_num_threads(had)
    return _layer()


@contextlib.contextmanager
def _short_waits():
    """Let an OpenMP library that is loaded now take `SPINS`, unless the environment already says how threads wait."""
    if not _WAITS.isdisjoint(os.environ):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)  # another thread, that was here at the same time, may have been faster


def _openmp_libraries():
    return ThreadpoolController().select(user_api="openmp").lib_controllers


def _is_forked():
    """Whether this process is the fork of another: younger than Python's modules in it.

    Where the system does not tell: whether the layer has been started, which another process may have done.
    """
    try:
        with open("/proc/self/stat") as file:
            started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return _layer() is not None
    since_import = logging.LogRecord("", 0, "", 0, "", (), None).relativeCreated / 1000  # of the module `logging`
    return age < since_import


#: The process that may use the layer ``omp``, None for none.
_own_process = None if _is_forked() else os.getpid()


_alone = contextlib.nullcontext(1)


def team(n_threads):
    """Context manager: the threads that the caller may use until the block ends, ``n_threads`` or 1.

    1 where more would not be safe: Numba's layer ``workqueue`` aborts the process when two Python threads enter it
    together; ``omp`` (GNU) ends a forked process if it was used before, and waits for ever for its threads if another
    library used OpenMP before. ``tbb`` takes both.
    """
    return _alone if n_threads == 1 else _Team(n_threads)


class _Team:
    def __init__(self, n_threads):
        self._n_threads = n_threads
        self._locked = False

    def __enter__(self):
        layer = _layer() or _start()
        if layer == "tbb":
            return self._n_threads
        if layer == "omp":
            return self._n_threads if os.getpid() == _own_process else 1
        self._locked = _one_at_a_time.acquire(blocking=False)
        return self._n_threads if self._locked else 1

    def __exit__(self, *_):
        if self._locked:
            _one_at_a_time.release()


def shares(shards):
    """Context manager: ``shards``, or one share of all where several threads are not safe (see `team`)."""
    return contextlib.nullcontext(shards) if len(shards) == 2 else _Shares(shards)


class _Shares:
    def __init__(self, shards):
        self._shards = shards
        self._team = team(len(shards) - 1)

    def __enter__(self):
        n_threads = self._team.__enter__()
        return self._shards if n_threads == len(self._shards) - 1 else _whole(int(self._shards[-1]))

    def __exit__(self, *error):
        self._team.__exit__(*error)


@functools.lru_cache(maxsize=256)
def _whole(n_items):
    """Bounds of one share."""
    return np.array([0, n_items])


def row_shards(lengths, multiply_adds, n_threads):
    """Bounds of the rows of a batch for each thread, so that each has about the same number of time steps.

    Parameters
    ----------
    lengths : int64 array of shape (B,)
    multiply_adds : int
        Of one time step of one row.
    n_threads : int

    Returns
    -------
    shards : int64 array
        0, ..., B.
    """
    n_rows = len(lengths)
    if n_threads == 1 or n_rows == 1:
        return _whole(n_rows)
    done = np.cumsum(lengths)
    n_threads = min(n_threads, n_rows, int(done[-1]) * multiply_adds // WORTH_A_THREAD)
    if n_threads <= 1:
        return _whole(n_rows)
    bounds = np.searchsorted(done, done[-1] * np.arange(1, n_threads) / n_threads, side="left") + 1
    return np.unique(np.concatenate([[0], bounds, [n_rows]]))


def may_go_together(n_rows, weights, n_threads):
    """Whether several threads may take a batch together: see `team_shards`."""
    return n_threads > 1 and (n_rows == 1 or weights.nbytes >= LARGE_WEIGHTS)


def team_shards(lengths, weights, n_threads):
    """One share for each of the threads that take a batch together: 0, ..., their number.

    All ``weights`` are read at each time step. None where it is not worth it: of several sequences each thread takes
    some, unless the weights are `LARGE_WEIGHTS`.
    """
    n_rows = len(lengths)
    if not may_go_together(n_rows, weights, n_threads):
        return None
    work = int(lengths.sum()) * weights.size
    n_threads = min(n_threads, work // WORTH_A_THREAD, n_rows * weights.size // WORTH_A_MEETING)
    return np.arange(n_threads + 1) if n_threads > 1 else None


def even_shards(n_items, multiply_adds, n_threads, multiple=1, row=None, awake=False):
    """Bounds of ``n_items`` equal pieces of work, ``multiply_adds`` each, for each thread.

    They are whole multiples, of items that lie in rows: multiples from the beginning of a ``row`` on. ``awake``: the
    threads have just worked.
    """
    worth = max(1, int(AWAKE * WORTH_A_THREAD)) if awake else WORTH_A_THREAD
    n_threads = min(n_threads, n_items // multiple, n_items * multiply_adds // worth)
    if n_threads <= 1:
        return _whole(n_items)
    bounds = np.arange(n_threads + 1) * n_items // n_threads
    bounds[1:-1] -= bounds[1:-1] % (row or n_items) % multiple
    return bounds
