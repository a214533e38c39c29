"""A fit that does not come to its end: interrupted from the keyboard, or diverging."""

from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastrecur import LSTMClassifier, RNNRegressor
from fastrecur.estimators import training
from tests.estimators.data import (
    CLASSES,
    assert_same_bits,
    assert_same_weights,
    full_batch,
    make_problem,
    outputs,
    quick,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def interrupt(monkeypatch, n_steps):
    """Ctrl-C in the step after ``n_steps`` whole ones, when the weights have been changed already."""
    step, done = training._step, []

    def interrupted(*arguments):
        done.append(None)
        result = step(*arguments)
        if len(done) > n_steps:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(training, "_step", interrupted)


@contextmanager
def interruption(match):
    """The fit inside is interrupted, keeps that to itself and warns."""
    try:
        with pytest.warns(RuntimeWarning, match=match) as caught:
            yield caught
    except KeyboardInterrupt:  # which would end the run of the tests
        pytest.fail("fit let a KeyboardInterrupt through")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("cls", CLASSES)
def test_an_interrupted_fit_keeps_the_last_whole_epoch(cls, epoch, early_stopping, monkeypatch):
    X, y = make_problem(cls)
    options = {"batch_size": 10, "early_stopping": early_stopping}
    whole = quick(cls, max_iter=epoch - 1, **options).fit(X, y)
    steps_an_epoch = -(-(54 if early_stopping else 60) // 10)
    interrupt(monkeypatch, (epoch - 1) * steps_an_epoch + 2)
    estimator = quick(cls, max_iter=50, **options)
    with interruption(f"interrupted: the weights after epoch {epoch - 1}") as caught:
        estimator.fit(X, y)
    assert caught[0].filename == __file__
    assert estimator.n_iter_ == epoch - 1
    assert estimator.loss_curve_ == whole.loss_curve_
    assert estimator.validation_scores_ == whole.validation_scores_
    assert estimator.grad_norm_curve_ == whole.grad_norm_curve_
    assert_same_weights(estimator, whole)
    assert_same_bits(outputs(estimator, X), outputs(whole, X))


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_interrupted_in_the_first_epoch(cls, fitted, monkeypatch):
    """Nothing was learned: the interrupt goes on, and the estimator is what it was."""
    X, y = make_problem(cls)
    estimator = quick(cls, batch_size=10)
    if fitted:
        estimator.fit(X, y)
    before = dict(vars(estimator))
    interrupt(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    assert vars(estimator) == before
    assert hasattr(estimator, "weights_") == fitted


def test_interrupted_and_gone_on_with(monkeypatch):
    X, y = make_problem(LSTMClassifier)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        estimator = full_batch(LSTMClassifier, warm_start=True, max_iter=50, **options)
        with interruption("after epoch 2"):
            estimator.fit(X, y)
    estimator.set_params(max_iter=5).fit(X, y)
    assert_same_weights(estimator, full_batch(LSTMClassifier, max_iter=5, **options).fit(X, y))


def test_an_interrupted_fit_puts_the_bar_away(monkeypatch, capsys):
    X, y = make_problem(LSTMClassifier)
    for _ in range(2):  # a live bar that is left open refuses the next one
        with monkeypatch.context() as patch, interruption("interrupted"):
            interrupt(patch, 3)
            quick(LSTMClassifier, batch_size=32, verbose=True, max_iter=9).fit(X, y)
    assert "1/9" in capsys.readouterr().out


def test_a_fit_that_diverges_keeps_finite_weights_and_warns():
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    wild = {"nonlinearity": "relu", "solver": "sgd", "learning_rate_init": 1e4, "max_grad_norm": None}
    with pytest.warns(ConvergenceWarning, match="no longer finite in epoch"):
        estimator = RNNRegressor(8, random_state=0, **wild).fit(X, X[:, 0, 0])
    assert np.isfinite(estimator.predict(X)).all()
