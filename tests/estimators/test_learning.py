"""That what can be learnt is learnt: the order of marks, a sum over marked steps."""

import numpy as np
import pytest

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor
from tests.estimators.data import make_order, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("cls", [LSTMClassifier, GRUClassifier])
def test_order_is_learnt(cls):
    """Which of two marks came first: sums and last steps do not tell."""
    X, y = make_order(n=400)
    X_new, y_new = make_order(n=200, seed=1)
    estimator = quick(cls, hidden_size=16, max_iter=80, learning_rate_init=0.02).fit(X, y)
    assert estimator.score(X_new, y_new) >= 0.95
    backwards = estimator.score(X_new[:, ::-1], y_new)
    assert backwards <= 0.05  # the other one came first


def test_order_is_learnt_from_ragged_sequences_with_early_stopping():
    X, y = make_order(n=400)
    rng = np.random.default_rng(0)

    def pad(sequences):
        return [np.pad(x, ((rng.integers(6), rng.integers(6)), (0, 0))) for x in sequences]

    X_new, y_new = make_order(n=200, seed=1)
    estimator = quick(LSTMClassifier, hidden_size=16, max_iter=100, learning_rate_init=0.02, early_stopping=True)
    assert estimator.fit(pad(X), y).score(pad(X_new), y_new) >= 0.95


@pytest.mark.parametrize("cls", [LSTMRegressor, GRURegressor])
def test_a_sum_over_marked_steps_is_learnt(cls):
    """Hochreiter and Schmidhuber's adding problem, short: the two values beside which a mark stands."""
    rng = np.random.default_rng(0)
    values, marks = rng.uniform(size=(600, 6)), np.zeros((600, 6))
    for row in marks:
        row[rng.choice(6, size=2, replace=False)] = 1.0
    X, y = np.stack([values, marks], axis=2), (values * marks).sum(axis=1)
    estimator = quick(cls, hidden_size=16, max_iter=60, learning_rate_init=0.02).fit(X[:400], y[:400])
    assert estimator.score(X[400:], y[400:]) > 0.9
