"""`Dropout` by itself, and in the stack."""

from dataclasses import replace

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.kernels.steps import step_table
from fastrecur.network.dropout import Dropout
from fastrecur.network.packing import Packing
from fastrecur.network.workspace import Workspace
from tests.network.stacks import (
    BATCHES,
    CELLS,
    Poisoned,
    assert_same_bits,
    each_batch,
    each_cell,
    each_dtype,
    each_size,
    make,
    make_batch,
    run,
)

BOTH = Dropout(0.4, 0.3, seed=8)

each_dropout = pytest.mark.parametrize(
    "dropout", [Dropout(0.4, seed=8), Dropout(recurrent_rate=0.3, seed=8), BOTH], ids=["between", "recurrent", "both"]
)


# --- an array by itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rate", "recurrent_rate"])
@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_rates_are_shares(name, rate):
    with pytest.raises(ValueError, match=f"^{name} must be from 0 to below 1, found "):
        Dropout(**{name: rate})


def test_an_array_is_dropped_in_place_and_its_gradient_by_the_same_mask():
    rng = np.random.default_rng(0)
    values, gradient = rng.normal(size=(2, 19, 33))
    before, dbefore = values.copy(), gradient.copy()
    assert BOTH.apply(values, 2) is values
    BOTH.apply(gradient, 2)
    kept = values != 0.0
    assert 0.5 < kept.mean() < 0.7
    for after, given in ((values, before), (gradient, dbefore)):
        np.testing.assert_array_equal(after, np.where(kept, given * (1 / 0.6), 0.0))


def test_masks_of_an_array_depend_on_seed_and_stream_alone():
    ones, expected = np.ones((19, 33)), BOTH.apply(np.ones((19, 33)), 2)
    same = [Dropout(0.4, 0.0, seed=8).apply(ones.copy(), 2), BOTH.apply(np.ones((40, 33)), 2)[:19]]
    same.append(BOTH.apply(np.ones((19, 33), np.float32), 2).astype(bool) / 0.6)
    for mask in same:
        np.testing.assert_array_equal(mask, expected)
    for other, stream in ((BOTH, 3), (replace(BOTH, seed=9), 2), (replace(BOTH, step_offset=1), 2)):
        assert np.mean(other.apply(ones.copy(), stream) != expected) > 0.3


def test_an_array_may_go_to_another():
    values = np.random.default_rng(0).normal(size=(5, 9))
    before, out = values.copy(), np.full((5, 9), np.nan)
    assert BOTH.apply(values, 0, out=out) is out
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(out, BOTH.apply(values, 0))


def test_packed_steps_with_padding_in_chunks_of_time():
    steps = step_table([3, 2])
    packed = np.random.default_rng(0).normal(size=(5, 2, 16))
    padding = packed[:, :, 7:].copy()
    unpadded = BOTH.apply(packed[:, :, :7].copy(), 1, steps=steps)
    later = replace(BOTH, step_offset=2).apply(packed[4:].copy(), 1, 7, step_table([1]))
    BOTH.apply(packed, 1, 7, steps)
    np.testing.assert_array_equal(packed[:, :, 7:], padding)
    np.testing.assert_array_equal(packed[:, :, :7], unpadded)
    np.testing.assert_array_equal(packed[4:], later)


def test_nothing_is_dropped_of_an_array_at_rate_0():
    values, out = np.random.default_rng(0).normal(size=(5, 9)), np.full((5, 9), np.nan)
    before, none = values.copy(), Dropout(recurrent_rate=0.5)
    assert none.apply(values, 0) is values
    assert none.apply(values, 0, out=out) is out
    for array in (values, out):
        np.testing.assert_array_equal(array, before)


# --- the stack -------------------------------------------------------------------------------------------------------


@each_batch
@each_cell
def test_rates_of_0_are_no_dropout(cell, lengths):
    stack = make(cell, 3, 7)
    batch = make_batch(stack, lengths)
    expected = run(stack, batch, Workspace(stack.dtype))
    assert_same_bits(run(stack, batch, Poisoned(stack.dtype), dropout=Dropout(seed=3)), expected)


