"""Where the gradient of the loss goes: to the states of all time steps, and to what the network reads."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from threadpoolctl import ThreadpoolController

from fastrecur.estimators.quantiles import check_quantiles
from fastrecur.inspection.fitted import Inspected, check_layer, inspect, read_targets
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network import flow
from fastrecur.network.gradient import Targets
from fastrecur.network.parameters import suffix
from fastrecur.network.validation import check_choice
from fastrecur.sequences import Sequences

#: The gradient counts as gone where it is less than so much of what it is at the end.
MEMORY = 1e-3

#: Place of the block of the recurrent weights, among all blocks, that makes the new state: that of the candidate.
CANDIDATE = {"rnn": 0, "lstm": 2, "gru": 2}


def gradient_flow(estimator: Any, X: Any, y: Any, *, layer: int = -1, targets: Literal["all", "last"] = "all") -> Bunch:
    """How much of the gradient of the loss reaches each time step.

    A state h_t acts on the loss through all states after it, so that dE/dh_t holds a product of as many factors as
    time steps lie between: it shrinks or grows with their number [1]_, [2]_. Here it is measured, on the way back that
    training takes too.

    E is the loss of one sequence as `fit` sees it without regularisation: the cross entropy of its label, or half the
    squared error of its standardised targets (the mean over K; of a forecaster's quantiles the mean of their pinball
    losses), with ``return_sequences`` the mean over its time steps.
    ``class_weight`` and ``sample_weight``, which compare sequences, are left out, and so is dropout.

    All is computed in the dtype of the network. In float32 a norm is within 1e-5 of the largest one of its sequence, or
    within 1e-5 / e where a regressor meets its target to within e < 1 standard deviations of the targets: measured on
    1.2 million norms, on which PyTorch's autograd in float32 is off by more (``python -m bench.flow_accuracy``).

    Parameters
    ----------
    estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        X goes through the steps before it. Of a forecaster pass its ``network_``, with windows (n, window, features)
        scaled as it reads them for X, and for y what follows each, (n, horizon * features).
    X : sequences, as in `fit`
    y : targets, as in `fit`
    layer : int, default=-1
        Whose states: from 0, the first layer, on; negative numbers count from the last one.
    targets : {"all", "last"}, default="all"
        With ``return_sequences``: "last" takes the loss of the last time step of each sequence for E. (With "all" each
        time step has a loss of its own, whose gradient reaches its state at once and hides what comes from afar.)

    Returns
    -------
    flow : Bunch
        hidden : float64 array of shape (n, T), or list of arrays of shape (T_i,) where X is one
            L2 norm of dE/dh_t: the total gradient, what comes through later steps included.
        cell : as ``hidden``
            L2 norm of dE/dc_t, through h_t too; of an LSTM alone.
        by_lag : float64 array of shape (longest T,)
            Median of ``hidden`` over the sequences by the distance from the last time step of each; lag 0 is the last.
        cell_by_lag : the same of ``cell``
        effective_memory : int
            The first lag at which ``by_lag`` is under 1e-3 of what it is at lag 0; the longest T where there is none.
        spectral_radius : float
            Largest absolute eigenvalue of the recurrent weights W_hh (H, H); of an LSTM or a GRU, of the block of the
            candidate.

        All of these are of the direction that reads forwards. Of a bidirectional network there is each of them with
        the suffix ``_reverse`` too; lags of the reversed direction count from the first time step, where it ends.

    Raises
    ------
    TypeError
        If the estimator is none of fastrecur's.
    NotFittedError
        If it is not fitted.
    ValueError
        If X or y does not fit the estimator, or ``layer`` or ``targets`` is none of its.

    References
    ----------
    .. [1] Hochreiter, "Untersuchungen zu dynamischen neuronalen Netzen", diploma thesis, TU München, 1991.
    .. [2] Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    Examples
    --------
    >>> from fastrecur import RNNRegressor
    >>> from fastrecur.datasets import make_adding_problem
    >>> from fastrecur.inspection import gradient_flow
    >>> X, y = make_adding_problem(64, 40, random_state=0)
    >>> model = RNNRegressor(16, init="pytorch", max_iter=50, tol=0.1, random_state=0).fit(X, y)
    >>> flow = gradient_flow(model, X, y)
    >>> flow.hidden.shape, flow.by_lag.shape
    ((64, 40), (40,))
    >>> bool(flow.by_lag[39] < 1e-3 * flow.by_lag[0]), flow.effective_memory < 30
    (True, True)
    """
    check_choice("targets", targets, ("all", "last"))
    inspected = inspect(estimator, X)
    model, sequences = inspected.model, inspected.sequences
    layer = check_layer(model, layer)
    loss = _losses(inspected, y, targets)
    norms = flow.state_gradients(model, sequences, loss, inspected.n_threads, layer)
    found = Bunch()
    for d in range(model.stack.n_directions):
        end = "_reverse" if d else ""
        found["hidden" + end] = sequences.unstack(norms.hidden[d])
        found["by_lag" + end] = by_lag = _by_lag(norms.hidden[d], sequences, from_start=d == 1)
        if norms.cell is not None:
            found["cell" + end] = sequences.unstack(norms.cell[d])
            found["cell_by_lag" + end] = _by_lag(norms.cell[d], sequences, from_start=d == 1)
        found["effective_memory" + end] = effective_memory(by_lag)
        found["spectral_radius" + end] = _spectral_radius(model, layer, d)
    return found


def input_gradients(estimator: Any, X: Any, y: Any, *, targets: Literal["all", "last"] = "all") -> Any:
    """Gradient of the loss of each sequence with respect to what the network reads.

    Parameters
    ----------
    estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        X goes through the steps before it; the gradient is that of what comes out of them.
    X : sequences, as in `fit`
    y : targets, as in `fit`
    targets : {"all", "last"}, default="all"
        As in `gradient_flow`, where the loss E is defined too.

    Returns
    -------
    gradients : array of shape (n, T, F) or (n, T), or list of arrays of shape (T_i, F) or (T_i,)
        dE/dx_t in the layout of X and the dtype of the network. Of tokens, that of their embeddings: (n, T, E), or a
        list of arrays of shape (T_i, E).

    Raises
    ------
    TypeError, NotFittedError, ValueError
        As `gradient_flow`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import GRUClassifier
    >>> from fastrecur.inspection import input_gradients
    >>> X = np.random.default_rng(0).normal(size=(80, 6, 2))
    >>> y = X[:, 4, 1] > 0
    >>> model = GRUClassifier(8, tol=1e-2, random_state=0).fit(X, y)
    >>> sizes = np.abs(input_gradients(model, X, y)).mean(axis=0)
    >>> sizes.shape, np.unravel_index(sizes.argmax(), sizes.shape) == (4, 1)
    ((6, 2), True)
    """
    check_choice("targets", targets, ("all", "last"))
    inspected = inspect(estimator, X)
    sequences, loss = inspected.sequences, _losses(inspected, y, targets)
    gradients = flow.input_gradients(inspected.model, sequences, loss, inspected.n_threads)
    scalar = sequences.scalar_steps and not inspected.model.n_tokens
    return sequences.unstack(gradients[:, 0] if scalar else gradients)


def effective_memory(by_lag: NDArray[np.float64]) -> int:
    """First lag at which the gradient is under `MEMORY` of what it is at lag 0, or the number of lags.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.inspection.gradients import effective_memory
    >>> effective_memory(10.0 ** -np.arange(6))
    4
    """
    if by_lag[0] == 0:
        return 0
    gone = by_lag < MEMORY * by_lag[0]
    return int(gone.argmax()) if gone.any() else len(by_lag)


def _losses(inspected: Inspected, y: Any, targets: str) -> Targets:
    """Each sequence's loss as E defines it: the weights of the targets."""
    model, lengths = inspected.model, inspected.sequences.lengths
    if targets == "last" and model.pooling is not None:
        raise ValueError("targets='last' chooses among targets of time steps: it needs return_sequences=True.")
    values = read_targets(inspected, y)
    if model.pooling is not None:
        weights = np.ones(len(lengths))
    elif targets == "last":
        weights = np.zeros(len(values))
        weights[np.cumsum(lengths) - 1] = 1.0
    else:
        weights = np.repeat(1.0 / lengths, lengths)
    levels = getattr(inspected.estimator, "quantiles", None)
    if levels is not None:
        return Targets("pinball", QuantileTargets(values, check_quantiles(levels)), weights)
    return Targets(inspected.estimator._loss, values, weights)


