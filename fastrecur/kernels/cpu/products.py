"""The products that all cells share: W x and W h into the gates, W^T dz, and the weight gradients.

All sums run in one order, whatever the tile: bias, features, hidden units, k rising, one chain of fused
multiply-adds an output. A row's bits therefore depend on neither the tile it fell into nor the rows beside it.
"""

from typing import NamedTuple

from numba import prange
from numba.extending import overload

from fastrecur.kernels.compile import SharedKernel, inline, merged
from fastrecur.kernels.cpu.panels import unpack_panel
from fastrecur.kernels.cpu.simd import load, offset, pointer, prefetch, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_2, MIDDLE_3, MIDDLE_4, TALL_2, TALL_3, TALL_4, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import panel_dot, tall_rows, tile_dot, tile_load, tile_shape, tile_store, tile_zero

#: Packed rows in one block of the sum of the weight gradients, and less than twice as many where there are few: a
#: panel's gates of the block stay in the L1 cache.
SUM_BLOCK = 128

#: Packed rows that share one pass over the transposed weights in `input_gradient`.
ROW_BLOCK = 48

#: Bytes of gate gradients that no longer lie near when `input_gradient` comes to them: a level 2 cache and more.
FAR = 2**21


class Inputs(NamedTuple):
    """What a step reads from below: rows of ``segments`` pieces of ``features`` numbers, ``segment_stride`` apart.

    A layer above a bidirectional one reads two segments, one a direction, each padded on its own.
    """

    data: object
    row_stride: int
    segments: int
    segment_stride: int
    features: int


class Gates(NamedTuple):
    """Gate gradients that a product sums over: ``panels`` pieces of ``width`` numbers for each row.

    ``far``: whether they lie so far away that they are asked for a piece ahead.
    """

    data: object
    row_stride: int
    panels: int
    panel_stride: int
    width: int
    far: bool


@inline
def tile_features(acc, inputs, row, w, w_stride):
    """Add W_ih x for the rows from ``row`` on; ``w`` points to the panel's first row."""
    for s in range(inputs.segments):
        x = offset(inputs.data, row * inputs.row_stride + s * inputs.segment_stride)
        first = s * inputs.features * w_stride
        acc = tile_dot(acc, x, inputs.row_stride, 1, offset(w, first), w_stride, inputs.features)
    return acc


@inline
def panel_features(acc, inputs, row, w, w_panel, w_stride):
    """`tile_features` for a single row and several panels ``w_panel`` apart."""
    for s in range(inputs.segments):
        x = offset(inputs.data, row * inputs.row_stride + s * inputs.segment_stride)
        first = s * inputs.features * w_stride
        acc = panel_dot(acc, x, 1, offset(w, first), w_panel, w_stride, inputs.features)
    return acc


# --- W^T dz ----------------------------------------------------------------------------------------------------------


@inline
def _ask_ahead(rows, piece, gates):
    """Prefetch a piece: the rows of a tile are too short for the processor to see a pattern in them."""
    for r in range(rows):
        prefetch(piece, r * gates.row_stride, gates.width)


@inline
def _transposed_tiles(shape, r, rows, keep, out, out_stride, gates, w, w_stride):
    while r + len(shape) <= rows:
        target = offset(out, r * out_stride)
        acc = tile_load(shape, target, out_stride) if keep else tile_zero(shape, target)
        for p in range(gates.panels):
            piece = offset(gates.data, r * gates.row_stride + p * gates.panel_stride)
            if gates.far:
                _ask_ahead(len(shape), offset(piece, gates.panel_stride), gates)
            acc = tile_dot(
                acc, piece, gates.row_stride, 1, offset(w, p * gates.width * w_stride), w_stride, gates.width
            )
        tile_store(acc, target, out_stride)
        r += len(shape)
    return r


@inline
def _transposed_panels(tall, middle, one, rows, keep, out, out_stride, gates, w, n_panels, width):
    for q in range(n_panels):
        target = offset(out, q * width)
        panel = offset(w, q * gates.panels * gates.width * width)
        r = _transposed_tiles(tall, 0, tall_rows(rows, tall, middle), keep, target, out_stride, gates, panel, width)
        r = _transposed_tiles(middle, r, rows, keep, target, out_stride, gates, panel, width)
        _transposed_tiles(one, r, rows, keep, target, out_stride, gates, panel, width)


@inline
def _transposed_row(shape, q, keep, out, gates, w, n_panels, width):
    """One row of several panels of outputs at once, for independent sums; returns the first panel left over."""
    panel = gates.panels * gates.width * width
    while q + len(shape) <= n_panels:
        target = offset(out, q * width)
        acc = tile_load(shape, target, width) if keep else tile_zero(shape, target)
        for p in range(gates.panels):
            piece = offset(w, q * panel + p * gates.width * width)
            acc = panel_dot(acc, offset(gates.data, p * gates.panel_stride), 1, piece, panel, width, gates.width)
        tile_store(acc, target, width)
        q += len(shape)
    return q


