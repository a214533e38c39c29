"""Gradients of what the head may read, of tokens, of batches cut in time, of all sequences: central differences."""

import numpy as np
import pytest

from fastrecur.network import gradient as module
from fastrecur.network.dropout import Dropout
from fastrecur.network.gradient import Gradient, Targets
from fastrecur.network.model import Model, make_batch, step_rows
from fastrecur.network.workspace import Workspace
from fastrecur.sequences import check_sequences
from fastrecur.tokens import as_tokens
from tests.helpers import central_differences

CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max", None)
F, H, K, V = 2, 3, 2, 6
LENGTHS = (4, 1, 7, 2, 7, 3, 5)
ROWS = np.array([5, 0, 4, 1, 2])

each_cell = pytest.mark.parametrize("cell", CELLS)
each_pooling = pytest.mark.parametrize("pooling", POOLINGS)


def make(cell, pooling, n_tokens=0, n_directions=1, num_layers=2):
    model = Model(cell, F, H, K, num_layers, n_directions, False, "float64", pooling, n_tokens)
    rng = np.random.default_rng(0)
    model.load({name: 0.6 * rng.normal(size=array.shape) for name, array in model.parameters.arrays.items()})
    return model


def make_sequences(n_tokens):
    rng = np.random.default_rng(1)
    if n_tokens:
        X = [rng.integers(n_tokens - 1, size=length) for length in LENGTHS]  # the last token is never used
        return as_tokens(check_sequences(X), X)
    return check_sequences([rng.normal(size=(length, F)) for length in LENGTHS])


def make_targets(model):
    rng = np.random.default_rng(2)
    n = len(LENGTHS) if model.pooling else sum(LENGTHS)
    return Targets("squared_error", rng.normal(size=(n, K)), rng.uniform(0.2, 2.0, size=n))


def naive_loss(model, sequences, targets, rows=ROWS):
    """Mean of the weighted losses of the targets of some sequences, from the outputs."""
    outputs = model.outputs(sequences.take(rows), 1)
    if model.pooling is None:
        starts, lengths = sequences.starts[rows], sequences.lengths[rows]
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
    losses = 0.5 * ((outputs - targets.values[rows]) ** 2).mean(axis=1)
    return (targets.weights[rows] * losses).mean()


def by_name(grads, tokens=None):
    """Gradients of all parameters: of the table, too, row by row, though those of ``tokens`` alone are in ``grads``."""
    found = {name: array.copy() for name, array in grads.arrays.items()}
    if tokens is not None:
        found["embedding"][:] = 0.0
        found["embedding"][tokens] = grads.arrays["embedding"][: len(tokens)]
    return found


def assert_is_slope(grads, model, evaluate, tokens=None):
    found = by_name(grads, tokens)

    def refreshed():
        model.refresh()
        return evaluate()

    for name, array in model.parameters.arrays.items():
        np.testing.assert_allclose(
            found[name], central_differences(array, refreshed), rtol=1e-6, atol=1e-9, err_msg=name
        )


@pytest.mark.parametrize("n_tokens", [0, V])
@pytest.mark.parametrize("n_directions", [1, 2])
@each_pooling
@each_cell
def test_gradient_is_that_of_central_differences(cell, pooling, n_directions, n_tokens):
    model, sequences = make(cell, pooling, n_tokens, n_directions), make_sequences(n_tokens)
    targets = make_targets(model)
    gradient = Gradient(model, targets, 1)
    (step,) = gradient.steps(sequences, ROWS)
    assert step.loss == pytest.approx(naive_loss(model, sequences, targets), rel=1e-13)
    assert step.size == (len(ROWS) if pooling else sequences.lengths[ROWS].sum())
    assert_is_slope(gradient.grads, model, lambda: naive_loss(model, sequences, targets), step.tokens)


