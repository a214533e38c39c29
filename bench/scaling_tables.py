"""One step of a stream, and what ragged, long and large batches cost for each of their time steps."""

import functools
import statistics
import warnings

import numba
import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from bench import grid, timing
from bench.estimator_tables import check_epochs, epoch_of, estimator_of
from bench.networks import Data
from bench.pair import Pair
from bench.report import Figure, Table, checked, guarded
from fastrecur import layers
from fastrecur.kernels.cpu import elman, gru, lstm

# --- one step --------------------------------------------------------------------------------------------------------

STEP_FEATURES, STEP_HIDDEN, STEPS = 16, 64, 1000


@numba.njit
def _rnn_steps(w, bias, x, features, h, scratch):
    for _ in range(STEPS):
        elman.rnn_step(w, bias, x, features, h, scratch, False)


@numba.njit
def _gru_steps(w, bias, x, features, h, scratch):
    for _ in range(STEPS):
        gru.gru_step(w, bias, x, features, h, scratch)


@numba.njit
def _lstm_steps(w, bias, x, features, h, c, scratch):
    for _ in range(STEPS):
        lstm.lstm_step(w, bias, x, features, h, c, scratch)


def step(options):
    """One step of one sequence: the kernel called by compiled code, and ``layer.step`` from Python."""
    notes = [
        f"A step of one sequence, F {STEP_FEATURES}, H {STEP_HIDDEN}, on one thread: the kernel in a compiled loop,"
    ]
    notes += ["`step` of the layer from Python, PyTorch's cell under inference_mode."]
    groups = {"kernel": grid.STEP_KERNEL, "from Python": grid.STEP_PYTHON, "PyTorch": grid.Requirement(at_most=True)}
    table = Table("One streaming step", notes, ("cell",), groups, form="{:.2f} us")
    for cell in options.cells:
        for group, figure in _step(cell, options).items():
            table.add((cell,), group, figure)
    return table


def _step(cell, options):
    layer = getattr(layers, cell)(STEP_FEATURES, STEP_HIDDEN, n_threads=1, random_state=0)
    torch.set_num_threads(1)
    theirs = getattr(torch.nn, f"{cell}Cell")(STEP_FEATURES, STEP_HIDDEN)
    _copy_weights(layer, theirs)
    x = np.random.default_rng(0).normal(size=(1, STEP_FEATURES)).astype(np.float32)
    y, state = layer.step(x)
    y, state = layer.step(x, state)
    their_x = torch.from_numpy(x)

    @torch.inference_mode()
    def their_step(state=None):
        return theirs(their_x, state)

    their_state = their_step(their_step())
    kernel, h = _kernel(cell, layer, x)

    def check():
        their_y = their_state[0] if cell == "LSTM" else their_state
        checked("a step's output and PyTorch's", np.abs(y - their_y.numpy()).max(), 1e-6)
        kernel()
        end = layer.forward(np.repeat(x[:, None], STEPS, axis=1))[0][:, -1]
        checked("the kernel's state and the layer's", np.abs(h[0, :, :STEP_HIDDEN] - end).max(), 0.0)

    sides = {"from Python": lambda: layer.step(x, state), "PyTorch": lambda: their_step(their_state)}

    def measured():
        check()
        seconds = timing.in_turn(timing.blocks(sides) | timing.blocks({"kernel": kernel}), options.rounds)
        seconds["kernel"] = [s / STEPS for s in seconds["kernel"]]
        return {
            name: Figure(statistics.median(rounds) * 1e6, noisy=timing.is_noisy(rounds))
            for name, rounds in seconds.items()
        }

    figures = guarded(measured)
    return figures if isinstance(figures, dict) else {"kernel": figures}


def _copy_weights(layer, theirs):
    weights = layer.parameters
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            name = f"{name}_l0"
            if name in weights:
                parameter.copy_(torch.from_numpy(weights[name]))
            elif "bias_ih" in name:
                parameter.copy_(torch.from_numpy(weights["bias_l0"]))
            else:
                parameter.zero_()


def _kernel(cell, layer, x):
    """Function of `STEPS` steps in compiled code, and the state that it goes on from."""
    stack = layer._stack
    (direction,) = stack.directions
    h, c = np.zeros((2, 1, stack.padded), np.float32), np.zeros((1, stack.padded), np.float32)
    scratch = np.empty((1, 1, direction.scratch), np.float32)
    function = {"RNN": _rnn_steps, "GRU": _gru_steps, "LSTM": _lstm_steps}[cell]
    states = (h, c) if cell == "LSTM" else (h,)
    arguments = direction.w, direction.bias, x[:, None], STEP_FEATURES, *states, scratch
    return lambda: function(*arguments), h


