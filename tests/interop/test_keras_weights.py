"""Weights to Keras' layers and back, against Keras' documented equations in NumPy."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fastrecur import LSTMClassifier
from fastrecur.interop import from_keras, to_keras
from fastrecur.layers import GRU, LSTM, RNN
from tests.estimators.data import CLASSES, make_array, refused
from tests.interop.data import fitted, keras_bidirectional, keras_gru, keras_lstm, keras_simple_rnn
from tests.network.data import LAYERS, each_cell, normal

#: Gates, and the layer's equations.
KERAS = {
    "rnn_tanh": (1, keras_simple_rnn),
    "rnn_relu": (1, lambda weights, x: keras_simple_rnn(weights, x, lambda z: np.maximum(z, 0))),
    "lstm": (4, keras_lstm),
    "gru": (3, keras_gru),
}

each_depth = pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])


def keras_weights(cell, n_features=3, hidden_size=5, bidirectional=False, seed=0, dtype="float64"):
    """What ``get_weights()`` of a layer gives, none of it 0."""
    n_gates = KERAS[cell][0]
    rng, width = np.random.default_rng(seed), n_gates * hidden_size
    bias = (2, width) if cell == "gru" else (width,)
    shapes = [(n_features, width), (hidden_size, width), bias] * (2 if bidirectional else 1)
    return [rng.uniform(-0.5, 0.5, shape).astype(dtype) for shape in shapes]


def keras_outputs(cell, weights, x, bidirectional):
    layer = KERAS[cell][1]
    return keras_bidirectional(layer, weights, x) if bidirectional else layer(weights, x)


def nonlinearity(cell):
    return "relu" if cell == "rnn_relu" else "tanh"


@each_cell
@each_depth
def test_a_layer_computes_what_keras_documents(cell, bidirectional):
    weights = keras_weights(cell, bidirectional=bidirectional)
    layer, x = from_keras(weights, nonlinearity=nonlinearity(cell)), normal(0, 4, 6, 3, dtype="float64")
    assert type(layer) is LAYERS[cell][0]
    np.testing.assert_allclose(layer.forward(x)[0], keras_outputs(cell, weights, x, bidirectional), atol=1e-12)


@each_cell
@each_depth
def test_layers_one_above_the_other(cell, bidirectional):
    width = 10 if bidirectional else 5
    stack = [keras_weights(cell, f, 5, bidirectional, seed) for seed, f in enumerate((3, width, width))]
    layer, x = from_keras(stack, nonlinearity=nonlinearity(cell)), normal(0, 4, 6, 3, dtype="float64")
    outputs = x
    for weights in stack:
        outputs = keras_outputs(cell, weights, outputs, bidirectional)
    np.testing.assert_allclose(layer.forward(x)[0], outputs, atol=1e-12)
    for ours, theirs in zip(to_keras(layer), stack, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@each_cell
@each_depth
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back_keeps_every_bit(cell, bidirectional, dtype):
    weights = keras_weights(cell, bidirectional=bidirectional, dtype=dtype)
    layer = from_keras(weights, nonlinearity=nonlinearity(cell))
    assert layer.dtype == dtype
    for ours, theirs in zip(to_keras(layer), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


@each_cell
@each_depth
def test_layers_without_bias(cell, bidirectional):
    weights = keras_weights(cell, bidirectional=bidirectional)
    with_zeros = [array * (i % 3 != 2) for i, array in enumerate(weights)]
    layer = from_keras([array for i, array in enumerate(weights) if i % 3 != 2], nonlinearity=nonlinearity(cell))
    x = normal(0, 4, 6, 3, dtype="float64")
    np.testing.assert_allclose(layer.forward(x)[0], keras_outputs(cell, with_zeros, x, bidirectional), atol=1e-12)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_whole_estimator(cls):
    """Embedding, layer and head with Keras' equations predict as the estimator does."""
    tokens = np.random.default_rng(0).integers(0, 9, size=(20, 6))
    y = np.stack([tokens[:, 0], 100.0 + tokens[:, 1]], axis=1) if cls.__name__.endswith("Regressor") else None
    estimator = fitted(cls, tokens, y, embedding_dim=5, dtype="float64")
    (table,), (kernel, bias) = to_keras(estimator, "embedding"), to_keras(estimator, "head")
    cell = {"rnn": "rnn_tanh"}.get(estimator._cell, estimator._cell)
    outputs = KERAS[cell][1](to_keras(estimator), table[tokens])[:, -1] @ kernel + bias
    if y is None:
        outputs = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    found = estimator.predict_proba(tokens) if y is None else estimator.predict(tokens)
    np.testing.assert_allclose(outputs, found, rtol=1e-10)


