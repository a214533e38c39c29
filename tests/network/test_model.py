"""The network with its head: outputs by the equations, gradients by central differences, whatever the batch.

Letters: n sequences, B sequences of a batch, D directions, H hidden units, K outputs.
"""

import numpy as np
import pytest

from fastrecur.kernels import reference, threads
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network import model as module
from fastrecur.network.dropout import Dropout
from fastrecur.network.gradient import Gradient, Targets
from fastrecur.network.head import LOSSES
from fastrecur.network.model import Model
from fastrecur.sequences import check_sequences
from tests.helpers import central_differences

CELLS = {"rnn_tanh": ("rnn", False), "rnn_relu": ("rnn", True), "lstm": ("lstm", False), "gru": ("gru", False)}
DEPTHS = {"plain": (1, 1), "two layers": (2, 1), "bidirectional": (1, 2), "deep": (2, 2)}
F, H, K = 3, 4, 3
LENGTHS = (4, 1, 6, 2, 6, 3, 5)
ROWS = np.array([5, 0, 4, 1, 2])  # a batch: some of the sequences, in no order, two of one length among them

each_cell = pytest.mark.parametrize("cell", CELLS)
each_depth = pytest.mark.parametrize("depth", DEPTHS)
each_loss = pytest.mark.parametrize("loss", LOSSES)


def make(cell, depth="deep", dtype="float64", seed=0):
    """A model whose parameters are all normal: no bias is zero."""
    name, relu = CELLS[cell]
    num_layers, n_directions = DEPTHS[depth]
    model = Model(name, F, H, K, num_layers, n_directions, relu, dtype)
    rng = np.random.default_rng(seed)
    model.load({name: 0.5 * rng.normal(size=array.shape) for name, array in model.parameters.arrays.items()})
    return model


def make_sequences(lengths=LENGTHS):
    rng = np.random.default_rng(1)
    return check_sequences([rng.normal(size=(length, F)) for length in lengths])


def make_targets(loss):
    """Targets, and weights of which one is zero."""
    rng, n = np.random.default_rng(2), len(LENGTHS)
    weights = rng.uniform(0.2, 3.0, size=n)
    weights[ROWS[1]] = 0.0
    if loss == "pinball":
        return QuantileTargets(rng.normal(size=(n, 1)), np.linspace(0.2, 0.7, K)), weights
    return (rng.integers(K, size=n) if loss == "cross_entropy" else rng.normal(size=(n, K))), weights


def gradient(model, loss, targets, weights, rows=ROWS, n_threads=1):
    """Loss of a batch, and its gradient; what was in the gradient before is of no account."""
    found = Gradient(model, Targets(loss, targets, weights), n_threads)
    found.grads.flat[:] = np.nan
    (step,) = found.steps(make_sequences(), rows)
    assert step.size == len(rows)
    return step.loss, found.grads


# --- the equations ---------------------------------------------------------------------------------------------------


def naive_states(cell, arrays, end, x):
    """States (T, H) of one direction of one layer, step by step, by the equations of the reference."""
    name, relu = CELLS[cell]
    biases = ("bias_ih", "bias_hh") if name == "gru" else ("bias",)
    weights = [arrays[part + end] for part in ("weight_ih", "weight_hh", *biases)]
    h, c, states = np.zeros((1, H)), np.zeros((1, H)), []
    for x_t in x[:, np.newaxis]:
        if name == "lstm":
            reference.lstm_step(*weights, x_t, h, c)
        elif name == "gru":
            reference.gru_step(*weights, x_t, h)
        else:
            reference.rnn_step(*weights, x_t, h, relu=relu)
        states.append(h[0].copy())
    return np.array(states)


def naive_outputs(cell, depth, arrays, x):
    """Outputs (K,) of one sequence (T, F)."""
    num_layers, n_directions = DEPTHS[depth]
    for layer in range(num_layers):
        directions = [naive_states(cell, arrays, f"_l{layer}", x)]
        if n_directions == 2:
            directions.append(naive_states(cell, arrays, f"_l{layer}_reverse", x[::-1])[::-1])
        x = np.concatenate(directions, axis=1)
    last = np.concatenate([directions[0][-1], *(states[0] for states in directions[1:])])
    return arrays["head_weight"] @ last + arrays["head_bias"]


