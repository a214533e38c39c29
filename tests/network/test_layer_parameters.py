"""The layers' parameters: names, initial values, loading, writing in place, and pickles."""

import copy
import pickle

import numpy as np
import pytest

from fastrecur.layers import GRU, LSTM, RNN
from tests.network.data import LAYERS, assert_same_bits, each_cell, each_dtype, make, normal, run


@pytest.mark.parametrize(
    ("cell", "gates", "biases"), [("rnn_tanh", 1, ["bias"]), ("lstm", 4, ["bias"]), ("gru", 3, ["bias_ih", "bias_hh"])]
)
def test_names_and_shapes_of_the_parameters(cell, gates, biases):
    layer = make(cell, 5, 7, 2, bidirectional=True)
    expected = {}
    for k, n_inputs in enumerate((5, 14)):
        for end in (f"_l{k}", f"_l{k}_reverse"):
            expected |= {f"weight_ih{end}": (gates * 7, n_inputs), f"weight_hh{end}": (gates * 7, 7)}
            expected |= {bias + end: (gates * 7,) for bias in biases}
    assert {name: array.shape for name, array in layer.parameters.items()} == expected
    assert {name: array.shape for name, array in layer.grads.items()} == expected
    assert {array.dtype for array in layer.parameters.values()} == {np.dtype(np.float32)}


@each_dtype
@each_cell
def test_load_parameters_takes_what_parameters_gives(cell, dtype):
    layer, x = make(cell, 3, 7, 2, True, dtype=dtype), normal(0, 4, 6, 3, dtype=dtype)
    kind, extra = LAYERS[cell]
    other = kind(3, 7, 2, True, dtype=dtype, random_state=1, **extra)
    assert not np.array_equal(other.forward(x)[0], layer.forward(x)[0])
    given = dict(reversed(layer.parameters.items()))
    other.load_parameters(given)
    np.testing.assert_array_equal(other.forward(x)[0], layer.forward(x)[0])
    assert given.keys() == layer.parameters.keys()
    for name, array in given.items():
        assert not np.shares_memory(array, other.parameters[name])


@each_cell
def test_parameters_are_views_that_count_after_load_parameters(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 6, 3)
    before = layer.forward(x)[0].copy()
    for array in layer.parameters.values():
        array *= 0.5
    layer.load_parameters(layer.parameters)
    halved = layer.forward(x)[0]
    assert not np.allclose(halved, before)
    other = make(cell, 3, 7)
    other.load_parameters({name: array * np.float32(0.5) for name, array in other.parameters.items()})
    np.testing.assert_array_equal(halved, other.forward(x)[0])


@each_cell
def test_random_state_decides_the_parameters(cell):
    kind, extra = LAYERS[cell]

    def flat(seed):
        return np.concatenate([w.ravel() for w in kind(3, 7, random_state=seed, **extra).parameters.values()])

    np.testing.assert_array_equal(flat(3), flat(3))
    np.testing.assert_array_equal(flat(3), flat(np.random.RandomState(3)))
    assert not np.array_equal(flat(3), flat(4))


def test_initial_weights_are_orthogonal_with_forget_bias_1():
    for kind, gates in ((RNN, 1), (LSTM, 4), (GRU, 3)):
        layer = kind(5, 9, 2, dtype="float64", random_state=0)
        for name, array in layer.parameters.items():
            if "_hh" in name and name.startswith("weight"):
                for gate in np.split(array, gates):
                    np.testing.assert_allclose(gate @ gate.T, np.eye(9), atol=1e-12)
            elif name.startswith("weight"):
                limit = np.sqrt(6 / (9 + array.shape[1]))
                assert 0.8 * limit < np.abs(array).max() <= limit
            else:
                expected = np.zeros(len(array))
                if kind is LSTM:
                    expected[9:18] = 1.0
                np.testing.assert_array_equal(array, expected)


def changed(parameters, change):
    given = dict(parameters)
    change(given)
    return given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given.pop("weight_hh_l0"), r"missing \['weight_hh_l0'\]"),
        (lambda given: given.update(weight_l9=np.zeros(3)), r"unknown \['weight_l9'\]"),
        (lambda given: given.pop("bias_l1"), r"missing \['bias_l1'\]"),
        (lambda given: given.update(weight_ih_l1=np.zeros((28, 8))), r"weight_ih_l1.*\(28, 7\), found \(28, 8\)"),
        (lambda given: given.update(bias_l0=np.zeros((28, 1))), r"bias_l0.*\(28,\), found \(28, 1\)"),
        (lambda given: given.update(bias_ih_l0=np.zeros(28)), r"unknown \['bias_ih_l0'\]"),
    ],
    ids=["missing", "unknown", "missing bias", "shape", "shape of a bias", "a second bias"],
)
def test_wrong_parameters_are_refused_and_nothing_changes(change, message):
    layer, x = make("lstm", 3, 7, 2), normal(0, 4, 6, 3)
    before = {name: array.copy() for name, array in layer.parameters.items()}
    y = layer.forward(x)[0].copy()
    given = changed({name: np.zeros_like(array) for name, array in before.items()}, change)
    with pytest.raises(ValueError, match=message):
        layer.load_parameters(given)
    assert_same_bits(layer.parameters, before)
    np.testing.assert_array_equal(layer.forward(x)[0], y)