def test_arrays_are_copies():
    estimator = fitted(LSTMClassifier, make_array(20))
    before = {name: array.copy() for name, array in estimator.weights_.items()}
    for part in ("recurrent", "head"):
        for array in to_keras(estimator, part):
            array[...] = 99.0
    for name, array in estimator.weights_.items():
        np.testing.assert_array_equal(array, before[name])


# --- errors ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_exported():
    with pytest.raises(NotFittedError):
        to_keras(LSTMClassifier())
    refused(lambda: to_keras(3), TypeError, "fitted estimator", "instance of int")
    refused(lambda: to_keras(GRU(2, 3), "head"), ValueError, "layer has no head")
    refused(lambda: to_keras(RNN(2, 3), "kernel"), ValueError, "part", "'kernel'")


class Layer:
    def get_weights(self):
        return []


KERNEL, RECURRENT, BIAS = keras_weights("lstm")
GRU_WEIGHTS = keras_weights("gru")


@pytest.mark.parametrize(
    ("given", "options", "error", "parts"),
    [
        (Layer(), {}, TypeError, ["weights", "Layer", r"layer\.get_weights\(\)"]),
        ({"kernel": KERNEL}, {}, TypeError, ["weights", "dict"]),
        ([], {}, ValueError, ["empty list"]),
        ([KERNEL], {}, ValueError, ["Layer 0", r"1 array", "3 "]),
        ([[KERNEL, RECURRENT, BIAS], [KERNEL]], {}, ValueError, ["Layer 1", r"1 array"]),
        ([KERNEL, [RECURRENT]], {}, ValueError, ["mixes arrays and lists"]),
        ([[KERNEL, RECURRENT, BIAS], keras_weights("lstm", 5, bidirectional=True)], {}, ValueError, ["two"]),
        ([KERNEL, BIAS, RECURRENT], {}, ValueError, [r"weights\[1\]", r"\(20,\)"]),
        ([KERNEL, np.ones((5, 10)), BIAS], {}, ValueError, ["10 gate values for 5"]),
        ([KERNEL[:, :15], RECURRENT, BIAS], {}, ValueError, ["kernel of layer 0|kernel of the layer", r"\(3, 20\)"]),
        ([BIAS, RECURRENT, BIAS], {}, ValueError, ["kernel of the layer", r"\(20,\)"]),
        ([KERNEL, RECURRENT, BIAS[:5]], {}, ValueError, ["bias of the layer", r"\(20,\)", r"\(5,\)"]),
        ([*GRU_WEIGHTS[:2], GRU_WEIGHTS[2][0]], {}, ValueError, ["bias", "reset_after=False", "reset_after=True"]),
        ([[KERNEL, RECURRENT, BIAS]] * 2, {}, ValueError, ["kernel of layer 1", r"\(5, 20\)", r"\(3, 20\)"]),
        ([[KERNEL, RECURRENT, BIAS], keras_weights("gru", 5)], {}, ValueError, ["layer 1", r"\(5, 20\)"]),
        (
            [KERNEL, RECURRENT, BIAS, np.ones((4, 20)), RECURRENT, BIAS],
            {},
            ValueError,
            ["kernel of the backward direction must", r"\(3, 20\)", r"\(4, 20\)"],
        ),
        ([KERNEL.astype(str), RECURRENT, BIAS], {}, TypeError, [r"weights\[0\] of layer 0", "real numbers"]),
        ([KERNEL, RECURRENT, BIAS], {"cell": "rnn"}, ValueError, ["cell='rnn'", "cell='lstm'"]),
        ([KERNEL, RECURRENT, BIAS], {"nonlinearity": "relu"}, ValueError, ["nonlinearity='relu'"]),
        ([KERNEL, RECURRENT, BIAS], {"nonlinearity": "elu"}, ValueError, ["nonlinearity", "'elu'"]),
    ],
)
def test_foreign_lists_are_refused(given, options, error, parts):
    refused(lambda: from_keras(given, **options), error, *parts)


def test_a_given_cell_is_checked_and_taken():
    assert isinstance(from_keras([KERNEL, RECURRENT, BIAS], cell="lstm"), LSTM)
