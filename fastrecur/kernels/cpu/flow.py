"""The recurrence backwards as in `elman`, `lstm` and `gru`, keeping the gradients of all states on the way.

The cells' own equations run inside: `Flow` and `CellFlow` only store what passes. A backward pass of training keeps
one dh a row; nothing of it changes or slows down for this.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline, kernel
from fastrecur.kernels.cpu.activations import tanh
from fastrecur.kernels.cpu.elman import RNNCell
from fastrecur.kernels.cpu.gru import GRUCell
from fastrecur.kernels.cpu.lstm import LSTMCell
from fastrecur.kernels.cpu.recurrence import implement
from fastrecur.kernels.cpu.recurrence_backward import backward_buffers, backward_rows, cell_gradient
from fastrecur.kernels.cpu.simd import copy, fma, load, offset, pointer, splat, store
from fastrecur.kernels.cpu.target import VECTOR_BYTES


class Flow(NamedTuple):
    """A cell (RNN, GRU) whose dh_t are stored, as rows of (B + N, padded H) beside the states."""

    cell: object
    dh: object


class CellFlow(NamedTuple):
    """The LSTM, whose dh_t and dc_t are stored."""

    cell: object
    dh: object
    dc: object


def _flow(flow, net, z, now):
    for v in range(0, net.units, net.lanes):
        store(flow.dh, now.c + v, load(net.dh, now.dh + v))
    cell_gradient(flow.cell, net, z, now)


def _cell_flow(flow, net, z, now):
    """dc_t is what the step after left and dh_t o (1 - tanh(c_t)^2)."""
    dh, tanh_c = load(net.dh, now.dh), tanh(load(net.c, now.c))
    slope = load(z, 3 * net.units) * (splat(tanh_c, 1.0) - tanh_c * tanh_c)
    store(flow.dh, now.c, dh)
    store(flow.dc, now.c, fma(dh, slope, load(net.dc, now.dh)))
    cell_gradient(flow.cell, net, z, now)


implement(cell_gradient, Flow, _flow)
implement(cell_gradient, CellFlow, _cell_flow)


@inline
def _rnn(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, flow, shards, s):
    units = gates.shape[2]
    net = backward_buffers(w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, 0, False, dh, mask)
    cell = Flow(RNNCell(relu), pointer(flow))
    backward_rows(cell, net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def rnn_flow(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, flow, shards):
    """As `fastrecur.kernels.cpu.elman.rnn_backward`, and dE/dh_t into rows B.. of ``flow`` (B + N, padded H)."""
    for s in prange(len(shards) - 1):
        _rnn(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, flow, shards, s)


@inline
def _gru(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, flow, shards, s):
    units = gates.shape[2] // 4
    net = backward_buffers(w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, units, True, kept, mask)
    cell = Flow(GRUCell(), pointer(flow))
    backward_rows(cell, net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def gru_flow(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, flow, shards):
    """As `fastrecur.kernels.cpu.gru.gru_backward`, and dE/dh_t into ``flow``: see `rnn_flow`."""
    for s in prange(len(shards) - 1):
        _gru(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, flow, shards, s)


@inline
def _lstm(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, flow, cell_flow, shards, s):
    units = gates.shape[2] // 4
    net = backward_buffers(w_hidden, h, direction, c, gates, dy, starts, apart, dh, dc, units, 0, False, dh, mask)
    cell = CellFlow(LSTMCell(), pointer(flow), pointer(cell_flow))
    backward_rows(cell, net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def lstm_flow(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, flow, cell_flow, shards):
    """As `fastrecur.kernels.cpu.lstm.lstm_backward`, and dE/dh_t, dE/dc_t into ``flow``, ``cell_flow``: see `rnn_flow`.

    dE/dc_t goes through h_t too.
    """
    for s in prange(len(shards) - 1):
        _lstm(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, flow, cell_flow, shards, s)


# --- where the way back begins ---------------------------------------------------------------------------------------


@inline
def _errors(x, w, bias, n_inputs, lanes, out):
    """z of an output for two vectors of rows."""
    a = splat(x, bias)
    b = a
    for i in range(n_inputs):
        factor = splat(x, w[i])
        a, b = fma(load(x, 2 * i * lanes), factor, a), fma(load(x, (2 * i + 1) * lanes), factor, b)
    store(out, 0, a)
    store(out, lanes, b)


@inline
def _add_gradient(dz, w, n_inputs, lanes, out):
    """What an output adds to the gradient of the inputs, for two vectors of rows."""
    a, b = load(dz, 0), load(dz, lanes)
    for i in range(n_inputs):
        factor, at = splat(dz, w[i]), 2 * i * lanes
        store(out, at, fma(a, factor, load(out, at)))
        store(out, at + lanes, fma(b, factor, load(out, at + lanes)))


@kernel
def squared_error_flow(inputs, features, weight, bias, rows, targets, weights, dinputs):
    """Gradient of the inputs alone, of the squared error as `head_gradient` has it, with all sums in float64.

    The nearer a prediction comes to its target, the larger a part of the gradient is what float32 would round off.

    Parameters
    ----------
    inputs : array of shape (M, S, stride)
        S segments of ``features`` numbers.
    features : int
    weight, bias : array of shape (K, S * features), (K,)
    rows : int64 array of shape (M,)
    targets : float64 array of shape (n, K)
    weights : float64 array of shape (n,)
    dinputs : array of shape (M, S, stride)
        Assigned; zero beside the segments.
    """
    n_outputs, n_inputs = weight.shape
    lanes = VECTOR_BYTES // 8
    width = 2 * lanes
    w, x, d, dz = weight.astype(np.float64), np.zeros((n_inputs, width)), np.empty((n_inputs, width)), np.empty(width)
    for first in range(0, len(rows), width):
        count = min(width, len(rows) - first)
        for r in range(count):
            for s in range(inputs.shape[1]):
                for u in range(features):
                    x[s * features + u, r] = inputs[first + r, s, u]
        d[:] = 0.0
        for k in range(n_outputs):
            _errors(pointer(x), offset(pointer(w), k * n_inputs), np.float64(bias[k]), n_inputs, lanes, pointer(dz))
            for r in range(count):
                row = rows[first + r]
                dz[r] = weights[row] / n_outputs * (dz[r] - targets[row, k])
            _add_gradient(pointer(dz), offset(pointer(w), k * n_inputs), n_inputs, lanes, pointer(d))
        for r in range(count):
            for s in range(inputs.shape[1]):
                for u in range(features):
                    dinputs[first + r, s, u] = d[s * features + u, r]
                for u in range(features, inputs.shape[2]):
                    dinputs[first + r, s, u] = 0.0


# --- from packed rows to time steps ----------------------------------------------------------------------------------


@kernel
def row_norms(values, first, rows, n_hidden, out):
    """``out[rows[n]]`` (S,) becomes the L2 norm of row ``first + n`` of ``values`` (first + N, padded H), in float64.

    In float32 the squares of small numbers would be 0.
    """
    source, n_whole = pointer(values), n_hidden // 4 * 4
    for n in range(len(rows)):
        row = offset(source, (first + n) * values.shape[1])
        a, b, c, d = 0.0, 0.0, 0.0, 0.0  # four sums at a time: one alone would wait for each addition
        for u in range(0, n_whole, 4):
            a += np.float64(row[u]) ** 2
            b += np.float64(row[u + 1]) ** 2
            c += np.float64(row[u + 2]) ** 2
            d += np.float64(row[u + 3]) ** 2
        for u in range(n_whole, n_hidden):
            a += np.float64(row[u]) ** 2
        out[rows[n]] = math.sqrt((a + b) + (c + d))


@kernel
def scatter_gate(gates, vector, rows, out):
    """Row ``rows[n]`` of ``out`` (S, H) receives one gate of packed row n.

    Parameters
    ----------
    gates : array of shape (P, N, gates of a panel)
        A record of the LSTM or the GRU.
    vector : int
        Place of the gate in a panel.
    rows : int64 array of shape (N,)
    out : array of shape (S, H)
    """
    n_panels, n_packed, width = gates.shape
    n_hidden, lanes = out.shape[1], VECTOR_BYTES // out.itemsize
    source, target = pointer(gates), pointer(out)
    for n in range(n_packed):
        for p in range(n_panels):
            gate = offset(source, (p * n_packed + n) * width + vector * lanes)
            copy(offset(target, rows[n] * n_hidden + p * lanes), gate, min(lanes, n_hidden - p * lanes))
