"""Prediction with ``device="cuda"`` in the simulator: recurrent layers, pooling and head there, outputs alone back."""

import pickle
import threading

import numpy as np
import pytest

import fastrecur
from fastrecur.kernels.cuda import runtime
from fastrecur.network import model as module
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.model import make_model
from fastrecur.sequences import check_sequences
from fastrecur.tokens import as_tokens

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
LENGTHS = (5, 1, 3, 7, 2, 4)
X = [RNG.normal(size=(length, 3)) for length in LENGTHS]
TOKENS = [RNG.integers(0, 6, length) for length in LENGTHS]
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}

#: Cell, pooling, whether tokens are read, layers, directions.
MODELS = {
    "last, stacked": ("gru", "last", False, 2, 1),
    "last, both directions": ("rnn", "last", False, 1, 2),
    "mean": ("lstm", "mean", False, 1, 1),
    "mean, both directions, tokens": ("rnn", "mean", True, 1, 2),
    "max": ("rnn", "max", False, 1, 1),
    "max, tokens": ("gru", "max", True, 1, 1),
    "each step": ("lstm", None, False, 1, 1),
    "each step, both directions, stacked, tokens": ("rnn", None, True, 2, 2),
}


def pair(name, dtype="float32"):
    """The same network on the CPU and on the simulated device, and sequences for it."""
    cell, pooling, tokens, num_layers, n_directions = MODELS[name]
    architecture = {"n_features": 3, "hidden_size": 5, "n_outputs": 4, "num_layers": num_layers, "relu": False}
    architecture |= {"n_directions": n_directions, "dtype": dtype, "pooling": pooling, "n_tokens": 6 if tokens else 0}
    models = [make_model(cell, device, **architecture) for device in ("cpu", "cuda")]
    for model in models:
        model.initialise(np.random.RandomState(0))
    return *models, as_tokens(check_sequences(TOKENS), TOKENS, 6) if tokens else check_sequences(X)


@pytest.fixture
def in_pieces(monkeypatch):
    """Batches of four sequences, two of sequences in both directions; pieces of three time steps."""
    monkeypatch.setattr(module, "PREDICT_NUMBERS", 0)
    monkeypatch.setattr(module, "PREDICT_ROWS", 4)
    monkeypatch.setattr(module, "PREDICT_STEPS", 3)
    monkeypatch.setattr(module, "PREDICT_WHOLE", 14)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_states_equal_the_cpu(name, dtype, in_pieces):
    host, device, sequences = pair(name, dtype)
    for method in ("outputs", "pooled", "hidden_states"):
        expected, actual = (getattr(model, method)(sequences, 1) for model in (host, device))
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype], err_msg=method)


@pytest.mark.parametrize("name", ["last, stacked", "mean", "max, tokens", "each step"])
def test_the_bits_depend_neither_on_batches_nor_on_pieces(name, in_pieces, monkeypatch):
    _, device, sequences = pair(name)
    expected = device.outputs(sequences, 1)
    monkeypatch.setattr(module, "PREDICT_ROWS", 1)
    monkeypatch.setattr(module, "PREDICT_STEPS", 2)
    np.testing.assert_array_equal(device.outputs(sequences, 1), expected)


@pytest.mark.parametrize("name", MODELS)
def test_only_outputs_come_back(name, in_pieces, monkeypatch):
    _, device, sequences = pair(name)
    fetch, fetched = runtime.to_host, []
    monkeypatch.setattr(runtime, "to_host", lambda array, *given: fetched.append(array.shape) or fetch(array, *given))
    outputs = device.outputs(sequences, 1)
    assert {shape[1:] for shape in fetched} == {(4,)}
    assert sum(shape[0] for shape in fetched) == len(outputs)


def test_tokens_go_to_the_device_as_such(in_pieces, monkeypatch):
    _, device, sequences = pair("max, tokens")
    send, sent = Buffers.send, []
    monkeypatch.setattr(
        Buffers,
        "send",
        lambda buffers, name, numbers: sent.append((name, len(numbers))) or send(buffers, name, numbers),
    )
    device.outputs(sequences, 1)
    assert sum(n for name, n in sent if name == "tokens") == sum(LENGTHS)


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_an_estimator_predicts_as_on_the_cpu(cell):
    options = {"hidden_size": 4, "max_iter": 1, "random_state": 0}
    model = getattr(fastrecur, f"{cell}Classifier")(**options).fit(X, [0, 1, 2, 0, 1, 2])
    steps = getattr(fastrecur, f"{cell}Regressor")(**options, return_sequences=True).fit(X, [x[:, 0] for x in X])
    expected = model.predict_proba(X), model.predict(X), model.transform(X), np.concatenate(steps.predict(X))
    for estimator in (model, steps):
        estimator.set_params(device="cuda")
    actual = model.predict_proba(X), model.predict(X), model.transform(X), np.concatenate(steps.predict(X))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_a_stream_gives_the_bits_of_predict(cell, pooling):
    model = getattr(fastrecur, f"{cell}Regressor")(4, num_layers=2, pooling=pooling, max_iter=1, random_state=0)
    x = np.stack([X[0], X[0][::-1]]).astype(np.float32)
    model.fit(x, [0.0, 1.0]).set_params(device="cuda")
    state = model.initial_state(2)
    for t in range(x.shape[1]):
        output, state = model.predict_step(x[:, t], state)
    np.testing.assert_array_equal(output, model.predict(x))
    np.testing.assert_array_equal(state.hidden[-1], model.hidden_states(x)[:, -1])


def test_a_stream_steps_in_several_threads_and_from_a_pickle():
    model = fastrecur.GRURegressor(4, max_iter=1, random_state=0, device="cuda").fit(X, np.arange(6.0))
    rows = RNG.normal(size=(6, 3))
    begun = pickle.loads(pickle.dumps(model.initial_state()))
    expected = [model.predict_step(row, model.initial_state())[0] for row in rows]
    actual = [None] * 6

    def step(i):
        actual[i] = model.predict_step(rows[i], begun)[0]

    threads = [threading.Thread(target=step, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(actual, expected)
