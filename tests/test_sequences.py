"""What X may be: every form, every refusal, and scikit-learn's own checks on estimators that only check X."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d, estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from fastrecur.sequences import Sequences, array_or_elements, check_sequences


class SequenceTags:
    """The tags of every estimator of sequences."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        return tags


class StepMean(SequenceTags, TransformerMixin, BaseEstimator):
    """The mean time step of each sequence: (n, F)."""

    def fit(self, X, y=None):
        check_sequences(X, estimator=self)
        return self

    def transform(self, X):
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False)
        return np.add.reduceat(sequences.values, sequences.starts) / sequences.lengths[:, np.newaxis]


class MeanTarget(SequenceTags, RegressorMixin, BaseEstimator):
    """The mean of y, whatever X holds."""

    def fit(self, X, y):
        sequences = check_sequences(X, estimator=self)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = check_array(column_or_1d(y, warn=True), ensure_2d=False, input_name="y")
        check_consistent_length(sequences, y)
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        check_is_fitted(self)
        return np.full(len(check_sequences(X, estimator=self, reset=False)), self.mean_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


def objects(*elements):
    """An array of shape (n,) whose elements are objects."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def sequence_of(sequences, i):
    """Time steps of sequence i (T_i, F)."""
    return sequences.values[sequences.starts[i] : sequences.starts[i] + sequences.lengths[i]]


# Forms


def test_array():
    X = np.arange(24.0).reshape(4, 3, 2)
    sequences = check_sequences(X)
    assert sequences.layout == "array"
    assert not sequences.scalar_steps
    assert len(sequences) == sequences.n_sequences == 4
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


# Sequences


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


# Refusals


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        # nothing there
        ([], ValueError, r"X is empty: 0 sample\(s\) \(shape=\(0,\)\) while a minimum of 1 is required"),
        ((), ValueError, "X is empty"),
        (objects(), ValueError, "X is empty"),
        (np.empty((0, 3)), ValueError, r"X is empty: 0 sample\(s\) \(shape=\(0, 3\)\)"),
        (np.empty((0, 3, 2)), ValueError, "X is empty.*Pass at least one sequence"),
        (pd.DataFrame(), ValueError, "X is empty"),
        (pd.DataFrame(columns=["a"]), ValueError, "X is empty"),
        (pd.DataFrame(index=range(3)), ValueError, "length 0"),
        # a sequence of length 0
        (np.empty((5, 0)), ValueError, r"0 feature\(s\) \(shape=\(5, 0\)\) while a minimum of 1 is required"),
        (np.empty((5, 0, 2)), ValueError, r"0 time step\(s\) \(shape=\(5, 0, 2\)\).*length 0"),
        ([[1.0], [], [2.0]], ValueError, "Sequence 1 of X has length 0. Pass sequences of one time step or more"),
        ([np.ones((2, 2)), np.ones((0, 2))], ValueError, "Sequence 1 of X has length 0"),
        ([np.ones((2, 2)), np.array([])], ValueError, "Sequence 1 of X has length 0"),
        ([[], []], ValueError, r"shape=\(2, 0\).*length 0"),
        # no features
        (np.empty((5, 3, 0)), ValueError, r"0 feature\(s\) \(shape=\(5, 3, 0\)\) while a minimum of 1 is required"),
        ([np.empty((3, 0)), np.empty((2, 0))], ValueError, r"0 feature\(s\) \(sequence 0 has shape \(3, 0\)\)"),
        # different numbers of features
        ([np.ones((2, 2)), np.ones((3, 2)), np.ones((2, 3))], ValueError, "sequence 2 has 3, sequence 0 has 2"),
        ([[[1, 2], [3, 4]], [[1], [2]]], ValueError, "differ in their number of features: sequence 1 has 1"),
        ([[[1, 2]], [[1, 2], [3]]], ValueError, "Sequence 1 of X is a nested list whose time steps differ"),
        # dimensions
        (np.ones(4), ValueError, r"got a 1D array of shape \(4,\). Reshape your data"),
        ([1, 2, 3], ValueError, "Reshape your data"),
        ([np.float64(1), np.float32(2)], ValueError, "Reshape your data"),
        (objects(1, 2), ValueError, "Reshape your data"),
        (pd.Series([1.0, 2.0]), ValueError, "Reshape your data"),
        (np.ones((2, 2, 2, 2)), ValueError, r"X has 4 dimensions \(shape=\(2, 2, 2, 2\)\), but at most 3"),
        ([[[[1]]]], ValueError, "X has 4 dimensions"),
        (np.ones((1,) * 5), ValueError, "X has 5 dimensions"),
        ([np.ones(2), np.ones((2, 2, 2))], ValueError, "Sequence 1 of X has 3 dimensions"),
        (3.5, ValueError, "X is a scalar, 3.5"),
        (None, ValueError, "X is a scalar, None. Pass an array"),
        ([np.ones(2), np.ones((2, 1))], ValueError, r"mixes 1-D and 2-D.*sequence 0 has shape \(2,\), sequence 1 has"),
        ([np.ones((2, 1)), np.ones((2, 1)), np.ones(3)], ValueError, r"sequence 2 has shape \(3,\).*reshape\(-1, 1\)"),
        # NaN and infinity
        ([[1.0, np.nan]], ValueError, "X contains NaN: sequence 0, step 1, feature 0. Impute the value"),
        ([[1.0, -np.inf]], ValueError, "X contains infinity: sequence 0, step 1, feature 0. Clip the value"),
        ([[1.0, None]], ValueError, "X contains NaN: sequence 0, step 1"),
        ([[1.0], [2.0, np.nan, np.inf]], ValueError, r"NaN: sequence 1, step 1, feature 0 \(and 1 more such values\)"),
        ([np.ones((2, 2)), np.array([[1, np.inf]], "f4")], ValueError, "infinity: sequence 1, step 0, feature 1"),
        (np.where(np.arange(24).reshape(4, 3, 2) == 17, np.nan, 1), ValueError, "NaN: sequence 2, step 2, feature 1"),
        # strings
        ("ab", ValueError, r"X holds strings \(dtype <U2\). Convert them to numbers"),
        (["ab", "cd"], ValueError, "X holds strings"),
        (np.array([["1.5", "2"]]), ValueError, "X holds strings"),
        (np.array([[b"1"]]), ValueError, "X holds strings"),
        ([["a", "b"], ["c"]], ValueError, "Sequence 0 of X holds strings"),
        ([np.ones(1), np.array(["c"])], ValueError, "Sequence 1 of X holds strings"),
        ([np.ones(1), "c"], TypeError, "Sequence 1 of X is a str"),
        (np.array([[1, "2"]], dtype=object), ValueError, "X holds '2' at sequence 0, step 1, a string"),
        ([np.array([[1, b"2"]], dtype=object)], ValueError, "Sequence 0 of X holds b'2' at step 0, feature 1, a str"),
        (pd.DataFrame({"a": [1.0], "b": ["2"]}), ValueError, "X holds '2' at sequence 0, step 1, a string"),
        # other objects
        ([[1, {}], [2, 3]], TypeError, "X holds {} at sequence 0, step 1, which is not a number: .* argument must be"),
        ([np.ones(1), np.array([[]], dtype=object).T, None], TypeError, "Sequence 2 of X is a NoneType"),
        ([np.ones(1), np.array([1, print], dtype=object)], TypeError, "Sequence 1 of X holds <built-in.* at step 1"),
        ([{}, {}], TypeError, "Sequence 0 of X is a dict. In a list each sequence must be an array"),
        ([1, [2, 3]], TypeError, "Sequence 0 of X is a int"),
        ([np.array(1.0), np.ones(2)], TypeError, "Sequence 0 of X is a ndarray"),
        ({}, TypeError, "X is a dict, which is not a number.*Pass an array"),
        ((i for i in range(3)), TypeError, "X is a generator"),
        (np.array([["2026-01-01"]], "datetime64[D]"), TypeError, "X has dtype datetime64.*holds no numbers"),
        (np.zeros((2, 2), [("a", "f4")]), TypeError, "X has dtype .*holds no numbers"),
        ([np.zeros(2, "timedelta64[s]")], TypeError, "Sequence 0 of X has dtype timedelta64"),
        (np.matrix([[1.0]]), TypeError, "X cannot be read as sequences of numbers: np.matrix is not supported"),
        # complex
        (np.ones((2, 2), complex), ValueError, "Complex data not supported"),
        ([[1j, 2]], ValueError, "Complex data not supported"),
        ([np.ones(2), np.ones(2, complex)], ValueError, "Complex data not supported: Sequence 1 of X"),
        (np.array([[1j]], dtype=object), ValueError, "Complex data not supported: X holds 1j at sequence 0, step 0"),
        # sparse
        (sparse.csr_array(np.eye(3)), TypeError, "Sparse data was passed for X, but dense data is required"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0], fill_value=0.0)}), TypeError, "Sparse data was passed"),
        ([sparse.csr_array(np.eye(2))], TypeError, "Sequence 0 of X is a csr_array"),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass is not the recommended way:PendingDeprecationWarning")
def test_refusals(X, error, message):
    estimator = StepMean()
    for arguments in ({}, {"estimator": estimator}):
        with pytest.raises(error, match=f"(?s){message}"):
            check_sequences(X, **arguments)
    assert vars(estimator) == {}, "a refused X leaves its traces on the estimator"


def test_the_estimator_is_named():
    with pytest.raises(ValueError, match="while a minimum of 1 is required by StepMean"):
        check_sequences(np.empty((0, 3)), estimator=StepMean())


def test_allow_nan():
    X = [np.array([1, np.nan]), np.array([2.0])]
    assert np.isnan(check_sequences(X, allow_nan=True).values[1, 0])
    X[1][0] = np.inf
    with pytest.raises(ValueError, match="infinity: sequence 1, step 0, feature 0"):
        check_sequences(X, allow_nan=True)


def test_a_sum_that_overflows_is_no_infinity():
    X = np.full((2, 2), np.finfo(np.float64).max)
    assert check_sequences(X).values.max() == np.finfo(np.float64).max
    X[1] *= -1
    check_sequences(np.full((2, 2), np.finfo(np.float32).max, dtype=np.float32))


def test_assume_finite():
    with config_context(assume_finite=True):
        assert np.isnan(check_sequences([[np.nan]]).values[0, 0])


# What fit saw

FEATURES_1 = {
    "table": np.ones((5, 4)),
    "array": np.ones((5, 4, 1)),
    "ragged": [np.ones((2, 1)), np.ones((3, 1))],
    "scalars": [np.ones(2), np.ones(3)],
}
FEATURES_3 = {"array": np.ones((5, 4, 3)), "ragged": [np.ones((2, 3)), np.ones((3, 3))]}


@pytest.mark.parametrize(("fitted", "n_features"), [("table", 4), ("array", 1), ("ragged", 1), ("scalars", 1)])
@pytest.mark.parametrize("given", FEATURES_1)
def test_one_feature_in_any_layout(fitted, n_features, given):
    estimator = StepMean().fit(FEATURES_1[fitted])
    assert estimator.n_features_in_ == n_features
    assert estimator._n_step_features == 1
    assert estimator._fit_layout == ("ragged" if fitted == "scalars" else fitted)
    assert estimator.transform(FEATURES_1[given]).shape == (len(FEATURES_1[given]), 1)


@pytest.mark.parametrize("fitted", FEATURES_3)
@pytest.mark.parametrize("given", FEATURES_3)
def test_many_features_in_any_layout(fitted, given):
    estimator = StepMean().fit(FEATURES_3[fitted])
    assert estimator.n_features_in_ == estimator._n_step_features == 3
    assert estimator.transform(FEATURES_3[given]).shape == (len(FEATURES_3[given]), 3)


def test_another_length_than_the_table_of_fit():
    estimator = StepMean().fit(np.ones((5, 4)))
    with pytest.raises(ValueError, match="X has 3 features, but StepMean is expecting 4 features as input") as caught:
        estimator.transform(np.ones((5, 3)))
    assert "Pass sequences of another length as an array (n, T, 1) or as a list of 1-D arrays" in str(caught.value)
    assert estimator.transform(np.ones((5, 3, 1))).shape == (5, 1)
    assert estimator.transform(list(np.ones((5, 3)))).shape == (5, 1)
    assert StepMean().fit(np.ones((5, 4, 1))).transform(np.ones((5, 3))).shape == (5, 1)


@pytest.mark.parametrize("fitted", FEATURES_3)
@pytest.mark.parametrize("given", [np.ones((5, 4, 2)), [np.ones((2, 2)), np.ones((3, 2))]], ids=["array", "ragged"])
def test_other_features_than_fit(fitted, given):
    estimator = StepMean().fit(FEATURES_3[fitted])
    with pytest.raises(ValueError, match="X has 2 features a time step, but StepMean is expecting 3 features as input"):
        estimator.transform(given)


def test_a_table_for_many_features():
    estimator = StepMean().fit(FEATURES_3["array"])
    with pytest.raises(ValueError, match=r"X has 1 features, one a time step, as every 2-D X, .*expecting 3 features"):
        estimator.transform(np.ones((5, 3)))


def test_many_features_for_a_table():
    estimator = StepMean().fit(np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"X has 3 features a time step.*expecting 1 features.*fit saw a 2-D X"):
        estimator.transform(FEATURES_3["array"])


def test_column_names():
    frame = pd.DataFrame(np.ones((3, 2)), columns=["a", "b"])
    estimator = StepMean().fit(frame)
    np.testing.assert_array_equal(estimator.feature_names_in_, ["a", "b"])
    estimator.transform(frame)
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        estimator.transform(frame[["b", "a"]])
    with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- b"):
        estimator.transform(frame[["a"]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        estimator.transform(frame.to_numpy())
    with warnings.catch_warnings():  # names belong to the columns of a table: there is nothing to compare
        warnings.simplefilter("error")
        estimator.transform(list(frame.to_numpy()))
        StepMean().fit(np.ones((3, 2, 1))).transform(frame)
    estimator.fit(np.ones((3, 4, 5)))
    assert not hasattr(estimator, "feature_names_in_")
    assert estimator.n_features_in_ == 5
    with pytest.warns(UserWarning, match="X has feature names, but StepMean was fitted without"):
        StepMean().fit(frame.to_numpy()).transform(frame)


def test_a_refit_forgets():
    estimator = StepMean().fit(np.ones((5, 4)))
    estimator.fit([np.ones((2, 3))])
    assert (estimator._fit_layout, estimator._n_step_features, estimator.n_features_in_) == ("ragged", 3, 3)


# scikit-learn's own suite


@parametrize_with_checks([StepMean(), MeanTarget()])
def test_scikit_learn_is_content(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("estimator", "n_checks"), [(StepMean(), 47), (MeanTarget(), 52)])
def test_scikit_learn_collects_its_checks(estimator, n_checks):
    # A tag that says "three dimensions only" would drop them all but one.
    assert len(list(estimator_checks_generator(estimator))) >= n_checks


@pytest.mark.filterwarnings("ignore:X .* feature names:UserWarning")  # the checks mix frames and arrays
@pytest.mark.parametrize("estimator", [StepMean(), MeanTarget()])
def test_scikit_learn_finds_the_column_names(estimator):
    estimator_checks.check_dataframe_column_names_consistency(type(estimator).__name__, estimator)
