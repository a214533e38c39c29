"""Warnings of a fit point at the line that asked for it, through whatever calls it."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur import GRUForecaster, RNNClassifier
from fastrecur.forecasting import backtest
from fastrecur.preprocessing import PerTimestep

X, Y = np.random.default_rng(0).normal(size=(20, 4, 2)), np.arange(20) % 2
SERIES = np.sin(np.arange(60.0))


def network():
    return RNNClassifier(3, max_iter=1)


def forecaster():
    return GRUForecaster(5, max_iter=1, early_stopping=False, linear=False)


@pytest.mark.parametrize(
    "fit",
    [
        lambda: network().fit(X, Y),
        lambda: make_pipeline(PerTimestep(StandardScaler()), network()).fit(X, Y),
        lambda: GridSearchCV(network(), {"alpha": [0.0]}, cv=2).fit(X, Y),
        lambda: cross_val_score(network(), X, Y, cv=2),
        lambda: forecaster().fit(SERIES),
        lambda: backtest(forecaster(), SERIES, n_splits=1),
    ],
    ids=["fit", "pipeline", "search", "validation", "forecaster", "backtest"],
)
def test_warnings_point_at_the_callers_line(fit):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    found = [w for w in caught if w.category is ConvergenceWarning]
    assert found
    for warning in found:
        assert (warning.filename, warning.lineno) == (__file__, fit.__code__.co_firstlineno)
