"""Parameters: named views of one vector, PyTorch's names and shapes, and the initial values."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from fastrecur.network.parameters import BIASES, GATES, Parameters, initialise, recurrent_shapes

each_cell = pytest.mark.parametrize("cell", GATES)
each_depth = pytest.mark.parametrize(("num_layers", "n_directions"), [(1, 1), (3, 1), (1, 2), (2, 2)])

F, H, K = 5, 9, 4


def make(cell, num_layers=2, n_directions=2, dtype="float64"):
    """Parameters of recurrent layers and a head, all zero."""
    shapes = recurrent_shapes(cell, F, H, num_layers, n_directions)
    return Parameters(shapes | {"head_weight": (K, n_directions * H), "head_bias": (K,)}, dtype)


def initialised(cell, seed=0, dtype="float64", **options):
    parameters = make(cell, dtype=dtype)
    parameters.flat[:] = np.nan
    initialise(parameters, cell, np.random.RandomState(seed), **options)
    return parameters


def recurrent(parameters, part):
    """Arrays of the recurrent layers whose names hold ``part``, by name; there must be some."""
    found = {name: array for name, array in parameters.arrays.items() if part in name and "head" not in name}
    assert found
    return found


# --- views of a vector -----------------------------------------------------------------------------------------------


def assert_arrays_are_views(parameters):
    """Every number of the vector is that of one array, weights before biases; both ways of writing are seen."""
    parameters.flat[:] = np.arange(parameters.flat.size)
    numbers = {name: array.ravel().tolist() for name, array in parameters.arrays.items()}
    assert sorted(itertools.chain(*numbers.values())) == list(range(parameters.flat.size))
    for name, own in numbers.items():
        assert own == list(range(int(own[0]), int(own[0]) + len(own)))
        assert (own[-1] < parameters.n_weights) == ("bias" not in name)
        parameters.arrays[name][...] = -1.0
    assert (parameters.flat == -1.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_depth
@each_cell
def test_arrays_are_views_of_the_vector(cell, num_layers, n_directions, dtype):
    parameters = make(cell, num_layers, n_directions, dtype)
    assert not parameters.flat.any()
    assert {name: array.shape for name, array in parameters.arrays.items()} == parameters.shapes
    assert list(parameters.arrays) == list(parameters.shapes)
    assert {array.dtype for array in parameters.arrays.values()} == {parameters.flat.dtype} == {np.dtype(dtype)}
    assert_arrays_are_views(parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_cell
def test_zeros_like(cell, dtype):
    parameters = initialised(cell, dtype=dtype)
    zeros = parameters.zeros_like()
    assert not zeros.flat.any()
    assert zeros.flat.dtype == dtype
    assert (zeros.shapes, zeros.n_weights) == (parameters.shapes, parameters.n_weights)
    assert not np.shares_memory(zeros.flat, parameters.flat)
    assert_arrays_are_views(zeros)


@pytest.mark.parametrize(
    "duplicate", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"]
)
@each_cell
def test_copies_have_the_values_and_views_of_their_own(cell, duplicate):
    parameters = initialised(cell)
    before = parameters.flat.copy()
    copied = duplicate(parameters)
    np.testing.assert_array_equal(copied.flat, before)
    for name, array in parameters.arrays.items():
        np.testing.assert_array_equal(copied.arrays[name], array, strict=True)
    assert_arrays_are_views(copied)
    np.testing.assert_array_equal(parameters.flat, before)


# --- names and shapes ------------------------------------------------------------------------------------------------


@pytest.mark.torch
@each_depth
@each_cell
def test_names_and_shapes_are_those_of_pytorch(cell, num_layers, n_directions, torch):
    """In its order; RNN and LSTM have one bias in the place of its two, which add up."""
    module = getattr(torch.nn, cell.upper())(F, H, num_layers, bidirectional=n_directions == 2)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if BIASES[cell] == ("bias",):
        pairs = {name: shape for name, shape in expected.items() if "bias_hh" in name}
        assert all(expected[name.replace("_hh", "_ih")] == shape for name, shape in pairs.items())
        expected = {name.replace("bias_ih", "bias"): expected[name] for name in expected if name not in pairs}
    assert list(recurrent_shapes(cell, F, H, num_layers, n_directions).items()) == list(expected.items())


# --- initial values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
@each_cell
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell, dtype, tolerance):
    matrices = [
        gate
        for array in recurrent(initialised(cell, dtype=dtype), "weight_hh").values()
        for gate in np.split(array, GATES[cell])
    ]
    assert len(matrices) == 4 * GATES[cell]
    for q in matrices:
        np.testing.assert_allclose(q @ q.T, np.eye(H), atol=tolerance)
    for one, other in itertools.combinations(matrices, 2):
        assert not np.allclose(one, other, atol=0.1)


def test_orthogonal_matrices_come_with_either_sign():
    """The Q of a QR decomposition alone has a diagonal of mostly one sign."""
    arrays = [array for seed in range(20) for array in recurrent(initialised("rnn", seed), "weight_hh").values()]
    assert abs(np.mean([np.sign(np.diagonal(array)) for array in arrays])) < 0.1


@each_cell
def test_other_weights_fill_glorots_bounds_gate_by_gate(cell):
    """Uniform between them: the largest number is near the bound, the variance near a third of its square."""
    parameters = initialised(cell)
    gates = [gate for array in recurrent(parameters, "weight_ih").values() for gate in np.split(array, GATES[cell])] + [
        parameters.arrays["head_weight"]
    ]
    for gate in gates:
        bound = np.sqrt(6.0 / sum(gate.shape))
        assert 0.8 * bound < np.abs(gate).max() <= bound
        assert gate.min() < -0.5 * bound < 0.5 * bound < gate.max()
    scaled = np.concatenate([gate.ravel() / np.sqrt(6.0 / sum(gate.shape)) for gate in gates])
    assert np.mean(scaled**2) == pytest.approx(1 / 3, rel=0.1)
    assert abs(scaled.mean()) < 0.1


@pytest.mark.parametrize("forget_bias", [1.0, -2.5])
@each_cell
def test_biases_are_zero_but_for_the_forget_gates(cell, forget_bias):
    parameters = initialised(cell, forget_bias=forget_bias)
    expected = np.zeros(GATES[cell] * H)
    if cell == "lstm":
        expected[H : 2 * H] = forget_bias  # PyTorch's order: i, f, g, o
    for name, array in recurrent(parameters, "bias").items():
        np.testing.assert_array_equal(array, expected, err_msg=name)
    np.testing.assert_array_equal(parameters.arrays["head_bias"], np.zeros(K))


def test_the_forget_bias_is_1_by_default():
    for array in recurrent(initialised("lstm"), "bias").values():
        np.testing.assert_array_equal(array[H : 2 * H], np.ones(H))


@each_cell
def test_the_random_state_decides(cell):
    first, again, other = (initialised(cell, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.flat, again.flat)
    assert (first.flat[: first.n_weights] != other.flat[: other.n_weights]).all()
    np.testing.assert_array_equal(initialised(cell, dtype="float32").flat, first.flat.astype(np.float32))
