"""Streams, pooled states and hidden states: the same bits as `predict`."""

import numpy as np
import pytest

from fastrecur import GRUClassifier, LSTMClassifier, RNNRegressor
from fastrecur.layers import GRU, LSTM, RNN
from tests.estimators.data import CLASSES, CLASSIFIERS, assert_same_bits, make_array, make_ragged, make_targets, tiny

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("cls", CLASSES)
def test_steps_give_the_bits_of_predict(cls, pooling, dtype):
    X = make_array(n=9, n_steps=6)
    estimator = tiny(cls, pooling=pooling, num_layers=2, dtype=dtype).fit(X, make_targets(cls, X))
    state = estimator.initial_state(9)
    for t in range(6):
        output, state = estimator.predict_step(X[:, t], state)
        assert_same_bits(output, estimator.predict(X[:, : t + 1]))
    assert state.n_steps == 6
    assert state.hidden.shape == (2, 9, 4)
    assert (state.cell is not None) == ("LSTM" in cls.__name__)


@pytest.mark.parametrize("cls", CLASSES)
def test_steps_give_the_bits_of_targets_a_step(cls):
    X = make_array(n=5, n_steps=6)
    y = X[..., 0] > 0 if cls in CLASSIFIERS else X[..., 0]
    estimator = tiny(cls, return_sequences=True).fit(X, y)
    state, outputs = estimator.initial_state(5), []
    for t in range(6):
        output, state = estimator.predict_step(X[:, t], state)
        outputs.append(output)
    assert_same_bits(np.stack(outputs, axis=1), estimator.predict(X))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_steps_give_the_bits_of_predict_proba(cls, return_sequences):
    X = make_array(n=5, n_steps=6)
    y = X[..., 0] > 0
    estimator = tiny(cls, return_sequences=return_sequences).fit(X, y if return_sequences else y[:, 0])
    state = estimator.initial_state(5)
    for t in range(6):
        probabilities, state = estimator.predict_proba_step(X[:, t], state)
    expected = estimator.predict_proba(X)
    assert_same_bits(probabilities, expected[:, -1] if return_sequences else expected)
    with pytest.raises(TypeError, match="state must come from initial_state"):
        estimator.predict_proba_step(X[:, 0], None)


def test_a_state_may_be_used_again_and_single_streams_may_leave_their_axis_out():
    X = make_array(n=5, n_steps=6)
    estimator = tiny(RNNRegressor).fit(X, X[:, -1, 0])
    _, state = estimator.predict_step(X[0, 0], estimator.initial_state())
    first, _ = estimator.predict_step(X[:1, 1], state)
    again, _ = estimator.predict_step(X[0, 1], state)
    assert_same_bits(first, again)
    assert_same_bits(first, estimator.predict(X[:1, :2]))


def test_streams_of_tokens():
    X = np.random.default_rng(0).integers(6, size=(8, 5))
    estimator = tiny(LSTMClassifier, embedding_dim=3).fit(X, np.arange(8) % 2)
    state = estimator.initial_state(8)
    for t in range(5):
        output, state = estimator.predict_step(X[:, t], state)
    np.testing.assert_array_equal(output, estimator.predict(X))
    with pytest.raises(ValueError, match="token"):
        estimator.predict_step(np.full(8, 6), state)
    with pytest.raises(ValueError, match="integer tokens"):
        estimator.predict_step(np.full(8, 1.0), state)


def test_streams_that_cannot_be():
    X = make_array(n=6)
    both = tiny(LSTMClassifier, bidirectional=True).fit(X, np.arange(6) % 2)
    with pytest.raises(ValueError, match="bidirectional=False"):
        both.initial_state()
    estimator = tiny(LSTMClassifier).fit(X, np.arange(6) % 2)
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_sequences"):
            estimator.initial_state(n)
    state = estimator.initial_state(2)
    with pytest.raises(ValueError, match=r"x_t must have shape \(2, 3\)"):
        estimator.predict_step(X[:3, 0], state)
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict_step(np.full((2, 3), np.nan), state)
    with pytest.raises(ValueError, match="float32 cannot hold"):
        estimator.predict_step(np.full((2, 3), 1e300), state)
    for other in (tiny(LSTMClassifier, hidden_size=5), tiny(GRUClassifier), tiny(LSTMClassifier, random_state=1)):
        with pytest.raises(ValueError, match="another network"):
            other.fit(X, np.arange(6) % 2).predict_step(X[:2, 0], state)
    with pytest.raises(ValueError, match="bidirectional=False"):
        both.predict_step(X[:2, 0], state)
    with pytest.raises(ValueError, match=r"x_t has 2 masked"):
        estimator.predict_step(np.ma.masked_array(X[:2, 0], mask=[[0, 0, 1]] * 2), state)
    with pytest.raises(ValueError, match="rows of different lengths"):
        estimator.predict_step([[1.0, 2.0, 3.0], [1.0]], state)
    with pytest.raises(TypeError, match="initial_state"):
        estimator.predict_step(X[:2, 0], (None, None))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_hidden_states_are_those_of_the_layers(cls, bidirectional):
    X = make_ragged(n=7)
    estimator = tiny(cls, bidirectional=bidirectional, dtype="float64").fit(X, make_targets(cls, X))
    layer = {"R": RNN, "L": LSTM, "G": GRU}[cls.__name__[0]](3, 4, bidirectional=bidirectional, dtype="float64")
    layer.load_parameters({name: w for name, w in estimator.weights_.items() if not name.startswith("head")})
    states = estimator.hidden_states(X)
    for x, h in zip(X, states, strict=True):
        np.testing.assert_allclose(h, layer.forward(x[np.newaxis])[0][0], rtol=1e-12, atol=1e-14)
    pooled = estimator.transform(X)
    assert_same_bits(pooled[:, :4], np.array([h[-1, :4] for h in states]))
    assert len(estimator.get_feature_names_out()) == pooled.shape[1]
    framed = estimator.set_output(transform="pandas").transform(X)
    assert list(framed.columns) == list(estimator.get_feature_names_out())


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pooled_states(pooling):
    X = make_ragged(n=7)
    estimator = tiny(LSTMClassifier, pooling=pooling, dtype="float64").fit(X, np.arange(7) % 2)
    expected = [getattr(h, pooling)(axis=0) for h in estimator.hidden_states(X)]
    np.testing.assert_allclose(estimator.transform(X), expected, rtol=1e-13)
