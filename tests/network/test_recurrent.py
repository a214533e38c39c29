"""Stacked layers over their buffers, whatever these held before.

Letters: N packed rows, F features, H hidden units, L layers, D directions, B sequences of a batch.
"""

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.network.packing import Packing
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace
from tests.network.stacks import (
    BATCHES,
    D,
    L,
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


@each_dtype
@each_size
@each_batch
@each_cell
def test_what_buffers_held_before_is_of_no_account(cell, lengths, n_features, n_hidden, dtype):
    stack = make(cell, n_features, n_hidden, dtype)
    batch = make_batch(stack, lengths)
    expected, poisoned = run(stack, batch, Workspace(stack.dtype)), Poisoned(stack.dtype)
    assert_same_bits(run(stack, batch, poisoned), expected)
    poisoned.poison()  # the same buffers again: they are laid out once for a packing
    assert_same_bits(run(stack, batch, poisoned), expected)


@each_batch
@each_cell
def test_without_a_record_the_states_are_the_same(cell, lengths):
    stack = make(cell, 3, 7)
    packing, x, initial, *_ = make_batch(stack, lengths)
    with_record, without = (
        stack.forward(x, packing, Poisoned(stack.dtype), 1, record, initial) for record in (True, False)
    )
    y, expected = (trace.states[-1][packing.n_rows :, :, :7] for trace in (without, with_record))
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(stack.last_states(without), stack.last_states(with_record))
    for part, expected in zip(stack.final_states(without), stack.final_states(with_record), strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_directions", [1, 2])
@each_batch
@each_cell
def test_the_last_states_alone_take_three_rows_a_sequence(cell, lengths, n_directions, n_threads, monkeypatch):
    """But where several threads take a single sequence together."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(threads, "WORTH_A_MEETING", 1)
    for n_hidden in (7, 32):
        stack = make(cell, 3, n_hidden, n_directions=n_directions)
        packing, x, initial, *_ = make_batch(stack, lengths)
        whole, alone = (
            stack.forward(x, packing, Poisoned(stack.dtype), n_threads, initial=initial, last_only=last_only)
            for last_only in (False, True)
        )
        more = packing.n_packed > 2 * packing.n_rows and (n_threads == 1 or packing.n_rows > 1)
        assert alone.alternating == more
        assert len(alone.states[-1]) == packing.n_rows + (2 * packing.n_rows if more else packing.n_packed)
        np.testing.assert_array_equal(stack.last_states(alone), stack.last_states(whole))
        for part, expected in zip(stack.final_states(alone), stack.final_states(whole), strict=True):
            np.testing.assert_array_equal(part, expected)


@each_cell
def test_a_workspace_serves_batches_of_changing_size(cell):
    stack = make(cell, 3, 7)
    workspace = Workspace(stack.dtype)
    for seed, lengths in enumerate(([2, 1], [9, 30, 4, 9, 9, 17], [3], [2, 1], [5, 5, 5, 5])):
        batch = make_batch(stack, lengths, seed)
        assert_same_bits(run(stack, batch, workspace), run(stack, batch, Workspace(stack.dtype)))


@each_batch
@each_cell
def test_final_states_are_those_of_each_sequence_alone(cell, lengths):
    """In the caller's order, layer by layer and direction by direction; the last states are their last D."""
    stack = make(cell, 3, 7)
    packing, x, initial, *_ = make_batch(stack, lengths)
    trace = stack.forward(x, packing, Workspace(stack.dtype), initial=initial)
    final, last = stack.final_states(trace), stack.last_states(trace)
    np.testing.assert_array_equal(np.hstack(final[0][-D:]), last)
    for row, b in enumerate(packing.order):
        steps = packing.steps(0)[: lengths[b], 0] + row  # rows of a step lie side by side
        own = tuple(part[:, [b]] for part in initial)
        alone = stack.forward(x[steps], Packing(lengths[b : b + 1]), Workspace(stack.dtype), initial=own)
        for part, expected in zip(final, stack.final_states(alone), strict=True):
            np.testing.assert_array_equal(part[:, [b]], expected)


@each_batch
@each_cell
def test_gradients_of_initial_states_are_those_of_each_sequence_alone(cell, lengths):
    """Given in the caller's order, returned in the order of the packed batch."""
    stack = make(cell, 3, 7)
    packing, x, initial, dy, dstate = make_batch(stack, lengths)
    together = run(stack, (packing, x, initial, dy, dstate), Workspace(stack.dtype))
    for row, b in enumerate(packing.order):
        steps = packing.steps(0)[: lengths[b], 0] + row
        own, down = (tuple(part[:, [b]] for part in state) for state in (initial, dstate))
        alone = run(stack, (Packing(lengths[b : b + 1]), x[steps], own, dy[steps], down), Workspace(stack.dtype))
        np.testing.assert_array_equal(together["dx"][steps], alone["dx"])
        for i in range(len(initial)):
            np.testing.assert_array_equal(together[f"dinitial {i}"][:, [row]], alone[f"dinitial {i}"])


@pytest.mark.parametrize("n_hidden", [7, 32])
@each_cell
def test_absent_states_and_gradients_are_zeros(cell, n_hidden):
    stack = make(cell, 3, n_hidden)
    packing, x, initial, dy, dstate = make_batch(stack, BATCHES["ragged"])
    zeros = tuple(np.zeros_like(part) for part in initial)
    workspace = Poisoned(stack.dtype)
    for absent, given in (
        ((None, dy, dstate), (zeros, dy, dstate)),
        ((initial, None, dstate), (initial, np.zeros_like(dy), dstate)),
        ((initial, dy, None), (initial, dy, zeros)),
    ):
        results = []
        for arguments in (absent, given):
            workspace.poison()
            results.append(run(stack, (packing, x, *arguments), workspace))
        assert_same_bits(*results)


@pytest.mark.parametrize("n_hidden", [7, 32])
@each_cell
def test_gradient_of_the_last_states_alone_is_that_of_final_states(cell, n_hidden):
    """``dlast`` is short for a ``dstate`` that is zero but for h of the last layer."""
    stack = make(cell, 3, n_hidden)
    packing, x, initial, _, dstate = make_batch(stack, BATCHES["ragged"])
    given = [np.zeros_like(part) for part in dstate]
    given[0][-D:] = dstate[0][-D:]
    results = []
    for options in ({"dstate": tuple(given)}, {"dlast": np.hstack(dstate[0][-D:])}):
        grads, workspace = stack.parameters.zeros_like(), Poisoned(stack.dtype)
        trace = stack.forward(x, packing, workspace, record=True, initial=initial)
        dinitial = stack.backward(trace, grads, **options)
        results.append({"dh": dinitial[0][:, :, :n_hidden].copy(), **grads.arrays})
    assert_same_bits(*results)
    assert all(np.isfinite(array).all() and array.any() for array in results[0].values())


@each_cell
def test_parameters_count_once_they_are_refreshed(cell):
    stack, other = make(cell, 3, 7), make(cell, 3, 7)
    batch = make_batch(stack, BATCHES["ragged"])
    stack.parameters.flat *= 0.5
    other.parameters.flat *= 0.5
    stack.refresh()
    fresh = RecurrentStack(stack.cell, other.parameters, 7, L, D, stack.relu)
    assert_same_bits(run(stack, batch, Workspace(stack.dtype)), run(fresh, batch, Workspace(stack.dtype)))
