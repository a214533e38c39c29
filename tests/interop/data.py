"""Estimators with weights that all count, padded sequences, Keras' equations in NumPy; runs of ONNX models.

Letters: n sequences, T time steps, F features, H hidden units.
"""

import warnings

import numpy as np
import onnx
import onnxruntime
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from tests.estimators.data import make_targets, tiny


def fitted(cls, X, y=None, **parameters):
    """A fitted estimator, all of whose weights are then drawn anew: after one epoch biases are next to 0."""
    estimator = tiny(cls, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X, targets(estimator, X) if y is None else y)
    rng = np.random.default_rng(1)
    for array in estimator.weights_.values():
        array[...] = rng.uniform(-0.7, 0.7, array.shape)
    return estimator


def targets(estimator, X):
    """One target a sequence, or of differing values a time step with ``return_sequences``."""
    y = make_targets(type(estimator), X)
    if not estimator.return_sequences:
        return y
    return [np.resize(np.roll(y, i), len(x)) for i, x in enumerate(X)]


def padded(X, filling=7.5):
    """Array (n, T, ...) of a list, and the lengths."""
    lengths = np.array([len(x) for x in X], np.int32)
    out = np.full((len(X), lengths.max(), *X[0].shape[1:]), filling, X[0].dtype)
    for row, x in zip(out, X, strict=True):
        row[: len(x)] = x
    return out, lengths


def run(model, **inputs):
    """Outputs of a checked ONNX model by name."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def expected(estimator, X):
    """What the outputs of a model must be, by name."""
    if is_classifier(estimator):
        return {"label": estimator.predict(X), "probabilities": estimator.predict_proba(X)}
    return {"variable": estimator.predict(X)}


def assert_equal_outputs(found, wanted, lengths=None):
    """Equal names, shapes and values, numbers to 1e-5; of ragged outputs the valid steps, with 0 behind them."""
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        given = found[name]
        if lengths is not None:
            for row, length in zip(given, lengths, strict=True):
                assert name == "label" or not row[length:].any(), name
            given = np.concatenate([row[:length] for row, length in zip(given, lengths, strict=True)])
            values = np.concatenate(values)
        assert given.shape == values.shape, name
        if name == "label":
            assert given.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(given, values, rtol=1e-5, atol=1e-5, err_msg=name)


# --- Keras' layers as its documentation states them, batch-major, one step after the other ---------------------------


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_simple_rnn(weights, x, activation=np.tanh):
    """States (n, T, H) of SimpleRNN: h = activation(x kernel + h recurrent_kernel + bias)."""
    kernel, recurrent_kernel, bias = weights
    h, out = np.zeros((len(x), len(recurrent_kernel))), []
    for t in range(x.shape[1]):
        h = activation(x[:, t] @ kernel + h @ recurrent_kernel + bias)
        out.append(h)
    return np.stack(out, axis=1)


def keras_lstm(weights, x):
    """States (n, T, H) of LSTM; the gates are i, f, c, o."""
    kernel, recurrent_kernel, bias = weights
    h = c = np.zeros((len(x), len(recurrent_kernel)))
    out = []
    for t in range(x.shape[1]):
        i, f, candidate, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
        h = _sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, axis=1)


def keras_gru(weights, x):
    """States (n, T, H) of GRU with reset_after=True; the gates are z, r, h."""
    kernel, recurrent_kernel, (bias, recurrent_bias) = weights
    h, out = np.zeros((len(x), len(recurrent_kernel))), []
    for t in range(x.shape[1]):
        x_z, x_r, x_h = np.split(x[:, t] @ kernel + bias, 3, axis=1)
        h_z, h_r, h_h = np.split(h @ recurrent_kernel + recurrent_bias, 3, axis=1)
        z, r = _sigmoid(x_z + h_z), _sigmoid(x_r + h_r)
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
        out.append(h)
    return np.stack(out, axis=1)


def keras_bidirectional(run_layer, weights, x):
    """States (n, T, 2H) of Bidirectional with merge_mode="concat"."""
    half = len(weights) // 2
    backward = run_layer(weights[half:], x[:, ::-1])[:, ::-1]
    return np.concatenate([run_layer(weights[:half], x), backward], axis=2)
