"""Panels against the layout that the module states, entry by entry, and against products with PyTorch's layout."""

import numba
import numpy as np
import pytest

from fastrecur.kernels.cpu.panels import lanes, pack_layer, pack_transposed, padded, panel_layout, unpack_panel
from fastrecur.kernels.cpu.target import VECTOR_BYTES

GATES = {"rnn": 1, "lstm": 4, "gru": 3}

#: What stands in the vectors of a panel: gates in PyTorch's order (None: nothing), for W_ih, W_hh, and the record.
VECTORS = {
    "rnn": ([0], [0], [0]),
    "lstm": ([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]),
    "gru": ([2, 0, 1], [0, 1, 2], [2, 0, 1, 3]),
}

each_cell = pytest.mark.parametrize("cell", GATES)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_hidden = pytest.mark.parametrize("n_hidden", [1, 2, 7, 16, 17, 33, 63, 64, 100])


def units_of_a_panel(cell, dtype):
    return lanes(dtype) * (2 if cell == "rnn" else 1)


def random_layer(cell, n_features, n_hidden, dtype):
    """w_ih, w_hh, bias_ih, bias_hh (empty where the cell has one bias); no entry is zero."""
    rng, rows = np.random.default_rng(n_hidden), GATES[cell] * n_hidden
    shapes = (rows, n_features), (rows, n_hidden), (rows,), (rows if cell == "gru" else 0,)
    return [rng.uniform(1.0, 2.0, shape).astype(dtype) for shape in shapes]


def pack(cell, layer, dtype):
    """(layout, w, bias): the layer's panels, in arrays that come poisoned with NaN."""
    w_ih, w_hh = layer[:2]
    layout = panel_layout(cell, w_hh.shape[1], np.dtype(dtype))
    n_inputs, width = w_ih.shape[1] + w_hh.shape[1], lanes(dtype)
    w = np.full((layout.n_panels, n_inputs, layout.vectors * width), np.nan, dtype)
    bias = np.full((layout.n_panels, layout.gate_vectors * width), np.nan, dtype)
    maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
    pack_layer(*layer, *maps, w, bias, w[:0])
    return layout, w, bias


@numba.njit
def unpack_panels(w, bias, maps, layer):
    for p in range(len(w)):
        for begin, end in ((0, 3), (3, w.shape[1])):  # as by two threads
            unpack_panel(w, bias, p, begin, min(end, w.shape[1]), maps, layer)


def unpack(layout, w, bias, out):
    maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
    unpack_panels(w, bias, maps, tuple(out))


def naive_panel(rows, gates, cell, panel, n_hidden, dtype):
    """Rows (G*H, ...) of the parameters that stand in the columns of one panel: zeros where there is no unit."""
    size = units_of_a_panel(cell, dtype)
    columns = []
    for gate in gates:
        for unit in range(panel * size, (panel + 1) * size):
            columns.append(rows[gate * n_hidden + unit] if unit < n_hidden else np.zeros_like(rows[0]))
    return np.stack(columns, axis=-1)


@each_dtype
def test_lanes_and_padding(dtype):
    width = lanes(dtype)
    assert width * np.dtype(dtype).itemsize == VECTOR_BYTES
    for n in (1, 2 * width - 1, 2 * width):
        assert padded(n, dtype) == 2 * width
    assert padded(2 * width + 1, dtype) == 4 * width