@each_dtype
@each_size
@each_dropout
@each_cell
def test_what_buffers_held_before_is_of_no_account(cell, dropout, n_features, n_hidden, dtype):
    stack = make(cell, n_features, n_hidden, dtype)
    batch = make_batch(stack, BATCHES["ragged"])
    expected, poisoned = run(stack, batch, Workspace(stack.dtype), dropout=dropout), Poisoned(stack.dtype)
    assert_same_bits(run(stack, batch, poisoned, dropout=dropout), expected)
    poisoned.poison()
    assert_same_bits(run(stack, batch, poisoned, dropout=dropout), expected)


@each_cell
def test_a_workspace_serves_passes_with_and_without_dropout(cell):
    stack = make(cell, 3, 7)
    workspace = Poisoned(stack.dtype)
    for seed, lengths in enumerate(([2, 1], [9, 30, 4, 9, 9, 17], [2, 1])):
        batch = make_batch(stack, lengths, seed)
        for dropout in (BOTH, None, Dropout(0.2), Dropout(0.2, 0.2, seed=9), BOTH):
            expected = run(stack, batch, Workspace(stack.dtype), dropout=dropout)
            assert_same_bits(run(stack, batch, workspace, dropout=dropout), expected)


@each_dropout
@each_batch
@each_cell
def test_one_thread_equals_many(cell, lengths, dropout, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    stack = make(cell, 3, 7)
    batch = make_batch(stack, lengths)
    expected = run(stack, batch, Workspace(stack.dtype), dropout=dropout)
    assert_same_bits(run(stack, batch, Poisoned(stack.dtype), 2, dropout), expected)


@each_dtype
@each_cell
def test_chunks_of_time_with_the_state_carried_equal_one_pass(cell, dtype):
    """Sequences of falling length, so that rows leave at the end of the batch only."""
    stack, lengths = make(cell, 3, 7, dtype, n_directions=1), np.array([11, 9, 9, 4, 1])
    _, x, state, *_ = make_batch(stack, lengths)
    workspace, n_rows = Poisoned(stack.dtype), len(lengths)
    expected = stack.forward(x, Packing(lengths), workspace, initial=state, dropout=BOTH).states[-1][n_rows:].copy()
    outputs, row = [], 0
    for t, n_steps in ((0, 3), (3, 1), (4, 7)):
        n_alive = np.count_nonzero(lengths > t)
        packing = Packing(np.minimum(lengths[:n_alive] - t, n_steps))
        end, initial = row + packing.n_packed, tuple(part[:, :n_alive] for part in state)
        dropout = replace(BOTH, step_offset=t)
        trace = stack.forward(x[row:end], packing, workspace, initial=initial, dropout=dropout)
        outputs.append(trace.states[-1][n_alive:].copy())
        state, row = stack.final_states(trace), end
    assert row == len(x)
    np.testing.assert_array_equal(np.concatenate(outputs)[:, :, :7], expected[:, :, :7])


def test_float32_and_float64_drop_the_same():
    results = []
    for dtype in ("float32", "float64"):
        stack = make("gru", 3, 7, dtype)
        results.append(run(stack, make_batch(stack, BATCHES["ragged"]), Workspace(stack.dtype), dropout=BOTH))
    for name, array in results[1].items():
        np.testing.assert_allclose(results[0][name], array, rtol=1e-3, atol=1e-4, err_msg=name)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_cell(torch, stack):
    kind = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[stack.cell]
    options = {"nonlinearity": "relu" if stack.relu else "tanh"} if stack.cell == "rnn" else {}
    return kind(1, stack.hidden_size, dtype=torch.float64, **options)


def torch_weights(direction, leaves):
    """Weights of a direction under the names of PyTorch's cells, which have two biases each."""
    w_ih, w_hh, *biases = (leaves[name] for name in direction.names)
    biases = biases if len(biases) == 2 else [biases[0], 0.0 * biases[0]]
    return dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (w_ih, w_hh, *biases), strict=True))


