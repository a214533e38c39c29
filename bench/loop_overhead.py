"""Share of a training step that is Python, not compiled kernels: ``python -m bench.loop_overhead``.

Method. An estimator is fitted (classifier, 9 classes, one thread, defaults otherwise) for a few epochs and for a few
more; the difference in time, divided by the number of steps in between, is a step of `fit`, with its share of what an
epoch costs and without the checks and the initialisation before the first.

The kernels' time comes from a replay. All calls of compiled functions in one epoch of the same fit are recorded, each
with its arguments, by replacing for a moment the `__call__` of Numba's dispatchers, whatever name a module knows them
by. They are then called again, one after the other, on the same arrays with the same contents, with nothing in
between. What a step takes beyond that is Python: shapes, views, small NumPy operations, the loop.

Numba's own work at a call, types looked up and arrays taken apart, is part of the replay. The second share counts it
as Python too: an empty compiled function with the same arguments is replayed in the place of each kernel, and its time
taken off the kernels'.

The three, fits, kernels and empty calls, are timed in turn, and the medians of the rounds are compared. Times are the
processor's, of this one thread, so that other work on the machine counts for less than on the clock.
"""

import argparse
import gc
import statistics
import time
import warnings

import numba
import numpy as np
from numba.core.registry import CPUDispatcher
from sklearn.exceptions import ConvergenceWarning

from bench import machine
from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier

#: Sequences a batch, time steps, features, hidden units, classes.
B, T, F, H, K = 32, 30, 12, 32, 9

#: Steps an epoch, and epochs of the short and of the long fit.
STEPS, SHORT, LONG = 40, 2, 12

#: What the project asks for.
LIMIT = 0.15


def measure(estimator_class, rounds):
    """Seconds a step of `fit`, of its kernels and of empty calls in their place; kernel calls a step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(B * STEPS, T, F)).astype(np.float32)
    y = rng.integers(K, size=len(X))

    def fit(epochs):
        began = time.thread_time()
        # Labels are noise: only max_iter ends the fit.
        options = {"n_iter_no_change": LONG + 1, "n_threads": 1, "random_state": 0}
        estimator_class(H, batch_size=B, max_iter=epochs, **options).fit(X, y)
        return time.thread_time() - began

    fit(1)  # compiles
    before, after = _recorded(fit, SHORT), _recorded(fit, SHORT + 1)
    calls = after[len(before) :]  # the last epoch
    contents = [(array, array.copy()) for array in _arrays(calls)]
    empty = [(_empty(len(args)), args) for _, args in calls]
    _replay(empty)  # compiles
    del before, after
    gc.collect()
    gc.freeze()  # what was recorded is nothing that the collector walks during a fit
    times = [(fit(SHORT), fit(LONG), _replay(calls, contents), _replay(empty)) for _ in range(rounds)]
    short, long, kernels, dispatch = map(statistics.median, zip(*times, strict=True))
    gc.unfreeze()
    return (long - short) / (LONG - SHORT) / STEPS, kernels / STEPS, dispatch / STEPS, len(calls) / STEPS


def _recorded(fit, epochs):
    """Every call of a compiled function during a fit, in order: (function, arguments)."""
    calls, call = [], CPUDispatcher.__call__

    def record(dispatcher, *args):
        calls.append((dispatcher, args))
        return call(dispatcher, *args)

    CPUDispatcher.__call__ = record
    try:
        fit(epochs)
    finally:
        del CPUDispatcher.__call__
    return calls


def _arrays(calls):
    """The writable arrays among the arguments, each once."""
    arrays = {id(a): a for _, args in calls for a in args if isinstance(a, np.ndarray) and a.flags.writeable}
    return list(arrays.values())


def _replay(calls, contents=()):
    for array, content in contents:
        array[...] = content
    began = time.thread_time()
    for function, args in calls:
        function(*args)
    return time.thread_time() - began


_EMPTY = {}


def _empty(n_args):
    """Compiled function of ``n_args`` arguments that does nothing."""
    if n_args not in _EMPTY:
        names = ", ".join(f"a{i}" for i in range(n_args))
        _EMPTY[n_args] = numba.njit(eval(f"lambda {names}: None"), nogil=True)
    return _EMPTY[n_args]


def main():
    parser = argparse.ArgumentParser(description="Share of a training step that is Python rather than kernels.")
    parser.add_argument("--rounds", type=int, default=20, help="default: 20")
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for estimator_class in (RNNClassifier, LSTMClassifier, GRUClassifier):
        step, kernels, dispatch, n_calls = measure(estimator_class, rounds)
        rows.append(
            f"| {estimator_class.__name__} | {step * 1e6:.0f} | {kernels * 1e6:.0f} | {n_calls:.0f} | "
            f"{1 - kernels / step:.1%} | {1 - (kernels - dispatch) / step:.1%} |"
        )
    print(*machine.describe(), sep="\n")
    print(f"\nbatch {B}, T {T}, F {F}, H {H}, 1 thread; medians of {rounds} rounds; asked for: at most {LIMIT:.0%}\n")
    print("| estimator | us a step | us in kernels | kernel calls | Python | with the calls' dispatch |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
