"""Peak memory of `predict` and of a training step, each in a process of its own.

Hand count of a training step, in numbers of the dtype: x and dx, B T F each; dy, B T D H; of every layer and direction
the gates, B T G H with G 4 for the LSTM, 4 for the GRU (r, z, n and the hidden part of n) and 1 for the RNN (which
takes those of one layer and direction at a time), the states, (T + 1) B H (twice with the LSTM's c; the last layer's
are y too), the weights and their gradients. Of ragged batches x, dx and dy are counted with their padding, the rest
without.

``predict`` is to hold O(B H) beyond its output: what it takes for 10 times as many and 10 times as long sequences is
compared with what it takes for a base.

Two measures: tracemalloc, which sees every array of NumPy, and the peak of the process's resident set, reset before the
call where the system allows it (Linux). Kernels are loaded by a small call before either.
"""

import contextlib
import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np

from bench import grid
from bench.grid import GATES, GRID
from bench.report import Figure, Table

MIB = 2**20

#: Kept numbers a unit and time step.
KEPT_GATES = GATES | {"GRU": 4}

#: Sequences and time steps of `predict`: the base, more sequences, longer ones. Features, hidden units.
PREDICT_SIZES = ((1000, 200), (10_000, 200), (1000, 2000))
PREDICT_WIDTHS = 8, 64

#: What `predict` may take beyond the base: what does not grow with n and T.
CONSTANT = grid.Requirement(1.2, at_most=True)


def memory(options):
    """Training step by shape; a table of its own for `predict`."""
    return [_training(options), _predict(options)]


def _training(options):
    notes = ["Peak of a training step on one thread over what is counted by hand: inputs, gates, states, weights and"]
    notes += ["the gradients that it returns (`bench/memory.py` has the count); traced, and of the process."]
    groups = {f"{cell} {how}": grid.TRAINING_MEMORY for cell in options.cells for how in ("traced", "process")}
    table = Table("Memory of a training step", notes, ("shape", "B, T, F, H"), groups, "MiB, peak : counted")
    for shape in options.shapes:
        for cell in options.cells:
            counted = _counted(cell, shape)
            peaks = _in_a_process("training", cell, shape.name)
            for how, peak in peaks.items():
                detail = f"{peak / MIB:.1f} : {counted / MIB:.1f}"
                table.add((shape.name, shape.text), f"{cell} {how}", Figure(peak / counted, detail))
    return table


def _counted(cell, shape):
    """Bytes, by hand."""
    n, units, layers = shape.n_steps, shape.directions * shape.hidden, shape.layers
    inputs = shape.rows * shape.steps * (2 * shape.features + units)
    gates = n * units * KEPT_GATES[cell] * layers
    states = (n + shape.rows) * units * layers * (2 if cell == "LSTM" else 1)
    widths = [shape.features] + [units] * (layers - 1)
    weights = sum(GATES[cell] * units * (width + shape.hidden + 1) for width in widths)
    return 4 * (inputs + gates + states + 2 * weights)


def _predict(options):
    names = [f"n {n:,}, T {t:,}" for n, t in PREDICT_SIZES]
    notes = ["Peak of `predict` on one thread beyond X and its output, over that of the first size: it is not to grow."]
    notes += [f"F {PREDICT_WIDTHS[0]}, H {PREDICT_WIDTHS[1]}; traced, and of the process."]
    groups = {f"{cell} {how}": CONSTANT for cell in options.cells for how in ("traced", "process")}
    table = Table("Memory of predict", notes, ("sequences",), groups, "MiB")
    for cell in options.cells:
        base = None
        for name, (n, t) in zip(names, PREDICT_SIZES, strict=True):
            peaks = _in_a_process("predict", cell, f"{n},{t}")
            base = base or peaks
            for how, peak in peaks.items():
                table.add((name,), f"{cell} {how}", Figure(peak / base[how], f"{peak / MIB:.2f}"))
    return table


def _in_a_process(what, cell, size):
    """Peaks in bytes: "traced" and "process"."""
    command = [sys.executable, "-m", "bench.memory", what, cell, size]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


# --- in the process of its own ---------------------------------------------------------------------------------------


def _training_call(cell, name):
    """A function that makes inputs and layer and returns the training step, and bytes of the inputs."""
    from fastrecur import layers

    shape = GRID[name]
    rng = np.random.default_rng(0)

    def arrays(rows, steps):
        widths = shape.features, shape.directions * shape.hidden
        return [rng.standard_normal((steps, rows, width), np.float32).transpose(1, 0, 2) for width in widths]

    def layer():
        options = {"num_layers": shape.layers, "bidirectional": shape.bidirectional}
        return getattr(layers, cell)(shape.features, shape.hidden, n_threads=1, random_state=0, **options)

    def step(layer, x, dy, lengths):
        layer.forward(x, lengths=lengths, training=True)
        return layer.backward(dy)

    small = None if shape.lengths() is None else [2, 1, 1]
    step(layer(), *arrays(3, 2), small)
    x, dy = arrays(shape.rows, shape.steps)
    return lambda: step(layer(), x, dy, shape.lengths()), x.nbytes + dy.nbytes


def _predict_call(cell, size):
    import warnings

    from bench.networks import ESTIMATORS

    warnings.simplefilter("ignore")
    n, t = map(int, size.split(","))
    X = np.random.default_rng(0).standard_normal((n, t, PREDICT_WIDTHS[0]), np.float32)
    estimator = ESTIMATORS[cell](PREDICT_WIDTHS[1], max_iter=1, n_threads=1, random_state=0)
    estimator.fit(X[:64, :10], np.arange(64) % 2)
    estimator.predict(X[:3, :5])
    return lambda: estimator.predict(X), -8 * n  # labels, the output


def _peaks(call):
    """Bytes beyond what there was before the call: traced, and of the process."""
    gc.collect()
    before = _reset_peak()
    result = call()
    process = _peak() - before
    del result
    gc.collect()
    tracemalloc.start()
    call()
    _, traced = tracemalloc.get_traced_memory()
    return {"traced": traced, "process": process}


def _reset_peak():
    """Resident bytes now, from which the peak is counted anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak():
    """Peak of the resident bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


if __name__ == "__main__":
    what, cell, size = sys.argv[1:]
    call, inputs = {"training": _training_call, "predict": _predict_call}[what](cell, size)
    print(json.dumps({how: peak + inputs for how, peak in _peaks(call).items()}))
