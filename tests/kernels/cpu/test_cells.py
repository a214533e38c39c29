"""The compiled cells against their reference twins, and what holds bit for bit.

Every buffer that a kernel gets from the workspace comes poisoned with NaN: what it does not write, or reads beyond
the units and rows that exist, shows. Weights are uniform as PyTorch initialises them; all numbers of a problem are
float32, so that one reference run serves both dtypes.
"""

import functools

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import lstm
from fastrecur.kernels.cpu.recurrence_backward import ROWS_TOGETHER
from fastrecur.network.dropout import Dropout
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, recurrent_shapes, suffix
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace
from tests.helpers import CELLS, GATES, final_states, make_problem, packed_index, reference_backward, reference_forward

#: B, F, H: each crosses a tile's edge somewhere.
SIZES = [
    (1, 1, 1),
    (1, 33, 100),
    (1, 100, 63),
    (2, 7, 17),
    (2, 63, 1),
    (7, 2, 33),
    (7, 100, 16),
    (17, 7, 63),
    (17, 33, 2),
    (33, 2, 17),
    (33, 17, 7),
    (63, 1, 33),
    (63, 63, 63),
    (100, 1, 100),
    (100, 17, 2),
]

#: Forward, absolute (for numbers up to 1); gradients, relative in the norm.
TOLERANCE = {"float32": (1e-6, 1e-5), "float64": (1e-10, 1e-10)}

#: A share whose masks, 0 and 2, are numbers of float32.
HALF = Dropout(recurrent_rate=0.5, seed=3)

