"""pad_sequences, unpad_sequences, from_channels_first."""

import numpy as np
import pandas as pd
import pytest

from fastrecur import LSTMClassifier
from fastrecur.layers import GRU
from fastrecur.preprocessing import from_channels_first, pad_sequences, unpad_sequences
from tests.helpers import objects

rng = np.random.default_rng(0)
RAGGED = [rng.normal(size=(length, 3)) for length in (3, 1, 7, 2)]
SCALARS = [rng.normal(size=length) for length in (3, 1, 7, 2)]
TOKENS = [rng.integers(9, size=length) for length in (2, 5, 1)]


def assert_same_sequences(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


# pad_sequences


@pytest.mark.parametrize("container", [list, tuple, lambda X: objects(*X)], ids=["list", "tuple", "object array"])
def test_what_is_there_and_what_is_added(container):
    array, lengths = pad_sequences(container(RAGGED), value=-1)
    assert array.shape == (4, 7, 3)
    assert lengths.tolist() == [3, 1, 7, 2]
    for padded, x in zip(array, RAGGED, strict=True):
        np.testing.assert_array_equal(padded[: len(x)], x)
        assert (padded[len(x) :] == -1).all()


@pytest.mark.parametrize("X", [RAGGED, SCALARS, TOKENS, [x.astype("float32") for x in RAGGED]])
def test_there_and_back(X):
    assert_same_sequences(unpad_sequences(*pad_sequences(X)), X)


def test_without_an_axis_of_features():
    array, _ = pad_sequences(SCALARS, value=np.nan)
    assert array.shape == (4, 7)
    assert np.isnan(array[1, 1:]).all()


@pytest.mark.parametrize("X", [np.arange(24.0).reshape(2, 4, 3), np.arange(6.0).reshape(2, 3)])
def test_arrays_need_no_padding(X):
    array, lengths = pad_sequences(X)
    np.testing.assert_array_equal(array, X)
    assert not np.shares_memory(array, X)
    assert lengths.tolist() == [X.shape[1]] * 2


def test_a_frame():
    assert pad_sequences(pd.DataFrame({"t0": [1.0, 2.0], "t1": [3.0, 4.0]}))[0].tolist() == [[1, 3], [2, 4]]


def test_dtypes():
    assert pad_sequences([np.array([1, 2], "uint8"), np.array([3], "uint8")])[0].dtype == np.uint8
    assert pad_sequences([[1, 2], [3]])[0].dtype == np.int64
    assert pad_sequences([np.array([1]), np.array([0.5])])[0].dtype == np.float64
    assert pad_sequences([np.array([True, False]), np.array([True])])[0].dtype == np.float64


def test_nan_stays():
    assert np.isnan(pad_sequences([[np.nan, 1.0], [2.0]])[0][0, 0])


def test_layers_take_what_comes_out():
    layer = GRU(3, 5, random_state=0)
    array, lengths = pad_sequences(RAGGED)
    order = np.argsort(-lengths)
    y, _ = layer.forward(array[order], lengths=lengths[order])
    alone, _ = layer.forward(RAGGED[order[1]][np.newaxis])
    np.testing.assert_array_equal(y[1, : lengths[order[1]]], alone[0])


@pytest.mark.parametrize(
    ("X", "value", "kind", "message"),
    [
        (RAGGED, "0", TypeError, "value must be a number, found '0'"),
        (RAGGED, True, TypeError, "value must be a number, found True"),
        (TOKENS, np.nan, ValueError, "value=nan is none that int64"),
        (TOKENS, 0.5, ValueError, "value=0.5 is none that int64, the dtype of X, can hold. Convert X"),
        ([np.array([1], "uint8")], -1, ValueError, "value=-1 is none that uint8"),
        ([np.array([1], "float32")], 1e300, ValueError, "value=1e.300 is none that float32"),
        ([np.array([2**60 + 1])], 0, ValueError, r"beyond 2\*\*53"),
        ([[1], []], 0, ValueError, "Sequence 1 of X has length 0"),
        ([], 0, ValueError, "X is empty"),
        ([RAGGED[0], SCALARS[0]], 0, ValueError, "mixes 1-D and 2-D"),
        (["ab", "c"], 0, (TypeError, ValueError), "X"),
        ([[np.inf], [1, 2]], 0, ValueError, "X contains infinity"),
    ],
)
def test_what_cannot_be_padded(X, value, kind, message):
    with pytest.raises(kind, match=message):
        pad_sequences(X, value)


# unpad_sequences


def test_results_of_any_kind():
    labels = np.array([["a", "b"], ["c", ""]])
    assert_same_sequences(unpad_sequences(labels, [2, 1]), [labels[0], labels[1, :1]])
    assert unpad_sequences(np.zeros((1, 4, 2, 3)), np.array([2], "uint8"))[0].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("array", "lengths", "kind", "message"),
    [
        (np.zeros(3), [1, 1, 1], ValueError, r"array has shape \(3,\)"),
        (np.zeros((2, 3)), [1], ValueError, r"lengths has shape \(1,\), but array has 2 sequence"),
        (np.zeros((2, 3)), [[1, 2]], ValueError, r"lengths has shape \(1, 2\)"),
        (np.zeros((2, 3)), [1, 4], ValueError, r"lengths\[1\] is 4, but array has 3 time step"),
        (np.zeros((2, 3)), [0, 1], ValueError, r"lengths\[0\] is 0"),
        (np.zeros((2, 3)), [1.0, 2.0], TypeError, "lengths must hold integers, found dtype float64"),
        (np.ma.masked_equal([[1, 2]], 2), [1], ValueError, "array has 1 masked"),
    ],
)
def test_what_cannot_be_cut(array, lengths, kind, message):
    with pytest.raises(kind, match=message):
        unpad_sequences(array, lengths)


