"""Data of the tests of the estimators, and what they do with any of the forms that X may have.

Letters: n sequences, T time steps, F features.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor

CLASSIFIERS = (RNNClassifier, LSTMClassifier, GRUClassifier)
REGRESSORS = (RNNRegressor, LSTMRegressor, GRURegressor)
CLASSES = CLASSIFIERS + REGRESSORS

#: Layers and directions: the plain network, and one whose last layer reads both directions of the one below.
DEPTHS = {"plain": {}, "deep": {"num_layers": 2, "bidirectional": True}}


def make_array(n=40, n_steps=8, n_features=3, seed=0):
    """X of shape (n, T, F), normal."""
    return np.random.default_rng(seed).normal(size=(n, n_steps, n_features))


def make_ragged(n=40, longest=9, n_features=3, seed=0):
    """List of n arrays (T_i, F), normal; lengths 1 and ``longest`` occur."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=n)
    lengths[:2] = [longest, 1][:n]
    return [rng.normal(size=(length, n_features)) for length in lengths]


def make_targets(cls, X, seed=0):
    """Three labels in string form for a classifier, numbers for a regressor."""
    totals = np.array([np.sum(x) for x in X]) + 0.1 * np.random.default_rng(seed).normal(size=len(X))
    if not is_classifier(cls()):
        return totals
    ranks = totals.argsort().argsort()
    return np.array(["high", "low", "middle"])[3 * ranks // len(X)]


def with_value(value, dtype=float):
    """X of 12 sequences, with ``value`` at one place in one of them."""
    X = make_array(n=12).astype(dtype)
    X[3, 5, 1] = value
    return X


def make_order(n=300, n_steps=10, seed=0):
    """Noise and, at two random steps, an A (1 in feature 0) and a B (1 in feature 1); y says whether A came first."""
    rng = np.random.default_rng(seed)
    X, y = 0.1 * rng.normal(size=(n, n_steps, 2)), rng.integers(2, size=n)
    for x, a_first in zip(X, y, strict=True):
        early, late = np.sort(rng.choice(n_steps, size=2, replace=False))
        x[early if a_first else late, 0] += 1.0
        x[late if a_first else early, 1] += 1.0
    return X, y


#: Forms of X.
LAYOUTS = {
    "array": make_array,
    "ragged": make_ragged,
    "scalars": lambda: [x[:, 0] for x in make_ragged()],
    "table": lambda: make_array()[:, :, 0],
}


def quick(cls, **parameters):
    """A small network and few epochs, for what does not ask for more."""
    return cls(**{"hidden_size": 8, "max_iter": 3, "random_state": 0, **parameters})


def tiny(cls, **parameters):
    """The least that can be fitted."""
    return cls(**{"hidden_size": 4, "max_iter": 1, "random_state": 0, **parameters})


def make_estimator(cls, depth="plain", **parameters):
    """A network and batches of odd sizes, for what must hold bit for bit."""
    return cls(**{"hidden_size": 9, "batch_size": 16, "max_iter": 2, "random_state": 0, **DEPTHS[depth], **parameters})


def full_batch(cls, **parameters):
    """Gradient descent without chance but in the initial weights, in double precision, and without an early end."""
    options = {"batch_size": 10_000, "shuffle": False, "dtype": "float64", "alpha": 0.0, "n_iter_no_change": 10_000}
    return quick(cls, **{**options, **parameters})


def make_problem(cls, n=60):
    """Ragged X of n sequences, and y."""
    X = make_ragged(n=n)
    return X, make_targets(cls, X)


@dataclass
class Case:
    """A fitted estimator, which no test may change, and what it was fitted on."""

    estimator: Any
    X: Any
    y: Any

    def again(self, **parameters):
        """The same estimator, not fitted."""
        return clone(self.estimator).set_params(**parameters)


def object_array(X):
    """Sequences as an object array of shape (n,)."""
    out = np.empty(len(X), dtype=object)
    for i, x in enumerate(X):
        out[i] = x
    return out


def rows(X, indices):
    """Sequences of an array or a list, by their numbers."""
    return [X[i] for i in indices] if isinstance(X, list) else X[indices]


def outputs(estimator, X):
    """Everything that an estimator says of each sequence: probabilities, or predicted numbers."""
    return estimator.predict_proba(X) if is_classifier(estimator) else estimator.predict(X)


def flat(estimator):
    """All weights of a fitted estimator as one vector."""
    return np.concatenate([array.ravel() for array in estimator.weights_.values()])


def assert_same_bits(a, b):
    """Equal values, shapes and dtypes."""
    np.testing.assert_array_equal(a, b, strict=True)


def assert_same_weights(a, b):
    """Equal weights of two fitted estimators, bit for bit, and not NaN."""
    assert a.weights_.keys() == b.weights_.keys()
    for name in a.weights_:
        assert np.isfinite(a.weights_[name]).all(), name
        np.testing.assert_array_equal(a.weights_[name], b.weights_[name], strict=True, err_msg=name)


def refused(call, error, *parts):
    """``call`` raises exactly a ValueError or TypeError whose message holds all parts, regular expressions."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert isinstance(caught.value, error), repr(caught.value)
    assert not isinstance(caught.value, NotFittedError)
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message), f"{part!r} is not in: {message}"


def refused_fit(estimator, X, y, error, *parts, **options):
    """`fit` refuses; what it leaves on the estimator is the affair of tests of their own."""
    refused(lambda: estimator.fit(X, y, **options), error, *parts)