def _by_lag(norms: NDArray[np.float64], sequences: Sequences, from_start: bool) -> NDArray[np.float64]:
    """Median over the sequences by lag, of those that are so long."""
    lengths = sequences.lengths
    if (lengths == lengths[0]).all():
        by_step = np.median(norms.reshape(len(lengths), -1), axis=0)
        return by_step if from_start else by_step[::-1].copy()
    steps = np.arange(len(norms)) - np.repeat(sequences.starts, lengths)
    lags = steps if from_start else np.repeat(lengths, lengths) - 1 - steps
    table = np.full((int(lengths.max()), len(lengths)), np.inf)  # what is not there comes last in order
    table[lags, np.repeat(np.arange(len(lengths)), lengths)] = norms
    table.sort(axis=1)
    counts = np.sort(lengths)[::-1]
    counts = np.searchsorted(-counts, -np.arange(len(table)), side="left")  # sequences longer than the lag
    rows = np.arange(len(table))
    return (table[rows, (counts - 1) // 2] + table[rows, counts // 2]) / 2


@functools.cache
def _controller() -> ThreadpoolController:
    """Knows the libraries of the process: to look for them takes a millisecond."""
    return ThreadpoolController()


def _spectral_radius(model: Any, layer: int, direction: int) -> float:
    place, n_hidden = CANDIDATE[model.cell], model.stack.hidden_size
    weights = model.parameters.arrays["weight_hh" + suffix(layer, direction)]
    block = np.asarray(weights[place * n_hidden : (place + 1) * n_hidden], np.float64)
    with _controller().limit(limits=1, user_api="blas"):  # its threads would only wait for one another
        return float(np.abs(np.linalg.eigvals(block)).max())
