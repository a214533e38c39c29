"""Stacked layers and runs of them, for the tests of the stack.

Letters: N packed rows, F features, H hidden units, L layers, D directions, B sequences of a batch.
"""

import numpy as np
import pytest

from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, recurrent_shapes
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace

CELLS = {"rnn_tanh": ("rnn", False), "rnn_relu": ("rnn", True), "lstm": ("lstm", False), "gru": ("gru", False)}
BATCHES = {"equal": [4, 4, 4], "ragged": [3, 7, 1, 7, 2], "one row": [5], "one step": [1, 1]}
L, D = 2, 2

each_cell = pytest.mark.parametrize("cell", CELLS)
each_batch = pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES.keys())
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_size = pytest.mark.parametrize(("n_features", "n_hidden"), [(3, 7), (33, 32)])


class Poisoned(Workspace):
    """Every buffer is NaN when it is taken, and again after `poison`: nothing is promised of its contents."""

    def take(self, name, *shape):
        array = super().take(name, *shape)
        array[...] = np.nan
        return array

    def poison(self):
        for buffer in self._buffers.values():
            buffer[:] = np.nan


def make(cell, n_features, n_hidden, dtype="float64", n_directions=D):
    name, relu = CELLS[cell]
    parameters = Parameters(recurrent_shapes(name, n_features, n_hidden, L, n_directions), dtype)
    parameters.flat[:] = np.random.default_rng(0).normal(size=parameters.flat.size) / np.sqrt(n_hidden)
    return RecurrentStack(name, parameters, n_hidden, L, n_directions, relu)


def make_batch(stack, lengths, seed=1):
    """Packing, x (N, 1, F), initial states, and gradients of the outputs and of the final states."""
    rng, packing = np.random.default_rng(seed), Packing(lengths)

    def normal(*shape):
        return rng.normal(size=shape).astype(stack.dtype)

    n_features = stack.parameters.arrays["weight_ih_l0"].shape[1]
    parts = 2 if stack.has_cell_state else 1
    dy = np.zeros((packing.n_packed, stack.n_directions, stack.padded), stack.dtype)
    dy[:, :, : stack.hidden_size] = normal(packing.n_packed, stack.n_directions, stack.hidden_size)
    states = [
        tuple(normal(len(stack.directions), len(lengths), stack.hidden_size) for _ in range(parts)) for _ in range(2)
    ]
    return packing, normal(packing.n_packed, 1, n_features), states[0], dy, states[1]


def run(stack, batch, workspace, n_threads=1, dropout=None):
    """Copies of all that forward and backward give, without the padding; finite."""
    (packing, x, initial, dy, dstate), n_hidden = batch, stack.hidden_size
    trace = stack.forward(x, packing, workspace, n_threads, record=True, initial=initial, dropout=dropout)
    results = {"y": trace.states[-1][packing.n_rows :, :, :n_hidden].copy(), "last": stack.last_states(trace).copy()}
    results |= {f"final {i}": part for i, part in enumerate(stack.final_states(trace))}
    grads = stack.parameters.zeros_like()
    dx = np.full(stack.dx_shape(packing), np.nan, stack.dtype)
    dinitial = stack.backward(trace, grads, n_threads, dy=dy, dstate=dstate, dx=dx)
    results |= {f"dinitial {i}": part[:, :, :n_hidden].copy() for i, part in enumerate(dinitial)}
    results |= {"dx": dx[:, :, : x.shape[2]], **grads.arrays}
    for name, array in results.items():
        assert np.isfinite(array).all(), name
    return results


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, strict=True, err_msg=name)