def torch_direction(torch, stack, weights, x, state, reverse):
    """h of all steps (T, H) and the final state of one direction over one sequence."""
    cell, steps = torch_cell(torch, stack), []
    for x_t in x.flip(0) if reverse else x:
        new = torch.func.functional_call(cell, weights, (x_t, state if len(state) == 2 else state[0]))
        state = new if isinstance(new, tuple) else (new,)
        steps.append(state[0])
    h = torch.stack(steps)
    return h.flip(0) if reverse else h, state


def torch_sequence(torch, stack, leaves, x, initial, mask, between):
    """Outputs (T, D * H) of one sequence, and its final states by layer and direction.

    A mask on h in the product alone is one on the columns of W_hh: the GRU's cell reads h elsewhere too.
    """
    final = []
    for k, layer in enumerate(stack.layers):
        x, outputs = x if k == 0 else x * between, []
        for direction in layer:
            key, weights = direction.index, torch_weights(direction, leaves)
            weights["weight_hh"] = weights["weight_hh"] * mask[key]
            state = tuple(part[key] for part in initial)
            h, state = torch_direction(torch, stack, weights, x, state, bool(direction.direction))
            outputs.append(h)
            final.append(state)
        x = torch.cat(outputs, dim=1)
    return x, final


def masks_of(stack, packing, dropout):
    """Recurrent masks (L * D, B, H), and those between the two layers (N, D * H)."""
    n_hidden, n_rows = stack.hidden_size, packing.n_rows
    recurrent = np.empty((len(stack.directions), n_rows, n_hidden))
    dropout.recurrent_masks(n_hidden, recurrent)
    between = np.ones((packing.n_packed, stack.n_directions, n_hidden))
    if dropout.rate:
        dropout.between_layers(between, 1, n_hidden, packing.steps(0), between, np.array([0, n_rows]))
    return recurrent, between.reshape(packing.n_packed, -1)


def torch_run(torch, stack, batch, dropout):
    """What `run` gives, by PyTorch, one sequence after another."""
    packing, x, initial, dy, dstate = batch
    recurrent, between = (torch.tensor(mask) for mask in masks_of(stack, packing, dropout))
    down = torch.tensor(dy[:, :, : stack.hidden_size].reshape(packing.n_packed, -1))
    leaves = {name: torch.tensor(w, requires_grad=True) for name, w in stack.parameters.arrays.items()}
    leaves["dx"] = torch.tensor(x[:, 0], requires_grad=True)
    parts = [torch.tensor(part[:, packing.order], requires_grad=True) for part in initial]
    y, value, final = np.empty(down.shape), 0.0, [np.empty(part.shape) for part in initial]
    for row, b in enumerate(packing.order):
        steps = packing.steps(0)[: packing.lengths[row], 0] + row
        state = [part[:, row] for part in parts]
        h, states = torch_sequence(torch, stack, leaves, leaves["dx"][steps], state, recurrent[:, row], between[steps])
        y[steps], value = h.detach().numpy(), value + (down[steps] * h).sum()
        for key, state in enumerate(states):
            for part, out, gradient in zip(state, final, dstate, strict=True):
                out[key, b] = part.detach().numpy()
                value = value + (torch.tensor(gradient[key, b]) * part).sum()
    value.backward()
    results = {"y": y.reshape(len(y), stack.n_directions, -1), "last": np.hstack(final[0][-stack.n_directions :])}
    results |= {f"final {i}": part for i, part in enumerate(final)}
    results |= {f"dinitial {i}": part.grad.numpy() for i, part in enumerate(parts)}
    results |= {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    return results | {"dx": results["dx"][:, np.newaxis]}


@pytest.mark.torch
@each_dropout
@pytest.mark.parametrize("n_directions", [1, 2])
@pytest.mark.parametrize("lengths", [BATCHES["equal"], BATCHES["ragged"], BATCHES["one row"]], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_stack_equals_pytorch_with_the_same_masks(cell, lengths, n_directions, dropout, torch):
    stack = make(cell, 3, 7, n_directions=n_directions)
    batch = make_batch(stack, lengths)
    actual = run(stack, batch, Poisoned(stack.dtype), dropout=dropout)
    expected = torch_run(torch, stack, batch, dropout)
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-9, err_msg=name)
