"""The recurrence backwards that keeps all gradients of states: the bits of training's, and the reference's numbers."""

import numpy as np
import pytest

from fastrecur.kernels import reference
from fastrecur.kernels.cpu import flow
from tests.helpers import CELLS, reference_forward
from tests.kernels.cpu.test_cells import TOLERANCE, forward, make, ragged

#: B, F, H: each crosses a tile's edge somewhere.
SIZES = [(1, 1, 1), (2, 7, 17), (7, 2, 33), (17, 33, 2), (33, 17, 7), (63, 1, 33), (17, 7, 63)]


def reference_flow(p):
    """dE/dh_t and, of an LSTM, dE/dc_t of all packed rows (N, H): the reference backwards, one step at a time."""
    reference_forward(p)
    found = [np.full_like(p.dy, np.nan) for _ in range(2 if p.cell == "lstm" else 1)]
    unused = [np.zeros_like(p.x), *(np.zeros_like(weight) for weight in p.weights.values())]
    given = p.weights["w_ih"], p.weights["w_hh"], p.x
    for s in range(len(p.steps) - 1, -1, -1):
        at, rows = p.steps[s, :2]
        here, step = slice(at, at + rows), p.steps[s : s + 1]
        found[0][here] = p.dh[:rows] + p.dy[here]
        if p.cell == "lstm":
            o, c = p.gates[here, 3 * p.h.shape[1] :], p.c[len(p.lengths) :][here]
            found[1][here] = p.dc[:rows] + found[0][here] * o * (1.0 - np.tanh(c) ** 2)
            reference.lstm_backward(*given, step, p.h, p.c, p.gates, p.dy, p.dh, p.dc, *unused)
        elif p.cell == "gru":
            reference.gru_backward(*given, step, p.h, p.gates, p.dy, p.dh, *unused)
        else:
            reference.rnn_backward(*given, step, p.h, p.gates, p.dy, p.dh, *unused, p.cell == "rnn_relu")
    return found


def both_ways(problems, dtype, n_threads, keep):
    """Gates, dh and dc that the kernels leave in each direction and, with ``keep``, what they kept on the way."""
    _, stack, _, trace = forward(problems, dtype, n_threads, record=True)
    back = trace.back(stack, n_threads)
    dy = np.zeros((len(problems[0].x), len(problems), stack.padded), dtype)
    results = []
    for direction, p in zip(stack.directions, problems, strict=True):
        key, d, n = direction.index, direction.direction, stack.hidden_size
        dy[:, d, :n] = p.dy
        for buffer, given in ((back.dh, p.dh), (back.dc, p.dc)):
            if buffer is not None:
                buffer[key] = 0.0
                buffer[key, :, :n] = given
    above = stack.above(dy)
    for direction in stack.directions:
        key, d, n = direction.index, direction.direction, stack.hidden_size
        dh, gates = back.dh[key], back.gates[key]
        kept = [np.full((len(trace.states[0]), stack.padded), np.nan, dtype) for _ in range(2)]
        if not keep:
            stack._gate_gradient(direction, trace, back, above)
        else:
            common, rest = (back.hidden[key], trace.steps[d], trace.states[0], d), (trace.masks[key], kept[0])
            if stack.cell == "rnn":
                flow.rnn_flow(*common, gates, *above, dh, stack.relu, *rest, back.row_shards[key])
            elif stack.cell == "gru":
                flow.gru_flow(*common, gates, *above, dh, dh, *rest, back.row_shards[key])
            else:
                flow.lstm_flow(
                    *common, trace.cells[key], gates, *above, dh, back.dc[key], *rest, kept[1], back.row_shards[key]
                )
        left = [gates.copy(), dh.copy(), *([back.dc[key].copy()] if stack.has_cell_state else [])]
        rows = len(problems[0].lengths)
        results.append((left, [part[rows:, :n] for part in kept[: len(left) - 1]]))
    return results


