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


def make(cell, n_directions, lengths, n_hidden=5):
    model = Model(cell, 3, n_hidden, 2, num_layers=2, n_directions=n_directions, relu=False, dtype="float32")
    model.initialise(np.random.RandomState(0))
    rng = np.random.default_rng(0)
    return model, check_sequences([rng.normal(size=(length, 3)) for length in lengths])


def numbers_of(model, n_rows, n_steps):
    """That a piece holds; with 32 units the same whatever the vectors."""
    a_step, a_row = model._held(last_only=True)
    return n_rows * (n_steps * a_step + a_row) + 8 * n_steps


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
    model = Model("gru", n_features, 32, 2, 2, 1, relu=False, dtype="float32", pooling=pooling)
    assert model._batch_size(n_steps, n_threads, last_only) == expected


@pytest.mark.parametrize("cell", CELLS)
def test_more_threads_read_more_sequences_at_once_and_give_the_same_bits(cell, packings, monkeypatch):
    monkeypatch.setattr(module, "PREDICT_ROWS", 2)
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    model, sequences = make(cell, 1, [5, 4, 9, 3, 3])
    a_step, a_row = model._held(last_only=True)
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 2 * (9 * a_step + a_row))
    expected = model.outputs(sequences, 1)
    assert [list(lengths) for lengths in packings] == [[9, 5], [4, 3, 3]]
    packings.clear()
    np.testing.assert_array_equal(model.outputs(sequences, 2), expected)
    assert [list(lengths) for lengths in packings] == [[9, 5, 4, 3], [3]]


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_that_has_ended_is_not_read_on_and_the_others_are_for_longer(cell, packings, monkeypatch):
    model, sequences = make(cell, 1, [5, 40, 9, 10, 33, 20, 1, 12, 11], n_hidden=32)
    expected = model.outputs(sequences, 1)
    packings.clear()
    monkeypatch.setattr(module, "PREDICT_NUMBERS", numbers_of(model, 9, 10))
    monkeypatch.setattr(module, "PREDICT_ROWS", 9)
    monkeypatch.setattr(module, "PREDICT_STEPS", 10)
    np.testing.assert_array_equal(model.outputs(sequences, 1), expected)
    pieces = [[10, 10, 10, 10, 10, 10, 9, 5, 1], [20, 20, 10, 2, 1], [10, 3]]
    assert [list(lengths) for lengths in packings] == pieces


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [
        (20, [[20, 20], [20, 10], [39], [11]]),
        (14, [[14, 14], [14, 14], [14, 2], [28], [20]]),
        (0, [[10, 10], [10, 10], [10, 10], [10], [10], [10], [10], [10], [10]]),
    ],
)
def test_of_few_sequences_more_time_steps_are_read_at_once(cell, n_steps, expected, packings, monkeypatch):
    """As many as `PREDICT_NUMBERS` hold, of two sequences ``n_steps``."""
    model, sequences = make(cell, 1, [90, 30], n_hidden=32)
    outputs = model.outputs(sequences, 1)
    packings.clear()
    monkeypatch.setattr(module, "PREDICT_NUMBERS", numbers_of(model, 2, n_steps))
    monkeypatch.setattr(module, "PREDICT_ROWS", 4)
    monkeypatch.setattr(module, "PREDICT_STEPS", 10)
    np.testing.assert_array_equal(model.outputs(sequences, 1), outputs)
    assert [list(lengths) for lengths in packings] == expected


@pytest.mark.parametrize(
    ("n_threads", "last_only", "n_rows", "expected"),
    [
        (1, True, 1, 1096),  # 10,000 numbers, without 128 of the row: 1 and 8 a step
        (1, False, 1, 240),  # 33 and 8
        (2, True, 1, 484),  # which two threads take together, and keep all states
        (2, True, 2, 1974),
    ],
)
def test_time_steps_of_a_piece_by_what_it_holds(n_threads, last_only, n_rows, expected, monkeypatch):
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 10_000)
    model = Model("lstm", 1, 32, 2, num_layers=1, n_directions=1, relu=False, dtype="float32")
    assert model._piece_steps(n_threads, last_only, n_rows) == expected


@pytest.mark.parametrize(("steps_of", "expected"), [(None, [[3, 3], [3], [2]]), ({1: 4}.get, [[3, 3], [4], [1]])])
def test_pieces_of_a_batch(steps_of, expected):
    batch = module.Batch(None, np.array([7, 8]), np.array([0, 8]), np.array([8, 3]))
    pieces = list(batch.pieces(3, steps_of))
    assert [list(piece.lengths) for _, piece in pieces] == expected
    assert [begin for begin, _ in pieces] == [0, 3, 6 if steps_of is None else 7]
    assert all(piece.starts[0] == begin for begin, piece in pieces)
