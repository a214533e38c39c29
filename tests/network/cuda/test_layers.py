"""Layers with ``device="cuda"`` in the simulator against those of the CPU."""

import pickle

import numpy as np
import pytest

from fastrecur.kernels.cuda import runtime
from fastrecur.layers import GRU, LSTM, RNN
from fastrecur.network.cuda import buffers

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

LAYERS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}

each_cell = pytest.mark.parametrize("cell", LAYERS)


def pair(cell, **options):
    """The same layer on the CPU and on the simulated device."""
    return [LAYERS[cell](3, 5, random_state=0, device=device, **options) for device in ("cpu", "cuda")]


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def assert_close(actual, expected, atol):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def run(layer, x, state, lengths, dy):
    y, final = layer.forward(x, state, lengths, training=True)
    dx, dinitial = layer.backward(dy, state)
    return [y, *parts(final), dx, *parts(dinitial), *layer.grads.values()]


@pytest.mark.parametrize("lengths", [None, [1, 3, 2]], ids=["equal", "ragged"])
@pytest.mark.parametrize(
    "options",
    [{"dtype": "float64", "num_layers": 2, "bidirectional": True}, {"dtype": "float32"}],
    ids=["stacked, two directions", "one"],
)
@each_cell
def test_forward_and_backward_equal_the_cpu(cell, options, lengths):
    rng = np.random.default_rng(0)
    dtype, n_directions = options["dtype"], 1 + options.get("bidirectional", False)
    h = rng.normal(size=(options.get("num_layers", 1) * n_directions, 3, 5)).astype(dtype)
    state = (h, 0.5 * h) if cell == "lstm" else h
    x, dy = rng.normal(size=(3, 3, 3)).astype(dtype), rng.normal(size=(3, 3, 5 * n_directions)).astype(dtype)
    expected, actual = (run(layer, x, state, lengths, dy) for layer in pair(cell, **options))
    assert_close(actual, expected, 1e-12 if dtype == "float64" else 1e-5)


def test_batches_of_many_lengths(monkeypatch):
    """More than there are places for: those of the first come again, and so does their memory."""
    monkeypatch.setattr(buffers, "KEPT", 2)
    rng = np.random.default_rng(0)
    host, device = pair("gru", dtype="float64", bidirectional=True)
    for lengths in ([3, 1], [2, 2], [1, 3], [3, 3], [3, 1], [1, 1]):
        x, dy = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 10))
        expected, actual = (run(layer, x, None, lengths, dy) for layer in (host, device))
        assert_close(actual, expected, 1e-12)


@each_cell
def test_inference_and_steps_equal_the_cpu(cell):
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    host, device = pair(cell, num_layers=2, dtype="float64")
    y, final = device.forward(x)
    assert_close([y, *parts(final)], [host.forward(x)[0], *parts(host.forward(x)[1])], 1e-12)
    state = None
    for t in range(3):
        y_t, state = device.step(x[:, t], state)
        np.testing.assert_allclose(y_t, y[:, t], rtol=0, atol=1e-12)
    assert_close(parts(state), parts(final), 1e-12)


@each_cell
def test_inference_keeps_the_final_states_of_every_layer(cell):
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    host, device = pair(cell, num_layers=3, dtype="float64")
    expected, actual = (layer.forward(x, training=False) for layer in (host, device))
    assert_close([actual[0], *parts(actual[1])], [expected[0], *parts(expected[1])], 1e-12)


def test_written_and_loaded_parameters_count_at_the_next_call():
    x = np.ones((1, 2, 3))
    host, device = pair("gru", dtype="float64")
    for layer in (host, device):
        layer.forward(x)
        layer.parameters["bias_hh_l0"][:] = 0.25
    np.testing.assert_allclose(device.forward(x)[0], host.forward(x)[0], rtol=0, atol=1e-12)
    other = GRU(3, 5, random_state=1, dtype="float64")
    device.load_parameters(other.parameters)
    np.testing.assert_allclose(device.forward(x)[0], other.forward(x)[0], rtol=0, atol=1e-12)


