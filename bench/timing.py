"""How every figure of this folder is timed: rest, warm up, then the sides in turn, round by round."""

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds of calls in one timed block, and of rest before either side's turn. A team of OpenMP threads spins for
#: some milliseconds after its work: the rest keeps one side's idle threads from taking the other's cores.
ROUND, REST = 0.002, 0.010

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
        name: Block(function, n_calls, 0 if seconds[name] > LONG_CALL else -(-n_calls // 4), rest)
        for name, function in sides.items()
    }


def _seconds_when_warm(function):
    n_calls = 1 if seconds_of(function) > 10 * LONG_CALL else 5
    return min(seconds_of(function) for _ in range(n_calls))


def in_turn(measures, rounds):
    """Seconds of each side by round.

    Parameters
    ----------
    measures : dict of str to function
        `blocks`, or functions that rest and time by themselves, and return seconds.
    rounds : int

    Returns
    -------
    dict of str to list of float
    """
    seconds = {name: [] for name in measures}
    with no_collection():
        for _ in range(rounds):
            for name, measure in measures.items():
                seconds[name].append(measure())
    return seconds


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