@each_cell
def test_only_the_rows_of_used_tokens_are_written(cell):
    model, sequences = make(cell, "last", V), make_sequences(V)
    gradient = Gradient(model, make_targets(model), 1)
    gradient.grads.flat[:] = np.nan
    (step,) = gradient.steps(sequences, ROWS)
    used = np.unique(np.concatenate([sequences.values[s : s + n, 0] for s, n in
                                     zip(sequences.starts[ROWS], sequences.lengths[ROWS], strict=True)]))  # fmt: skip
    assert sorted(step.tokens) == list(used)
    written = np.isfinite(gradient.grads.arrays["embedding"]).all(axis=1)
    np.testing.assert_array_equal(written, np.arange(V) < len(used))


@pytest.mark.parametrize("n_steps", [None, 3])
@each_pooling
def test_the_gradient_of_tokens_does_not_depend_on_what_was_before(pooling, n_steps):
    model, sequences = make("gru", pooling, V), make_sequences(V)
    used, fresh = Gradient(model, make_targets(model), 1), Gradient(model, make_targets(model), 1)
    list(used.steps(sequences, ROWS[:2], n_steps))
    used.full(sequences, ROWS)
    for step, other in zip(used.steps(sequences, ROWS, n_steps), fresh.steps(sequences, ROWS, n_steps), strict=True):
        assert step.loss == other.loss
        found, expected = by_name(used.grads, step.tokens), by_name(fresh.grads, other.tokens)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


# --- cut in time -----------------------------------------------------------------------------------------------------


def pieces_with_states(model, sequences, n_steps):
    """Each piece of the batch, with the states that it begins from."""
    batch, state = make_batch(sequences, ROWS), None
    for begin, piece, trace in model.walk(batch, n_steps, Workspace(model.dtype), 1):
        given = state and tuple(part[:, : len(piece.rows)].copy() for part in state)
        yield begin, piece, given
        state = model.stack.final_states(trace)


@each_cell
def test_each_piece_has_the_gradient_of_its_own_targets_from_fixed_states(cell):
    model, sequences = make(cell, None), make_sequences(0)
    targets = make_targets(model)
    pieces = list(pieces_with_states(model, sequences, 3))
    gradient = Gradient(model, targets, 1)
    steps = gradient.steps(sequences, ROWS, n_steps=3)
    assert len(pieces) == 3
    for (_, piece, state), step in zip(pieces, steps, strict=True):
        grads = gradient.grads

        def evaluate(piece=piece, state=state):
            trace = model.run(piece, Workspace(model.dtype), 1, initial=state)
            rows = step_rows(piece, trace.packing)
            outputs = np.empty((len(rows), K))
            model.head.outputs(trace.states[-1][trace.packing.n_rows :], outputs)
            losses = 0.5 * ((outputs - targets.values[rows]) ** 2).mean(axis=1)
            return (targets.weights[rows] * losses).mean()

        assert step.loss == pytest.approx(evaluate(), rel=1e-12)
        assert_is_slope(grads, model, evaluate)
        model.refresh()


@pytest.mark.parametrize("pooling", ["mean", "max"])
@each_cell
def test_pooled_states_send_their_gradient_no_further_than_a_piece(cell, pooling):
    model, sequences = make(cell, pooling), make_sequences(0)
    targets = make_targets(model)
    pieces = list(pieces_with_states(model, sequences, 3))
    gradient = Gradient(model, targets, 1)
    (step,) = gradient.steps(sequences, ROWS, n_steps=3)
    assert step.loss == pytest.approx(naive_loss(model, sequences, targets), rel=1e-13)

    def evaluate():
        batch = make_batch(sequences, ROWS)
        pool = model.pool(batch, in_pieces=True)
        for begin, piece, state in pieces:
            trace = model.run(piece, Workspace(model.dtype), 1, initial=state)
            pool.add(trace, begin)
        outputs = np.empty((len(ROWS), K))
        model.head.outputs(pool.pooled(batch.lengths), outputs)
        losses = 0.5 * ((outputs - targets.values[batch.rows]) ** 2).mean(axis=1)
        return (targets.weights[batch.rows] * losses).mean()

    assert_is_slope(gradient.grads, model, evaluate)


