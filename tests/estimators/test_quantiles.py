"""The regressor of quantiles behind the forecasters: the loss it ends with, its outputs, its solvers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from fastrecur import GRURegressor
from fastrecur.estimators.quantiles import SequenceQuantileRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@dataclass(eq=False, repr=False, kw_only=True)
class Quantiles(SequenceQuantileRegressor):
    _cell: ClassVar[str] = "gru"


LEVELS = [0.1, 0.5, 0.9]


def problem(n=400, n_targets=2):
    """Targets whose mean and spread hang on the last step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4, 2))
    means = np.column_stack([X[:, -1, 0], -3 * X[:, -1, 1]])[:, :n_targets]
    return X, 5 + means + rng.normal(size=means.shape) * np.exp(X[:, -1, :1])


def make(**parameters):
    return Quantiles(
        8, **{"quantiles": LEVELS, "max_iter": 40, "random_state": 0, "n_threads": 1, "alpha": 0.0} | parameters
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_order(dtype):
    X, y = problem()
    model = make(max_iter=2, dtype=dtype).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (400, 2, 3)
    assert (np.diff(predicted, axis=2) >= 0).all()
    assert model.n_outputs_ == 6
    assert make(max_iter=2).fit(X, y[:, 0]).predict(X).shape == (400, 3)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_shares_below_the_quantiles(solver):
    X, y = problem(1000)
    predicted = make(solver=solver, learning_rate="cosine").fit(X, y).predict(X)
    np.testing.assert_allclose((y[..., np.newaxis] <= predicted).mean(axis=0), [LEVELS] * 2, atol=0.04)
    wide = X[:, -1, 0] > 0
    width = predicted[:, :, 2] - predicted[:, :, 0]
    assert width[wide].mean() > 2 * width[~wide].mean()


def test_the_loss_is_the_mean_pinball_loss():
    """With no step worth the name, the loss of the epoch is that of the weights which it ends with."""
    X, y = problem(32)
    model = make(max_iter=1, learning_rate_init=1e-12, batch_size=32, dtype="float64").fit(X, y)
    outputs = model._raw_outputs(X)[0].reshape(32, 2, 3)
    targets = (y - y.mean(axis=0)) / y.std(axis=0)
    expected = [mean_pinball_loss(targets, outputs[:, :, q], alpha=level) for q, level in enumerate(LEVELS)]
    np.testing.assert_allclose(model.loss_, np.mean(expected), rtol=1e-6)


def test_early_stopping_watches_the_loss():
    X, y = problem(64)
    model = make(max_iter=1, early_stopping=True, validation_fraction=0.5).fit(X, y)
    assert -1.0 < model.best_validation_score_ < 0.0


def test_without_quantiles_it_is_the_regressor():
    X, y = problem(64)
    options = {"max_iter": 3, "random_state": 0, "n_threads": 1}
    expected = GRURegressor(8, **options).fit(X, y).predict(X)
    np.testing.assert_array_equal(Quantiles(8, **options).fit(X, y).predict(X), expected)


def test_warm_start_and_weights():
    X, y = problem(64)
    model = make(max_iter=2, warm_start=True).fit(X, y)
    loss = model.loss_
    assert model.set_params(max_iter=20).fit(X, y).loss_ < loss
    with pytest.raises(ValueError, match=r"continues with 2 output\(s\), but y has 1"):
        model.fit(X, y[:, 0])
    with pytest.raises(ValueError, match="number of outputs 6 to 4"):
        model.set_params(quantiles=[0.2, 0.8]).fit(X, y)
    weights = np.repeat([0.0, 1.0], 32)
    shifted = np.where(weights[:, np.newaxis] > 0, y, 1e3)
    predicted = make(max_iter=30).fit(X, shifted, sample_weight=weights).predict(X)
    assert predicted.max() < 100


def test_a_row_has_the_same_bits_in_any_batch():
    X, y = problem(64)
    model = make(max_iter=2).fit(X, y)
    np.testing.assert_array_equal(model.predict(X[5:6])[0], model.predict(X)[5])
