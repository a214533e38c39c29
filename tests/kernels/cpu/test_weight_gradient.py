"""dW and db of a layer against NumPy, and where their inputs may lie."""

import numpy as np
import pytest

from fastrecur.kernels.cpu import panels
from fastrecur.kernels.cpu import weight_gradient as module
from fastrecur.kernels.cpu.weight_gradient import STRIP, SUM_BLOCK, scratch_size, weight_gradient

#: N, S, F, H: few and many rows of a sum, whose inputs are copied (H 100 and more) or read where they lie.
SIZES = [(1, 1, 3, 5), (60, 2, 7, 17), (300, 1, 1, 33), (2 * SUM_BLOCK - 1, 2, 13, 100), (300, 1, 40, 160)]

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

each_cell = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


class Problem:
    """Random gate gradients and inputs of a layer; the previous states of its N packed rows lie from row 2 on."""

    def __init__(self, cell, size, dtype):
        n_rows, segments, n_features, n_hidden = size
        self.layout, self.dtype = panels.panel_layout(cell, n_hidden, np.dtype(dtype)), np.dtype(dtype)
        self.n_features, self.n_inputs, lanes = n_features, segments * n_features + n_hidden, panels.lanes(dtype)
        rng = np.random.default_rng(n_rows)
        gates = self.layout.n_panels, n_rows, self.layout.gate_vectors * lanes
        self.gates, self.x = rng.normal(size=gates).astype(dtype), rng.normal(size=(n_rows, segments, n_features + 3))
        self.h = rng.normal(size=(n_rows + 7, 2, panels.padded(n_hidden, dtype))).astype(dtype)
        self.x = self.x.astype(dtype)
        self.shapes = {"w_ih": segments * n_features, "w_hh": n_hidden}

    def states(self):
        """Previous states of the packed rows."""
        return self.h[2 : 2 + len(self.x), 1, : self.shapes["w_hh"]]

    def gradient(self, before, shares=1):
        """w_ih, w_hh, bias_ih, bias_hh of the kernel, in memory that was NaN."""
        layout, n_vectors = self.layout, self.layout.vectors
        n_gates = 1 + max(layout.features.max(), layout.hidden.max())
        layer = *(np.zeros((n_gates, n), self.dtype) for n in self.shapes.values()), *np.zeros((2, n_gates), self.dtype)
        dw = np.full((layout.n_panels, self.n_inputs, layout.features.shape[1]), np.nan, self.dtype)
        dbias = np.full(layout.bias_features.shape, np.nan, self.dtype)
        bounds = np.linspace(0, layout.n_panels * self.n_inputs, shares + 1).astype(np.int64)
        room = scratch_size(dw, n_vectors, self.shapes["w_ih"], len(self.x), before)
        maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
        weight_gradient(
            self.gates, self.x, self.n_features, self.h, 1, before, dw, dbias, (0,) * n_vectors, layout.first_hidden,
            np.full((shares, room), np.nan, self.dtype), maps, layer, bounds,
        )  # fmt: skip
        return layer

    def expected(self):
        """The same by NumPy, in float64."""
        layout, gates = self.layout, self.gates.astype(float)
        hidden = gates[:, :, layout.first_hidden :][:, :, : layout.hidden.shape[1]]
        x = self.x[:, :, : self.n_features].reshape(len(self.x), -1)
        ones = np.ones((len(x), 1))
        pairs = (gates, layout.features, x), (hidden, layout.hidden, self.states())
        pairs += (gates, layout.bias_features, ones), (gates, layout.bias_hidden, ones)
        n_gates = 1 + max(layout.features.max(), layout.hidden.max())
        for dz, rows, inputs in pairs:
            result = np.zeros((n_gates, inputs.shape[1]))
            for p, columns in enumerate(rows):
                for j in np.flatnonzero(columns >= 0):
                    result[columns[j]] += dz[p, :, j] @ inputs
            yield result


def together(n_rows):
    """One run: the previous states of all rows lie one after another."""
    return np.array([[0, n_rows, 2]])


@each_cell
@each_size
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_against_numpy(cell, size, dtype):
    problem = Problem(cell, size, dtype)
    found = problem.gradient(together(size[0]))
    for array, expected in zip(found, problem.expected(), strict=True):
        scale = np.abs(expected).max() or 1.0
        np.testing.assert_allclose(array.reshape(expected.shape) / scale, expected / scale, atol=TOLERANCE[dtype])


@each_cell
@each_size
def test_the_same_bits_however_the_states_lie_and_rows_are_shared(cell, size):
    problem, n_rows = Problem(cell, size, "float32"), size[0]
    whole = problem.gradient(together(n_rows))
    bounds = np.unique(np.linspace(0, n_rows, 6).astype(np.int64))
    runs = np.stack([bounds[:-1], np.diff(bounds), bounds[:-1] + 2], axis=1)  # the same rows, said in several lines
    for found in (problem.gradient(runs), problem.gradient(together(n_rows), shares=3)):
        for array, expected in zip(found, whole, strict=True):
            np.testing.assert_array_equal(array, expected)


@each_cell
@each_size
def test_initial_states_of_zero_are_left_out(cell, size):
    """The first step has four rows, the states begin with seven; what is multiplied with infinity shows."""
    problem, n_rows = Problem(cell, size, "float32"), size[0]
    before = np.array([[0, min(n_rows, 4), 0], [4, max(n_rows - 4, 0), 7]])
    problem.h[:6, 1], problem.h[6, 1] = 0.0, 1.0
    expected = problem.gradient(before)
    problem.h[6, 1], problem.gates[:, :4] = 0.0, np.inf
    found = problem.gradient(before)
    np.testing.assert_array_equal(found[1], expected[1])
    assert not np.isfinite(found[0]).any()


def test_inputs_are_copied_for_wide_layers_and_scattered_states_alone(monkeypatch):
    monkeypatch.setattr(module, "WORTH_A_COPY", 40)
    narrow, wide, split = np.empty((19, 13, 1)), np.empty((20, 13, 1)), np.zeros((2, 3), np.int64)
    rows = module.block_rows.py_func(300)
    assert SUM_BLOCK <= rows < 2 * SUM_BLOCK
    assert module.SMALL_BLOCK <= module.block_rows.py_func(300, row_bytes=100) < 2 * module.SMALL_BLOCK
    assert scratch_size(narrow, 2, 1, 300, together(300)) == 0
    for dw, before in ((narrow, split), (wide, together(300)), (wide, split)):
        assert scratch_size(dw, 2, 1, 300, before) == rows * (STRIP + -(-12 // STRIP) * STRIP)
