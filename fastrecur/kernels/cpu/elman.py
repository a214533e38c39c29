"""Elman RNN on the CPU: the compiled twins of `fastrecur.kernels.reference.rnn_forward` and ``rnn_backward``.

One gate: a panel is two vectors of hidden units. Nothing is recorded but h itself; ``gates`` is scratch forward,
and receives the gradients of the pre-activations backward.
"""

from typing import NamedTuple

from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline, kernel, merged
from fastrecur.kernels.cpu.activations import tanh
from fastrecur.kernels.cpu.products import panel_features, tile_features
from fastrecur.kernels.cpu.recurrence import (
    ahead_tiles,
    forward_buffers,
    forward_rows,
    goes_ahead,
    implement,
    lie_far,
    panel_ahead,
    panel_pair,
    panel_rows,
    step_rows,
    zero_rows,
)
from fastrecur.kernels.cpu.recurrence_backward import backward_buffers, backward_rows, cell_gradient
from fastrecur.kernels.cpu.simd import load, offset, select_less, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_2, TALL_2
from fastrecur.kernels.cpu.team import backward_team, forward_team
from fastrecur.kernels.cpu.tile import panel_dot, tall_rows, tile_dot, tile_load, tile_shape, tile_store


class RNNCell(NamedTuple):
    """Names the cell to the walk through time; ``relu``: max(0, z) instead of tanh(z)."""

    relu: bool


@inline
def _cell(relu, z, lanes, h):
    """h = tanh(z) or max(0, z), for both vectors of the panel."""
    for v in range(0, 2 * lanes, lanes):
        z_t = load(z, v)
        if relu:
            zero = splat(z_t, 0.0)
            store(h, v, select_less(z_t, zero, zero, z_t))
        else:
            store(h, v, tanh(z_t))


