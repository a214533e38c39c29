"""LSTM on the CPU: the compiled twins of `fastrecur.kernels.reference.lstm_forward` and ``lstm_backward``.

The equations are `_cells` and `_cell_gradient`; `_tiles` gathers the pre-activations; the walk through time is in
`fastrecur.kernels.cpu.recurrence`, the way back in `fastrecur.kernels.cpu.recurrence_backward`.
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
from fastrecur.kernels.cpu.simd import fma, load, offset, prefetch, prefetch_to_write, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_4, TALL_4
from fastrecur.kernels.cpu.team import backward_team, forward_team
from fastrecur.kernels.cpu.tile import asking, panel_dot, tall_rows, tile_load, tile_shape, tile_store


class LSTMCell(NamedTuple):
    """Names the cell to the walk through time."""


@inline
def _cells(count, z, z_stride, lanes, c_prev, c, c_stride, h, h_stride):
    """i, f, g, o from the pre-activations at ``z``, which they replace; c = f c + i g; h = o tanh(c).

    In two loops, so that the processor finds enough to do beside the long chain of one cell. o is left to the second,
    whose chain is as long with less beside it.
    """
    for k in range(count):
        gates = offset(z, k * z_stride)
        i, f, g = sigmoid(load(gates, 0)), sigmoid(load(gates, lanes)), tanh(load(gates, 2 * lanes))
        store(c, k * c_stride, fma(f, load(c_prev, k * c_stride), i * g))
        store(gates, 0, i)
        store(gates, lanes, f)
        store(gates, 2 * lanes, g)
    for k in range(count):
        at_o = k * z_stride + 3 * lanes
        o = sigmoid(load(z, at_o))
        store(h, k * h_stride, o * tanh(load(c, k * c_stride)))
        store(z, at_o, o)


@inline
def _ask_for_cells(p, first, last):
    """Prefetch the cells of a panel's rows ``first..last``, before and after."""
    for r in range(first, last):
        prefetch(p.c_prev, r * p.c_stride, p.units)
        prefetch_to_write(p.c, r * p.c_stride, p.units)


@inline
def _tiles(shape, r, rows, p):
    """Rows ``r..rows`` of a panel, as many whole tiles as fit; returns the first row left over."""
    while r + len(shape) <= rows:
        if p.far:
            ask_to_write(p, r, r + len(shape))
            _ask_for_cells(p, r, r + len(shape))
        z = offset(p.z, r * p.z_stride)
        if p.ahead:
            acc = tile_load(shape, z, p.width)
        else:
            acc = tile_features(tile_load(shape, p.bias, 0), p.x, r, p.w, p.width)
        acc = tile_hidden(shape, acc, r, p)
        tile_store(acc, z, p.width)
        at = r * p.c_stride
        c_prev, c, h = offset(p.c_prev, at), offset(p.c, at), offset(p.h, r * p.h_stride)
        _cells(len(shape), z, p.width, p.units, c_prev, c, p.c_stride, h, p.h_stride)
        r += len(shape)
    return r


def _panel_rows(cell, rows, p):
    tall, middle = tile_shape(TALL_4, 4), tile_shape(MIDDLE_4, 4)
    r, tall_end = 0, tall_rows(rows, tall, middle)
    if p.asked_k > 0:
        r = _tiles(asking(tall), r, tall_end, p)
    r = _tiles(tall, r, tall_end, p)
    r = _tiles(middle, r, rows, p)
    r = _tiles(tile_shape(2, 4), r, rows, p)
    _tiles(tile_shape(1, 4), r, rows, p)


def _panel_pair(cell, p, w_panel, z_panel):
    if p.ahead:
        acc = tile_load(tile_shape(2, 4), p.z, z_panel)
    else:
        acc = panel_features(tile_load(tile_shape(2, 4), p.bias, p.width), p.x, 0, p.w, w_panel, p.width)
    acc = panel_dot(acc, p.h_prev, 1, p.w_hidden, w_panel, p.width, p.n_hidden)
    tile_store(acc, p.z, z_panel)
    _cells(2, p.z, z_panel, p.units, p.c_prev, p.c, p.units, p.h, p.units)


def _panel_ahead(cell, rows, p):
    r = ahead_tiles(tile_shape(TALL_4, 4), 0, rows, p)
    r = ahead_tiles(tile_shape(MIDDLE_4, 4), r, rows, p)
    ahead_tiles(tile_shape(1, 4), r, rows, p)


implement(panel_ahead, LSTMCell, _panel_ahead)
implement(panel_rows, LSTMCell, _panel_rows)
implement(panel_pair, LSTMCell, _panel_pair)


@merged
def _forward(w, bias, x, features, steps, h, direction, c, gates, record, masked, mask, shards, s):
    ahead, units, far = goes_ahead(shards, w), w.shape[2] // 4, record and lie_far(gates, h, len(shards) - 1)
    n_rows = shards[-1]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, c, gates, units, record, masked, mask, n_rows, n_zero, ahead, s, far
    )
    forward_rows(LSTMCell(), net, steps, shards[s], shards[s + 1])


