"""A batch by several threads together: the bits of one thread, whoever comes, however late."""

import threading

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import elman, gru, lstm, team
from fastrecur.layers import GRU, LSTM, RNN
from fastrecur.network.dropout import Dropout
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, recurrent_shapes
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace

LAYERS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}

#: Kernels by where they are looked up.
KERNELS = [
    (module, f"{cell}_{way}_together")
    for cell, module in (("rnn", elman), ("lstm", lstm), ("gru", gru))
    for way in ("forward", "backward")
]

each_layer = pytest.mark.parametrize("cls", LAYERS.values(), ids=LAYERS)


def passes(layer, n_steps=14, n_rows=1):
    """All that a pass forward, one with record and one back return, of sequences with initial states."""
    rng = np.random.default_rng(2)
    shape = layer.num_layers * layer.n_directions, n_rows, layer.hidden_size
    states = [tuple(rng.normal(size=(2, *shape))) if isinstance(layer, LSTM) else rng.normal(size=shape)] * 2
    x, lengths = rng.normal(size=(2, n_rows, n_steps, layer.input_size)), n_steps - np.arange(n_rows) % n_steps
    y, final = layer.forward(x[0], states[0], lengths)
    recorded = layer.forward(x[1], states[0], lengths, training=True)
    gradients = layer.backward(rng.normal(size=y.shape), states[1])
    return [np.array(part) for part in (y, final, *recorded, *gradients, *layer.grads.values())]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def worth_it(monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(threads, "WORTH_A_MEETING", 1)
    monkeypatch.setattr(threads, "LARGE_WEIGHTS", 1)


@pytest.fixture
def crowd(worth_it, monkeypatch):
    """Return a function that has the kernels run by threads of Python: so many come, so many are expected."""

    def by(n_threads, most):
        for module, name in KERNELS:
            monkeypatch.setattr(module, name, _by(getattr(module, name), n_threads, most))

    def _by(kernel, n_threads, most):
        def run(*args):
            args = *args[:-2], team.new_meeting(most, 2), np.array([0, 1])
            others = [threading.Thread(target=kernel.alone, args=args) for _ in range(n_threads)]
            for other in others:
                other.start()
            for other in others:
                other.join()

        return run

    return by


# --- bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_hidden", [1, 17, 33, 100])
@each_layer
def test_two_threads_give_the_bits_of_one(cls, n_hidden, dtype, worth_it, monkeypatch):
    options = {"num_layers": 2, "bidirectional": True, "dtype": dtype, "random_state": 0}
    expected, met = passes(cls(7, n_hidden, n_threads=1, **options)), []
    new_meeting = team.new_meeting
    monkeypatch.setattr(team, "new_meeting", lambda *of: met.append(new_meeting(*of)) or met[-1])
    assert_same(passes(cls(7, n_hidden, n_threads=2, **options)), expected)
    if threads.resolve_threads(2) == 2:
        assert len(met) == 3 * 4  # passes, by layers and directions
    assert all(meeting[0] == team.CLOSED + 2 for meeting in met)


@pytest.mark.parametrize("n_rows", [2, 3, 37])
@pytest.mark.parametrize("n_hidden", [1, 40, 100])
@each_layer
def test_two_threads_give_the_bits_of_one_for_several_sequences(cls, n_hidden, n_rows, worth_it, monkeypatch):
    options = {"num_layers": 2, "bidirectional": True, "random_state": 0}
    expected, met = passes(cls(7, n_hidden, n_threads=1, **options), n_rows=n_rows), []
    new_meeting = team.new_meeting
    monkeypatch.setattr(team, "new_meeting", lambda *of: met.append(new_meeting(*of)) or met[-1])
    assert_same(passes(cls(7, n_hidden, n_threads=2, **options), n_rows=n_rows), expected)
    if threads.resolve_threads(2) == 2:
        assert len(met) == 2 * 4  # the way back shares out the rows
    assert all(meeting[0] == team.CLOSED + 2 for meeting in met)


@each_layer
def test_a_very_large_net_gives_the_same_bits_by_rows_and_together(cls, monkeypatch):
    """One thread, two that share the rows, and two together, with weights beyond `target.LARGE_WEIGHTS`."""
    found = []
    for n_threads, large in ((1, 1), (2, 2**62), (2, 2**22)):
        monkeypatch.setattr(threads, "LARGE_WEIGHTS", large)
        found.append(passes(cls(1300, 330, n_threads=n_threads, dtype="float64", random_state=0), 5, n_rows=70))
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


@pytest.mark.parametrize("n_rows", [1, 9])
@pytest.mark.parametrize(("n_threads", "most"), [(1, 2), (2, 4), (3, 3), (4, 4)])
@each_layer
def test_any_team_gives_the_bits_of_one_thread(cls, n_threads, most, n_rows, crowd):
    """Also the first one alone, where the others do not come."""
    expected = passes(cls(5, 100, n_threads=1, random_state=0), n_rows=n_rows)
    crowd(n_threads, most)
    assert_same(passes(cls(5, 100, n_threads=2, random_state=0), n_rows=n_rows), expected)


@pytest.mark.parametrize("n_steps", [1, 12, 13])
@each_layer
def test_a_few_steps(cls, n_steps, worth_it):
    one, two = (cls(3, 40, n_threads=n, random_state=0) for n in (1, 2))
    assert_same(passes(two, n_steps), passes(one, n_steps))


@each_layer
def test_who_comes_late_changes_nothing(cls, worth_it, monkeypatch):
    late = []

    def twice(kernel):
        def run(*args):
            kernel(*args)
            arrays = [arg for arg in args if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"]
            before = [array.copy() for array in arrays]
            kernel.alone(*args[:-1], np.array([0, 1]))
            assert_same(arrays, before)
            late.append(kernel)

        return run

    for module, name in KERNELS:
        monkeypatch.setattr(module, name, twice(getattr(module, name)))
    passes(cls(3, 40, n_threads=2, random_state=0))
    assert len(late) == 3 * (threads.resolve_threads(2) == 2)


# --- who works with whom ---------------------------------------------------------------------------------------------


def test_one_sequence_of_a_large_net_has_a_team_and_several_of_a_very_large_one(monkeypatch):
    monkeypatch.setattr(threads, "LARGE_WEIGHTS", 2**22)
    a_step, long = 2 * threads.WORTH_A_MEETING, np.array([1000])

    def weights(size):
        return np.empty(size, np.float32)

    np.testing.assert_array_equal(threads.team_shards(long, weights(a_step), 8), [0, 1, 2])
    np.testing.assert_array_equal(threads.team_shards(long, weights(10 * a_step), 3), [0, 1, 2, 3])
    assert threads.team_shards(long, weights(a_step), 1) is None
    assert threads.team_shards(long, weights(a_step - 1), 8) is None
    assert threads.team_shards(np.array([10]), weights(a_step), 8) is None  # over before the second one comes
    np.testing.assert_array_equal(threads.team_shards(np.array([20, 9]), weights(2**20), 3), [0, 1, 2, 3])
    assert threads.team_shards(np.array([20, 9]), weights(2**20 - 1), 3) is None


def test_recurrent_dropout_has_no_team(worth_it):
    parameters = Parameters(recurrent_shapes("gru", 3, 40, 1, 1), "float64")
    stack, packing = RecurrentStack("gru", parameters, 40), Packing(np.array([9]))
    x = np.zeros((9, 1, 3))
    for dropout, found in ((Dropout(recurrent_rate=0.5, seed=3), None), (None, [0, 1, 2])):
        trace = stack.forward(x, packing, Workspace(parameters.flat.dtype), 2, True, dropout=dropout)
        np.testing.assert_array_equal(trace.teams[0], found)