def test_time_major_memory_and_device_arrays():
    rng = np.random.default_rng(0)
    host, device = pair("rnn", dtype="float64")
    x = rng.normal(size=(4, 2, 3)).transpose(1, 0, 2)
    expected = host.forward(x)[0]
    np.testing.assert_allclose(device.forward(x)[0], expected, rtol=0, atol=1e-12)
    y, h = device.forward(runtime.to_device(x), training=True)
    assert runtime.is_device_array(y)
    assert runtime.is_device_array(h)
    np.testing.assert_allclose(runtime.to_host(y), expected, rtol=0, atol=1e-12)
    dx, dh = device.backward(y)
    assert runtime.is_device_array(dx)
    assert dx.shape == x.shape
    assert dh.shape == (1, 2, 5)
    with pytest.raises(ValueError, match="x on the device must be of the layer's dtype float64, found float32"):
        device.forward(runtime.to_device(x.astype(np.float32)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer.forward(np.zeros((2, 3))), "x must have 3 axes"),
        (lambda layer: layer.forward(np.zeros((2, 3, 4))), r"x must have shape \(B, T, 3\)"),
        (lambda layer: layer.forward(np.zeros((2, 3, 3)), lengths=[4, 1]), "lengths must lie between 1 and T = 3"),
        (lambda layer: layer.forward(np.zeros((2, 3, 3)), np.zeros((1, 2, 5))), r"state must be a tuple \(h, c\)"),
        (lambda layer: layer.step(np.zeros((2, 4))), r"x_t must have shape \(B, 3\)"),
        (
            lambda layer: layer.step(np.zeros((2, 3)), (np.zeros((1, 3, 5)),) * 2),
            r"state h must have shape \(1, 2, 5\)",
        ),
    ],
    ids=range(6),
)
def test_what_does_not_fit_is_refused_with_its_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(pair("lstm")[1])


def test_backward_needs_a_forward_in_training():
    layer = pair("rnn")[1]
    layer.forward(np.zeros((1, 2, 3)))
    with pytest.raises(RuntimeError, match="needs forward"):
        layer.backward(None)
    layer.forward(np.zeros((1, 2, 3)), training=True)
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 2, 5\)"):
        layer.backward(np.zeros((1, 2, 6)))


def test_a_pickle_computes_the_same():
    x = np.ones((1, 2, 3))
    layer = pair("lstm", dtype="float64")[1]
    y = layer.forward(x)[0]
    again = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(again.forward(x)[0], y)


def without_a_gpu(monkeypatch):
    """As on a machine without package or driver."""
    monkeypatch.setattr(runtime, "SIMULATED", False)
    monkeypatch.setattr(runtime, "cuda", None)
    monkeypatch.setattr(runtime, "_why_no_package", "no package for CUDA is installed")


def test_a_pickle_loads_without_a_gpu_and_says_what_is_missing(monkeypatch):
    data = pickle.dumps(pair("gru")[1])
    without_a_gpu(monkeypatch)
    layer = pickle.loads(data)
    assert layer.parameters["weight_hh_l0"].shape == (15, 5)
    for call in (lambda: layer.forward(np.ones((1, 2, 3))), lambda: layer.step(np.ones((1, 3)))):
        with pytest.raises(RuntimeError, match="no package for CUDA is installed"):
            call()


def test_a_pickle_of_auto_takes_the_device_where_it_is_loaded(monkeypatch):
    x = np.ones((1, 2, 3))
    layer = LSTM(3, 5, device="auto", dtype="float64", random_state=0)
    y, data = layer.forward(x)[0], pickle.dumps(layer)
    with monkeypatch.context() as context:
        without_a_gpu(context)
        on_host = pickle.loads(data)
        assert on_host.device == "cpu"
        np.testing.assert_allclose(on_host.forward(x)[0], y, rtol=0, atol=1e-12)
        data = pickle.dumps(on_host)
    back = pickle.loads(data)
    assert back.device == "cuda"
    np.testing.assert_array_equal(back.forward(x)[0], y)


def test_auto_takes_the_device_that_is_there():
    assert LSTM(3, 5, device="auto").device == "cuda"
