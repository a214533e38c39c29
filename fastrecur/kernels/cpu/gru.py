"""GRU on the CPU: the compiled twins of `fastrecur.kernels.reference.gru_forward` and ``gru_backward``.

The candidate keeps its two halves apart (reset-after), so a panel has four vectors: n, r, z, q. The features add to
the first three, the hidden units to the last three: two products of three vectors, the second begun from the first.
"""

from typing import NamedTuple

from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline, kernel, merged
from fastrecur.kernels.cpu.activations import sigmoid, tanh
from fastrecur.kernels.cpu.products import panel_features, tile_features
from fastrecur.kernels.cpu.recurrence import (
    ahead_tiles,
    ask_to_write,
    forward_buffers,
    forward_rows,
    goes_ahead,
    implement,
    lie_far,
    panel_ahead,
    panel_pair,
    panel_rows,
    step_rows,
    tile_hidden,
    zero_rows,
)
from fastrecur.kernels.cpu.recurrence_backward import backward_buffers, backward_rows, cell_gradient
from fastrecur.kernels.cpu.simd import fma, load, offset, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_3, TALL_3
from fastrecur.kernels.cpu.team import backward_team, forward_team
from fastrecur.kernels.cpu.tile import asking, panel_dot, tile_load, tile_shape, tile_shift, tile_store


class GRUCell(NamedTuple):
    """Names the cell to the walk through time."""


@inline
def _cells(count, z, z_stride, lanes, h_prev, h, h_stride):
    """n, r, z, q from the pre-activations at ``z``, which they replace; h = (1 - z) n + z h, n = tanh(n + r q).

    In two loops, so that the processor finds enough to do beside the long chain of one cell.
    """
    for k in range(count):
        gates = offset(z, k * z_stride)
        r = sigmoid(load(gates, lanes))
        store(gates, 0, fma(r, load(gates, 3 * lanes), load(gates, 0)))
        store(gates, lanes, r)
        store(gates, 2 * lanes, sigmoid(load(gates, 2 * lanes)))
    for k in range(count):
        gates = offset(z, k * z_stride)
        n = tanh(load(gates, 0))
        store(gates, 0, n)
        store(h, k * h_stride, fma(load(gates, 2 * lanes), load(h_prev, k * h_stride) - n, n))


@inline
def _tiles(shape, r, rows, p):
    """Rows ``r..rows`` of a panel, as many whole tiles as fit; returns the first row left over."""
    lanes, row = p.units, 4 * p.units
    while r + len(shape) <= rows:
        if p.far:
            ask_to_write(p, r, r + len(shape))
        z = offset(p.z, r * p.z_stride)
        if p.ahead:
            acc = tile_load(shape, z, row)
        else:
            acc = tile_features(tile_load(shape, p.bias, 0), p.x, r, p.w, p.width)
        acc = tile_shift(acc, z, row, offset(p.bias, 3 * lanes), 0)
        acc = tile_hidden(shape, acc, r, p)
        tile_store(acc, offset(z, lanes), row)
        h = r * p.h_stride
        _cells(len(shape), z, row, lanes, offset(p.h_prev_unit, h), offset(p.h, h), p.h_stride)
        r += len(shape)
    return r


def _panel_rows(cell, rows, p):
    tall, r = tile_shape(TALL_3, 3), 0
    if p.asked_k > 0:
        r = _tiles(asking(tall), r, rows, p)
    r = _tiles(tall, r, rows, p)
    r = _tiles(tile_shape(MIDDLE_3, 3), r, rows, p)
    r = _tiles(tile_shape(2, 3), r, rows, p)
    _tiles(tile_shape(1, 3), r, rows, p)


def _panel_pair(cell, p, w_panel, z_panel):
    lanes, row = p.units, 4 * p.units
    if p.ahead:
        acc = tile_load(tile_shape(2, 3), p.z, z_panel)
    else:
        acc = panel_features(tile_load(tile_shape(2, 3), p.bias, row), p.x, 0, p.w, w_panel, p.width)
    acc = tile_shift(acc, p.z, z_panel, offset(p.bias, 3 * lanes), row)
    acc = panel_dot(acc, p.h_prev, 1, p.w_hidden, w_panel, p.width, p.n_hidden)
    tile_store(acc, offset(p.z, lanes), z_panel)
    _cells(2, p.z, z_panel, lanes, p.h_prev_unit, p.h, lanes)


def _panel_ahead(cell, rows, p):
    r = ahead_tiles(tile_shape(TALL_3, 3), 0, rows, p)
    r = ahead_tiles(tile_shape(MIDDLE_3, 3), r, rows, p)
    ahead_tiles(tile_shape(1, 3), r, rows, p)


implement(panel_ahead, GRUCell, _panel_ahead)
implement(panel_rows, GRUCell, _panel_rows)
implement(panel_pair, GRUCell, _panel_pair)


@merged
def _forward(w, bias, x, features, steps, h, direction, gates, record, masked, mask, shards, s):
    ahead, units, far = goes_ahead(shards, w), w.shape[2] // 3, record and lie_far(gates, h, len(shards) - 1)
    n_rows = shards[-1]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, gates[0], gates, units, record, masked, mask, n_rows, n_zero, ahead, s, far
    )
    forward_rows(GRUCell(), net, steps, shards[s], shards[s + 1])


