"""The memory of a fit with ``device="cuda"``: what the simulator allocates is foreseen, and refused where too much."""

import re
import types
import weakref

import numpy as np
import pytest

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNRegressor
from fastrecur.estimators import base, training
from fastrecur.kernels.cuda import elman, gru, layout, lstm, runtime
from fastrecur.layers import GRU, LSTM, RNN
from fastrecur.network.cuda import buffers, memory
from tests.helpers import nothing_left_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X = np.random.default_rng(0).normal(size=(4, 6, 3))
LAYERS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
CELLS = {"rnn": RNNRegressor, "lstm": LSTMRegressor, "gru": GRUClassifier}


class Held:
    """Bytes of all device arrays that are alive, and the most there ever were."""

    def __init__(self):
        self.now = self.most = 0

    def noted(self, array):
        memory = array._ary  # the simulator's array, to which views of the device array refer too
        self.now += memory.nbytes
        self.most = max(self.most, self.now)
        weakref.finalize(memory, self._freed, memory.nbytes)
        return array

    def _freed(self, n_bytes):
        self.now -= n_bytes


@pytest.fixture
def held(monkeypatch):
    held, device_array = Held(), runtime.cuda.device_array
    monkeypatch.setattr(runtime.cuda, "device_array", lambda shape, dtype: held.noted(device_array(shape, dtype)))
    for name in ("stack", "memory", "gradient"):
        monkeypatch.setattr(f"fastrecur.network.cuda.{name}.PARTS", 2**8)  # which would be more than all else here
    monkeypatch.setattr("fastrecur.network.cuda.log.SIZE", 8)
    monkeypatch.setattr("fastrecur.kernels.cuda.losses.SUM_BLOCKS", 1)
    return held


@pytest.fixture
def free(monkeypatch):
    """Sets what is free of the device's memory."""
    return lambda n_bytes: monkeypatch.setattr(runtime, "free_memory", lambda: n_bytes)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "recurrent_dropout": 0.5, "pooling": "mean"},
        {"return_sequences": True, "embedding_dim": 2, "num_layers": 3, "solver": "sgd"},
    ],
    ids=["one layer", "two directions, dropout", "tokens, labels a step"],
)
@pytest.mark.parametrize("cell", CELLS)
def test_the_memory_of_a_fit_is_foreseen(cell, options, held, free, monkeypatch):
    checked, seen = base.check_memory, []
    monkeypatch.setattr(base, "check_memory", lambda *given: seen.append(given) or checked(*given))
    options = {"hidden_size": 16, "batch_size": 4, "max_iter": 1, "random_state": 0} | options
    data = np.arange(24).reshape(4, 6) % 5 if "embedding_dim" in options else X
    y = data % 2 if "return_sequences" in options else np.arange(4) % 2
    CELLS[cell](device="cuda", **options).fit(data, y)
    ((estimator, _, batch_size, architecture, device),) = seen
    dropped = estimator.dropout > 0, estimator.recurrent_dropout > 0
    needed, of_x = memory.training_memory(cell, 24, 24, batch_size, 1, *dropped, **architecture)
    assert device == "cuda"
    assert of_x == 4 * data.size
    assert 0.9 * held.most < needed < 1.4 * held.most


@pytest.fixture
def allocated(monkeypatch):
    """Shapes of all device arrays that are made."""
    shapes, empty = [], runtime.cuda.device_array
    monkeypatch.setattr(runtime.cuda, "device_array", lambda shape, dtype: shapes.append(shape) or empty(shape, dtype))
    return shapes


def a_launch_a_step(monkeypatch):
    for module in (layout, elman, gru, lstm):
        monkeypatch.setattr(module, "in_one_block", lambda n_hidden: False)


@pytest.mark.parametrize("stepwise", [False, True], ids=["one block", "stepwise"])
@pytest.mark.parametrize("cell", LAYERS)
def test_a_call_of_a_layer_allocates_nothing_after_the_first(cell, stepwise, allocated, monkeypatch):
    """But what it hands out on the device."""
    if stepwise:
        a_launch_a_step(monkeypatch)
    both = LAYERS[cell](3, 2, num_layers=2, bidirectional=True, device="cuda")
    one = LAYERS[cell](3, 2, num_layers=2, device="cuda")
    host = [np.ones(shape, np.float32) for shape in ((2, 3, 3), (2, 3, 4), (2, 3))]
    for x, dy, x_t in (host, map(runtime.to_device, host)):
        for lengths in (None, [1, 3]):
            for _ in range(2):
                allocated.clear()
                _, state = both.forward(x, lengths=lengths)
                _, state = both.forward(x, state, lengths=lengths, training=True)
                both.backward(dy, state)
                _, state = one.step(x_t)
                one.step(x_t, state)
            handed_out = (6, 4), (6, 3), (2, 2), (8, 2), (4, 2)  # y, dx, y_t, states of both and of one
            assert set(allocated) == (set() if isinstance(x, np.ndarray) else set(handed_out))