@each_cell
def test_of_a_last_state_the_last_steps_receive_the_gradient(cell):
    """As if each sequence began at its last steps, from states that do not change."""
    model, sequences = make(cell, "last"), make_sequences(0)
    targets = make_targets(model)
    gradient = Gradient(model, targets, 1)
    (step,) = gradient.steps(sequences, ROWS, n_steps=3)
    assert step.loss == pytest.approx(naive_loss(model, sequences, targets), rel=1e-13)
    tails, states = [], []
    for row in ROWS:
        start, length = int(sequences.starts[row]), int(sequences.lengths[row])
        before, state = max(0, length - 3), None
        if before:
            x = sequences.values[start : start + before]
            for t in range(before):
                state = model.step(x[t : t + 1], state)
        tails.append(sequences.values[start + before : start + length])
        states.append(state)

    def evaluate():
        total = 0.0
        for row, tail, state in zip(ROWS, tails, states, strict=True):
            for t in range(len(tail)):
                state = model.step(tail[t : t + 1], state)
            outputs = np.empty((1, K))
            model.head.outputs(state[0][-1], outputs)
            total += targets.weights[row] * 0.5 * ((outputs[0] - targets.values[row]) ** 2).mean()
        return total / len(ROWS)

    assert_is_slope(gradient.grads, model, evaluate)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_pieces_of_time_drop_the_same_numbers_twice(pooling):
    """Without recurrent weights no gradient is cut, and that of the pieces is the slope of their own loss."""
    model, sequences = make("rnn", pooling), make_sequences(0)
    for name, array in model.parameters.arrays.items():
        if "_hh" in name:
            array[...] = 0.0
    model.refresh()
    gradient = Gradient(model, make_targets(model), 1)
    arguments = sequences, ROWS, 3, Dropout(0.4, 0.3, seed=5)
    (step,) = gradient.steps(*arguments)
    grads = by_name(gradient.grads)

    def evaluate():
        model.refresh()
        (step,) = gradient.steps(*arguments)
        return step.loss

    assert evaluate() == step.loss
    for name, array in model.parameters.arrays.items():
        if "_hh" not in name:
            np.testing.assert_allclose(
                grads[name], central_differences(array, evaluate), rtol=1e-6, atol=1e-9, err_msg=name
            )


@each_pooling
@each_cell
def test_a_cut_beyond_the_longest_sequence_changes_nothing(cell, pooling):
    model, sequences = make(cell, pooling), make_sequences(0)
    whole, cut = Gradient(model, make_targets(model), 1), Gradient(model, make_targets(model), 1)
    (step,), (other,) = whole.steps(sequences, ROWS), cut.steps(sequences, ROWS, n_steps=7)
    assert step.loss == other.loss
    np.testing.assert_array_equal(whole.grads.flat, cut.grads.flat)


# --- all sequences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_tokens", [0, V])
@each_pooling
@each_cell
def test_the_gradient_of_all_is_that_of_one_large_batch(cell, pooling, n_tokens, monkeypatch):
    model, sequences = make(cell, pooling, n_tokens), make_sequences(n_tokens)
    whole, parts = Gradient(model, make_targets(model), 1), Gradient(model, make_targets(model), 1)
    (step,) = whole.steps(sequences, ROWS)
    monkeypatch.setattr(module, "FULL_STEPS", 8)
    assert parts.full(sequences, ROWS) == pytest.approx(step.loss, rel=1e-13)
    for name, expected in by_name(whole.grads, step.tokens).items():
        np.testing.assert_allclose(parts.grads.arrays[name], expected, rtol=1e-11, atol=1e-14, err_msg=name)