@inline
def transposed_product(rows, keep, out, out_stride, gates, w, n_panels, pair):
    """out = W^T dz for ``rows`` rows (``keep``: out += W^T dz); ``w`` holds ``n_panels`` panels of ``pair`` outputs."""
    if rows == 1:
        q = _transposed_row(tile_shape(4, 2), 0, keep, out, gates, w, n_panels, pair)
        q = _transposed_row(tile_shape(2, 2), q, keep, out, gates, w, n_panels, pair)
        _transposed_row(tile_shape(1, 2), q, keep, out, gates, w, n_panels, pair)
        return
    tall, middle, one = tile_shape(TALL_2, 2), tile_shape(MIDDLE_2, 2), tile_shape(1, 2)
    _transposed_panels(tall, middle, one, rows, keep, out, out_stride, gates, w, n_panels, pair)


@merged
def _input_gradient_rows(gates, w, first, keep, dx, begin, end):
    panels, n_rows, width = gates.shape
    n_panels, n_sum, pair = w.shape
    stride, far = dx.shape[1], gates.size * gates.itemsize > FAR
    for r in range(begin, end, ROW_BLOCK):
        dz = Gates(offset(pointer(gates), r * width + first), width, panels, n_rows * width, n_sum // panels, far)
        out = offset(pointer(dx), r * stride)
        rows = min(ROW_BLOCK, end - r)
        if pair * w.itemsize == VECTOR_BYTES:  # few features: one vector holds them all
            tall, middle, one = tile_shape(TALL_2, 1), tile_shape(MIDDLE_2, 1), tile_shape(1, 1)
            _transposed_panels(tall, middle, one, rows, keep, out, stride, dz, pointer(w), n_panels, pair)
        else:
            transposed_product(rows, keep, out, stride, dz, pointer(w), n_panels, pair)


@SharedKernel
def input_gradient(gates, w, first, keep, dx, shards):
    """dx = W_ih^T dz for all packed rows at once.

    Parameters
    ----------
    gates : array of shape (P, N, V*W)
        Gradients of the pre-activations.
    w : array of shape (Q, P * width, 2 W) or, for W features and fewer, (1, P * width, W)
        Transposed weights of `fastrecur.kernels.cpu.panels.pack_transposed`.
    first : int
        Which numbers of a panel's V*W take part: ``first..first + width``.
    keep : bool
        Add to ``dx`` instead of assigning it (the second direction of a layer).
    dx : array of shape (N, Q * 2 W) or (N, W)
    shards : int64 array
        Bounds of the packed rows that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _input_gradient_rows(gates, w, first, keep, dx, shards[s], shards[s + 1])


# --- weight gradients ------------------------------------------------------------------------------------------------


@inline
def _gradient_tiles(shape, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    while k + len(shape) <= last:
        target = offset(out, k * out_stride)
        acc = tile_zero(shape, out) if fresh else tile_load(shape, target, out_stride)
        acc = tile_dot(acc, offset(a, k), 1, a_stride, gates, gates_stride, count)
        tile_store(acc, target, out_stride)
        k += len(shape)
    return k


@inline
def _gradient_product(tall, middle, one, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    """out[k] += sum over ``count`` rows n of a[n, k] gates[n], for k..last; with ``fresh``, to 0."""
    end = k + tall_rows(last - k, tall, middle)
    k = _gradient_tiles(tall, k, end, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)
    k = _gradient_tiles(middle, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)
    _gradient_tiles(one, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)


def _gradient_strip(vectors, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    """`_gradient_product` with the tiles that suit panels of ``len(vectors)`` vectors."""
    raise NotImplementedError


@overload(_gradient_strip, strict=False)
def _strip_of(vectors, *args):
    return {2: _strip_of_2, 3: _strip_of_3, 4: _strip_of_4}[vectors.count]


def _strip_of_2(vectors, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    tall, middle, one = tile_shape(TALL_2, 2), tile_shape(MIDDLE_2, 2), tile_shape(1, 2)
    _gradient_product(tall, middle, one, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)


def _strip_of_3(vectors, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    tall, middle, one = tile_shape(TALL_3, 3), tile_shape(MIDDLE_3, 3), tile_shape(1, 3)
    _gradient_product(tall, middle, one, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)


def _strip_of_4(vectors, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride):
    tall, middle, one = tile_shape(TALL_4, 4), tile_shape(MIDDLE_4, 4), tile_shape(1, 4)
    _gradient_product(tall, middle, one, k, last, a, a_stride, gates, gates_stride, count, fresh, out, out_stride)


@inline
def _bias_gradient(gates, stride, count, fresh, out, lanes):
    """out += sum of ``count`` rows of ``stride`` numbers; with ``fresh``, to 0."""
    zero = splat(out, 0.0)
    for v in range(0, stride, 2 * lanes):
        first, second = (zero, zero) if fresh else (load(out, v), load(out, v + lanes))
        for n in range(count):
            first = first + load(gates, n * stride + v)
            second = second + load(gates, n * stride + v + lanes)
        store(out, v, first)
        store(out, v + lanes, second)


@inline
def _previous_states(begin, count, run, before, h, stride, n_hidden, scratch):
    """Pointer to the previous states of the packed rows ``begin..begin + count``, and the run of the last of them.

    They are copied to ``scratch`` only where they do not lie together.
    """
    while before[run, 0] + before[run, 1] <= begin:
        run += 1
    source = offset(h, (before[run, 2] + begin - before[run, 0]) * stride)
    if before[run, 0] + before[run, 1] >= begin + count:
        return source, run
    for n in range(begin, begin + count):
        while before[run, 0] + before[run, 1] <= n:
            run += 1
        source = (before[run, 2] + n - before[run, 0]) * stride
        for u in range(n_hidden):
            scratch[(n - begin) * stride + u] = h[source + u]
    return scratch, run


@merged
def _weight_gradient_panel(
    vectors, k, last, x, row, dz, dz_stride, h_prev, h_stride, first, count, fresh, out, columns
):
    """Rows ``k..last`` of one panel of dW, for ``count`` packed rows from ``row`` on."""
    for s in range(x.segments):
        at = s * x.features
        a = offset(x.data, row * x.row_stride + s * x.segment_stride)
        target = offset(out, at * columns)
        low, high = max(k - at, 0), min(last - at, x.features)
        _gradient_strip(vectors, low, high, a, x.row_stride, dz, dz_stride, count, fresh, target, columns)
    at = x.segments * x.features
    dz, target, low = offset(dz, first), offset(out, at * columns), max(k - at, 0)
    _gradient_strip(vectors, low, last - at, h_prev, h_stride, dz, dz_stride, count, fresh, target, columns)


@merged
def _weight_gradient_rows(
    gates, x, h, h_stride, before, dw, dbias, vectors, hidden_first, scratch, maps, layer, begin, end
):
    """The rows ``begin..end`` of dW, counted through all panels; dbias with the first row of a panel."""
    n_rows, dz_stride = gates.shape[1:]
    n_inputs, columns = dw.shape[1:]
    n_hidden = n_inputs - x.segments * x.features
    block = -(-n_rows // max(1, n_rows // SUM_BLOCK))
    run = 0
    for n in range(0, n_rows, block):
        count = min(block, n_rows - n)
        h_prev, run = _previous_states(n, count, run, before, h, h_stride, n_hidden, scratch)
        row = begin
        while row < end:
            p, k = row // n_inputs, row % n_inputs
            last = min(n_inputs, k + end - row)
            dz, fresh = offset(pointer(gates), (p * n_rows + n) * dz_stride), n == 0
            if k == 0:
                bias = offset(pointer(dbias), p * dz_stride)
                _bias_gradient(dz, dz_stride, count, fresh, bias, columns // len(vectors))
            out = offset(pointer(dw), p * n_inputs * columns)
            _weight_gradient_panel(
                vectors, k, last, x, n, dz, dz_stride, h_prev, h_stride, hidden_first, count, fresh, out, columns
            )
            if n + count == n_rows:
                unpack_panel(dw, dbias, p, k, last, maps, layer)
            row += last - k


@merged
def _weight_gradient_shard(
    gates, x, features, h, direction, before, dw, dbias, vectors, hidden_first, scratch, maps, layer, shards, s
):
    inputs = Inputs(pointer(x), x.shape[1] * x.shape[2], x.shape[1], x.shape[2], features)
    states = offset(pointer(h), direction * h.shape[2])
    mine = offset(pointer(scratch), s * scratch.shape[1])
    h_stride = h.shape[1] * h.shape[2]
    _weight_gradient_rows(
        gates, inputs, states, h_stride, before, dw, dbias, vectors, hidden_first, mine, maps, layer, shards[s],
        shards[s + 1],
    )  # fmt: skip


@SharedKernel
def weight_gradient(
    gates, x, features, h, direction, before, dw, dbias, vectors, hidden_first, scratch, maps, layer, shards
):
    """dW and db of a layer, added to its gradients: one matrix product over all packed rows, shared out by rows of dW.

    No private copies and no reduction, so that the bits are the same for every number of threads.

    Parameters
    ----------
    gates : array of shape (P, N, G)
        Gradients of the pre-activations, G numbers a panel.
    x : array of shape (N, S, stride)
        What the layer read: S segments of ``features`` numbers.
    h : array of shape (B + N, D, stride)
        States, of which ``direction`` is used.
    before : int64 array of shape (R, 3)
        Where the previous states lie: `fastrecur.kernels.steps.state_segments`.
    dw : array of shape (P, S * features + H, vectors * W)
        Scratch: dW in the order of the panels. Rows of features belong to the gates' numbers from 0 on, rows of
        hidden units to those from ``hidden_first`` on.
    dbias : array of shape (P, G)
        Scratch.
    vectors : tuple of 2, 3 or 4 integers
        As many as a row of a panel has vectors; compiled for each number apart.
    scratch : array of shape (len(shards) - 1, 2 * SUM_BLOCK * D * stride)
    maps, layer : tuple of arrays
        As in `fastrecur.kernels.cpu.panels.unpack_panel`; ``layer`` is added to.
    shards : int64 array
        Bounds of the P * (S * features + H) rows of dW that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _weight_gradient_shard(
            gates, x, features, h, direction, before, dw, dbias, vectors, hidden_first, scratch, maps, layer, shards, s
        )