@pytest.mark.parametrize(
    "options",
    [{"recurrent_dropout": 0.5}, {"pooling": "mean", "bptt_steps": 2}, {"bptt_steps": 2}],
    ids=["recurrent dropout", "mean, truncated", "truncated"],
)
@pytest.mark.parametrize("stepwise", [False, True], ids=["one block", "stepwise"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_epochs_of_a_fit_allocate_nothing(cell, stepwise, options, allocated, monkeypatch):
    """But for the first, and the second where there are more kinds of batches than places, which they take in turns."""
    if stepwise:
        a_launch_a_step(monkeypatch)
    X, of_epochs, epoch = [np.ones((n, 3)) for n in (5, 3, 4, 2, 4, 1)], [], training._epoch
    monkeypatch.setattr(training, "_epoch", lambda *given: epoch(*given) or of_epochs.append(len(allocated)))
    options = {"batch_size": 2, "max_iter": 4, "shuffle": False, "tol": 0.0, "random_state": 0} | options
    monkeypatch.setattr(buffers, "KEPT", 2)
    CELLS[cell](2, device="cuda", **options).fit(X, np.arange(6) % 2)
    assert len(of_epochs) == 4
    assert len(set(of_epochs[1:])) == 1


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_device_memory_does_not_wait_for_a_search_for_garbage(method):
    X = [np.ones((n, 3)) for n in (5, 3, 4, 2)]
    estimator = LSTMRegressor(2, device="cuda", max_iter=1).fit(X, [0, 1, 0, 1])
    with nothing_left_of(buffers.Buffers):
        getattr(estimator, method)(*((X,) if method == "predict" else (X, [0, 1, 0, 1])))


def refused(model, X, y, *parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as error:
        model.fit(X, y)
    for part in parts[1:]:
        assert part in str(error.value), str(error.value)
    assert not hasattr(model, "weights_")


def test_a_fit_without_room_on_the_gpu_says_what_is_needed_and_what_would_do(free, monkeypatch):
    """Whatever memory the machine has."""
    free(3 * 2**30)
    data, y = np.zeros((256, 1000, 1), np.float32), np.arange(256) % 2
    parts = "batch_size=256", "hidden_size=640", "1000 time steps", "GiB of the GPU's memory", "3.0 GiB are free"
    remedies = "Lower batch_size, hidden_size or num_layers", "bptt_steps", "device='cpu'"
    refused(LSTMClassifier(640, batch_size=256, device="cuda"), data, y, *parts, *remedies)

    class Made(Exception):
        pass

    def stop(*_, **options):
        raise Made

    monkeypatch.setattr(base, "make_model", stop)
    for change in ({"batch_size": 16}, {"hidden_size": 32}, {"bptt_steps": 20}, {"device": "cpu"}):
        options = {"hidden_size": 640, "batch_size": 256, "device": "cuda"} | change
        with pytest.raises(Made):
            LSTMClassifier(**options).fit(data, y)


def test_x_that_the_gpu_cannot_hold(free):
    free(2**24)
    data = np.zeros((2000, 5000, 1), np.float32)
    parts = "GiB of it for X, all of which goes there", "take fewer sequences, or device='cpu'"
    refused(RNNRegressor(4, batch_size=1, device="cuda"), data, np.arange(2000.0), *parts)


def test_the_simulator_has_the_memory_of_the_machine(monkeypatch):
    assert runtime.free_memory() is None
    monkeypatch.setattr("fastrecur.estimators.memory._physical_memory", lambda: 2**10)
    refused(RNNRegressor(4, device="cuda"), X, np.arange(4.0), "this machine has 0.0 GiB")


def test_free_memory_is_the_drivers_figure(monkeypatch):
    """After the memory of arrays that are gone has been given back."""
    cleared = []
    context = types.SimpleNamespace(
        deallocations=types.SimpleNamespace(clear=lambda: cleared.append(True)), get_memory_info=lambda: (5, 7)
    )
    monkeypatch.setattr(runtime, "SIMULATED", False)
    monkeypatch.setattr(runtime, "cuda", types.SimpleNamespace(current_context=lambda: context))
    assert runtime.free_memory() == 5
    assert cleared
    del context.deallocations
    assert runtime.free_memory() == 5
