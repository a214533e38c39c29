"""What y may be: the labels of a classifier, the numbers of a regressor."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor
from tests.estimators.data import (
    CLASSIFIERS,
    REGRESSORS,
    assert_same_bits,
    assert_same_weights,
    full_batch,
    make_array,
    make_order,
    make_problem,
    make_ragged,
    quick,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["no", "yes"],
        ["low", "middle", "high"],
        [0, 1],
        [-3, 7, 11, 1000],
        [False, True],
        [1.0, 2.0, 5.0],
        np.array(["b", "a"], dtype=object),
        np.array([3, 250], dtype=np.uint8),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_labels(cls, names):
    """The labels' names are no matter: the fit is that on their numbers."""
    names = np.asarray(names)
    X = make_ragged(n=48)
    numbers = np.arange(48) % len(names)
    ordered = np.sort(names)
    estimator = quick(cls).fit(X, ordered[numbers])
    assert_same_bits(estimator.classes_, ordered)
    assert estimator.predict_proba(X).shape == (48, len(names))
    assert estimator.weights_["head_weight"].shape == (len(names), 8)
    assert estimator.n_outputs_ == len(names)
    by_number = quick(cls).fit(X, numbers)
    assert_same_weights(estimator, by_number)
    assert_same_bits(estimator.predict(X), ordered[by_number.predict(X)])
    assert estimator.score(X, ordered[numbers]) == accuracy_score(numbers, by_number.predict(X))
    assert_same_weights(quick(cls).fit(X, ordered[numbers].tolist()), estimator)


def test_labels_are_learnt_whatever_their_order():
    X, y = make_order(n=200, n_steps=4)
    names = np.array(["z", "a"])[y]
    estimator = quick(GRUClassifier, max_iter=60, learning_rate_init=0.05).fit(X, names)
    assert estimator.score(X, names) > 0.95


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_a_column_of_labels():
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier).fit(X, y[:, np.newaxis])
    assert_same_weights(estimator, quick(LSTMClassifier).fit(X, y))
    assert estimator.predict(X).shape == (60,)


def test_a_column_of_labels_warns():
    X, y = make_problem(LSTMClassifier)
    with pytest.warns(UserWarning, match="column-vector y"):
        quick(LSTMClassifier).fit(X, y[:, np.newaxis])


# --- numbers as targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", REGRESSORS)
def test_shapes_of_targets(cls):
    X, y = make_problem(cls)
    one, column, several = (quick(cls).fit(X, t) for t in (y, y[:, np.newaxis], np.column_stack([y, -y, y**2])))
    assert one.predict(X).shape == (60,)
    assert column.predict(X).shape == (60, 1)
    assert several.predict(X).shape == (60, 3)
    assert [estimator.n_outputs_ for estimator in (one, column, several)] == [1, 1, 3]
    assert_same_weights(one, column)
    assert_same_bits(column.predict(X)[:, 0], one.predict(X))
    assert one.score(X, y) == r2_score(y, one.predict(X))
    assert_same_weights(quick(cls).fit(X, y.tolist()), one)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_outputs_are_learnt_side_by_side(cls):
    X = make_array(n=150, n_steps=5, n_features=2)
    y = np.column_stack([X[:, -1, 0], 500.0 + 100.0 * X[:, -1, 1]])
    estimator = full_batch(cls, max_iter=150, learning_rate_init=0.02).fit(X, y)
    assert (r2_score(y, estimator.predict(X), multioutput="raw_values") > 0.9).all()


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("cls", REGRESSORS)
def test_targets_are_standardised_inside(cls, n_outputs):
    """Scale and origin of y, and of each of its columns, change nothing but the scale and origin of predictions."""
    X, y = make_problem(cls)
    y = np.column_stack([y, np.cos(y)])[:, :n_outputs]
    scale, origin = np.array([1000.0, 1e-3])[:n_outputs], np.array([-7e4, 0.5])[:n_outputs]
    plain, scaled = full_batch(cls, max_iter=10).fit(X, y), full_batch(cls, max_iter=10).fit(X, scale * y + origin)
    np.testing.assert_allclose(scaled.predict(X), scale * plain.predict(X) + origin, rtol=1e-8)
    np.testing.assert_allclose(scaled.loss_curve_, plain.loss_curve_, rtol=1e-8)
    for name, array in plain.weights_.items():
        np.testing.assert_allclose(scaled.weights_[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_constant_targets(value):
    X = make_ragged()
    estimator = quick(LSTMRegressor, max_iter=40, learning_rate_init=0.05).fit(X, np.full(40, value))
    assert np.abs(estimator.predict(X) - value).max() < 0.1
    assert np.isfinite(estimator.loss_curve_).all()


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_targets_of_any_size(factor):
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    ordinary, sized = (
        LSTMRegressor(4, max_iter=40, tol=1e-3, random_state=0).fit(X, X[:, 0, 0] * f).predict(X) for f in (1.0, factor)
    )
    np.testing.assert_allclose(sized / factor, ordinary, rtol=1e-3, atol=1e-3)
