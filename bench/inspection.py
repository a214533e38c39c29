"""What it costs to look inside: ``python -m bench.inspection``.

The gradient flow of n sequences beside the training steps of the same sequences (a call of `partial_fit`: minibatches
of 32), both from arrays to results, and the gates of 1,000 sequences of 100 steps at H 64. Medians, float32; with one
thread the processor's time, which other processes disturb little, else that of the clock.
"""

import argparse
import statistics
import time

import numpy as np

from bench import machine
from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier
from fastrecur.inspection import gate_activations, gradient_flow

CLASSES = (RNNClassifier, LSTMClassifier, GRUClassifier)

#: n, T, F, H.
SHAPES = ((32, 100, 16, 64), (1024, 100, 16, 64), (1024, 25, 64, 128), (256, 400, 2, 32))


def seconds(call, rounds, clock):
    """Median seconds of a call, after a first one."""
    call()
    taken = []
    for _ in range(rounds):
        began = clock()
        call()
        taken.append(clock() - began)
    return statistics.median(taken)


def main():
    parser = argparse.ArgumentParser(description="Cost of the gradient flow and of the gates.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print("| cell | n, T, F, H | training, ms | gradient flow, ms | ratio |\n" + "| --- " * 5 + "|")
    for cls in CLASSES:
        for n, n_steps, n_features, n_hidden in SHAPES:
            X = np.random.default_rng(0).normal(size=(n, n_steps, n_features)).astype(np.float32)
            y = np.arange(n) % 2
            model = cls(n_hidden, n_threads=options.threads, random_state=0).partial_fit(X, y)
            step = seconds(lambda model=model, X=X, y=y: model.partial_fit(X, y), options.rounds, clock)
            flow = seconds(lambda model=model, X=X, y=y: gradient_flow(model, X, y), options.rounds, clock)
            shape = f"{n}, {n_steps}, {n_features}, {n_hidden}"
            print(f"| {cls.__name__} | {shape} | {1e3 * step:.1f} | {1e3 * flow:.1f} | {flow / step:.2f} |", flush=True)
    X = np.random.default_rng(0).normal(size=(1000, 100, 16)).astype(np.float32)
    for cls in CLASSES:
        model = cls(64, n_threads=options.threads, random_state=0).partial_fit(X, np.arange(1000) % 2)
        taken = seconds(lambda model=model: gate_activations(model, X), options.rounds, clock)
        print(f"gates of 1,000 x 100 steps, H 64, {cls.__name__}: {1e3 * taken:.0f} ms", flush=True)
    print(*machine.describe(), sep="\n")
    print(f"{options.threads} thread(s), {options.rounds} rounds, float32")


if __name__ == "__main__":
    main()
