"""Early stopping: the split, the scores, the best weights; and what else ends a fit."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier
from fastrecur.estimators import base, training
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    assert_same_weights,
    full_batch,
    make_problem,
    make_ragged,
    quick,
    rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- early stopping --------------------------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """The `Training` of each fit, as it ended."""
    seen, train = [], base.train

    def noted(of_fit, tasks):
        seen.append(of_fit)
        train(of_fit, tasks)

    monkeypatch.setattr(base, "train", noted)
    return seen


@pytest.fixture
def scores(monkeypatch):
    """Validation scores that the test chooses, one an epoch."""
    chosen = []

    def scripted(of_fit):
        return chosen[len(of_fit.losses)]

    monkeypatch.setattr(training, "_score", scripted)
    return chosen


def split(of_fit, X, y):
    """Validation rows of a fit, checked to be those that it does not train on."""
    kept_out = np.setdiff1d(np.arange(len(y)), of_fit.rows)
    assert len(kept_out) + len(of_fit.rows) == len(y)
    assert sorted(of_fit.validation.sequences.starts) == sorted(of_fit.sequences.starts[kept_out])
    return rows(X, kept_out), y[kept_out]


@pytest.mark.parametrize("cls", CLASSES)
def test_best_validation_score_is_that_of_the_fitted_estimator(cls, fits):
    X, y = make_problem(cls, n=100)
    estimator = quick(cls, early_stopping=True, validation_fraction=0.25, max_iter=12, learning_rate_init=0.05)
    estimator.fit(X, y)
    X_out, y_out = split(fits[0], X, y)
    assert len(y_out) == 25
    assert len(estimator.validation_scores_) == estimator.n_iter_ == len(estimator.loss_curve_)
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.best_loss_ is None
    assert estimator.score(X_out, y_out) == pytest.approx(estimator.best_validation_score_, rel=1e-5)
    assert estimator.t_ == 75 * estimator.n_iter_


@pytest.mark.parametrize("cls", CLASSES)
def test_the_best_weights_are_restored(cls, scores):
    """Of the first best epoch, not of a later one as good."""
    X, y = make_problem(cls)
    scores += [0.1, 0.2, 0.8, 0.3, 0.8, 0.7]
    estimator = quick(cls, early_stopping=True, max_iter=6).fit(X, y)
    assert estimator.validation_scores_ == scores
    assert estimator.best_validation_score_ == 0.8
    assert_same_weights(estimator, quick(cls, early_stopping=True, max_iter=3).fit(X, y))
    assert estimator.n_iter_ == 6


def test_validation_rows_are_not_trained_on():
    """NaN among the targets that are kept out would spoil all weights."""
    X, y = make_problem(GRURegressor)
    expected = quick(GRURegressor, early_stopping=True, max_iter=1).fit(X, y)

    class Spoilt(GRURegressor):
        def _split_rows(self, *arguments):
            train, validation = super()._split_rows(*arguments)
            arguments[0][validation] = np.nan
            return train, validation

        def _validation_score(self, *_):
            return 0.0

    assert_same_weights(quick(Spoilt, early_stopping=True, max_iter=1).fit(X, y), expected)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_split_is_stratified(cls, fits):
    X = make_ragged(n=100)
    y = np.repeat(["common", "rare", "rarer"], [70, 20, 10])
    quick(cls, early_stopping=True, max_iter=1).fit(X, y)
    _, y_out = split(fits[0], X, y)
    assert dict(zip(*np.unique(y_out, return_counts=True), strict=True)) == {"common": 7, "rare": 2, "rarer": 1}


@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_the_split_is_drawn_by_random_state(cls, fits):
    X, y = make_problem(cls)
    for random_state in (0, 0, 1):
        quick(cls, early_stopping=True, max_iter=1, random_state=random_state).fit(X, y)
    first, again, other = (sorted(of_fit.rows) for of_fit in fits)
    assert first == again != other


@pytest.mark.parametrize("weight", [1.0, 0.5, 7.0])
def test_validation_scores_are_weighted(fits, weight):
    X, y = make_problem(RNNClassifier, n=100)
    weights = np.linspace(0.1, weight, 100)
    estimator = quick(RNNClassifier, early_stopping=True, validation_fraction=0.3, max_iter=1)
    estimator.fit(X, y, sample_weight=weights)
    kept_out = np.setdiff1d(np.arange(100), fits[0].rows)
    expected = estimator.score(rows(X, kept_out), y[kept_out], sample_weight=weights[kept_out])
    assert estimator.validation_scores_ == [pytest.approx(expected)]


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_that_leave_nothing_to_validate_on(cls, fits):
    """Refused before the first epoch, or no matter: not an error after it."""
    X, y = make_problem(cls)
    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 2}
    quick(cls, **options).fit(X, y)
    weights = np.zeros(60)
    weights[fits[0].rows] = 1.0
    estimator = quick(cls, **options)
    try:
        estimator.fit(X, y, sample_weight=weights)
    except ValueError as error:
        assert "sample_weight" in str(error)  # noqa: PT017
        assert len(fits) == 1
    else:
        assert np.isfinite(estimator.validation_scores_).all()


# --- when it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_iter_no_change", [1, 4])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_loss_that_stands_still_ends_the_fit(cls, n_iter_no_change):
    """The first epoch, as many without progress as are allowed, and, as in scikit-learn, one more."""
    X, y = make_problem(cls)
    estimator = quick(cls, learning_rate_init=1e-12, n_iter_no_change=n_iter_no_change, max_iter=50)
    with warnings.catch_warnings(action="error"):
        estimator.fit(X, y)
    assert estimator.n_iter_ == n_iter_no_change + 2


def test_small_progress_is_none():
    X, y = make_problem(LSTMRegressor)
    patient, hasty = (
        full_batch(LSTMRegressor, tol=tol, n_iter_no_change=2, max_iter=25).fit(X, y) for tol in (0.0, 100.0)
    )
    assert (np.diff(patient.loss_curve_) < 0).all()
    assert patient.n_iter_ == 25
    assert hasty.n_iter_ == 4
    assert hasty.loss_curve_ == patient.loss_curve_[:4]


def test_scores_that_stand_still_end_the_fit(scores):
    """With early stopping the scores count, not the losses, which go on falling here."""
    X, y = make_problem(GRUClassifier)
    scores += [0.5, 0.4, 0.6, 0.6, 0.60001, 0.6, 0.9]
    estimator = quick(GRUClassifier, early_stopping=True, n_iter_no_change=2, max_iter=50)
    with warnings.catch_warnings(action="error"):
        estimator.fit(X, y)
    assert estimator.validation_scores_ == scores[:6]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_the_last_epoch_warns(cls, early_stopping):
    X, y = make_problem(cls)
    estimator = quick(cls, max_iter=2, early_stopping=early_stopping)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 epochs.*Raise max_iter") as caught:
        estimator.fit(X, y)
    assert estimator.n_iter_ == 2
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_validation_targets_that_are_all_one_are_scored_by_their_error():
    outputs, targets = np.array([[0.5], [1.5]]), np.ones((2, 1))
    assert GRURegressor()._validation_score(outputs, targets, np.ones(2)) == -0.25
    assert GRURegressor()._validation_score(outputs, np.array([[0.0], [1.0]]), np.ones(2)) == 1.0 - 0.5 / 0.5
