"""How a batch is packed: the order of its rows, its tables, and where its final states lie."""

import numpy as np
import pytest

from fastrecur.kernels.steps import ROWS, state_segments, step_table
from fastrecur.network.packing import Packing
from tests.helpers import packed_index

LENGTHS = {
    "one row": [4],
    "equal": [3, 3, 3],
    "rising": [1, 2, 5],
    "falling": [5, 2, 1],
    "ragged": [2, 6, 1, 6, 2, 2, 4],
    "with empty rows": [0, 3, 0, 5],
    "random": np.random.default_rng(0).integers(1, 20, size=30),
}

each_length = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
each_direction = pytest.mark.parametrize("direction", [0, 1])


@each_length
def test_rows_are_ordered_by_falling_length_and_equal_ones_stay_in_their_order(lengths):
    packing = Packing(lengths)
    expected = sorted(range(len(lengths)), key=lambda b: (-lengths[b], b))
    assert packing.order.tolist() == expected
    assert packing.lengths.tolist() == [lengths[b] for b in expected]
    assert packing.lengths.dtype == packing.order.dtype == np.int64
    assert (packing.n_rows, packing.n_packed) == (len(lengths), sum(lengths))
    assert packing.equal == (len(set(lengths)) == 1)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_lengths_of_any_integer_type_are_left_alone(dtype):
    lengths = np.array(LENGTHS["ragged"], dtype)
    packing = Packing(lengths)
    assert lengths.tolist() == LENGTHS["ragged"]
    assert packing.order.tolist() == Packing(LENGTHS["ragged"]).order.tolist()
    strided = np.repeat(lengths, 2)[::2]
    assert Packing(strided).lengths.tolist() == packing.lengths.tolist()


@each_direction
@each_length
def test_tables_are_those_of_the_ordered_lengths_and_made_once(lengths, direction):
    packing = Packing(lengths)
    steps, segments = packing.steps(direction), packing.segments(direction)
    np.testing.assert_array_equal(steps, step_table(np.sort(lengths)[::-1], bool(direction)))
    np.testing.assert_array_equal(segments, state_segments(steps))
    assert packing.steps(direction) is steps
    assert packing.segments(direction) is segments
    assert packing.steps(1 - direction) is not steps


@each_direction
@each_length
def test_final_rows_lead_to_the_state_after_the_last_visited_step(lengths, direction):
    """By labels in the place of states: (row of the batch, time step), step -1 for the initial state."""
    packing = Packing(lengths)
    buffer = [(b, -1) for b in range(packing.n_rows)] + [None] * packing.n_packed
    for (b, t), n in np.ndenumerate(packed_index(packing.lengths)):
        if n >= 0:
            buffer[packing.n_rows + n] = (b, t)
    expected = [(b, -1 if length == 0 else 0 if direction else length - 1) for b, length in enumerate(packing.lengths)]
    assert [buffer[row] for row in packing.final_rows(direction)] == expected


@each_direction
@each_length
def test_final_rows_of_a_buffer_of_two_steps(lengths, direction):
    """As the kernels write it: the steps go by turns to the rows B..2 B and 2 B..3 B."""
    packing = Packing(lengths)
    n_rows, steps = packing.n_rows, packing.steps(direction)
    buffer = [(b, 0) for b in range(n_rows)] + [None] * 2 * n_rows
    for s, rows in enumerate(steps[:, ROWS]):
        for b in range(rows):
            buffer[n_rows * (1 + s % 2) + b] = (b, s + 1)
    expected = [(b, length and (packing.n_steps if direction else length)) for b, length in enumerate(packing.lengths)]
    assert [buffer[row] for row in packing.final_rows(direction, alternating=True)] == expected
    rows, _ = packing.final(direction, alternating=True)
    assert np.arange(3 * n_rows)[rows].tolist() == packing.final_rows(direction, alternating=True).tolist()


@each_length
def test_whether_every_row_has_so_many_steps(lengths):
    packing = Packing(lengths)
    for n_steps in range(max(lengths) + 2):
        assert packing.fills(n_steps) == all(length == n_steps for length in lengths)


@each_length
def test_states_are_put_back_into_the_callers_order(lengths):
    packing = Packing(lengths)
    given = np.random.default_rng(0).normal(size=(2, len(lengths), 3))
    np.testing.assert_array_equal(packing.unsorted(given[:, packing.order]), given)