@SharedKernel
def gru_forward(w, bias, x, features, steps, h, direction, gates, record, masked, mask, shards):
    """Twin of `fastrecur.kernels.reference.gru_forward`, in panels.

    Parameters
    ----------
    w : array of shape (P, S * features + H, 3 W)
        Panels: see `fastrecur.kernels.cpu.panels`.
    bias : array of shape (P, 4 W)
        n (from b_ih), r and z (the sums of both), q (from b_hh).
    x : array of shape (N, S, stride)
        S segments of ``features`` numbers.
    h : array of shape (B + N, D, padded H)
        ``direction`` is read and written. Or (3 B, D, padded H), where that is less: see `fastrecur.kernels.steps`.
    gates : array of shape (P, N, 4 W), or, without ``record``, scratch: (len(shards) - 1, 1, TALL_3 * 4 W)
        or, where `goes_ahead`, (P, packed rows, 4 W)
        n, r, z, q.
    masked : array of the shape of ``h``
        Recurrent dropout: h times the mask, in ``direction``. Assigned, the initial states too. Without: ``h`` itself.
    mask : array of shape (B, padded H), or (0, padded H) without recurrent dropout
    shards : int64 array
        Bounds of the rows of the batch that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _forward(w, bias, x, features, steps, h, direction, gates, record, masked, mask, shards, s)


@merged
def _forward_together(w, bias, x, features, steps, h, direction, gates, record, meeting, n_shares):
    units, nothing, far = w.shape[2] // 3, gates[0, :0], record and lie_far(gates, h, n_shares)
    n_rows = h.shape[0] - x.shape[0]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, nothing, gates, units, record, h, nothing, n_rows, n_zero, True, 0, far
    )
    forward_team(GRUCell(), net, steps, meeting)


@SharedKernel
def gru_forward_together(w, bias, x, features, steps, h, direction, gates, record, meeting, shards):
    """`gru_forward` by several threads together: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _forward_together(w, bias, x, features, steps, h, direction, gates, record, meeting, len(shards) - 1)


@kernel
def gru_step(w, bias, x, features, h, scratch):
    """Twin of `fastrecur.kernels.reference.gru_step`: one step of `gru_forward` by one thread, the same bits.

    Parameters
    ----------
    w, bias, features
        As in `gru_forward`.
    x : array of shape (B, S, stride)
    h : array of shape (2 B, 1, padded H)
        Rows 0..B are replaced, rows B..2 B are scratch.
    scratch : array of shape (1, 1, TALL * gates of a panel)
    """
    units, nothing = w.shape[2] // 3, scratch[0, :0]
    net = forward_buffers(
        w, bias, x, features, h, 0, nothing, scratch, units, False, h, nothing, x.shape[0], 0, False, 0
    )
    step_rows(GRUCell(), net, x.shape[0])


def _cell_gradient(cell, net, z, now):
    """Gradients of n, r, z, q, over the gates at ``z``; dh z of the step before, to which W^T dz is added."""
    lanes = net.units
    n, r, u, q = load(z, 0), load(z, lanes), load(z, 2 * lanes), load(z, 3 * lanes)
    one = splat(n, 1.0)
    dh = load(net.dh, now.dh)
    dn = dh * (one - u) * (one - n * n)
    store(z, 0, dn)
    store(z, lanes, dn * q * r * (one - r))
    store(z, 2 * lanes, dh * (load(net.h, now.h_prev) - n) * u * (one - u))
    store(z, 3 * lanes, dn * r)
    store(net.kept, now.dh, dh * u)


implement(cell_gradient, GRUCell, _cell_gradient)


@merged
def _backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, shards, s):
    units, far = gates.shape[2] // 4, lie_far(gates, h, len(shards) - 1)
    net = backward_buffers(
        w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, units, True, kept, mask, far
    )
    backward_rows(GRUCell(), net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def gru_backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, shards):
    """Twin of the recurrence of `fastrecur.kernels.reference.gru_backward`.

    The products over all steps, dx and the weight gradients, follow in `fastrecur.kernels.cpu.products`: the
    features' part of ``gates`` begins at number 0 of a panel, the hidden part at number W.

    Parameters
    ----------
    w_hidden : array of shape (Q, P * 3 W, 2 W)
        W_hh, transposed: see `fastrecur.kernels.cpu.panels.pack_transposed`.
    h, direction, gates, mask, shards
        As `gru_forward` left them with ``record``; ``gates`` ends as the gradients of the pre-activations.
    dy : array of shape (S, D, H or padded H), or (0, D, H) where nothing comes from above
    starts : int64 array of shape (B,), or (0,) where ``dy`` is packed
        Row of ``dy`` of the first time step of each sequence.
    apart : int
        Rows of ``dy`` from one time step of a sequence to its next; 0 where ``dy`` is packed.
    dh : array of shape (B, padded H)
    kept : array of shape (B, padded H)
        Scratch; without recurrent dropout ``dh`` itself.
    """
    for s in prange(len(shards) - 1):
        _backward(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, kept, mask, shards, s)


@merged
def _backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, meeting):
    units, nothing = gates.shape[2] // 4, dh[:0]
    net = backward_buffers(
        w_hidden, h, direction, dh, gates, dy, starts, apart, dh, dh, units, units, True, dh, nothing
    )
    backward_team(GRUCell(), net, steps, h.shape[0] - gates.shape[1], meeting)


@SharedKernel
def gru_backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, meeting, shards):
    """`gru_backward` of one sequence by several threads: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _backward_together(w_hidden, steps, h, direction, gates, dy, starts, apart, dh, meeting)