@SharedKernel
def lstm_forward(w, bias, x, features, steps, h, direction, c, gates, record, masked, mask, shards):
    """Twin of `fastrecur.kernels.reference.lstm_forward`, in panels.

    Parameters
    ----------
    w : array of shape (P, S * features + H, 4 W)
        Panels: see `fastrecur.kernels.cpu.panels`.
    bias : array of shape (P, 4 W)
    x : array of shape (N, S, stride)
        S segments of ``features`` numbers.
    h : array of shape (B + N, D, padded H)
        ``direction`` is read and written. Or (3 B, D, padded H), where that is less: see `fastrecur.kernels.steps`.
    c : array of shape (B + N, padded H) or, without ``record``, (B, padded H)
        Without ``record`` the initial states are replaced step by step: they end as the final states.
    gates : array of shape (P, N, 4 W) or, without ``record``, scratch: (len(shards) - 1, 1, TALL_4 * 4 W)
        or, where `goes_ahead`, (P, packed rows, 4 W)
    masked : array of the shape of ``h``
        Recurrent dropout: h times the mask, in ``direction``. Assigned, the initial states too. Without: ``h`` itself.
    mask : array of shape (B, padded H), or (0, padded H) without recurrent dropout
    shards : int64 array
        Bounds of the rows of the batch that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _forward(w, bias, x, features, steps, h, direction, c, gates, record, masked, mask, shards, s)


@merged
def _forward_together(w, bias, x, features, steps, h, direction, c, gates, record, meeting, n_shares):
    units, nothing, far = w.shape[2] // 4, gates[0, :0], record and lie_far(gates, h, n_shares)
    n_rows = h.shape[0] - x.shape[0]
    n_zero = zero_rows(h, direction, n_rows)
    net = forward_buffers(
        w, bias, x, features, h, direction, c, gates, units, record, h, nothing, n_rows, n_zero, True, 0, far
    )
    forward_team(LSTMCell(), net, steps, meeting)


@SharedKernel
def lstm_forward_together(w, bias, x, features, steps, h, direction, c, gates, record, meeting, shards):
    """`lstm_forward` by several threads together: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _forward_together(w, bias, x, features, steps, h, direction, c, gates, record, meeting, len(shards) - 1)


@kernel
def lstm_step(w, bias, x, features, h, c, scratch):
    """Twin of `fastrecur.kernels.reference.lstm_step`: one step of `lstm_forward` by one thread, the same bits.

    Parameters
    ----------
    w, bias, features
        As in `lstm_forward`.
    x : array of shape (B, S, stride)
    h : array of shape (2 B, 1, padded H)
        Rows 0..B are replaced, rows B..2 B are scratch.
    c : array of shape (B, padded H)
        Replaced.
    scratch : array of shape (1, 1, TALL * gates of a panel)
    """
    units, nothing = w.shape[2] // 4, scratch[0, :0]
    net = forward_buffers(w, bias, x, features, h, 0, c, scratch, units, False, h, nothing, x.shape[0], 0, False, 0)
    step_rows(LSTMCell(), net, x.shape[0])


def _cell_gradient(cell, net, z, now):
    """Gate gradients, over the gates at ``z``, and dc of the step before."""
    lanes = net.units
    i, f, g, o = load(z, 0), load(z, lanes), load(z, 2 * lanes), load(z, 3 * lanes)
    one = splat(i, 1.0)
    dh, tanh_c = load(net.dh, now.dh), tanh(load(net.c, now.c))
    dc = fma(dh * o, one - tanh_c * tanh_c, load(net.dc, now.dh))
    store(net.dc, now.dh, dc * f)
    store(z, 0, dc * g * i * (one - i))
    store(z, lanes, dc * load(net.c, now.c_prev) * f * (one - f))
    store(z, 2 * lanes, dc * i * (one - g * g))
    store(z, 3 * lanes, dh * tanh_c * o * (one - o))


implement(cell_gradient, LSTMCell, _cell_gradient)


@merged
def _backward(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, shards, s):
    units, far = gates.shape[2] // 4, lie_far(gates, h, len(shards) - 1)
    net = backward_buffers(w_hidden, h, direction, c, gates, dy, starts, apart, dh, dc, units, 0, False, dh, mask, far)
    backward_rows(LSTMCell(), net, steps, h.shape[0] - gates.shape[1], shards[s], shards[s + 1])


@SharedKernel
def lstm_backward(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, shards):
    """Twin of the recurrence of `fastrecur.kernels.reference.lstm_backward`.

    The products over all steps, dx and the weight gradients, follow in `fastrecur.kernels.cpu.products`.

    Parameters
    ----------
    w_hidden : array of shape (Q, P * 4 W, 2 W)
        W_hh, transposed: see `fastrecur.kernels.cpu.panels.pack_transposed`.
    h, direction, c, gates, mask, shards
        As `lstm_forward` left them with ``record``; ``gates`` ends as the gradients of the pre-activations.
    dy : array of shape (S, D, H or padded H), or (0, D, H) where nothing comes from above
    starts : int64 array of shape (B,), or (0,) where ``dy`` is packed
        Row of ``dy`` of the first time step of each sequence.
    apart : int
        Rows of ``dy`` from one time step of a sequence to its next; 0 where ``dy`` is packed.
    dh, dc : array of shape (B, padded H)
    """
    for s in prange(len(shards) - 1):
        _backward(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, mask, shards, s)


@merged
def _backward_together(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, meeting):
    units, nothing = gates.shape[2] // 4, dh[:0]
    net = backward_buffers(w_hidden, h, direction, c, gates, dy, starts, apart, dh, dc, units, 0, False, dh, nothing)
    backward_team(LSTMCell(), net, steps, h.shape[0] - gates.shape[1], meeting)


@SharedKernel
def lstm_backward_together(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, meeting, shards):
    """`lstm_backward` of one sequence by several threads: see `fastrecur.kernels.cpu.team`."""
    for _ in prange(len(shards) - 1):
        _backward_together(w_hidden, steps, h, direction, c, gates, dy, starts, apart, dh, dc, meeting)
