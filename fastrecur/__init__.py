"""Recurrent networks as scikit-learn estimators, on compiled kernels.

``RNNClassifier``, ``LSTMClassifier``, ``GRUClassifier`` and the regressors of the same cells take sequences, of equal
length or not, in pipelines and searches. ``fastrecur.layers`` has the layers alone, ``fastrecur.preprocessing`` what
comes before; ``load`` rebuilds what an estimator's ``save`` wrote. ``python -m fastrecur`` shows them at work.
"""

from fastrecur.estimators.estimators import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from fastrecur.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster
from fastrecur.installation import show_versions, warmup
from fastrecur.persistence import load

__version__ = "0.1.0"

__all__ = [
    "GRUClassifier",
    "GRUForecaster",
    "GRURegressor",
    "LSTMClassifier",
    "LSTMForecaster",
    "LSTMRegressor",
    "RNNClassifier",
    "RNNForecaster",
    "RNNRegressor",
    "load",
    "show_versions",
    "warmup",
]
