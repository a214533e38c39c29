"""Share of a training step that is Python, not compiled kernels: ``python -m bench.loop_overhead``.

Method. An estimator is fitted (classifier, 9 classes, one thread, defaults otherwise) for a few epochs and for a few
more; the difference in time, divided by the number of steps in between, is a step of `fit`, with its share of what an
epoch costs and without the checks and the initialisation before the first.

The same two fits are run again while every call of a compiled function is timed, from before Numba looks up the types
of its arguments until it is back: by replacing for a while the `__call__` of Numba's dispatchers, whatever name a
module knows them by. What a step of the first kind takes beyond the time in compiled functions is Python: shapes,
views, small NumPy operations, the loop. The kernels are timed where they run, with the caches as they find them; a
replay of the same calls, one after another, finds them warmer and would count the difference as Python.

Fits of the two kinds take turns, and the medians of the rounds are compared.

The second table has the forward pass of a layer over the one sequence of shape I1, where Python's share is largest:
`layer.forward`, the kernel that it calls, with the very arguments, and PyTorch's layer, timed in turn (`timing.py`).
"""

import argparse
import functools
import statistics
import time
import warnings

import numpy as np
from numba.core.registry import CPUDispatcher
from sklearn.exceptions import ConvergenceWarning

from bench import machine
from bench.grid import CELLS, GRID
from bench.timing import blocks, in_turn
from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier

#: Sequences a batch, time steps, features, hidden units, classes.
B, T, F, H, K = 32, 30, 12, 32, 9

#: Steps an epoch, and epochs of the short and of the long fit.
STEPS, SHORT, LONG = 40, 2, 22

#: What the project asks for.
LIMIT = 0.15


class TimedCalls:
    """Context manager: adds up the seconds spent in compiled functions, counts their calls and keeps the last one."""

    def __enter__(self):
        self.seconds, self.calls, self.last = 0.0, 0, None
        call, now = CPUDispatcher.__call__, time.perf_counter

        def timed(dispatcher, *args):
            began = now()
            result = call(dispatcher, *args)
            self.seconds += now() - began
            self.calls += 1
            self.last = functools.partial(call, dispatcher, *args)
            return result

        CPUDispatcher.__call__ = timed
        return self

    def __exit__(self, *_):
        del CPUDispatcher.__call__


def measure(estimator_class, rounds):
    """Seconds a step of `fit`, seconds of it in kernels, and kernel calls a step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(B * STEPS, T, F)).astype(np.float32)
    y = rng.integers(K, size=len(X))

    def fit(epochs):
        began = time.perf_counter()
        # Labels are noise: only max_iter ends the fit.
        options = {"n_iter_no_change": LONG + 1, "n_threads": 1, "random_state": 0}
        estimator_class(H, batch_size=B, max_iter=epochs, **options).fit(X, y)
        return time.perf_counter() - began

    def timed(epochs):
        with TimedCalls() as calls:
            fit(epochs)
        return calls

    fit(1)  # compiles
    steps, kernels = [], []
    for _ in range(rounds):
        steps.append((fit(LONG) - fit(SHORT)) / (LONG - SHORT) / STEPS)
        long, short = timed(LONG), timed(SHORT)
        kernels.append((long.seconds - short.seconds) / (LONG - SHORT) / STEPS)
    calls = (long.calls - short.calls) / (LONG - SHORT) / STEPS
    return statistics.median(steps), statistics.median(kernels), calls


def one_sequence(cell, threads, rounds):
    """Medians of the seconds of a forward pass: of the layer, of its kernel, of PyTorch's layer."""
    from bench.pair import Pair  # which imports PyTorch: not before the fits have been timed

    pair = Pair(cell, GRID["I1"], threads)
    pair.check_forward()
    with TimedCalls() as calls:
        pair.forward()
    sides = {"layer": pair.forward, "kernel": calls.last, "torch": pair.their_forward}
    seconds = in_turn(blocks(sides), rounds, threads)
    return [statistics.median(seconds[side]) for side in ("layer", "kernel", "torch")]


def main():
    parser = argparse.ArgumentParser(description="Share of a training step that is Python rather than kernels.")
    parser.add_argument("--rounds", type=int, default=20, help="default: 20")
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for estimator_class in (RNNClassifier, LSTMClassifier, GRUClassifier):
        step, kernels, calls = measure(estimator_class, rounds)
        share = 1 - kernels / step
        rows.append(
            f"| {estimator_class.__name__} | {step * 1e6:.0f} | {kernels * 1e6:.0f} | {calls:.0f} | {share:.1%} |"
        )
    print(*machine.describe(), sep="\n")
    print(f"\nbatch {B}, T {T}, F {F}, H {H}, 1 thread; medians of {rounds} rounds; asked for: at most {LIMIT:.0%}\n")
    print("| estimator | us a step | us in kernels | kernel calls | Python |")
    print("| --- | --- | --- | --- | --- |")
    print(*rows, sep="\n")
    print(f"\nforward, {GRID['I1'].text}; medians of {rounds} rounds\n")
    print("| layer | threads | us a call | us in the kernel | us of PyTorch | of a call | of the kernel |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for cell in CELLS:
        for threads in (1, 2):
            layer, kernel, theirs = (1e6 * seconds for seconds in one_sequence(cell, threads, rounds))
            print(
                f"| {cell} | {threads} | {layer:.1f} | {kernel:.1f} | {theirs:.1f} | {theirs / layer:.2f}x | "
                f"{theirs / kernel:.2f}x |"
            )


if __name__ == "__main__":
    main()
