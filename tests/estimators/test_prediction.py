"""A prediction depends neither on the batch it came in nor on the pieces of time, bit for bit."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import is_classifier

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.kernels.cpu import head
from fastrecur.layers import GRU, LSTM, RNN
from fastrecur.network.head import Head
from fastrecur.network.model import PREDICT_ROWS, PREDICT_STEPS
from fastrecur.network.parameters import Parameters
from tests.estimators.data import (
    CLASSES,
    DEPTHS,
    assert_same_bits,
    make_array,
    make_estimator,
    make_ragged,
    make_targets,
    outputs,
    rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- the same prediction ---------------------------------------------------------------------------------------------


def test_a_sequence_alone_and_in_company(case):
    whole = outputs(case.estimator, case.X)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole)) > len(case.X) // 2  # a constant would be invariant to anything
    for i in range(len(case.X)):
        assert_same_bits(outputs(case.estimator, case.X[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("n_batches", [2, 3, 7])
def test_batches_change_no_bit(case, n_batches):
    parts = np.array_split(np.arange(len(case.X)), n_batches)
    split = [outputs(case.estimator, rows(case.X, part)) for part in parts]
    assert_same_bits(np.concatenate(split), outputs(case.estimator, case.X))


def test_permuted_and_repeated_sequences(case):
    order = np.random.default_rng(0).integers(len(case.X), size=2 * len(case.X))
    assert_same_bits(outputs(case.estimator, rows(case.X, order)), outputs(case.estimator, case.X)[order])
    assert_same_bits(case.estimator.predict(rows(case.X, order)), case.estimator.predict(case.X)[order])


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMRegressor, GRUClassifier])
@pytest.mark.parametrize("depth", DEPTHS)
def test_more_sequences_than_one_batch_of_prediction(cls, depth, monkeypatch):
    """Prediction goes by falling length, a batch of sequences and a piece of time at a time."""
    monkeypatch.setattr("fastrecur.network.model.PREDICT_NUMBERS", 0)  # or a batch of so small ones took all
    X = make_ragged(n=PREDICT_ROWS + 40, longest=2 * PREDICT_STEPS + 20)
    estimator = make_estimator(cls, depth).set_params(n_threads=1).fit(X[:40], make_targets(cls, X[:40]))
    whole = outputs(estimator, X)
    for indices in ([0], [1], range(3, 17), range(PREDICT_ROWS - 5, PREDICT_ROWS + 5)):
        assert_same_bits(outputs(estimator, rows(X, indices)), whole[list(indices)])


def test_a_sequence_does_not_see_the_padding_that_others_need():
    """Shorter and longer company, not only more of it."""
    X = make_ragged()
    estimator = make_estimator(LSTMClassifier, "deep").fit(X, make_targets(LSTMClassifier, X))
    longer = [*X[:5], np.full((3 * PREDICT_STEPS, 3), 1e30), np.full((1, 3), -1e30)]
    assert_same_bits(estimator.predict_proba(longer)[:5], estimator.predict_proba(X)[:5])


# --- long sequences --------------------------------------------------------------------------------------------------

LAYERS = {RNNClassifier: RNN, LSTMClassifier: LSTM, GRUClassifier: GRU,
          RNNRegressor: RNN, LSTMRegressor: LSTM, GRURegressor: GRU}  # fmt: skip


def head_outputs(estimator, X):
    """Outputs of the head, from one forward of whole sequences through `fastrecur.layers`."""
    lengths = np.array([len(x) for x in X])
    padded = np.zeros((len(X), lengths.max(), X[0].shape[1]))
    for row, x in zip(padded, X, strict=True):
        row[: len(x)] = x
    weights = dict(estimator.weights_)
    head_weight, head_bias = weights.pop("head_weight"), weights.pop("head_bias")
    options = {"num_layers": estimator.num_layers, "bidirectional": estimator.bidirectional, "dtype": estimator.dtype}
    layer = LAYERS[type(estimator)](X[0].shape[1], estimator.hidden_size, **options)
    layer.load_parameters(weights)
    y, _ = layer.forward(padded, lengths=lengths)
    n_hidden = estimator.hidden_size
    last = y[np.arange(len(X)), lengths - 1, :n_hidden]
    pooled = np.ascontiguousarray(np.concatenate([last, y[:, 0, n_hidden:]], axis=1))
    parameters = Parameters({"head_weight": head_weight.shape, "head_bias": head_bias.shape}, estimator.dtype)
    parameters.arrays["head_weight"][:], parameters.arrays["head_bias"][:] = head_weight, head_bias
    out = np.empty((len(X), len(head_bias)), estimator.dtype)
    return Head(parameters, pooled.shape[1], len(head_bias)).outputs(pooled, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [{}, {"num_layers": 2}, {"bidirectional": True}, DEPTHS["deep"]], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_prediction_in_pieces_of_time_is_one_forward(cls, layers, dtype):
    """Bit for bit: the pieces hand on the states, of every layer, of sequences that end in different pieces."""
    n_steps = 300
    assert n_steps > 4 * PREDICT_STEPS
    X = make_array(n=7, n_steps=n_steps)
    y = make_targets(cls, X)
    estimator = make_estimator(cls, max_iter=1, dtype=dtype, **layers).fit(X, y)
    ragged = [x[:length] for x, length in zip(X, [300, 1, 64, 65, 128, 299, 17], strict=True)]
    for sequences in (X, ragged):
        expected = head_outputs(estimator, sequences)
        if is_classifier(estimator):
            probabilities = np.empty_like(expected)
            head.softmax(expected, probabilities)
            assert_same_bits(estimator.predict_proba(sequences), probabilities)
            assert_same_bits(estimator.predict(sequences), estimator.classes_[expected.argmax(axis=1)])
        else:
            np.testing.assert_allclose(estimator.predict(sequences), expected[:, 0] * y.std() + y.mean(), rtol=1e-12)


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
def test_probabilities(cls):
    X = make_ragged()
    estimator = make_estimator(cls).fit(X, make_targets(cls, X))
    probabilities = estimator.predict_proba(X)
    assert probabilities.shape == (40, 3)
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), probabilities, rtol=1e-6)
    assert_same_bits(estimator.predict(X), estimator.classes_[probabilities.argmax(axis=1)])


@pytest.mark.parametrize("return_sequences", [False, True])
def test_log_probabilities_are_finite_where_probabilities_are_zero(return_sequences):
    X = make_array()
    y = X[:, :, 0] > 0 if return_sequences else make_targets(LSTMClassifier, X)
    estimator = make_estimator(LSTMClassifier, return_sequences=return_sequences).fit(X, y)
    estimator.weights_["head_weight"] *= 10_000
    probabilities, logarithms = estimator.predict_proba(X), estimator.predict_log_proba(X)
    assert (probabilities == 0).any()
    assert np.isfinite(logarithms).all()
    np.testing.assert_allclose(np.exp(logarithms), probabilities, rtol=1e-4, atol=1e-37)


# --- what leaves a dtype's range -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_what_overflows_is_refused(cls):
    X, options = make_ragged(), {"nonlinearity": "relu", "init": "pytorch"}
    X[5] = np.full_like(X[5], 3e38)
    estimator = make_estimator(cls, **options).fit(X[:5], make_targets(cls, X[:5]))
    estimator.weights_["weight_ih_l0"][0] = 1.0  # three times 3e38
    methods = ["predict", "transform", "hidden_states"]
    methods += ["predict_proba", "predict_log_proba"] if is_classifier(estimator) else []
    for method in methods:
        with pytest.raises(ValueError, match=r"^X holds values so large, first in sequence 5.* float32.*float64"):
            getattr(estimator, method)(X)
    with config_context(assume_finite=True):
        assert not np.isfinite(estimator.transform(X)).all()
    with pytest.raises(ValueError, match=r"^x_t holds values so large"):
        estimator.predict_step(X[5][:1], estimator.initial_state())
    each_step = make_estimator(cls, return_sequences=True, **options).fit(X[:5], [x[:, 0] > 0 for x in X[:5]])
    each_step.weights_["weight_ih_l0"][0] = 1.0
    with pytest.raises(ValueError, match="first in sequence 5"):
        each_step.predict(X)


def test_predictions_beyond_the_dtype_of_x_are_refused():
    X = make_array().astype(np.float32)
    regressor = make_estimator(GRURegressor).fit(X, np.linspace(1e38, 1e39, len(X)))
    with pytest.raises(ValueError, match=r"beyond float32, the dtype of X\. Pass X as float64"):
        regressor.predict(X)
    assert regressor.predict(X.astype(float)).max() > 3.5e38