def naive_loss(loss, outputs, targets, weights, rows=ROWS):
    """Mean over the batch of the weighted losses of its sequences."""
    if loss == "cross_entropy":
        losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(outputs)), targets[rows]]
    elif loss == "pinball":
        error = targets.values[rows] - outputs
        losses = np.maximum(targets.levels * error, (targets.levels - 1) * error).mean(axis=1)
    else:
        losses = 0.5 * ((outputs - targets[rows]) ** 2).mean(axis=1)
    return (weights[rows] * losses).mean()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@each_depth
@each_cell
def test_outputs_are_those_of_the_equations(cell, depth, dtype, tolerance):
    model, sequences = make(cell, depth, dtype), make_sequences()
    outputs = model.outputs(sequences, 1)
    assert outputs.dtype == dtype
    arrays = {name: array.astype(np.float64) for name, array in model.parameters.arrays.items()}
    split = sequences.unstack(sequences.values.astype(dtype).astype(np.float64))
    expected = np.array([naive_outputs(cell, depth, arrays, x) for x in split])
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@each_loss
@each_depth
@each_cell
def test_gradient_is_that_of_central_differences(cell, depth, loss):
    model, sequences = make(cell, depth), make_sequences()
    targets, weights = make_targets(loss)
    value, grads = gradient(model, loss, targets, weights)

    def evaluate():
        model.refresh()
        return naive_loss(loss, model.outputs(sequences.take(ROWS), 1), targets, weights)

    assert value == pytest.approx(evaluate(), rel=1e-13)
    for name, array in model.parameters.arrays.items():
        expected = central_differences(array, evaluate)
        assert expected.any(), name
        np.testing.assert_allclose(grads.arrays[name], expected, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)])
@each_cell
def test_cross_entropy_of_large_outputs_is_finite(cell, dtype, tolerance):
    """exp(z) of outputs around 10,000 is beyond float64, of either sign."""
    model, (targets, weights) = make(cell, dtype=dtype), make_targets("cross_entropy")
    model.parameters.arrays["head_weight"] *= 1000.0
    for offset in (-1e4, 1e4):
        model.parameters.arrays["head_bias"][:] = offset
        outputs = model.outputs(make_sequences().take(ROWS), 1).astype(np.float64)
        outputs -= outputs.max(axis=1, keepdims=True)  # changes no loss
        value, grads = gradient(model, "cross_entropy", targets, weights)
        assert value == pytest.approx(naive_loss("cross_entropy", outputs, targets, weights), rel=tolerance)
        assert np.isfinite(grads.flat).all()


# --- weights of the sequences ----------------------------------------------------------------------------------------


@each_loss
@each_cell
def test_weights_of_the_sequences_multiply_their_losses(cell, loss):
    """The gradient of a batch is the mean of those of its sequences, each times its weight."""
    model, (targets, weights) = make(cell), make_targets(loss)
    value, grads = gradient(model, loss, targets, weights)
    alone = [gradient(model, loss, targets, np.ones_like(weights), ROWS[b : b + 1]) for b in range(len(ROWS))]
    assert value == pytest.approx(np.mean([w * one for w, (one, _) in zip(weights[ROWS], alone, strict=True)]))
    mean = np.mean([w * one.flat for w, (_, one) in zip(weights[ROWS], alone, strict=True)], axis=0)
    np.testing.assert_allclose(grads.flat, mean, rtol=1e-9, atol=1e-12)


@each_loss
@each_cell
def test_a_sequence_without_weight_leaves_no_trace(cell, loss):
    model, (targets, weights) = make(cell), make_targets(loss)
    value, grads = gradient(model, loss, targets, weights)
    kept = ROWS[weights[ROWS] > 0]
    assert len(kept) == len(ROWS) - 1
    without, without_grads = gradient(model, loss, targets, weights, kept)
    share = len(kept) / len(ROWS)
    assert value == pytest.approx(share * without, rel=1e-13)
    np.testing.assert_allclose(grads.flat, share * without_grads.flat, rtol=1e-9, atol=1e-12)


