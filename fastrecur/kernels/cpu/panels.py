"""How weights lie in memory for the CPU kernels: panels that a register tile can stream through.

A panel is a group of hidden units with all the vectors that their gates need. For one row k of its input (a feature
or a hidden unit) the panel's weights lie side by side, ``[k][vector][lane]``, and k runs over the features first and
the hidden units after them: one pass of `tile_dot` over F + H rows computes every gate of the panel.

=====  =================  ==========================================  ==========================
cell   units of a panel   vectors of a panel (weights)                vectors of a panel (gates)
=====  =================  ==========================================  ==========================
RNN    2 W                units 0..W, units W..2W                     the same
LSTM   W                  i, f, g, o                                  the same
GRU    W                  n, r, z (features), r, z, q (hidden)        n, r, z, q
=====  =================  ==========================================  ==========================

W is the number of lanes of a vector. Hidden units are padded with zero weights to whole panels, where a padded unit
stays exactly 0, forward and backward; state buffers have rows of `padded` (H) numbers, a multiple of 2 W.

The products of the backward pass read the transposed weights, in panels of 2 W outputs (`pack_transposed`).
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from fastrecur.kernels.compile import inline, kernel
from fastrecur.kernels.cpu.simd import load, offset, pointer, store
from fastrecur.kernels.cpu.target import CACHE_LINE, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import tile_add, tile_load, tile_square, tile_store, tile_transpose


def lanes(dtype):
    """Numbers of ``dtype`` in a vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def padded(n, dtype):
    """``n`` rounded up to whole pairs of vectors: the row length of every state buffer."""
    pair = 2 * lanes(dtype)
    return -(-n // pair) * pair


def aligned_empty(shape, dtype):
    """Array of undefined contents that begins on a cache line: a vector that straddles two costs two loads."""
    memory = np.empty(math.prod(shape) + CACHE_LINE // dtype.itemsize, dtype)
    first = -memory.__array_interface__["data"][0] % CACHE_LINE // dtype.itemsize
    return memory[first : first + math.prod(shape)].reshape(shape)


@dataclass(frozen=True)
class Layout:
    """Which row of the parameters stands in which column of the panels (-1: none).

    Attributes
    ----------
    vectors, gate_vectors : int
        Vectors a panel in the weights and in the record of the gates.
    features, hidden : int64 array of shape (P, vectors * W)
        Rows of ``weight_ih`` and ``weight_hh``.
    bias_features, bias_hidden : int64 array of shape (P, gate_vectors * W)
        Entries of ``bias_ih`` (or of the only ``bias``) and of ``bias_hh``, which add up.
    first_hidden : int
        Where in a panel's gates the vectors of ``hidden`` begin.
    """

    vectors: int
    gate_vectors: int
    features: np.ndarray
    hidden: np.ndarray
    bias_features: np.ndarray
    bias_hidden: np.ndarray
    first_hidden: int = 0

    @property
    def n_panels(self):
        """Number of panels, P."""
        return len(self.features)


def _columns(n_hidden, width, gates):
    """Panel columns for ``gates`` (numbers of gates in their order, -1 for none), ``width`` units a panel."""
    units = np.arange(-(-n_hidden // width) * width).reshape(-1, 1, width)
    gates = np.asarray(gates).reshape(1, -1, 1)
    rows = gates * n_hidden + units
    return np.where((units < n_hidden) & (gates >= 0), rows, -1).reshape(len(units), -1)


@functools.cache
def panel_layout(cell, n_hidden, dtype):
    """Layout of ``cell`` ("rnn", "lstm" or "gru") with ``n_hidden`` units."""
    width = lanes(dtype)
    if cell == "gru":
        r, z, n = range(3)
        return Layout(
            vectors=3,
            gate_vectors=4,
            features=_columns(n_hidden, width, [n, r, z]),
            hidden=_columns(n_hidden, width, [r, z, n]),
            bias_features=_columns(n_hidden, width, [n, r, z, -1]),
            bias_hidden=_columns(n_hidden, width, [-1, r, z, n]),
            first_hidden=width,
        )
    columns = _columns(n_hidden, 2 * width, [0]) if cell == "rnn" else _columns(n_hidden, width, [0, 1, 2, 3])
    vectors = columns.shape[1] // width
    return Layout(vectors, vectors, columns, columns, columns, np.full_like(columns, -1))


@inline
def _pack(weight, columns, first, out):
    """Copy ``weight`` (G*H, K) to the rows ``first..first + K`` of the panels, one vector of columns at a time.

    The columns of a vector are consecutive rows of ``weight``, of which the last may be missing.
    """
    n_panels, n_inputs, n_columns = out.shape
    n_sum, lanes = weight.shape[1], VECTOR_BYTES // out.itemsize
    source, rows = pointer(weight), pointer(columns)
    square = tile_square(source)
    for p in range(n_panels):
        for v in range(0, n_columns, lanes):
            target = offset(pointer(out), (p * n_inputs + first) * n_columns + v)
            at, k = p * n_columns + v, 0
            while rows[at + lanes - 1] >= 0 and k + lanes <= n_sum:
                block = tile_load(square, offset(source, rows[at] * n_sum + k), n_sum)
                tile_store(tile_transpose(block), offset(target, k * n_columns), n_columns)
                k += lanes
            while k < n_sum:
                for j in range(lanes):
                    row = rows[at + j]
                    target[k * n_columns + j] = source[row * n_sum + k] if row >= 0 else 0.0
                k += 1


@inline
def _pack_transposed(weight, columns, segments, out):
    n_out, n_columns, pair = out.shape
    n_inputs = weight.shape[1]
    n_valid, per_segment = n_inputs // segments, n_out // segments
    source, rows, target = pointer(weight), pointer(columns), pointer(out)
    for q in range(n_out):
        start = (q % per_segment) * pair
        first = (q // per_segment) * n_valid + start
        n_copied, lanes = min(pair, n_valid - start), VECTOR_BYTES // out.itemsize
        for j in range(n_columns):
            row, to = rows[j], (q * n_columns + j) * pair
            if row >= 0 and n_copied == pair:
                for u in range(0, pair, lanes):
                    store(target, to + u, load(source, row * n_inputs + first + u))
            else:
                for u in range(pair):
                    target[to + u] = source[row * n_inputs + first + u] if row >= 0 and u < n_copied else 0.0


@kernel
def pack_layer(w_ih, w_hh, bias_ih, bias_hh, features, hidden, bias_features, bias_hidden, w, bias, transposed):
    """Write a layer's parameters (PyTorch's layout) as panels.

    Parameters
    ----------
    w_ih, w_hh : array of shape (G*H, F), (G*H, H)
    bias_ih, bias_hh : array of shape (G*H,)
        A cell with one bias passes an empty ``bias_hh``.
    features, hidden, bias_features, bias_hidden : int64 array
        Of the `Layout`.
    w : array of shape (P, F + H, vectors * W)
    bias : array of shape (P, gate_vectors * W)
    transposed : array of the shape of `pack_transposed`'s ``out``, or of shape (0, 0, 0)
        Receives w_hh transposed.
    """
    _pack(w_ih, features, 0, w)
    _pack(w_hh, hidden, w_ih.shape[1], w)
    for p in range(bias.shape[0]):
        for j in range(bias.shape[1]):
            i, k = bias_features[p, j], bias_hidden[p, j]
            bias[p, j] = (bias_ih[i] if i >= 0 else 0.0) + (bias_hh[k] if k >= 0 else 0.0)
    if transposed.size > 0:
        _pack_transposed(w_hh, hidden, 1, transposed)


@inline
def _unpack(panels, p, columns, first, k_begin, k_end, out):
    """Undo `_pack` of the rows ``first + k`` of panel ``p``, ``k`` from ``k_begin`` to ``k_end``, adding to ``out``."""
    n_inputs, n_columns = panels.shape[1:]
    n_sum, lanes = out.shape[1], VECTOR_BYTES // out.itemsize
    target, rows = pointer(out), pointer(columns)
    square = tile_square(target)
    for v in range(0, n_columns, lanes):
        source = offset(pointer(panels), (p * n_inputs + first) * n_columns + v)
        at, k = p * n_columns + v, k_begin
        while rows[at + lanes - 1] >= 0 and k + lanes <= k_end:
            block = tile_transpose(tile_load(square, offset(source, k * n_columns), n_columns))
            tile_add(block, offset(target, rows[at] * n_sum + k), n_sum)
            k += lanes
        while k < k_end:
            for j in range(lanes):
                row = rows[at + j]
                if row >= 0:
                    target[row * n_sum + k] += source[k * n_columns + j]
            k += 1


@inline
def unpack_panel(w, bias, p, begin, end, maps, layer):
    """Add the rows ``begin..end`` of a panel of gradients to a layer's gradients in PyTorch's layout.

    Undoes `pack_layer`; who has the first row has the biases of the panel too.

    Parameters
    ----------
    w, bias : array
        As in `pack_layer`.
    p, begin, end : int
    maps : tuple
        ``features, hidden, bias_features, bias_hidden`` of the `Layout`.
    layer : tuple
        ``w_ih, w_hh, bias_ih, bias_hh``.
    """
    features, hidden, bias_features, bias_hidden = maps
    w_ih, w_hh, bias_ih, bias_hh = layer
    n_features = w_ih.shape[1]
    _unpack(w, p, features, 0, begin, min(end, n_features), w_ih)
    _unpack(w, p, hidden, n_features, max(begin - n_features, 0), end - n_features, w_hh)
    if begin == 0:
        for j in range(bias.shape[1]):
            i, k = bias_features[p, j], bias_hidden[p, j]
            if i >= 0:
                bias_ih[i] += bias[p, j]
            if k >= 0:
                bias_hh[k] += bias[p, j]


@kernel
def pack_transposed(weight, columns, segments, out):
    """Copy ``weight`` (G*H, K) transposed, for products that sum over the gates.

    Parameters
    ----------
    weight : array of shape (G*H, K)
    columns : int64 array of shape (P, vectors * W)
    segments : int
        The K inputs are that many equal pieces (one a direction of the layer below), each padded on its own.
    out : array of shape (Q, P * vectors * W, 2 W), or (1, P * vectors * W, W) for W outputs and fewer
        Q panels of outputs; the sum runs over the columns of the panels in their order.
    """
    _pack_transposed(weight, columns, segments, out)