@pytest.mark.parametrize(("n_rows", "n_features", "n_hidden"), SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_the_reference_and_the_bits_of_training(cell, dtype, n_rows, n_features, n_hidden):
    lengths = ragged(n_rows, 6)
    problems = make(cell, lengths, n_features, n_hidden)
    plain, kept = both_ways(problems, dtype, 1, False), both_ways(problems, dtype, 1, True)
    for (left, _), (same, found), p in zip(plain, kept, problems, strict=True):
        for one, other in zip(left, same, strict=True):
            np.testing.assert_array_equal(one, other)
        for part, expected in zip(found, reference_flow(p), strict=True):
            assert np.linalg.norm(part - expected) <= TOLERANCE[dtype][1] * np.linalg.norm(expected)


@pytest.mark.parametrize("cell", CELLS)
def test_threads_do_not_matter(cell):
    problems = make(cell, ragged(70, 9), 17, 40)
    one, two = (both_ways(problems, "float32", n_threads, True) for n_threads in (1, 2))
    for (_, alone), (_, shared) in zip(one, two, strict=True):
        for part, same in zip(alone, shared, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("n_rows", "shape", "features", "n_outputs"),
    [(1, (1, 1), 1, 1), (7, (1, 9), 7, 3), (17, (2, 8), 3, 1), (33, (2, 33), 33, 2), (63, (1, 64), 63, 7)],
)
def test_squared_error_flow_is_exact_however_near_the_target(n_rows, shape, features, n_outputs, dtype):
    rng = np.random.default_rng(0)
    inputs, dinputs = (np.full((n_rows, *shape), np.nan, dtype) for _ in range(2))
    inputs[:, :, :features] = rng.normal(size=(n_rows, shape[0], features))
    x = inputs[:, :, :features].reshape(n_rows, -1).astype(float)
    weight, bias = (rng.normal(size=size).astype(dtype) for size in ((n_outputs, x.shape[1]), n_outputs))
    rows, weights = rng.permutation(n_rows + 2)[:n_rows], rng.uniform(size=n_rows + 2)
    targets = np.full((n_rows + 2, n_outputs), np.nan)
    off = 1e-8 * rng.normal(size=(n_rows, n_outputs))  # float32 would see nothing of it
    targets[rows] = x @ weight.T.astype(float) + bias - off
    flow.squared_error_flow(inputs, features, weight, bias, rows, targets, weights, dinputs)
    expected = (weights[rows, np.newaxis] / n_outputs * off) @ weight.astype(float)
    found = dinputs[:, :, :features].reshape(n_rows, -1)
    scale = 1e-8 * weights[rows, np.newaxis] / n_outputs * np.abs(weight.astype(float)).sum(axis=0)
    assert (np.abs(found - expected) <= 2e-6 * scale).all()  # of 1e-8, float64 leaves six digits or seven
    assert (dinputs[:, :, features:] == 0).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n_hidden", [1, 3, 4, 7, 32])
def test_row_norms(dtype, n_hidden):
    values = np.full((9, 32), np.nan, dtype)
    values[2:, :n_hidden] = 1e-30 * np.random.default_rng(0).normal(size=(7, n_hidden))
    rows, out = np.array([6, 0, 1, 2, 5, 4, 3]), np.full(8, np.nan)
    flow.row_norms(values, 2, rows, n_hidden, out)
    np.testing.assert_allclose(out[rows], np.linalg.norm(values[2:, :n_hidden].astype(float), axis=1), rtol=1e-14)
    assert np.isnan(out[7])


@pytest.mark.parametrize("n_hidden", [1, 8, 16, 17, 33])
def test_scatter_gate(n_hidden):
    lanes = forward(make("lstm", (1,), 1, 1), "float32")[1]._nothing.shape[2] // 2
    n_panels = -(-n_hidden // lanes)
    gates = np.arange(n_panels * 5 * 4 * lanes, dtype=np.float32).reshape(n_panels, 5, 4 * lanes)
    rows, out = np.array([3, 1, 0, 4, 2]), np.full((5, n_hidden), np.nan, np.float32)
    flow.scatter_gate(gates, 2, rows, out)
    expected = gates[:, :, 2 * lanes : 3 * lanes].swapaxes(0, 1).reshape(5, -1)[:, :n_hidden]
    np.testing.assert_array_equal(out[rows], expected)
