"""Layers and runs of them, for the tests of the layers."""

import numpy as np
import pytest

from fastrecur.layers import GRU, LSTM, RNN

LAYERS = {"rnn_tanh": (RNN, {}), "rnn_relu": (RNN, {"nonlinearity": "relu"}), "lstm": (LSTM, {}), "gru": (GRU, {})}

#: Forward, absolute (for numbers up to 1); gradients, relative in the norm.
TOLERANCE = {"float32": (1e-6, 1e-5), "float64": (1e-10, 1e-10)}

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def make(cell, *sizes, **options):
    """A layer with PyTorch's initial weights (uniform, biases too), so that no bias is zero."""
    kind, extra = LAYERS[cell]
    layer = kind(*sizes, **{"n_threads": 1, **extra, **options})
    rng, limit = np.random.default_rng(0), 1 / np.sqrt(layer.hidden_size)
    layer.load_parameters({name: rng.uniform(-limit, limit, w.shape) for name, w in layer.parameters.items()})
    return layer


def normal(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def parts(state):
    """A state as a tuple: (h,) or (h, c)."""
    return state if isinstance(state, tuple) else (state,)


def random_state(layer, n_rows, seed=7):
    shape = layer.num_layers * layer.n_directions, n_rows, layer.hidden_size
    h, c = normal(seed, 2, *shape, dtype=layer.dtype)
    return (h, c) if isinstance(layer, LSTM) else h


def run(layer, x, state=None, lengths=None, dy=None, dstate=None):
    """Copies of everything that forward and backward give: y, states, dx, gradients of states and parameters."""
    y, final = layer.forward(x, state, lengths, training=True)
    results = {"y": y.copy(), **{f"final {i}": part.copy() for i, part in enumerate(parts(final))}}
    for gradient in layer.grads.values():
        gradient[:] = 0.0
    dx, dinitial = layer.backward(dy, dstate)
    results["dx"] = dx.copy()
    results |= {f"dinitial {i}": part.copy() for i, part in enumerate(parts(dinitial))}
    results |= {f"d{name}": gradient.copy() for name, gradient in layer.grads.items()}
    return results


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array, err_msg=name)
        assert np.isfinite(array).all()
