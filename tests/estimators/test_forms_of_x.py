"""The memory that X lies in, its container and its numbers' type change neither a fit nor a prediction."""

import itertools

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier
from tests.estimators.data import (
    CLASSES,
    DEPTHS,
    LAYOUTS,
    assert_same_bits,
    assert_same_weights,
    make_array,
    make_estimator,
    make_targets,
    object_array,
    outputs,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- the memory that X lies in ---------------------------------------------------------------------------------------


def assert_same_model(case, X, y=None):
    """A fit and a prediction on ``X`` have the bits of those on ``case.X``."""
    estimator = case.again().fit(X, case.y if y is None else y)
    assert_same_weights(estimator, case.estimator)
    expected = outputs(case.estimator, case.X)
    assert_same_bits(outputs(estimator, X), expected)
    assert_same_bits(outputs(case.estimator, X), expected)


def every_sequence(case, change):
    """X changed as a whole where it is an array, sequence by sequence where it is a list."""
    return [change(x) for x in case.X] if isinstance(case.X, list) else change(case.X)


def test_read_only_memory_maps(case, tmp_path):
    joblib.dump((case.X, case.y), tmp_path / "data")
    X, y = joblib.load(tmp_path / "data", mmap_mode="r")
    one = X[0] if isinstance(X, list) else X
    assert isinstance(one, np.memmap)
    assert not one.flags.writeable
    assert_same_model(case, X, y)


def test_read_only_arrays(case):
    def lock(x):
        x = x.copy()
        x.flags.writeable = False
        return x

    assert_same_model(case, every_sequence(case, lock), lock(case.y))


def test_fortran_order(case):
    assert_same_model(case, every_sequence(case, np.asfortranarray))


def test_views_with_gaps_and_backwards(case):
    def spread(x):
        wide = np.full(tuple(2 * n + 1 for n in x.shape), np.nan)
        view = wide[tuple(slice(-2, None, -2) for _ in x.shape)]
        view[...] = x
        assert not view.flags.c_contiguous or view.size <= 1
        return view

    assert_same_model(case, every_sequence(case, spread), np.repeat(case.y, 2)[::2])


def test_the_axes_in_another_order_in_memory():
    X = make_array()
    y = make_targets(GRUClassifier, X)
    time_major = np.ascontiguousarray(X.transpose(1, 0, 2)).transpose(1, 0, 2)
    channels_first = np.ascontiguousarray(X.transpose(0, 2, 1)).transpose(0, 2, 1)
    expected = make_estimator(GRUClassifier).fit(X, y)
    for other in (time_major, channels_first):
        assert not other.flags.c_contiguous
        assert_same_weights(make_estimator(GRUClassifier).fit(other, y), expected)
        assert_same_bits(expected.predict_proba(other), expected.predict_proba(X))


def test_the_other_byte_order(case):
    assert_same_model(case, every_sequence(case, lambda x: x.astype(x.dtype.newbyteorder())))


# --- the same sequences in another container -------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["ragged", "scalars"])
@pytest.mark.parametrize("cls", CLASSES)
def test_containers_of_ragged_sequences(cls, layout):
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    estimator = make_estimator(cls).fit(X, y)
    expected = outputs(estimator, X)
    containers = {
        "tuple": tuple(X),
        "object array": object_array(X),
        "series": pd.Series(X),
        "nested lists": [x.tolist() for x in X],
        "arrays of objects": [x.astype(object) for x in X],
        "data frames": [pd.DataFrame(x) if x.ndim == 2 else pd.Series(x) for x in X],
    }
    for name, container in containers.items():
        other = make_estimator(cls).fit(container, list(y))
        assert_same_weights(other, estimator)
        np.testing.assert_array_equal(outputs(estimator, container), expected, strict=True, err_msg=name)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_list_of_equal_lengths_is_the_array(cls, depth):
    X = make_array()
    y = make_targets(cls, X)
    array = make_estimator(cls, depth).fit(X, y)
    for container in (list(X), tuple(X), object_array(X), X.tolist(), X.astype(object)):
        other = make_estimator(cls, depth).fit(container, y)
        assert_same_weights(other, array)
        assert other.n_features_in_ == array.n_features_in_ == 3
        assert_same_bits(outputs(array, container), outputs(array, X))
        assert_same_bits(outputs(other, X), outputs(array, X))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_table_is_the_array_of_one_feature(cls, depth):
    X = make_array()[:, :, 0]
    y = make_targets(cls, X)
    table, array = make_estimator(cls, depth).fit(X, y), make_estimator(cls, depth).fit(X[:, :, np.newaxis], y)
    assert_same_weights(table, array)
    assert (table.n_features_in_, array.n_features_in_) == (8, 1)
    expected = outputs(table, X)
    for estimator, form in itertools.product((table, array), (X, X[:, :, np.newaxis], list(X), pd.DataFrame(X))):
        assert_same_bits(outputs(estimator, form), expected)


# --- numbers of other types ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["array", "ragged", "table"])
@pytest.mark.parametrize("cls", CLASSES)
def test_dtypes(cls, layout, dtype):
    """What the network computes in is ``dtype``'s affair; a regressor answers in the dtype of X."""
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    X = [x.astype(np.float32) for x in X] if isinstance(X, list) else X.astype(np.float32)
    X_64 = [x.astype(np.float64) for x in X] if isinstance(X, list) else X.astype(np.float64)
    estimator = make_estimator(cls, dtype=dtype).fit(X, y)
    assert {array.dtype for array in estimator.weights_.values()} == {np.dtype(dtype)}
    assert_same_weights(make_estimator(cls, dtype=dtype).fit(X_64, y), estimator)
    narrow, wide = outputs(estimator, X), outputs(estimator, X_64)
    if is_classifier(estimator):
        assert narrow.dtype == dtype
        assert_same_bits(narrow, wide)
    else:
        assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        assert_same_bits(narrow, wide.astype(np.float32))


@pytest.mark.parametrize("cls", [LSTMClassifier, GRURegressor])
def test_whole_numbers_and_booleans(cls):
    X = np.random.default_rng(0).integers(0, 2, size=(40, 8, 3))
    y = make_targets(cls, X)
    estimator = make_estimator(cls).fit(X.astype(np.float64), y)
    for dtype in (np.int64, np.uint8, bool):
        assert_same_weights(make_estimator(cls).fit(X.astype(dtype), y), estimator)
        assert_same_bits(outputs(estimator, X.astype(dtype)), outputs(estimator, X.astype(np.float64)))
    assert_same_weights(make_estimator(cls).fit(X.astype(np.float16), y), estimator)


@pytest.mark.parametrize("cls", CLASSES)
def test_double_precision_is_close_to_single_and_is_not_it(cls):
    X = make_array()
    y = make_targets(cls, X)
    single, double = (
        outputs(make_estimator(cls, "deep", dtype=dtype).fit(X, y), X) for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)
    assert not np.array_equal(single, double)