@each_dtype
@each_hidden
@each_cell
def test_panels_are_as_stated(cell, n_hidden, dtype):
    layer = w_ih, w_hh, bias_ih, bias_hh = random_layer(cell, 5, n_hidden, dtype)
    layout, w, bias = pack(cell, layer, dtype)
    features, hidden, _ = VECTORS[cell]
    n_panels = -(-n_hidden // units_of_a_panel(cell, dtype))
    assert layout.n_panels == n_panels
    assert layout.vectors * lanes(dtype) == len(features) * units_of_a_panel(cell, dtype)
    for p in range(n_panels):
        np.testing.assert_array_equal(w[p, :5], naive_panel(w_ih, features, cell, p, n_hidden, dtype))
        np.testing.assert_array_equal(w[p, 5:], naive_panel(w_hh, hidden, cell, p, n_hidden, dtype))
    if cell == "gru":  # n from b_ih, r and z the sums of both, q from b_hh
        r, z, n = np.split(bias_ih, 3)
        hidden_r, hidden_z, q = np.split(bias_hh, 3)
        bias_ih = np.concatenate([r + hidden_r, z + hidden_z, n, q])
    for p in range(n_panels):
        np.testing.assert_array_equal(bias[p], naive_panel(bias_ih, VECTORS[cell][2], cell, p, n_hidden, dtype))


@each_dtype
@each_hidden
@each_cell
def test_columns_of_the_layout(cell, n_hidden, dtype):
    layout = panel_layout(cell, n_hidden, np.dtype(dtype))
    for columns, vectors in zip((layout.features, layout.hidden), VECTORS[cell][:2], strict=True):
        entries = np.arange(1, (max(vectors) + 1) * n_hidden + 1)  # row + 1, so that 0 is none
        for p in range(layout.n_panels):
            np.testing.assert_array_equal(columns[p] + 1, naive_panel(entries, vectors, cell, p, n_hidden, dtype))
    assert layout.first_hidden == (lanes(dtype) if cell == "gru" else 0)
    assert layout.gate_vectors * lanes(dtype) == layout.bias_features.shape[1]


@each_dtype
@each_hidden
@pytest.mark.parametrize("n_features", [1, 6])
@each_cell
def test_unpack_undoes_pack_and_adds(cell, n_features, n_hidden, dtype):
    layer = random_layer(cell, n_features, n_hidden, dtype)
    layout, w, bias = pack(cell, layer, dtype)
    start = [np.full_like(array, 3.0) for array in layer]
    out = [array.copy() for array in start]
    unpack(layout, w, bias, out)
    np.testing.assert_array_equal(out[0], layer[0] + 3)
    np.testing.assert_array_equal(out[1], layer[1] + 3)
    if cell == "gru":  # r and z have the gradients of both biases
        total = layer[2] + layer[3]
        n = 2 * n_hidden
        np.testing.assert_array_equal(out[2], np.concatenate([total[:n], layer[2][n:]]) + 3)
        np.testing.assert_array_equal(out[3], np.concatenate([total[:n], layer[3][n:]]) + 3)
    else:
        np.testing.assert_array_equal(out[2], layer[2] + 3)


@each_dtype
@each_cell
def test_unpack_reads_no_padding(cell, dtype):
    n_hidden = 7
    layer = random_layer(cell, 3, n_hidden, dtype)
    layout, w, bias = pack(cell, layer, dtype)
    w[:, :3][np.broadcast_to(layout.features[:, None] < 0, w[:, :3].shape)] = np.nan
    w[:, 3:][np.broadcast_to(layout.hidden[:, None] < 0, w[:, 3:].shape)] = np.nan
    bias[(layout.bias_features < 0) & (layout.bias_hidden < 0)] = np.nan
    assert np.isnan(w).any()
    assert np.isnan(bias).any()
    out = [np.zeros_like(array) for array in layer]
    unpack(layout, w, bias, out)
    assert all(np.isfinite(array).all() for array in out)


def naive_transposed(weight, columns, segments, dtype):
    """Weights of each panel column, transposed, inputs padded segment by segment: (Q, columns, 2 W)."""
    pair = 2 * lanes(dtype)
    rows = np.array([weight[row] if row >= 0 else np.zeros_like(weight[0]) for row in columns.ravel()])
    pieces = []
    for part in np.split(rows, segments, axis=1):
        gap = padded(part.shape[1], dtype) - part.shape[1]
        pieces += np.split(np.pad(part, [(0, 0), (0, gap)]), (part.shape[1] + gap) // pair, axis=1)
    return np.stack(pieces)


@each_dtype
@each_hidden
@pytest.mark.parametrize("segments", [1, 2])
@each_cell
def test_transposed(cell, segments, n_hidden, dtype):
    per_segment = 2 * lanes(dtype) + 3 if n_hidden < 10 else n_hidden
    w_ih, w_hh = random_layer(cell, segments * per_segment, n_hidden, dtype)[:2]
    layout = panel_layout(cell, n_hidden, np.dtype(dtype))
    for weight, columns, n in ((w_ih, layout.features, segments), (w_hh, layout.hidden, 1)):
        expected = naive_transposed(weight, columns, n, dtype)
        out = np.full_like(expected, np.nan)
        pack_transposed(weight, columns, n, out)
        np.testing.assert_array_equal(out, expected)


@each_dtype
@each_hidden
@each_cell
def test_pack_transposes_what_it_packs(cell, n_hidden, dtype):
    layer = random_layer(cell, 3, n_hidden, dtype)
    layout, w, bias = pack(cell, layer, dtype)
    expected = naive_transposed(layer[1], layout.hidden, 1, dtype)
    again, transposed = [np.full_like(array, np.nan) for array in (w, bias)], np.full_like(expected, np.nan)
    maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
    pack_layer(*layer, *maps, *again, transposed)
    for array, there in zip((*again, transposed), (w, bias, expected), strict=True):
        np.testing.assert_array_equal(array, there)
