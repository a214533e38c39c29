"""Fitted networks for the tests of inspection, and one sequence through them in the reference's cells."""

import numpy as np
from sklearn.base import is_classifier

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.kernels import reference
from tests.estimators.data import make_array, make_ragged, make_targets

CLASSIFIERS = {"rnn": RNNClassifier, "lstm": LSTMClassifier, "gru": GRUClassifier}
REGRESSORS = {"rnn": RNNRegressor, "lstm": LSTMRegressor, "gru": GRURegressor}
CELLS = tuple(CLASSIFIERS)
FORMS = {"array": make_array, "ragged": make_ragged}


def fitted(cls, X, y=None, **parameters):
    """A network after three epochs, in float64 unless it is asked for otherwise, and its targets."""
    y = make_targets(cls, X) if y is None else y
    parameters = {"hidden_size": 7, "max_iter": 3, "random_state": 0, "dtype": "float64", "tol": 0.0, **parameters}
    return cls(**parameters).fit(X, y), y


def step_targets(cls, X):
    """A target for each time step of the arrays (T_i, F) of X, or one array of them for an array X."""
    sums = [np.cumsum(np.sum(x, axis=1)) for x in X]
    targets = [total > 0 for total in sums] if is_classifier(cls()) else sums
    return targets if isinstance(X, list) else np.array(targets)


def recurrent_weights(model, layer=0, end=""):
    """w_ih, w_hh and the biases of a layer, float64."""
    return [np.asarray(array, np.float64) for name, array in model.weights_.items() if name.endswith(f"_l{layer}{end}")]


def step(model, x, state):
    """State (h,) or (h, c), each (1, H), of a network of one layer after one more time step x (F,)."""
    state = [part.copy() for part in state]
    arguments = *recurrent_weights(model), x[np.newaxis], *state
    if model._cell == "rnn":
        reference.rnn_step(*arguments, model.nonlinearity == "relu")
    elif model._cell == "gru":
        reference.gru_step(*arguments)
    else:
        reference.lstm_step(*arguments)
    return state


def loss(model, h, y):
    """Loss of the last state h (1, H) of one sequence: E."""
    z = (h @ model.weights_["head_weight"].T + model.weights_["head_bias"])[0].astype(np.float64)
    if is_classifier(model):
        return np.log(np.exp(z).sum()) - z[np.searchsorted(model.classes_, y)]
    return 0.5 * np.mean((z - (y - model._y_mean) / model._y_scale) ** 2)
