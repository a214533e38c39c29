"""Sequences as a stack of time steps: chosen, and put back into the layout of X."""

import numpy as np
import pytest

from fastrecur.sequences import Sequences, check_sequences
from tests.helpers import sequence_of


def test_take():
    sequences = check_sequences([np.arange(3.0), np.arange(10.0, 11), np.arange(20.0, 22)])
    chosen = sequences.take([2, 0, 2])
    assert len(chosen) == 3
    assert chosen.values is sequences.values
    np.testing.assert_array_equal(chosen.lengths, [2, 3, 2])
    np.testing.assert_array_equal(sequence_of(chosen, 0).ravel(), [20, 21])
    np.testing.assert_array_equal(sequence_of(chosen, 1).ravel(), [0, 1, 2])
    np.testing.assert_array_equal(sequences.take([False, True, False]).starts, [3])
    assert chosen.layout == "ragged"
    assert chosen.scalar_steps


def test_unstack_inverts_stacking():
    X = np.arange(24.0).reshape(4, 3, 2)
    sequences = check_sequences(X)
    np.testing.assert_array_equal(sequences.unstack(sequences.values), X)
    sequences = check_sequences(X[:, :, 0])
    assert sequences.unstack(sequences.values).shape == (4, 3, 1)
    np.testing.assert_array_equal(sequences.unstack(sequences.values[:, 0]), X[:, :, 0])
    sequences = check_sequences([X[0], X[1, :1]])
    first, second = sequences.unstack(sequences.values)
    np.testing.assert_array_equal(first, X[0])
    np.testing.assert_array_equal(second, X[1, :1])


def test_unstack_follows_the_order_taken():
    chosen = check_sequences([[1, 2], [3]]).take([1, 0])
    assert [part.tolist() for part in chosen.unstack(np.arange(3))] == [[0], [1, 2]]


def test_unstack_refuses_another_number_of_rows():
    with pytest.raises(ValueError, match="rows has 3 rows, but the sequences have 4 time steps in all"):
        check_sequences([[1, 2], [3, 4]]).unstack(np.zeros(3))


def test_sequences_compare_by_identity():
    sequences = check_sequences([[1, 2]])
    assert sequences == sequences
    assert sequences != check_sequences([[1, 2]])
    assert isinstance(sequences, Sequences)
