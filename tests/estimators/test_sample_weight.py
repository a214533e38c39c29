"""Weights of the sequences: equal ones, zeros, whole numbers, and their weight."""

import numpy as np
import pytest
from sklearn.base import is_classifier

from fastrecur import GRUClassifier
from tests.estimators.data import (
    CLASSES,
    assert_same_weights,
    full_batch,
    make_problem,
    make_ragged,
    outputs,
    quick,
    rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("cls", CLASSES)
def test_equal_weights_are_no_weights(cls):
    """Weights of 1 beside the penalty; any others without it (a weight of 2 is two sequences to the penalty)."""
    X, y = make_problem(cls)
    for alpha, weights in (
        (1e-4, np.ones(60)),
        (1e-4, [1] * 60),
        (0.0, np.full(60, 4.0, dtype=np.float32)),
        (0.0, 2.0),
    ):
        none = quick(cls, alpha=alpha).fit(X, y)
        other = quick(cls, alpha=alpha).fit(X, y, sample_weight=weights)
        assert_same_weights(other, none)
        assert other.loss_curve_ == none.loss_curve_


def without_influence(cls, X, y, **parameters):
    """Fits on X, and on X with strange sequences among them that weigh nothing; the second one's X and y."""
    strange = [5.0 + x for x in make_ragged(n=30, longest=20, seed=1)]
    strange_y = np.resize(np.unique(y)[:1], 30) if is_classifier(cls()) else np.full(30, 1e3)
    order = np.random.default_rng(0).permutation(len(X) + 30)
    mixed, mixed_y = rows([*X, *strange], order), np.concatenate([y, strange_y])[order]
    weights = np.concatenate([np.full(len(X), 3.0), np.zeros(30)])[order]
    fitted = full_batch(cls, max_iter=10, **parameters).fit(mixed, mixed_y, sample_weight=weights)
    return full_batch(cls, max_iter=10, **parameters).fit(X, y), fitted


@pytest.mark.parametrize("cls", CLASSES)
def test_zero_weight_is_absence(cls):
    X, y = make_problem(cls)
    absent, weightless = without_influence(cls, X, y)
    np.testing.assert_allclose(weightless.loss_curve_, absent.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(outputs(weightless, X), outputs(absent, X), rtol=1e-8)


@pytest.mark.parametrize("cls", CLASSES)
def test_whole_weights_are_repetitions(cls):
    X, y = make_problem(cls)
    weights = np.random.default_rng(0).integers(0, 4, size=60)
    repeated = np.repeat(np.arange(60), weights)
    weighted = full_batch(cls, max_iter=10).fit(X, y, sample_weight=weights)
    literal = full_batch(cls, max_iter=10).fit(rows(X, repeated), y[repeated])
    np.testing.assert_allclose(weighted.loss_curve_, literal.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(outputs(weighted, X), outputs(literal, X), rtol=1e-8)


def test_weights_move_the_fit():
    X = make_ragged()
    y = np.arange(40) % 2
    shares = [
        quick(GRUClassifier, max_iter=30)
        .fit(X, y, sample_weight=np.where(y, weight, 1.0))
        .predict_proba(X)[:, 1]
        .mean()
        for weight in (0.01, 1.0, 100.0)
    ]
    assert shares[0] < 0.3 < shares[1] < 0.7 < shares[2]