@inline
def _tiles(cell, shape, r, rows, p):
    """Rows ``r..rows`` of a panel, as many whole tiles as fit; returns the first row left over."""
    while r + len(shape) <= rows:
        z = offset(p.z, r * p.z_stride)
        if p.ahead:
            acc = tile_load(shape, z, p.width)
        else:
            acc = tile_features(tile_load(shape, p.bias, 0), p.x, r, p.w, p.width)
        acc = tile_dot(acc, offset(p.h_prev, r * p.h_stride), p.h_stride, 1, p.w_hidden, p.width, p.n_hidden)
        tile_store(acc, z, p.width)
        for k in range(len(shape)):
            _cell(cell.relu, offset(z, k * p.width), p.width // 2, offset(p.h, (r + k) * p.h_stride))
        r += len(shape)
    return r


def _panel_rows(cell, rows, p):
    tall, middle = tile_shape(TALL_2, 2), tile_shape(MIDDLE_2, 2)
    r = _tiles(cell, tall, 0, tall_rows(rows, tall, middle), p)
    r = _tiles(cell, middle, r, rows, p)
    r = _tiles(cell, tile_shape(2, 2), r, rows, p)
    _tiles(cell, tile_shape(1, 2), r, rows, p)


def _panel_pair(cell, p, w_panel, z_panel):
    if p.ahead:
        acc = tile_load(tile_shape(2, 2), p.z, z_panel)
    else:
        acc = panel_features(tile_load(tile_shape(2, 2), p.bias, p.width), p.x, 0, p.w, w_panel, p.width)
    acc = panel_dot(acc, p.h_prev, 1, p.w_hidden, w_panel, p.width, p.n_hidden)
    tile_store(acc, p.z, z_panel)
    for k in range(2):
        _cell(cell.relu, offset(p.z, k * z_panel), p.width // 2, offset(p.h, k * p.units))


def _panel_ahead(cell, rows, p):
    r = ahead_tiles(tile_shape(TALL_2, 2), 0, rows, p)
    r = ahead_tiles(tile_shape(MIDDLE_2, 2), r, rows, p)
    ahead_tiles(tile_shape(1, 2), r, rows, p)


implement(panel_ahead, RNNCell, _panel_ahead)
implement(panel_rows, RNNCell, _panel_rows)
implement(panel_pair, RNNCell, _panel_pair)


@merged
def _forward(w, bias, x, features, steps, h, direction, scratch, relu, masked, mask, shards, s):
    ahead, units = goes_ahead(shards, w), w.shape[2]
    n_rows = shards[-1]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, scratch[0], scratch, units, False, masked, mask, n_rows, n_zero, ahead, s
    )
    forward_rows(RNNCell(relu), net, steps, shards[s], shards[s + 1])


@SharedKernel
def rnn_forward(w, bias, x, features, steps, h, direction, scratch, relu, masked, mask, shards):
    """Twin of `fastrecur.kernels.reference.rnn_forward`, in panels.

    Parameters
    ----------
    w : array of shape (P, S * features + H, 2 W)
        Panels: see `fastrecur.kernels.cpu.panels`.
    bias : array of shape (P, 2 W)
    x : array of shape (N, S, stride)
        S segments of ``features`` numbers.
    h : array of shape (B + N, D, padded H)
        ``direction`` is read and written. Or (3 B, D, padded H), where that is less: see `fastrecur.kernels.steps`.
    scratch : array of shape (len(shards) - 1, 1, TALL_2 * 2 W) or, where `goes_ahead`, (P, packed rows, 2 W)
    masked : array of the shape of ``h``
        Recurrent dropout: h times the mask, in ``direction``. Assigned, the initial states too. Without: ``h`` itself.
    mask : array of shape (B, padded H), or (0, padded H) without recurrent dropout
    shards : int64 array
        Bounds of the rows of the batch that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _forward(w, bias, x, features, steps, h, direction, scratch, relu, masked, mask, shards, s)


@merged
def _forward_together(w, bias, x, features, steps, h, direction, scratch, relu, meeting):
    units, nothing = w.shape[2], scratch[0, :0]
    n_rows = h.shape[0] - x.shape[0]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, nothing, scratch, units, False, h, nothing, n_rows, n_zero, True, 0
    )
    forward_team(RNNCell(relu), net, steps, meeting)


@SharedKernel
def rnn_forward_together(w, bias, x, features, steps, h, direction, scratch, relu, meeting, shards):
    """`rnn_forward` by several threads together: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _forward_together(w, bias, x, features, steps, h, direction, scratch, relu, meeting)


@kernel
def rnn_step(w, bias, x, features, h, scratch, relu):
    """Twin of `fastrecur.kernels.reference.rnn_step`: one step of `rnn_forward` by one thread, the same bits.

    Parameters
    ----------
    w, bias, features, relu
        As in `rnn_forward`.
    x : array of shape (B, S, stride)
    h : array of shape (2 B, 1, padded H)
        Rows 0..B are replaced, rows B..2 B are scratch.
    scratch : array of shape (1, 1, TALL * gates of a panel)
    """
    units, nothing = w.shape[2], scratch[0, :0]
    net = forward_buffers(
        w, bias, x, features, h, 0, nothing, scratch, units, False, h, nothing, x.shape[0], 0, False, 0
    )
    step_rows(RNNCell(relu), net, x.shape[0])


def _cell_gradient(cell, net, z, now):
    """dz = dh (1 - h^2), or dh where h > 0, for both vectors of the panel."""
    for k in range(2):  # a constant, for LLVM to unroll
        v = k * net.lanes
        h, dh = load(net.h, now.h + v), load(net.dh, now.dh + v)
        if cell.relu:
            zero = splat(h, 0.0)
            store(z, v, select_less(zero, h, dh, zero))
        else:
            store(z, v, dh * (splat(h, 1.0) - h * h))


implement(cell_gradient, RNNCell, _cell_gradient)


@merged
def _backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, shards, s):
    units, far = gates.shape[2], lie_far(gates, h, len(shards) - 1)
    net = backward_buffers(w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, 0, False, dh, mask, far)
    backward_rows(RNNCell(relu), net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def rnn_backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, shards):
    """Twin of the recurrence of `fastrecur.kernels.reference.rnn_backward`.

    The products over all steps, dx and the weight gradients, follow in `fastrecur.kernels.cpu.products`.

    Parameters
    ----------
    w_hidden : array of shape (Q, P * 2 W, 2 W)
        W_hh, transposed: see `fastrecur.kernels.cpu.panels.pack_transposed`.
    h, direction, relu, mask, shards
        As `rnn_forward` left them.
    gates : array of shape (P, N, 2 W)
        Assigned: the gradients of the pre-activations.
    dy : array of shape (S, D, H or padded H), or (0, D, H) where nothing comes from above
    starts : int64 array of shape (B,), or (0,) where ``dy`` is packed
        Row of ``dy`` of the first time step of each sequence.
    apart : int
        Rows of ``dy`` from one time step of a sequence to its next; 0 where ``dy`` is packed.
    dh : array of shape (B, padded H)
    """
    for s in prange(len(shards) - 1):
        _backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, mask, shards, s)


@merged
def _backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, meeting):
    units, nothing = gates.shape[2], dh[:0]
    net = backward_buffers(w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, 0, False, dh, nothing)
    backward_team(RNNCell(relu), net, steps, h.shape[0] - gates.shape[1], meeting)


@SharedKernel
def rnn_backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, meeting, shards):
    """`rnn_backward` of one sequence by several threads: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, relu, meeting)
