"""What the gates of a network do over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from fastrecur.inspection.fitted import check_direction, check_layer, inspect
from fastrecur.network import flow

#: In the order in which they are returned.
NAMES = {
    "rnn": ("hidden",),
    "lstm": ("forget", "input", "candidate", "output", "cell", "hidden"),
    "gru": ("reset", "update", "candidate", "hidden"),
}

#: What lies between 0 and 1.
SIGMOIDS = {"lstm": ("forget", "input", "output"), "gru": ("reset", "update")}

#: A gate is shut below the first and open above the second.
SHUT, OPEN = 0.1, 0.9


def gate_activations(estimator: Any, X: Any, *, layer: int = -1, direction: str = "forward") -> dict[str, Any]:
    """Gates, cell and hidden states at each time step.

    Parameters
    ----------
    estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        X goes through the steps before it.
    X : sequences, as in `fit`
    layer : int, default=-1
        From 0, the first layer, on; negative numbers count from the last one.
    direction : {"forward", "reverse"}, default="forward"
        Of a bidirectional network. The values of a time step are those after it was read, in either direction.

    Returns
    -------
    activations : dict of str to array of shape (n, T, H), or to list of arrays of shape (T_i, H) where X is one
        In the dtype of the network. LSTM: "forget", "input", "output" (from 0 to 1), "candidate" (from -1 to 1),
        "cell" (c_t) and "hidden" (h_t). GRU: "reset", "update" (from 0 to 1), "candidate" (from -1 to 1), "hidden"; an
        update of 1 keeps the old state. RNN: "hidden".

    Raises
    ------
    TypeError
        If the estimator is none of fastrecur's.
    NotFittedError
        If it is not fitted.
    ValueError
        If X does not fit the estimator, or it has no such layer or direction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import LSTMClassifier
    >>> from fastrecur.inspection import gate_activations
    >>> X = np.random.default_rng(0).normal(size=(40, 6, 2))
    >>> model = LSTMClassifier(8, early_stopping=True, random_state=0).fit(X, X[:, 0, 0] > 0)
    >>> gates = gate_activations(model, X)
    >>> list(gates), gates["forget"].shape
    (['forget', 'input', 'candidate', 'output', 'cell', 'hidden'], (40, 6, 8))
    >>> h = gates["output"] * np.tanh(gates["cell"])
    >>> bool(np.allclose(h, gates["hidden"], atol=1e-6))
    True
    """
    inspected = inspect(estimator, X)
    model, sequences = inspected.model, inspected.sequences
    layer, place = check_layer(model, layer), check_direction(model, direction)
    found = flow.layer_activations(model, sequences, inspected.n_threads, layer, place)
    return {name: sequences.unstack(found[name]) for name in NAMES[model.cell]}


def saturation(estimator: Any, X: Any, *, layer: int = -1, direction: str = "forward") -> dict[str, Bunch]:
    """How often gates are shut or wide open: the share of their values below 0.1 and above 0.9 [1]_.

    A forget gate that is open at all times keeps its cell for ever, one that is shut forgets at once; a gate that is
    always in between neither keeps nor shuts out anything.

    Parameters
    ----------
    estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        LSTM or GRU: an RNN has no gates.
    X : sequences, as in `fit`
    layer : int, default=-1
    direction : {"forward", "reverse"}, default="forward"
        As in `gate_activations`.

    Returns
    -------
    shares : dict of str to Bunch
        For each gate (LSTM: "forget", "input", "output"; GRU: "reset", "update"):

        below, above : float
            Share of all its values, of all units at all time steps of all sequences, below 0.1 and above 0.9.
        below_by_unit, above_by_unit : float64 array of shape (H,)
            The same of each unit.

    Raises
    ------
    TypeError, NotFittedError, ValueError
        As `gate_activations`, and ValueError for an RNN.

    References
    ----------
    .. [1] Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import GRUClassifier
    >>> from fastrecur.inspection import saturation
    >>> X = np.random.default_rng(0).normal(size=(40, 6, 2))
    >>> model = GRUClassifier(8, early_stopping=True, random_state=0).fit(X, X[:, 0, 0] > 0)
    >>> shares = saturation(model, X)
    >>> sorted(shares), 0 <= shares["update"].above <= 1, shares["update"].above_by_unit.shape
    (['reset', 'update'], True, (8,))
    """
    inspected = inspect(estimator, X)
    model = inspected.model
    if model.cell == "rnn":
        raise ValueError(f"{type(inspected.estimator).__name__} has no gates to saturate. Pass an LSTM or a GRU.")
    layer, place = check_layer(model, layer), check_direction(model, direction)
    found = flow.layer_activations(model, inspected.sequences, inspected.n_threads, layer, place)
    return {name: _shares(found[name]) for name in SIGMOIDS[model.cell]}


def _shares(values: np.ndarray) -> Bunch:
    below, above = (values < SHUT).mean(axis=0), (values > OPEN).mean(axis=0)
    return Bunch(below=float(below.mean()), above=float(above.mean()), below_by_unit=below, above_by_unit=above)
