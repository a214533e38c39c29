"""After fit: what a prediction still asks of parameters that were set, what a warm start takes, and what is left."""

import copy

import numpy as np
import pytest

from fastrecur import LSTMClassifier, LSTMRegressor, RNNClassifier
from fastrecur.network.workspace import Workspace
from tests.estimators.data import CLASSES, DEPTHS, assert_same_bits, make_array, make_ragged, make_targets, outputs
from tests.helpers import nothing_left_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = make_array(n=20)


def quick(cls, **parameters):
    return cls(**{"hidden_size": 4, "max_iter": 1, "random_state": 0, **parameters})


@pytest.fixture(scope="module", params=CLASSES, ids=lambda cls: cls.__name__)
def fitted(request):
    """An estimator of single precision; no test may change it."""
    return quick(request.param).fit(X, make_targets(request.param, X))


# --- prediction ------------------------------------------------------------------------------------------------------


def test_values_beyond_the_fitted_precision_are_refused(fitted):
    estimator = copy.copy(fitted).set_params(dtype="float64")
    with pytest.raises(ValueError, match=r"values beyond 3.4e\+38.*dtype='float32'.*fit with dtype='float64'"):
        estimator.predict(1e39 * X)
    assert_same_bits(outputs(estimator, X), outputs(fitted, X))


def test_values_within_the_fitted_precision_are_taken():
    estimator = quick(LSTMRegressor, dtype="float64").fit(X, X[:, 0, 0])
    expected = outputs(estimator, 1e39 * X)
    assert_same_bits(outputs(estimator.set_params(dtype="float32"), 1e39 * X), expected)


@pytest.mark.parametrize("n_threads", [0, -1, "two", 1.5, True])
def test_n_threads_is_checked(fitted, n_threads):
    estimator = copy.copy(fitted).set_params(n_threads=n_threads)
    text = rf"'n_threads' parameter of {type(fitted).__name__} must be an int .*None\. Got {n_threads!r}"
    with pytest.raises(ValueError, match=text):
        estimator.predict(X)


@pytest.mark.parametrize("n_threads", [1, 2, np.int8(2), None])
def test_n_threads_may_be_set(fitted, n_threads):
    assert_same_bits(outputs(copy.copy(fitted).set_params(n_threads=n_threads), X), outputs(fitted, X))


def test_other_parameters_wait_for_the_next_fit(fitted):
    estimator = copy.copy(fitted).set_params(hidden_size="many", solver="none", max_iter=0)
    assert_same_bits(outputs(estimator, X), outputs(fitted, X))


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "change", "found"),
    [
        (LSTMClassifier, {"dtype": "float64"}, "dtype float32 to float64"),
        (RNNClassifier, {"nonlinearity": "relu"}, "nonlinearity tanh to relu"),
        (RNNClassifier, {"nonlinearity": "relu", "hidden_size": 5}, "hidden_size 4 to 5, nonlinearity tanh to relu"),
        (LSTMClassifier, {"bidirectional": True}, "bidirectional False to True"),
    ],
)
def test_a_warm_start_refuses_another_network(cls, change, found):
    estimator = quick(cls, warm_start=True).fit(X, make_targets(cls, X))
    expected = outputs(estimator, X)
    with pytest.raises(ValueError, match=f"warm_start=True .*{found} was changed.*warm_start=False"):
        estimator.set_params(**change).fit(X, make_targets(cls, X))
    assert_same_bits(outputs(estimator, X), expected)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_buffers_do_not_wait_for_a_search_for_garbage(method, depth):
    X = make_ragged()
    estimator = quick(LSTMClassifier, **DEPTHS[depth]).fit(X, make_targets(LSTMClassifier, X))
    arguments = (X,) if method == "predict" else (X, estimator.predict(X))
    with nothing_left_of(Workspace):
        getattr(estimator, method)(*arguments)
