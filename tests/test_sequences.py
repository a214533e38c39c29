"""What X may be: every form, and what becomes of it."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.preprocessing import StandardScaler

from fastrecur.preprocessing import PerTimestep
from fastrecur.sequences import array_or_elements, check_sequences
from tests.helpers import objects, sequence_of

# Forms


def test_array():
    X = np.arange(24.0).reshape(4, 3, 2)
    sequences = check_sequences(X)
    assert sequences.layout == "array"
    assert not sequences.scalar_steps
    assert len(sequences) == 4
    assert sequences.n_features == 2
    assert sequences.max_length == 3
    assert sequences.values.shape == (12, 2)
    assert sequences.starts.dtype == sequences.lengths.dtype == np.int64
    np.testing.assert_array_equal(sequences.starts, [0, 3, 6, 9])
    np.testing.assert_array_equal(sequences.lengths, [3, 3, 3, 3])
    for i in range(4):
        np.testing.assert_array_equal(sequence_of(sequences, i), X[i])


def test_table():
    X = np.arange(12.0).reshape(4, 3)
    sequences = check_sequences(X)
    assert sequences.layout == "table"
    assert sequences.scalar_steps
    assert sequences.n_features == 1
    np.testing.assert_array_equal(sequences.values, np.arange(12.0)[:, np.newaxis])
    np.testing.assert_array_equal(sequences.lengths, [3, 3, 3, 3])


def test_data_frame_is_a_table():
    frame = pd.DataFrame({"a": [1, 2], "b": [3.5, 4.5], "c": [True, False]})
    sequences = check_sequences(frame)
    assert sequences.layout == "table"
    assert sequences.values.dtype == np.float64
    np.testing.assert_array_equal(sequences.values.reshape(2, 3), [[1, 3.5, 1], [2, 4.5, 0]])


def test_data_frame_of_extension_types():
    frame = pd.DataFrame({"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([0.5, 1.5], dtype="Float32")})
    np.testing.assert_array_equal(check_sequences(frame).values.reshape(2, 2), [[1, 0.5], [2, 1.5]])
    frame.loc[1, "a"] = pd.NA
    with pytest.raises(ValueError, match="X contains NaN: sequence 1, step 0, feature 0"):
        check_sequences(frame)


@pytest.mark.parametrize("container", [list, tuple, lambda x: objects(*x)], ids=["list", "tuple", "object array"])
@pytest.mark.parametrize("lengths", [(3, 1, 2), (2, 2, 2), (4,)], ids=["ragged", "equal", "one"])
@pytest.mark.parametrize("width", [2, 1, None])
def test_arrays_in_a_list_are_ragged(container, lengths, width):
    rng = np.random.default_rng(0)
    elements = [rng.normal(size=length if width is None else (length, width)) for length in lengths]
    sequences = check_sequences(container(elements))
    assert sequences.layout == "ragged"
    assert sequences.scalar_steps == (width is None)
    assert sequences.n_features == (width or 1)
    assert sequences.max_length == max(lengths)
    assert sequences.values.flags.c_contiguous
    np.testing.assert_array_equal(sequences.lengths, lengths)
    for i, element in enumerate(elements):
        np.testing.assert_array_equal(sequence_of(sequences, i), element.reshape(len(element), -1))


@pytest.mark.parametrize(
    ("X", "layout"),
    [
        ([[1, 2], [3, 4]], "table"),
        (((1, 2), (3, 4)), "table"),
        (objects([1, 2], [3, 4]), "table"),
        ([[np.float64(1), 2], [3, 4]], "table"),
        ([[[1, 2]], [[3, 4]]], "array"),
        ([[np.array([1, 2])], [np.array([3, 4])]], "array"),
        ([[1, 2], [3]], "ragged"),
        ([[[1, 2]], [[3, 4], [5, 6]]], "ragged"),
        ([[1, 2], np.array([3, 4])], "ragged"),
        ([np.array([1, 2]), [3, 4]], "ragged"),
        ([(1, 2), [3]], "ragged"),
        ([[np.array([1, 2])], [np.array([3, 4]), np.array([5, 6])]], "ragged"),
        ([pd.Series([1, 2]), pd.Series([3, 4])], "ragged"),
        ([pd.DataFrame({"a": [1, 2], "b": [0, 0]})], "ragged"),
        (pd.Series([np.array([1, 2]), np.array([3])]), "ragged"),
        (pl.Series([[1, 2], [3]]), "ragged"),
        (pl.Series([[[1, 2]], [[3, 4], [5, 6]]]), "ragged"),
        (pl.Series([[1, 2], [3, 4]]), "table"),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), "table"),
    ],
)
def test_layout_of_lists(X, layout):
    sequences = check_sequences(X)
    assert sequences.layout == layout
    assert sequences.values[0, 0] == 1
    assert (array_or_elements(X)[1] is not None) == (layout == "ragged")


def test_object_arrays_of_numbers():
    X = np.array([[1, 2.5], [Decimal("3.5"), True]], dtype=object)
    np.testing.assert_array_equal(check_sequences(X).values.ravel(), [1, 2.5, 3.5, 1])
    np.testing.assert_array_equal(check_sequences([X[0], np.zeros(1)]).values.ravel(), [1, 2.5, 0])


# Types and memory


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        (">f4", "float32"),
        (">f8", "float64"),
        ("float16", "float32"),
        ("longdouble", "float64"),
        ("int32", "float64"),
        ("uint8", "float64"),
        ("bool", "float64"),
    ],
)
def test_types(dtype, kept):
    X = np.array([[[0, 1]], [[1, 0]]]).astype(dtype)
    for form in (X, X[:, 0], list(X), list(X[:, 0]), [X[0]]):
        values = check_sequences(form).values
        assert values.dtype == kept
        assert values.dtype.isnative
        np.testing.assert_array_equal(values.ravel()[:2], [0, 1])


@pytest.mark.parametrize(
    ("dtypes", "kept"),
    [(("f2", "f4"), "f4"), (("f4", "f8"), "f8"), (("f4", "i4"), "f8"), (("?", "i8"), "f8")],
)
def test_types_of_a_mixed_list(dtypes, kept):
    assert check_sequences([np.ones(2, dtype) for dtype in dtypes]).values.dtype == kept


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_where_memory_allows(dtype):
    X = np.ones((4, 3, 2), dtype)
    for form in (X, X[:, 0], X[:, :, 0], X[1:], [X[0]], pd.DataFrame(X[:, :, 0].copy())):
        memory = form[0] if isinstance(form, list) else np.asarray(form)
        values = check_sequences(form).values
        assert values.flags.c_contiguous
        assert np.shares_memory(values, memory) == memory.flags.c_contiguous


@pytest.mark.parametrize("make", [np.asfortranarray, lambda X: X[::-1], lambda X: X[:, ::2], lambda X: X.T])
def test_other_strides_are_copied_in_order(make):
    X = make(np.random.default_rng(0).normal(size=(4, 4, 4)))
    values = check_sequences(X).values
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values.reshape(X.shape), X)


def test_read_only_input_stays_untouched(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", shape=(3, 2, 2))
    X[:] = 1.5
    X.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    values = check_sequences(X).values
    assert type(values) is np.ndarray
    assert np.shares_memory(values, X)
    assert not values.flags.writeable


def test_data_frames_with_columns_in_another_order():
    frame = pd.DataFrame({"u": [1.0, 2.0], "v": [3.0, 4.0]})
    assert check_sequences([frame, frame]).values.tolist() == 2 * frame.to_numpy().tolist()
    text = r"names of sequence 1 of X should match .* found \['v', 'u'\], expected \['u', 'v'\]"
    with pytest.raises(ValueError, match=text):
        check_sequences([frame, frame[["v", "u"]]])
    with pytest.raises(ValueError, match=text):
        PerTimestep(StandardScaler()).fit([frame, frame[["v", "u"]]])
