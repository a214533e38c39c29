"""Epochs of training on a GPU beside the CPU: ``python -m bench.cuda_training``.

The same estimator on the same data on both: `partial_fit` is an epoch, X goes to the device in each. A first epoch
compiles and is not counted; its loss must be the same on both to 1e-4, or the exit status is 1. ``--dry-run`` only asks
whether all of this runs, on small shapes, in the simulator (``NUMBA_ENABLE_CUDASIM=1``) too.
"""

import argparse
import itertools
import statistics
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np

import fastrecur
from bench.grid import CELLS
from fastrecur.kernels.cuda import runtime


class Shape(NamedTuple):
    """Sequences, time steps, features (or tokens of a vocabulary), units, sequences of a batch; estimator's options."""

    name: str
    sequences: int
    steps: int
    features: int
    units: int
    batch: int
    options: dict


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", 4096, 50, 8, 32, 64, {}),
        Shape("wide", 2048, 100, 64, 128, 128, {"num_layers": 2, "dropout": 0.2}),
        Shape("stepwise", 1024, 50, 64, 256, 128, {}),
        Shape("words", 1024, 64, 10_000, 128, 64, {"embedding_dim": 128, "return_sequences": True}),
    )
}

#: Of a dry run.
DRY = (
    Shape("dry", 6, 3, 2, 4, 3, {"num_layers": 2, "dropout": 0.2}),
    Shape("dry, words", 6, 3, 5, 4, 3, {"embedding_dim": 2, "return_sequences": True}),
)


def problem(shape):
    """X, y and the classes: whether a sequence's sum is positive, or the next token of each."""
    rng = np.random.default_rng(0)
    if "embedding_dim" in shape.options:
        tokens = rng.integers(0, shape.features, (shape.sequences, shape.steps + 1))
        return tokens[:, :-1], tokens[:, 1:], np.arange(shape.features)
    X = rng.normal(size=(shape.sequences, shape.steps, shape.features)).astype(np.float32)
    return X, (X.sum(axis=(1, 2)) > 0).astype(int), [0, 1]


def epochs(cell, shape, device, n_epochs):
    """Loss of the first epoch, and the median of the seconds of those after it."""
    X, y, classes = problem(shape)
    cls = getattr(fastrecur, f"{cell}Classifier")
    model = cls(shape.units, batch_size=shape.batch, device=device, random_state=0, **shape.options)
    seconds = []
    for _ in range(n_epochs + 1):
        began = time.perf_counter()
        model.partial_fit(X, y, classes=classes)
        seconds.append(time.perf_counter() - began)
    return model.loss_curve_[0], statistics.median(seconds[1:])


def _line(cell, shape, n_epochs, dry):
    """A row of the table, and whether the losses are the same."""
    (loss, on_host), (other, on_device) = (epochs(cell, shape, device, n_epochs) for device in ("cpu", "cuda"))
    size = f"{shape.sequences}, {shape.steps}, {shape.features}, {shape.units}, {shape.batch}"
    figures = ["runs", "", ""] if dry else [f"{on_host:.2f}", f"{on_device:.2f}", f"{on_host / on_device:.2f}x"]
    passed = abs(other / loss - 1) <= 1e-4  # not if one is NaN
    if not passed:
        figures = [f"check failed: losses {loss:.6g} and {other:.6g}", "", ""]
    return "| " + " | ".join([cell, shape.name, size, *figures]) + " |", passed


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_training", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=CELLS, metavar="CELL")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES), metavar="SHAPE")
    parser.add_argument("--dry-run", action="store_true", help="only see whether it runs")
    arguments = parser.parse_args(argv)
    dry = arguments.dry_run
    if not runtime.available() or (runtime.SIMULATED and not dry):
        print(f"no GPU to measure: {runtime.why_unavailable() or 'the simulator is none'}", file=sys.stderr)
        return 1
    warnings.simplefilter("ignore")
    n_epochs, shapes = (1, DRY) if dry else (arguments.epochs, [SHAPES[name] for name in arguments.shapes])
    print(f"{runtime.device_name()}; {runtime.PACKAGE}; medians of {n_epochs} epochs, seconds")
    print()
    print("| cell | shape | n, T, F or V, H, B | CPU | GPU | CPU over it |")
    print("| --- | --- | --- | --- | --- | --- |")
    failed = False
    for shape, cell in itertools.product(shapes, arguments.cells):
        row, passed = _line(cell, shape, n_epochs, dry)
        print(row, flush=True)
        failed |= not passed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
