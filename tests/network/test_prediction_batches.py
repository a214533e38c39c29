"""What `Model.outputs` computes at a time: never more rows and steps than stated, nothing twice, the same bits."""

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.network import model as module
from fastrecur.network.model import Model
from fastrecur.sequences import check_sequences

CELLS = ("rnn", "lstm", "gru")


@pytest.fixture
def packings(monkeypatch):
    """Lengths of the rows of each batch or piece that the layers read."""
    seen, forward = [], module.RecurrentStack.forward

    def noted(stack, x, packing, *arguments, **options):
        seen.append(packing.lengths)
        return forward(stack, x, packing, *arguments, **options)

    monkeypatch.setattr(module.RecurrentStack, "forward", noted)
    return seen


def make(cell, n_directions, lengths):
    model = Model(cell, 3, 5, 2, num_layers=2, n_directions=n_directions, relu=False, dtype="float32")
    model.initialise(np.random.RandomState(0))
    rng = np.random.default_rng(0)
    return model, check_sequences([rng.normal(size=(length, 3)) for length in lengths])


@pytest.mark.parametrize("cell", CELLS)
def test_two_directions_read_no_more_steps_at_once_than_stated(cell, packings, monkeypatch):
    model, sequences = make(cell, 2, [5, 40, 9, 9, 33, 2, 120, 1, 7, 40])
    expected = model.outputs(sequences, 1)
    assert len(packings) == 1
    packings.clear()
    monkeypatch.setattr(module, "PREDICT_WHOLE", 100)
    np.testing.assert_array_equal(model.outputs(sequences, 1), expected)
    assert [list(lengths) for lengths in packings] == [[120], [40, 40], [33, 9, 9], [7, 5, 2, 1]]


@pytest.mark.parametrize("n_steps", [1, 1000, 2**17, 2**17 + 1, 10**6])
def test_rows_times_steps_are_bounded_and_one_row_is_always_read(n_steps):
    model, _ = make("lstm", 2, [1])
    n_rows = model._batch_size(n_steps)
    assert 1 <= n_rows <= module.PREDICT_ROWS
    assert n_rows == 1 or n_rows * n_steps <= module.PREDICT_WHOLE


@pytest.mark.parametrize(
    ("n_threads", "n_features", "n_steps", "last_only", "pooling", "expected"),
    [
        (1, 3, 10, True, "last", 418),  # 10 steps of 3 features and 32 states of the first layer, 128 numbers
        (2, 3, 10, True, "last", 836),
        (2, 1000, 10, True, "last", 256),
        (8, 3, 10, True, "last", 3347),
        (8, 3, 10, False, "mean", 2005),
        (8, 3, 10, False, None, 1955),
        (8, 3, 1000, True, "last", 675),  # of 64 steps
        (1, 3, 1000, True, "last", 256),
    ],
)
def test_each_thread_has_sequences_of_its_own_where_little_is_held_of_each(
    n_threads, n_features, n_steps, last_only, pooling, expected, monkeypatch
):
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 200_000)
    model = Model("gru", n_features, 5, 2, 2, 1, relu=False, dtype="float32", pooling=pooling)
    assert model._batch_size(n_steps, n_threads, last_only) == expected


@pytest.mark.parametrize("cell", CELLS)
def test_more_threads_read_more_sequences_at_once_and_give_the_same_bits(cell, packings, monkeypatch):
    monkeypatch.setattr(module, "PREDICT_ROWS", 2)
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    model, sequences = make(cell, 1, [5, 4, 9, 3, 3])
    padded = model.stack.padded
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 2 * (9 * (3 + padded) + 4 * padded))
    expected = model.outputs(sequences, 1)
    assert [list(lengths) for lengths in packings] == [[9, 5], [4, 3, 3]]
    packings.clear()
    np.testing.assert_array_equal(model.outputs(sequences, 2), expected)
    assert [list(lengths) for lengths in packings] == [[9, 5, 4, 3], [3]]


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_that_has_ended_is_not_read_on_and_the_others_are_for_longer(cell, packings, monkeypatch):
    model, sequences = make(cell, 1, [5, 40, 9, 10, 33, 20, 1, 12, 11])
    expected = model.outputs(sequences, 1)
    packings.clear()
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 0)
    monkeypatch.setattr(module, "PREDICT_ROWS", 9)
    monkeypatch.setattr(module, "PREDICT_STEPS", 10)
    np.testing.assert_array_equal(model.outputs(sequences, 1), expected)
    pieces = [[10, 10, 10, 10, 10, 10, 9, 5, 1], [18, 18, 10, 2, 1], [12, 5]]
    assert [list(lengths) for lengths in packings] == pieces


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("n_numbers", "expected"),
    [
        (10_000, [[20, 20], [20, 10], [40], [10]]),  # two of the four rows: twice the steps
        (1_300, [[14, 14], [14, 14], [14, 2], [28], [20]]),  # 650 a row: 128 of each, and 35 of each step
        (0, [[10, 10], [10, 10], [10, 10], [20], [20], [20]]),
    ],
)
def test_of_few_sequences_more_time_steps_are_read_at_once(cell, n_numbers, expected, packings, monkeypatch):
    model, sequences = make(cell, 1, [90, 30])
    outputs = model.outputs(sequences, 1)
    packings.clear()
    monkeypatch.setattr(module, "PREDICT_NUMBERS", n_numbers)
    monkeypatch.setattr(module, "PREDICT_ROWS", 4)
    monkeypatch.setattr(module, "PREDICT_STEPS", 10)
    np.testing.assert_array_equal(model.outputs(sequences, 1), outputs)
    assert [list(lengths) for lengths in packings] == expected


@pytest.mark.parametrize(("filled", "expected"), [(False, [[3, 3], [3], [2]]), (True, [[3, 3], [5]])])
def test_pieces_of_a_batch(filled, expected):
    batch = module.Batch(None, np.array([7, 8]), np.array([0, 8]), np.array([8, 3]))
    pieces = list(batch.pieces(3, filled))
    assert [list(piece.lengths) for _, piece in pieces] == expected
    assert [begin for begin, _ in pieces] == [0, 3, 6][: len(pieces)]
    assert all(piece.starts[0] == begin for begin, piece in pieces)