# from_channels_first


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_with_its_features_first(dtype):
    X = rng.normal(size=(4, 3, 6)).astype(dtype)
    turned = from_channels_first(X)
    assert turned.dtype == dtype
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, np.moveaxis(X, 1, 2))
    assert not np.shares_memory(turned, X)


@pytest.mark.parametrize("container", [list, tuple, lambda X: objects(*X)], ids=["list", "tuple", "object array"])
def test_a_list_with_its_features_first(container):
    turned = from_channels_first(container([x.T for x in RAGGED]))
    assert isinstance(turned, list)
    assert_same_sequences(turned, RAGGED)


def test_one_feature_first_is_copied_too():
    X = np.arange(12.0).reshape(4, 1, 3)
    turned = from_channels_first(X)
    turned[:] = -1
    assert X.min() == 0
    one = [np.arange(3.0).reshape(1, 3)]
    from_channels_first(one)[0][:] = -1
    assert one[0].min() == 0


def test_nested_lists_and_missing_values():
    np.testing.assert_array_equal(from_channels_first([[[1, 2, np.nan]], [[4, 5, 6]]])[0], [[1], [2], [np.nan]])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_take_what_comes_out():
    X, y = [rng.normal(size=(2, length)) for length in (3, 5, 4, 6)], [0, 1, 0, 1]
    model = LSTMClassifier(3, max_iter=1, random_state=0).fit(from_channels_first(X), y)
    assert model.n_features_in_ == 2


@pytest.mark.parametrize(
    ("X", "kind", "message"),
    [
        (np.zeros((4, 5)), ValueError, r"X has shape \(4, 5\), but features first have three axes.*as it is"),
        (np.zeros(4), ValueError, "three axes"),
        ([np.zeros(4), np.zeros(3)], ValueError, r"Sequence 0 of X has shape \(4,\), but features first have two axes"),
        ([np.zeros((2, 4)), np.zeros((3, 4))], ValueError, "sequence 1 has 3, sequence 0 has 2"),
        ([np.zeros((2, 4)), np.zeros((2, 0))], ValueError, "Sequence 1 of X has length 0"),
        (np.zeros((0, 2, 3)), ValueError, "X is empty"),
        (np.full((1, 2, 3), "a"), ValueError, "X"),
        (np.full((1, 2, 3), np.inf), ValueError, "X contains infinity: sequence 0, step 0, feature 0"),
        (np.ma.masked_equal(np.zeros((1, 1, 2)), 0), ValueError, "X has 2 masked"),
    ],
)
def test_what_has_no_features_first(X, kind, message):
    with pytest.raises(kind, match=message):
        from_channels_first(X)