# --- cost of a time step ---------------------------------------------------------------------------------------------

LINEAR_FEATURES, LINEAR_HIDDEN = 8, 64

#: Rows of a batch whose steps grow, and steps of a batch whose rows grow; the first of each is compared with the rest.
T_ROWS, T_STEPS = 8, (100, 1000, 10_000)
B_STEPS, B_ROWS = 50, (32, 320, 3200)

ESTIMATOR_ROWS = 1024


def linear(options):
    """Seconds of a time step of a row: ragged over equal lengths, long over short, many rows over few."""
    notes = ["Seconds of a time step of a row over those of the base, on the same threads: R2 over equal lengths"]
    notes += [f"with as many steps; F {LINEAR_FEATURES}, H {LINEAR_HIDDEN}; {T_ROWS} rows of T steps; B rows of"]
    notes += [f"{B_STEPS} steps. The issue asks for 1.25x of ragged batches, and for cost linear in T and B."]
    notes += [f"Layers return padded arrays. Of estimators, {ESTIMATOR_ROWS:,} rows: predict, and an epoch of fit: a"]
    notes += ["longer fit minus one of one epoch, as the pages of new buffers are not an epoch's."]
    groups = {f"{cell} {what}": grid.RAGGED for cell in options.cells for what in ("forward", "training")}
    table = Table("Cost of ragged, long and large batches", notes, ("batch", "threads"), groups)
    for name, base, shape, cost in _comparisons():
        for threads in options.threads:
            for cell in options.cells:
                for what in ("forward", "training"):
                    figure = guarded(cost, cell, base, shape, threads, what, options)
                    table.add((name, threads), f"{cell} {what}", figure)
    return table


def _comparisons():
    ragged = grid.GRID["R2"]
    equal = grid.Shape("equal", ragged.rows, round(ragged.lengths().mean()), ragged.features, ragged.hidden)
    yield "R2", equal, ragged, _cost
    yield "R2, estimators", equal, ragged, _cost_of_estimators
    sizes = LINEAR_FEATURES, LINEAR_HIDDEN
    base, *longer = (grid.Shape(f"T {t:,}", T_ROWS, t, *sizes) for t in T_STEPS)
    for shape in longer:
        yield f"{base.name} to {shape.name}", base, shape, _cost
    base, *larger = (grid.Shape(f"B {b:,}", b, B_STEPS, *sizes) for b in B_ROWS)
    for shape in larger:
        yield f"{base.name} to {shape.name}", base, shape, _cost


def _cost_of_estimators(cell, base, shape, threads, what, options):
    warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs
    measures, n_steps, error = {}, {}, 0.0
    for name, one in (("base", base), ("shape", shape)):
        data = Data(one, ESTIMATOR_ROWS)
        estimator = estimator_of(cell, one, threads, max_iter=1).fit(data.X, data.y)
        alone = np.concatenate([estimator.predict_proba(data.X[i : i + 1]) for i in range(8)])
        error = max(error, checked("sequences alone", np.abs(estimator.predict_proba(data.X)[:8] - alone).max(), 0.0))
        if what == "forward":
            measures |= timing.blocks({name: functools.partial(estimator.predict, data.X)})
        else:
            measures[name] = epoch_of(cell, one, threads, data)
        n_steps[name] = sum(map(len, data.X))
    return _over(measures, n_steps, error, threads, options)


def _cost(cell, base, shape, threads, what, options):
    pairs = {"base": Pair(cell, base, threads), "shape": Pair(cell, shape, threads)}
    checks = [pair.check_forward if what == "forward" else pair.check_training_step for pair in pairs.values()]
    error = max(check() for check in checks)
    measures = {}
    for name, pair in pairs.items():
        measures |= timing.blocks({name: pair.forward if what == "forward" else pair.training_step})
    return _over(measures, {name: pair.shape.n_steps for name, pair in pairs.items()}, error, threads, options)


def _over(measures, n_steps, error, threads, options):
    """Seconds of a time step of "shape" over those of "base"."""
    seconds = timing.in_turn(measures, options.rounds, threads)
    for rounds in seconds.values():
        check_epochs(rounds)
    a_step = {name: statistics.median(s) / n_steps[name] for name, s in seconds.items()}
    return Figure(a_step["shape"] / a_step["base"], noisy=timing.is_noisy(*seconds.values()), error=error)