each_cell = pytest.mark.parametrize("cell", CELLS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


class PoisonedWorkspace(Workspace):
    def take(self, name, *shape):
        view = super().take(name, *shape)
        view.fill(np.nan)
        return view


# --- one problem, by the reference and by the kernels ----------------------------------------------------------------


def make(cell, lengths, n_features, n_hidden, dropout=None):
    """Both directions over one batch: the problems of `make_problem`, with the same x, in numbers of float32."""
    problems = [make_problem(cell, lengths, n_features, n_hidden, bool(d), seed=d) for d in range(2)]
    rng, limit = np.random.default_rng(n_hidden), 1 / np.sqrt(n_hidden)
    for p in problems:
        p.x = problems[0].x
        for weight in p.weights.values():
            weight[:] = rng.uniform(-limit, limit, weight.shape)
        for array in (p.x, p.h, p.c, p.dy, p.dh, p.dc, *p.weights.values()):
            if array is not None:
                array[:] = array.astype(np.float32)
    if dropout is not None:
        masks = np.empty((len(problems), len(lengths), n_hidden))
        dropout.recurrent_masks(n_hidden, masks)
        for p, mask in zip(problems, masks, strict=True):
            p.mask = mask
            p.weights["w_hh"] *= 1.0 - dropout.recurrent_rate  # what is kept is larger, the product of its usual size
    return problems


def ragged(n_rows, n_steps):
    """Falling lengths from ``n_steps`` down, 1 among them."""
    lengths = np.random.default_rng(n_rows).integers(1, n_steps + 1, n_rows)
    lengths[-1], lengths[0] = 1, n_steps
    return tuple(np.sort(lengths)[::-1].tolist())


def states(p, take):
    """(h,) or (h, c) of a problem."""
    return [take(state) for state in (p.h, p.c) if state is not None]


@functools.cache
def by_reference(cell, lengths, n_features, n_hidden, dropout=None):
    """Outputs and gradients, by name, both directions stacked; dx is the sum of both."""
    results = {}
    for p in make(cell, lengths, n_features, n_hidden, dropout):
        reference_forward(p)
        results.setdefault("y", []).append(p.h[len(lengths) :])
        for name, final in zip("hc", states(p, lambda state, p=p: final_states(p, state)), strict=False):
            results.setdefault(f"final {name}", []).append(final)
        for name, gradient in reference_backward(p).items():
            results.setdefault(f"d{name}", []).append(gradient)
    results["dx"] = [sum(results["dx"])]
    return {name: np.stack(parts) for name, parts in results.items()}


def stack_of(problems, dtype):
    """One layer with the problems' weights; its parameters' names by the problem's names, a list for each direction."""
    p, n_directions = problems[0], len(problems)
    cell, n_hidden = p.cell.removesuffix("_tanh").removesuffix("_relu"), p.h.shape[1]
    parameters = Parameters(recurrent_shapes(cell, p.x.shape[1], n_hidden, 1, n_directions), np.dtype(dtype))
    names = {}
    for d, p in enumerate(problems):
        for name, weight in p.weights.items():
            full = name.replace("w_", "weight_") + suffix(0, d)
            names.setdefault(name, []).append(full)
            parameters.arrays[full][:] = weight
    return RecurrentStack(cell, parameters, n_hidden, 1, n_directions, p.cell == "rnn_relu"), names


def initial_states(problems, dtype):
    parts = zip(*(states(p, lambda state, p=p: state[: len(p.lengths)]) for p in problems), strict=True)
    return tuple(np.stack(part).astype(dtype) for part in parts)


def forward(problems, dtype, n_threads=1, record=False, initial=True, dropout=None):
    """(results, stack, names, trace) of the kernels' forward."""
    stack, names = stack_of(problems, dtype)
    p, n_rows = problems[0], len(problems[0].lengths)
    x = p.x[:, np.newaxis].astype(dtype)
    state = initial_states(problems, dtype) if initial else None
    workspace = PoisonedWorkspace(stack.dtype)
    trace = stack.forward(x, Packing(p.lengths), workspace, n_threads, record, state, dropout=dropout)
    trace.workspace = workspace  # to which it refers weakly
    results = {"y": trace.states[-1][n_rows:, :, : stack.hidden_size].swapaxes(0, 1)}
    results |= {f"final {name}": final for name, final in zip("hc", stack.final_states(trace), strict=False)}
    return {name: array.copy() for name, array in results.items()}, stack, names, trace


def by_kernels(problems, dtype, n_threads=1, dy=True, dstate=True, need_dx=True, dropout=None):
    """Outputs and gradients of forward with record and backward, named as by `by_reference`."""
    results, stack, names, trace = forward(problems, dtype, n_threads, record=True, dropout=dropout)
    p, n_hidden = problems[0], stack.hidden_size
    layout = stack.layers[0][0].layout
    whole_panels = layout.features.size // GATES[p.cell]
    assert np.all(trace.states[-1][:, :, n_hidden:whole_panels] == 0.0)  # padded units
    padded = np.zeros((len(p.x), len(problems), stack.padded), dtype)
    for d, direction in enumerate(problems):
        padded[:, d, :n_hidden] = direction.dy
    final = [np.stack([getattr(q, name) for q in problems]) for name in ("dh", "dc") if getattr(p, name) is not None]
    grads = stack.parameters.zeros_like()
    dx = np.full(stack.dx_shape(trace.packing), np.nan, dtype) if need_dx else None
    dinitial = stack.backward(
        trace,
        grads,
        n_threads,
        padded if dy else None,
        [part.astype(dtype) for part in final] if dstate else None,
        dx,
    )
    if need_dx:
        results["dx"] = dx[np.newaxis, :, 0, : p.x.shape[1]].copy()
    for name, gradient in zip("hc", dinitial, strict=False):
        results[f"d{name}"] = gradient[:, :, :n_hidden].copy()
        assert np.all(gradient[:, :, n_hidden:] == 0.0)  # padded units
    for name, of_directions in names.items():
        results[f"d{name}"] = np.stack([grads.arrays[full] for full in of_directions])
    return results


def assert_close(actual, expected, dtype):
    absolute, relative = TOLERANCE[dtype]
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        assert array.dtype == dtype
        assert array.shape == expected[name].shape
        error = array - expected[name]
        if name == "y" or name.startswith("final"):
            largest = max(1.0, np.abs(expected[name]).max())  # relu has no bound
            assert np.abs(error).max() <= absolute * largest, name
        else:
            for d in range(len(array)):
                assert np.linalg.norm(error[d]) <= relative * np.linalg.norm(expected[name][d]), (
                    f"{name}, direction {d}"
                )


def assert_same_bits(actual, expected, names=None):
    for name in names or expected:
        assert actual[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)
        assert not np.isnan(actual[name]).any()


# --- against the reference -------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("equal", [False, True], ids=["ragged", "equal"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@each_cell
def test_forward_and_gradients_equal_the_reference(cell, size, equal, dtype):
    n_rows, n_features, n_hidden = size
    lengths = (5,) * n_rows if equal else ragged(n_rows, 6)
    expected = by_reference(cell, lengths, n_features, n_hidden)
    assert_close(by_kernels(make(cell, lengths, n_features, n_hidden), dtype), expected, dtype)


@each_cell
def test_more_rows_than_go_back_together(cell):
    lengths = ragged(2 * ROWS_TOGETHER + 5, 6)
    assert_close(by_kernels(make(cell, lengths, 3, 19), "float64"), by_reference(cell, lengths, 3, 19), "float64")


@each_dtype
@pytest.mark.parametrize("lengths", [(1,), (1,) * 13, (4, 2, 0, 0), (7, 1, 1), (1, 0)], ids=str)
@each_cell
def test_one_step_and_empty_rows(cell, lengths, dtype):
    expected = by_reference(cell, lengths, 3, 19)
    assert_close(by_kernels(make(cell, lengths, 3, 19), dtype), expected, dtype)


@each_dtype
@pytest.mark.parametrize("equal", [False, True], ids=["ragged", "equal"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@each_cell
def test_recurrent_dropout_equals_the_reference(cell, size, equal, dtype):
    n_rows, n_features, n_hidden = size
    lengths = (5,) * n_rows if equal else ragged(n_rows, 6)
    expected = by_reference(cell, lengths, n_features, n_hidden, HALF)
    assert_close(by_kernels(make(cell, lengths, n_features, n_hidden, HALF), dtype, dropout=HALF), expected, dtype)


@each_dtype
@pytest.mark.parametrize("lengths", [(1,), (4, 2, 0, 0), (40, 3)], ids=str)
@each_cell
def test_recurrent_dropout_of_one_step_empty_rows_and_few_rows(cell, lengths, dtype):
    expected = by_reference(cell, lengths, 3, 19, HALF)
    assert_close(by_kernels(make(cell, lengths, 3, 19, HALF), dtype, dropout=HALF), expected, dtype)


@each_dtype
@pytest.mark.parametrize("lengths", [(10_000,), (10_000, 9_000)], ids=str)
@each_cell
def test_ten_thousand_steps(cell, lengths, dtype):
    expected = by_reference(cell, lengths, 2, 5)
    assert_close(by_kernels(make(cell, lengths, 2, 5), dtype), expected, dtype)


@pytest.mark.parametrize("record", [False, True])
@each_cell
def test_no_initial_state_is_a_state_of_zeros(cell, record):
    problems = make(cell, ragged(7, 9), 5, 19)
    results = forward(problems, "float32", record=record, initial=False)[0]
    for p in problems:
        for state in states(p, lambda state: state):
            state[: len(p.lengths)] = 0.0
    assert_same_bits(results, forward(problems, "float32", record=record)[0])


@each_cell
def test_no_gradient_from_above_is_a_gradient_of_zero(cell):
    lengths = ragged(7, 9)
    problems = make(cell, lengths, 5, 19)
    zeros = make(cell, lengths, 5, 19)
    for p in zeros:
        p.dy[:] = 0.0
    assert_same_bits(by_kernels(problems, "float32", dy=False), by_kernels(zeros, "float32"))
    zeros = make(cell, lengths, 5, 19)
    for p in zeros:
        p.dh[:] = 0.0
        if p.dc is not None:
            p.dc[:] = 0.0
    assert_same_bits(by_kernels(problems, "float32", dstate=False), by_kernels(zeros, "float32"))


@each_cell
def test_gradients_do_not_depend_on_whether_dx_is_wanted(cell):
    problems = make(cell, ragged(7, 9), 5, 19)
    without = by_kernels(problems, "float32", need_dx=False)
    assert "dx" not in without
    assert_same_bits(without, by_kernels(problems, "float32"), without)


# --- bit for bit -----------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("dropout", [None, HALF], ids=["whole", "dropped"])
@pytest.mark.parametrize("lengths", [(9,) * 33, ragged(33, 20), (40, 3), (300,)], ids=["equal", "ragged", "two", "one"])
@each_cell
def test_one_thread_equals_many(cell, lengths, dropout, dtype, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    problems = make(cell, lengths, 17, 33)
    expected = by_kernels(problems, dtype, dropout=dropout)
    for n_threads in (2, 3):
        results, _, _, trace = forward(problems, dtype, n_threads, dropout=dropout)
        assert len(threads.row_shards(trace.packing.lengths, 10**9, n_threads)) - 1 == min(n_threads, len(lengths))
        assert_same_bits(results, expected, results)
        assert_same_bits(by_kernels(problems, dtype, n_threads, dropout=dropout), expected)


@each_dtype
@pytest.mark.parametrize("dropout", [None, HALF], ids=["whole", "dropped"])
@pytest.mark.parametrize("lengths", [(9,) * 7, ragged(33, 9), (9,)], ids=["equal", "ragged", "one"])
@each_cell
def test_record_changes_nothing(cell, lengths, dropout, dtype):
    problems = make(cell, lengths, 6, 33)
    results = forward(problems, dtype, dropout=dropout)[0]
    assert_same_bits(results, forward(problems, dtype, record=True, dropout=dropout)[0])


def rows_of(problems, rows):
    """The problems with only the given rows of the batch (packed row by packed row), which must keep their order."""
    lengths = problems[0].lengths
    index = packed_index(lengths)[rows]
    steps = index.T[: max(lengths[rows])]
    packed = steps[steps >= 0]
    some = make(problems[0].cell, lengths[rows], problems[0].x.shape[1], problems[0].h.shape[1])
    for p, q in zip(some, problems, strict=True):
        p.weights, p.x, p.dy = q.weights, q.x[packed], q.dy[packed]
        p.dh, p.dc = q.dh[rows], None if q.dc is None else q.dc[rows]
        p.h[: len(rows)] = q.h[rows]
        if p.c is not None:
            p.c[: len(rows)] = q.c[rows]
    return some, packed


@each_dtype
@pytest.mark.parametrize("n_hidden", [7, 33])
@pytest.mark.parametrize("equal", [False, True], ids=["ragged", "equal"])
@each_cell
def test_a_row_has_the_same_bits_in_any_batch_and_place(cell, equal, n_hidden, dtype):
    lengths = (6,) * 33 if equal else ragged(33, 8)
    problems = make(cell, lengths, 5, n_hidden)
    whole = by_kernels(problems, dtype)
    of_rows = [name for name in whole if name not in {f"d{weight}" for weight in problems[0].weights}]
    assert {"y", "final h", "dx", "dh"} <= set(of_rows)
    batches = [[b] for b in (0, 1, 16, 31, 32)]
    batches += [list(range(7)), list(range(26, 33)), list(range(0, 33, 5)), list(range(1, 33))]
    for rows in batches:
        some, packed = rows_of(problems, rows)
        actual = by_kernels(some, dtype)
        for name in of_rows:
            expected = whole[name][:, packed if name in ("y", "dx") else rows]
            np.testing.assert_array_equal(actual[name], expected, err_msg=f"{name} of rows {rows}")


@each_dtype
@pytest.mark.parametrize("n_rows", [1, 7, 33])
@each_cell
def test_chunks_of_time_with_the_state_carried_equal_one_call(cell, n_rows, dtype):
    problems = make(cell, (50,) * n_rows, 4, 19)[:1]
    whole = forward(problems, dtype)[0]
    stack, _ = stack_of(problems, dtype)
    x = problems[0].x[:, np.newaxis].astype(dtype)
    state, outputs, start = initial_states(problems, dtype), [], 0
    for n_steps in (1, 2, 17, 29, 1):
        packing, end = Packing([n_steps] * n_rows), start + n_steps * n_rows
        trace = stack.forward(x[start:end], packing, PoisonedWorkspace(stack.dtype), initial=state)
        outputs.append(trace.states[-1][n_rows:, 0, : stack.hidden_size].copy())
        state, start = stack.final_states(trace), end
    assert start == len(x)
    np.testing.assert_array_equal(np.concatenate(outputs), whole["y"][0])
    for name, final in zip("hc", state, strict=False):
        np.testing.assert_array_equal(final, whole[f"final {name}"])


@each_dtype
@each_cell
def test_nan_stays_in_its_row(cell, dtype):
    problems = make(cell, (6,) * 19, 5, 33)
    expected = forward(problems, dtype)[0]["y"]
    problems[0].x[2 * 19 + 4, 3] = np.nan  # step 2 of row 4
    actual = forward(problems, dtype)[0]["y"]
    index = packed_index(problems[0].lengths)
    after, before = [index[4, 2:], index[4, :3]], [index[4, :2], index[4, 3:]]
    for d in range(2):
        assert np.isnan(actual[d, after[d]]).all()
        np.testing.assert_array_equal(actual[d, before[d]], expected[d, before[d]])
        others = np.delete(index, 4, axis=0)
        np.testing.assert_array_equal(actual[d, others], expected[d, others])


@pytest.mark.parametrize("n_rows", [1, 7])
def test_backward_shares_only_while_it_may_itself(n_rows, monkeypatch):
    """Under workqueue two calls that share at once end the process: what forward was allowed does not count."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(threads, "WORTH_A_MEETING", 1)
    monkeypatch.setattr(threads, "_layer", lambda: "workqueue")
    shares = []
    for kernel in (lstm.lstm_backward, lstm.lstm_backward_together):
        monkeypatch.setattr(kernel, "of", lambda s, of=kernel.of: shares.append(len(s) - 1) or of(s))
    problems = make("lstm", (5,) * n_rows, 3, 17)
    *_, stack, _, trace = forward(problems, "float32", 2, record=True)
    with threads._one_at_a_time:  # another Python thread is inside
        stack.backward(trace, stack.parameters.zeros_like(), 2)
    assert shares == [1, 1]
