"""What all of inspection begins with: the fitted estimator, alone or at the end of a pipeline, its network and data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.targets import stack_targets
from fastrecur.network.model import Model
from fastrecur.network.validation import check_choice
from fastrecur.sequences import Sequences

DIRECTIONS = ("forward", "reverse")


class Inspected(NamedTuple):
    """A fitted estimator with its network, and sequences as the network reads them."""

    estimator: Any
    model: Model
    sequences: Sequences
    n_threads: int


def recurrent_estimator(estimator: Any) -> Any:
    """Return the fitted estimator of fastrecur itself, out of a pipeline that ends with it.

    Raises
    ------
    TypeError
        If it is none.
    NotFittedError
        If it is not fitted.
    """
    found = estimator
    while isinstance(found, Pipeline):
        found = found.steps[-1][1]
    network = getattr(found, "network_", None)
    if isinstance(network, RecurrentEstimator):
        raise TypeError(
            f"estimator must be a network that reads sequences, found the forecaster {type(found).__name__}. Pass its "
            "network_, with windows (n, window, features) scaled as it reads them for X, and for y what follows each, "
            "(n, horizon * features)."
        )
    if not isinstance(found, RecurrentEstimator):
        raise TypeError(
            f"estimator must be one of fastrecur's, or a Pipeline that ends with one; found a {type(found).__name__}. "
            "Of a search pass best_estimator_."
        )
    check_is_fitted(found)
    return found


def inspect(estimator: Any, X: Any) -> Inspected:
    """Read X as the estimator does, through the steps of a pipeline before it."""
    found = recurrent_estimator(estimator)
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator.steps[-1][1]
    sequences, n_threads = found._sequences(X)
    model = Model(found._cell, **found._architecture)
    model.load(found.weights_)
    return Inspected(found, model, sequences, n_threads)


def read_targets(inspected: Inspected, y: Any) -> NDArray:
    """Return y as the loss reads it: labels (n,) from 0 on, or standardised targets (n, K); of steps (S,) or (S, K).

    Raises
    ------
    ValueError, TypeError
        As `fit` would for y, or if y holds labels or a number of targets that fit has not seen.
    """
    estimator, sequences = inspected.estimator, inspected.sequences
    if y is not None:
        flat = stack_targets(y, sequences.lengths) if inspected.model.pooling is None else y
        if hasattr(estimator, "classes_"):
            _check_labels(flat, estimator)
        else:
            n_targets = 1 if np.ndim(flat) < 2 else np.shape(flat)[1]
            n_seen = len(estimator._y_mean)  # of quantiles there are several outputs a target
            if n_targets != n_seen:
                raise ValueError(f"y has {n_targets} target(s), but fit saw {n_seen}. Pass as many.")
    values, _ = estimator._read_targets(y, sequences, np.ones(len(sequences)), True, None)
    return values


def _check_labels(y: Any, estimator: Any) -> None:
    try:
        labels = np.unique(column_or_1d(y))
        unknown = labels[~np.isin(labels, estimator.classes_)]
    except (TypeError, ValueError):
        return  # what the estimator itself says of such a y is better
    if len(unknown):
        raise ValueError(
            f"y has the label(s) {unknown.tolist()}, which fit has not seen. It saw {estimator.classes_.tolist()}."
        )


def check_layer(model: Model, layer: Any) -> int:
    """Return ``layer``, counted from 0; negative numbers count from the last one."""
    n_layers = model.stack.num_layers
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer):
        raise TypeError(f"layer must be an int, found {layer!r}. -1 is the last layer, 0 the first.")
    if not -n_layers <= layer < n_layers:
        raise ValueError(
            f"layer={layer} is none of {n_layers} layer(s). Pass a number from 0 to {n_layers - 1}, or -1."
        )
    return int(layer) % n_layers


def check_direction(model: Model, direction: Any) -> int:
    """Return 0 for "forward", 1 for "reverse"."""
    check_choice("direction", direction, DIRECTIONS)
    if direction == "reverse" and model.stack.n_directions == 1:
        raise ValueError("direction='reverse' needs a network with bidirectional=True. Pass 'forward'.")
    return DIRECTIONS.index(direction)