def test_values_that_are_no_numbers_are_refused_and_nothing_changes():
    layer = make("lstm", 3, 7)
    before = {name: array.copy() for name, array in layer.parameters.items()}
    given = {name: np.zeros_like(array) for name, array in before.items()}
    given["bias_l0"] = np.full(28, "one")
    with pytest.raises((ValueError, TypeError)):
        layer.load_parameters(given)
    assert_same_bits(layer.parameters, before)


@each_cell
def test_parameters_written_in_place_count(cell):
    layer, x = make(cell, 3, 5, 2, random_state=0), normal(0, 4, 6, 3)
    held = layer.parameters["weight_hh_l1"]
    for _ in range(2):  # again, from an array that was handed out before the call in between
        held *= 0.5
        other = make(cell, 3, 5, 2, random_state=1)
        other.load_parameters({name: array.copy() for name, array in layer.parameters.items()})
        np.testing.assert_array_equal(layer.forward(x)[0], other.forward(x)[0])
    layer.parameters["weight_ih_l0"][:] = 0.0  # nobody holds it when forward is called
    held[:] = 0.0
    other.load_parameters(layer.parameters)
    np.testing.assert_array_equal(layer.step(x[:, 0])[0], other.step(x[:, 0])[0])


def gradient(layer, x):
    """dx of the sum of all outputs."""
    return layer.backward(np.ones_like(layer.forward(x, training=True)[0]))[0]


@each_cell
def test_gradients_are_of_the_parameters_of_their_forward_pass(cell):
    layer, x = make(cell, 3, 5, 2, random_state=0), normal(0, 4, 6, 3)
    gradient(layer, x)
    layer.parameters["weight_ih_l0"][:] *= 0.5
    layer.parameters["weight_ih_l1"][:] *= 0.25
    other = make(cell, 3, 5, 2, random_state=1)
    other.load_parameters({name: array.copy() for name, array in layer.parameters.items()})
    np.testing.assert_array_equal(gradient(layer, x), gradient(other, x))


@each_cell
def test_pieces_of_parameters_written_in_place_count(cell):
    """Also where the array they are pieces of is held no more, and none is asked for anew."""
    layer, x = make(cell, 3, 5, 2, random_state=0), normal(0, 4, 6, 3)
    pieces = [array.reshape(-1)[1:] for array in layer.parameters.values()]
    for _ in range(3):
        before = layer.forward(x)[0].copy()
        for piece in pieces:
            piece *= 0.5
        after = layer.forward(x)[0].copy()
        assert not np.array_equal(before, after)
    del pieces, piece
    layer.forward(x)
    assert not layer._handed_out
    np.testing.assert_array_equal(layer.forward(x)[0], after)


@pytest.mark.parametrize("training", [False, True], ids=["fresh", "between forward and backward"])
@each_cell
def test_pickle(cell, training):
    layer, x, dy = make(cell, 3, 7, 2, bidirectional=True), normal(0, 4, 6, 3), normal(1, 4, 6, 14)
    if training:
        layer.forward(x, training=True)
    other = pickle.loads(pickle.dumps(layer))
    if training:
        np.testing.assert_array_equal(other.backward(dy)[0], layer.backward(dy)[0])
        assert_same_bits(other.grads, layer.grads)
    assert_same_bits(run(other, x, dy=dy), run(layer, x, dy=dy))
    for name in layer.parameters:
        other.parameters[name][:] = 0.0  # still views of what the other computes with
    assert not other.forward(x)[0].any()
    assert layer.forward(x)[0].any()


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda layer: pickle.loads(pickle.dumps(layer))}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("lengths", [None, [6, 2, 5, 1]], ids=["equal", "ragged"])
@each_cell
def test_a_copy_between_forward_and_backward_shares_nothing(cell, lengths, copied):
    """Each can go on with the pass that was under way, whatever the other computes meanwhile."""
    x, other_x, dy = normal(0, 4, 6, 3), normal(1, 4, 6, 3), normal(2, 4, 6, 14)
    expected = run(make(cell, 3, 7, 2, True), x, lengths=lengths, dy=dy)
    for copy_goes_on in (False, True):
        layer = make(cell, 3, 7, 2, True)
        layer.forward(x, lengths=lengths, training=True)
        going_on, other = layer, copied(layer)
        if copy_goes_on:
            going_on, other = other, going_on
        for name, array in other.parameters.items():
            assert not np.shares_memory(array, going_on.parameters[name])
            assert not np.shares_memory(other.grads[name], going_on.grads[name])
            array *= np.float32(0.5)
        run(other, other_x, lengths=lengths, dy=dy)
        np.testing.assert_array_equal(going_on.backward(dy)[0], expected["dx"])
        for name, array in going_on.grads.items():
            np.testing.assert_array_equal(array, expected[f"d{name}"], err_msg=name)
