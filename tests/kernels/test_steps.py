"""The step table and the state segments against a naive walk over each sequence."""

import numpy as np
import pytest

from fastrecur.kernels.steps import AT, BEFORE, CARRIED, ROWS, state_segments, step_table
from tests.helpers import pack, packed_index, unpack

LENGTHS = {
    "one row, one step": [1],
    "one row": [6],
    "one step": [1, 1, 1],
    "one step and empty rows": [1, 1, 0],
    "equal": [4, 4, 4],
    "ragged": [5, 3, 3, 1],
    "all different": [4, 3, 2, 1],
    "one long row": [7, 1, 1, 1, 1],
    "ragged and empty rows": [5, 4, 4, 2, 0, 0],
    "equal and an empty row": [3, 3, 0],
    "random": np.sort(np.random.default_rng(0).integers(0, 30, size=40))[::-1],
}
EMPTY = {"no rows": [], "an empty row": [0], "empty rows": [0, 0, 0]}

each_length = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
each_empty = pytest.mark.parametrize("lengths", EMPTY.values(), ids=EMPTY.keys())
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])


def naive_previous(lengths, reverse):
    """Row of the state buffer before each packed row (N,): one sequence after the other, one step after the other."""
    index = packed_index(lengths)
    previous = np.full(sum(lengths), -1)
    for b, length in enumerate(lengths):
        state = b
        for t in range(length)[:: -1 if reverse else 1]:
            previous[index[b, t]] = state
            state = len(lengths) + index[b, t]
    return previous


def walk(steps):
    """Follow a table as a kernel does: packed rows in the order of the visit, and the state row each one reads."""
    visited, read = [], []
    for at, rows, carried, before in steps[:, [AT, ROWS, CARRIED, BEFORE]]:
        visited += range(at, at + rows)
        read += [*range(before, before + carried), *range(carried, rows)]
    return np.array(visited), np.array(read)


@each_direction
@each_length
def test_table_visits_every_packed_row_once_in_order_of_time(lengths, reverse):
    visited, _ = walk(step_table(lengths, reverse))
    index = packed_index(lengths)
    by_step = [step[step >= 0] for step in index.T[:: -1 if reverse else 1]]
    np.testing.assert_array_equal(visited, np.concatenate(by_step))
    np.testing.assert_array_equal(np.sort(visited), np.arange(sum(lengths)))


@each_direction
@each_length
def test_table_leads_to_the_state_of_the_same_sequence(lengths, reverse):
    visited, read = walk(step_table(lengths, reverse))
    np.testing.assert_array_equal(read, naive_previous(lengths, reverse)[visited])


@each_direction
@each_length
def test_table_reads_only_states_that_are_written(lengths, reverse):
    written = set(range(len(lengths)))
    for step in step_table(lengths, reverse):
        visited, read = walk(step[None])
        assert written.issuperset(read)
        written.update(len(lengths) + visited)
    assert written == set(range(len(lengths) + sum(lengths)))


@each_direction
@each_length
def test_table_is_contiguous_int64_with_a_line_a_step(lengths, reverse):
    steps = step_table(lengths, reverse)
    assert steps.shape == (max(lengths), 4)
    assert steps.dtype == np.int64
    assert steps.flags.c_contiguous


def test_table_of_a_small_ragged_batch():
    # Packed rows: step 0 has 0 1 2, step 1 has 3 4, step 2 has 5. States: 0..3 are initial, 3..9 follow the rows.
    np.testing.assert_array_equal(step_table([3, 2, 1]), [[0, 3, 0, 0], [3, 2, 2, 3], [5, 1, 1, 6]])
    np.testing.assert_array_equal(step_table([3, 2, 1], reverse=True), [[5, 1, 0, 0], [3, 2, 1, 8], [0, 3, 2, 6]])


@each_direction
@each_empty
def test_nothing_to_visit(lengths, reverse):
    steps = step_table(lengths, reverse)
    segments = state_segments(steps)
    assert steps.shape == (0, 4)
    assert segments.shape == (0, 3)
    assert steps.dtype == segments.dtype == np.int64


@each_direction
@each_length
def test_segments_cover_every_packed_row_once_and_agree_with_the_table(lengths, reverse):
    steps = step_table(lengths, reverse)
    segments = state_segments(steps)
    rows = np.concatenate([np.arange(n, n + count) for n, count, _ in segments])
    states = np.concatenate([np.arange(before, before + count) for _, count, before in segments])
    visited, read = walk(steps)
    np.testing.assert_array_equal(rows, np.arange(sum(lengths)))
    np.testing.assert_array_equal(states, read[np.argsort(visited)])
    np.testing.assert_array_equal(states, naive_previous(lengths, reverse))


@each_direction
@each_length
def test_segments_are_as_few_as_possible(lengths, reverse):
    segments = state_segments(step_table(lengths, reverse))
    breaks = np.diff(naive_previous(lengths, reverse)) != 1
    assert len(segments) == 1 + breaks.sum()
    assert segments.dtype == np.int64
    assert segments.flags.c_contiguous


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_segments_of_equal_lengths(n_rows):
    lengths = [5] * n_rows
    assert len(state_segments(step_table(lengths))) == 1
    assert len(state_segments(step_table(lengths, reverse=True))) == 2


@each_length
def test_pack_puts_each_step_at_its_packed_row(lengths):
    padded = np.random.default_rng(1).normal(size=(len(lengths), max(lengths) + 2, 3))
    packed, index = pack(padded, lengths), packed_index(lengths)
    assert packed.shape == (sum(lengths), 3)
    for b, length in enumerate(lengths):
        np.testing.assert_array_equal(packed[index[b, :length]], padded[b, :length])
        np.testing.assert_array_equal(unpack(packed, lengths)[b, :length], padded[b, :length])
        assert np.all(unpack(packed, lengths, fill=-1.0)[b, length:] == -1.0)
