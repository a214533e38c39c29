"""`warm_start`: a fit that goes on where the last one ended, and what it refuses."""

import numpy as np
import pytest

from fastrecur import GRURegressor, LSTMClassifier, LSTMRegressor
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    DEPTHS,
    REGRESSORS,
    assert_same_bits,
    assert_same_weights,
    flat,
    full_batch,
    make_problem,
    quick,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_goes_on(cls):
    X, y = make_problem(cls)
    estimator = full_batch(cls, warm_start=True, solver="sgd", learning_rate_init=0.05, max_iter=5)
    losses = [estimator.fit(X, y).loss_curve_ for _ in range(3)]
    assert [len(curve) for curve in losses] == [5, 5, 5]
    assert (np.diff(np.concatenate(losses)) < 0).all()
    cold = full_batch(cls, solver="sgd", learning_rate_init=0.05, max_iter=5).fit(X, y).fit(X, y)
    assert cold.loss_curve_ == losses[0]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_takes_exactly_the_old_weights(cls, depth):
    """Gradient descent without momentum has no memory: twice two epochs are four, bit for bit."""
    X, y = make_problem(cls)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, **DEPTHS[depth]}
    parts = full_batch(cls, warm_start=True, max_iter=2, **options).fit(X, y)
    first = parts.loss_curve_
    parts.fit(X, y)
    whole = full_batch(cls, max_iter=4, **options).fit(X, y)
    assert first + parts.loss_curve_ == whole.loss_curve_
    assert_same_weights(parts, whole)


def test_warm_start_takes_other_data_and_fewer_labels():
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier, warm_start=True).fit(X, y)
    estimator.fit(X[:10], ["high"] * 10)
    assert list(estimator.classes_) == ["high", "low", "middle"]
    assert estimator.predict_proba(X)[:, 0].mean() > 0.34


def test_warm_start_keeps_the_scale_of_targets():
    X, y = make_problem(GRURegressor)
    estimator = quick(GRURegressor, warm_start=True, max_iter=1, learning_rate_init=1e-9).fit(X, y)
    before = estimator.predict(X)
    np.testing.assert_allclose(estimator.fit(X, 100.0 * y).predict(X), before, rtol=1e-4, atol=1e-4)
    assert estimator.loss_ > 100.0


@pytest.mark.parametrize(
    "change", [{"hidden_size": 9}, {"hidden_size": 1}, {"num_layers": 2}, {"bidirectional": True}], ids=str
)
@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_refuses_another_network(cls, change):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = flat(estimator)
    with pytest.raises(ValueError, match=f"warm_start=True.*{next(iter(change))}.*warm_start=False"):
        estimator.set_params(**change).fit(X, y)
    assert_same_bits(flat(estimator), before)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_warm_start_refuses_a_new_label(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = estimator.predict_proba(X)
    with pytest.raises(ValueError, match=r"warm_start=True.*high.*'unheard'.*warm_start=False"):
        estimator.fit(X, ["unheard", *y[1:]])
    assert_same_bits(estimator.predict_proba(X), before)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_warm_start_refuses_another_number_of_outputs(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = estimator.predict(X)
    with pytest.raises(ValueError, match=r"warm_start=True.*1 output.* 2\. .*warm_start=False"):
        estimator.fit(X, np.column_stack([y, y]))
    assert_same_bits(estimator.predict(X), before)


def test_warm_start_refuses_other_features():
    X, y = make_problem(LSTMRegressor)
    estimator = quick(LSTMRegressor, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 2 features.*expecting 3 features"):
        estimator.fit([x[:, :2] for x in X], y)
    assert estimator.set_params(warm_start=False).fit([x[:, :2] for x in X], y).n_features_in_ == 2
