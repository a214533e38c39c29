"""Parameters: named views of one vector, PyTorch's names and shapes."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from fastrecur.network.parameters import BIASES, GATES, TABLE, Parameters, recurrent_shapes

each_cell = pytest.mark.parametrize("cell", GATES)
each_table = pytest.mark.parametrize("table", [False, True], ids=["dense", "table"])
each_depth = pytest.mark.parametrize(("num_layers", "n_directions"), [(1, 1), (3, 1), (1, 2), (2, 2)])

F, H, K, V = 5, 9, 4, 6


def make(cell, num_layers=2, n_directions=2, dtype="float64"):
    """Parameters of recurrent layers and a head, all zero."""
    shapes = recurrent_shapes(cell, F, H, num_layers, n_directions)
    return Parameters(shapes | {"head_weight": (K, n_directions * H), "head_bias": (K,)}, dtype)


def with_table(cell, dtype="float64"):
    """As `make`, with a table of embeddings that is the first by name and the last in the vector."""
    shapes = {"embedding": (V, F)} | make(cell).shapes
    return Parameters(shapes, dtype)


def filled(cell, dtype="float64", table=False):
    """Parameters of different numbers."""
    parameters = with_table(cell, dtype) if table else make(cell, dtype=dtype)
    parameters.flat[:] = np.random.default_rng(0).normal(size=parameters.flat.size)
    return parameters


# --- views of a vector -----------------------------------------------------------------------------------------------


def assert_arrays_are_views(parameters):
    """Every number of the vector is that of one array: weights, biases, table; both ways of writing are seen."""
    parameters.flat[:] = np.arange(parameters.flat.size)
    numbers = {name: array.ravel().tolist() for name, array in parameters.arrays.items()}
    assert sorted(itertools.chain(*numbers.values())) == list(range(parameters.flat.size))
    for name, own in numbers.items():
        assert own == list(range(int(own[0]), int(own[0]) + len(own)))
        assert (own[-1] < parameters.n_weights) == ("bias" not in name and name != TABLE)
        assert (own[0] >= parameters.n_dense) == (name == TABLE)
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
def test_the_table_is_the_end_of_the_vector(cell, dtype):
    parameters, without = with_table(cell, dtype), make(cell, dtype=dtype)
    assert list(parameters.arrays) == [TABLE, *without.arrays]
    assert (parameters.n_weights, parameters.n_dense) == (without.n_weights, without.n_dense)
    assert without.n_dense == without.flat.size == parameters.flat.size - V * F
    assert_arrays_are_views(parameters)
    parameters.flat[parameters.n_dense :] = np.arange(V * F)
    np.testing.assert_array_equal(parameters.arrays[TABLE], np.arange(V * F).reshape(V, F))


@each_table
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_cell
def test_zeros_like(cell, dtype, table):
    parameters = filled(cell, dtype, table)
    zeros = parameters.zeros_like()
    assert not zeros.flat.any()
    assert zeros.flat.dtype == dtype
    for name in ("shapes", "n_weights", "n_dense"):
        assert getattr(zeros, name) == getattr(parameters, name)
    assert list(zeros.arrays) == list(parameters.arrays)
    assert not np.shares_memory(zeros.flat, parameters.flat)
    assert_arrays_are_views(zeros)


@each_table
@pytest.mark.parametrize(
    "duplicate", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"]
)
@each_cell
def test_copies_have_the_values_and_views_of_their_own(cell, duplicate, table):
    parameters = filled(cell, table=table)
    before = parameters.flat.copy()
    copied = duplicate(parameters)
    np.testing.assert_array_equal(copied.flat, before)
    assert (copied.n_weights, copied.n_dense) == (parameters.n_weights, parameters.n_dense)
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
