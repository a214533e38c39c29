"""What holds before a fit, and after one that was refused."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastrecur import RNNClassifier, RNNRegressor
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    REGRESSORS,
    assert_same_bits,
    make_array,
    make_ragged,
    make_targets,
    outputs,
    tiny,
    with_value,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 12  # sequences of the good data


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "score"])
@pytest.mark.parametrize("cls", CLASSES)
def test_prediction_before_fit(cls, method, no_network):
    if method not in ("predict", "score") and cls in REGRESSORS:
        assert not hasattr(cls(), method)
        return
    X = make_ragged(n=N)
    arguments = (X, make_targets(cls, X)) if method == "score" else (X,)
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
        getattr(cls(), method)(*arguments)


#: One fit for each check, all of which but the first bring other features, labels or targets than a good one.
REFUSED = {
    "X": lambda cls: (with_value(np.nan), make_targets(cls, make_ragged(n=N)), {}),
    "fewer y": lambda cls: (make_array(n=N, n_features=2), make_targets(cls, make_ragged(n=N))[:-1], {}),
    "y": lambda cls: (make_array(n=N)[:, :, 0], np.full(N, np.nan), {}),
    "sample_weight": lambda cls: (
        make_array(n=N, n_features=2),
        make_array(n=N)[:, 0, 0] > 0 if cls in CLASSIFIERS else 1e3 * np.arange(N).reshape(-1, 2).repeat(2, axis=0),
        {"sample_weight": np.zeros(N)},
    ),
    "early_stopping": lambda cls: (
        make_array(n=N, n_features=2),
        np.arange(N) if cls in CLASSIFIERS else 1e3 * np.arange(N),
        {"early_stopping": True, "validation_fraction": 0.99},
    ),
    "hidden_size": lambda cls: (make_array(n=N, n_features=2), np.arange(N) % 4, {"hidden_size": 10**6}),
    "solver": lambda cls: (make_array(n=N, n_features=2), np.arange(N) % 4, {"solver": "newton"}),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_refused_fit_leaves_nothing(cls, what):
    X, y, options = REFUSED[what](cls)
    weights = options.pop("sample_weight", None)
    estimator = tiny(cls, **options)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(X, y, sample_weight=weights)
    assert vars(estimator) == estimator.get_params()
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_refused_refit_changes_nothing(cls, what):
    """The fitted attributes, and predictions once the parameters are set back."""
    X = make_ragged(n=N)
    estimator = tiny(cls).fit(X, make_targets(cls, X))
    parameters, before = estimator.get_params(), vars(estimator).copy()
    expected, labels = outputs(estimator, X), estimator.predict(X)
    bad_X, bad_y, options = REFUSED[what](cls)
    weights = options.pop("sample_weight", None)
    with pytest.raises((ValueError, TypeError)):
        estimator.set_params(**options).fit(bad_X, bad_y, sample_weight=weights)
    estimator.set_params(**parameters)
    assert vars(estimator).keys() == before.keys()
    assert_same_bits(outputs(estimator, X), expected)
    assert_same_bits(estimator.predict(X), labels)


@pytest.mark.parametrize(
    "change", [{"num_layers": 1}, {"num_layers": 3}, {"hidden_size": 5}, {"bidirectional": False}], ids=str
)
@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_set_after_fit_wait_for_the_next_one(cls, change):
    """As everywhere in scikit-learn: a prediction is that of the network that was fitted."""
    X = make_ragged(n=N)
    estimator = tiny(cls, num_layers=2, bidirectional=True).fit(X, make_targets(cls, X))
    expected = outputs(estimator, X)
    assert_same_bits(outputs(estimator.set_params(**change), X), expected)


@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_nonlinearity_set_after_fit_waits_for_the_next_one(cls):
    X = make_ragged(n=N)
    estimator = tiny(cls).fit(X, make_targets(cls, X))
    expected = outputs(estimator, X)
    assert_same_bits(outputs(estimator.set_params(nonlinearity="relu"), X), expected)
