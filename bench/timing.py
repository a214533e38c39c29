"""How every figure of this folder is timed: rest, warm up, then the sides in turn, round by round."""

import contextlib
import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds of calls in one timed block, and of rest before either side's turn. A team of OpenMP threads spins for
#: some milliseconds after its work: the rest keeps one side's idle threads from taking the other's cores.
ROUND, REST = 0.002, 0.010

#: Seconds of untimed calls of a side behind its rest. For milliseconds after it a virtual machine runs a second thread
#: slower: on a Zen 5 two threads took 4 to 23% more behind 0.5 ms of calls, and no less behind 20 ms than behind 6.
WARM = 0.006

#: Seconds of a call from which on it needs no other call to warm up: what is cold at its start does not show.
LONG_CALL = 0.050

#: A figure is marked where one side's median is this much above its fastest round: the machine was not quiet.
NOISY = 1.25


@dataclass
class Block:
    """Calls of one side that are timed together. Called, it returns seconds a call."""

    function: Callable
    n_calls: int
    n_warm: int
    rest: float

    def prepare(self):
        """Rest, and some untimed calls."""
        time.sleep(self.rest)
        repeat(self.function, self.n_warm)

    def __call__(self):
        self.prepare()
        return seconds_of(self.function, self.n_calls) / self.n_calls


def blocks(sides, rest=REST):
    """A block for each side: as many calls as the fastest side makes in `ROUND`, the same number for all.

    Warms all of them up.
    """
    seconds = {name: _seconds_when_warm(function) for name, function in sides.items()}
    n_calls = max(1, round(ROUND / min(seconds.values())))
    return {
        name: Block(function, n_calls, 0 if seconds[name] > LONG_CALL else math.ceil(WARM / seconds[name]), rest)
        for name, function in sides.items()
    }


def _seconds_when_warm(function):
    n_calls = 1 if seconds_of(function) > 10 * LONG_CALL else 5
    return min(seconds_of(function) for _ in range(n_calls))


def in_turn(measures, rounds, threads=1):
    """Seconds of each side by round.

    Parameters
    ----------
    measures : dict of str to function
        `blocks`, or functions that rest and time by themselves, and return seconds.
    rounds : int
    threads : int
        Of each side: `pinned` to as many cores.

    Returns
    -------
    dict of str to list of float
    """
    seconds = {name: [] for name in measures}
    with no_collection(), pinned(threads):
        for _ in range(rounds):
            for name, measure in measures.items():
                seconds[name].append(measure())
    return seconds


@contextlib.contextmanager
def pinned(threads):
    """Hold the calling thread to one core, and every other thread that the process has by now to the other cores.

    A library's threads sleep while the other side is timed, and a scheduler that saves energy may then wake them on
    the caller's core, for seconds on end: which side it meets is chance. Only on Linux, and for several threads.
    """
    cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    before = {thread: os.sched_getaffinity(thread) for thread in map(int, os.listdir("/proc/self/task"))}
    try:
        for thread in before:
            os.sched_setaffinity(thread, cores[:1] if thread == threading.get_native_id() else cores[1:])
        yield
    finally:
        for thread, had in before.items():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, had)


@contextlib.contextmanager
def no_collection():
    """Garbage is collected before and after, not within."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def repeat(function, n_calls):
    for _ in range(n_calls):
        function()


def seconds_of(function, n_calls=1):
    began = time.perf_counter()
    repeat(function, n_calls)
    return time.perf_counter() - began


def is_noisy(*sides):
    """Whether the rounds of a side scatter so much that the machine was not quiet."""
    return any(statistics.median(rounds) > NOISY * min(rounds) for rounds in sides)


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))
