"""What `check_sequences` refuses, what it remembers for an estimator, and scikit-learn's own checks of that."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fastrecur.sequences import check_sequences
from tests.helpers import MeanTarget, StepMean, objects

MATRIX = np.ones((1, 1)).view(np.matrix)  # its constructor warns, and that would end the collection

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
        (MATRIX, TypeError, "X cannot be read as sequences of numbers: np.matrix is not supported"),
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