# --- whatever the batch ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_depth
@each_cell
def test_outputs_do_not_depend_on_the_batch(cell, depth, dtype, monkeypatch):
    """Alone, in another order, in small batches and in pieces of time: the same bits."""
    model, sequences = make(cell, depth, dtype), make_sequences((9, 1, 14, 5, 5, 14, 2, 8))
    whole = model.outputs(sequences, 1)
    assert len(np.unique(whole)) == whole.size
    for i in range(len(sequences)):
        np.testing.assert_array_equal(model.outputs(sequences.take([i]), 1), whole[[i]])
    order = np.random.default_rng(0).permutation(len(sequences))
    np.testing.assert_array_equal(model.outputs(sequences.take(order), 1), whole[order])
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 0)
    monkeypatch.setattr(module, "PREDICT_ROWS", 3)
    monkeypatch.setattr(module, "PREDICT_STEPS", 4)
    np.testing.assert_array_equal(model.outputs(sequences, 1), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_loss
@each_cell
def test_gradient_of_a_batch_is_the_same_in_a_used_workspace_and_on_many_threads(cell, loss, dtype, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    model, sequences = make(cell, dtype=dtype), make_sequences()
    targets, weights = make_targets(loss)
    value, expected = gradient(model, loss, targets, weights)
    used = Gradient(model, Targets(loss, targets, weights), n_threads=2)
    for rows in (np.arange(len(LENGTHS)), ROWS[:2], ROWS, ROWS):
        (step,) = used.steps(sequences, rows)
    assert step.loss == value
    np.testing.assert_array_equal(used.grads.flat, expected.flat)
    found, grads = gradient(model, loss, targets, weights, n_threads=2)
    assert found == value
    np.testing.assert_array_equal(grads.flat, expected.flat)


# --- parameters ------------------------------------------------------------------------------------------------------


@each_cell
def test_load_copies_and_counts_at_once(cell):
    sequences, model, other = make_sequences(), make(cell), make(cell, seed=1)
    expected = other.outputs(sequences, 1)
    assert not np.allclose(model.outputs(sequences, 1), expected)
    weights = {name: array.copy() for name, array in other.parameters.arrays.items()}
    model.load(dict(reversed(weights.items())))
    for array in weights.values():
        array[...] = np.nan
    np.testing.assert_array_equal(model.outputs(sequences, 1), expected)


@each_cell
def test_initialise_forgets_what_was_there(cell):
    sequences, model, other = make_sequences(), make(cell), make(cell, seed=1)
    for drawn in (model, other):
        drawn.initialise(np.random.RandomState(3))
    np.testing.assert_array_equal(model.parameters.flat, other.parameters.flat)
    np.testing.assert_array_equal(model.outputs(sequences, 1), other.outputs(sequences, 1))
    assert not np.allclose(model.outputs(sequences, 1), make(cell).outputs(sequences, 1))


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [None, Dropout(0.5, 0.0, 0), Dropout(0.5, 0.5, 0)], ids=["none", "one", "both"])
@pytest.mark.parametrize("n_hidden", [1, 20, 64])
@each_depth
@each_cell
def test_the_memory_of_a_step_is_foreseen(cell, depth, n_hidden, dropout):
    name, relu = CELLS[cell]
    num_layers, n_directions = DEPTHS[depth]
    architecture = (F, n_hidden, K, num_layers, n_directions, relu, "float32", "last", 0)
    model, X = Model(name, *architecture), np.zeros((8, 200, F))
    gradient = Gradient(model, Targets("squared_error", np.zeros((8, K)), np.ones(8)), 1)
    list(gradient.steps(check_sequences(X), np.arange(8), dropout=dropout))
    held = sum(buffer.nbytes for buffer in gradient._workspace._buffers.values())
    n_dropped = 0 if dropout is None else 1 + (dropout.recurrent_rate > 0)
    foreseen = module.training_memory(name, X.size // F, *architecture, n_dropped=n_dropped)
    assert 0.9 * held < foreseen < 2 * held
