"""The products that all cells share: W x and W h into the gates, and W^T dz.

All sums run in one order, whatever the tile: bias, features, hidden units, k rising, one chain of fused
multiply-adds an output. A row's bits therefore depend on neither the tile it fell into nor the rows beside it.
"""

from typing import NamedTuple

from numba import prange

from fastrecur.kernels.compile import SharedKernel, in_registers, inline, merged
from fastrecur.kernels.cpu.simd import offset, pointer, prefetch
from fastrecur.kernels.cpu.target import FAR_WEIGHTS, MIDDLE_2, TALL_2, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import (
    asking,
    asks,
    panel_dot,
    tall_rows,
    tile_dot,
    tile_dot_asking,
    tile_load,
    tile_shape,
    tile_store,
    tile_zero,
)

#: Packed rows that share one pass over the transposed weights in `input_gradient`.
ROW_BLOCK = 48

#: Bytes of gates, or of dW, that no longer lie near when they are read or written next, and are asked for ahead: a
#: level 2 cache and more.
FAR = 2**21

#: Parts of a piece of gates, before each of which a tile asks for its share of what it needs next; whole vectors are a
#: multiple of it. All at once is more than can be under way: with it the LSTM's dx took twice as long (H 64, Zen 5).
#: AVX2's pieces are half as long: parts of them gain little and cost the RNN.
ASKED_IN = 4 if VECTOR_BYTES == 64 else 1


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

    Where they lie far away, those ``ahead`` numbers from the ones that are read are asked for; 0: none.
    """

    data: object
    row_stride: int
    panels: int
    panel_stride: int
    width: int
    ahead: int


@in_registers
def tile_features(acc, inputs, row, w, w_stride):
    """Add W_ih x for the rows from ``row`` on; ``w`` points to the panel's first row."""
    for s in range(inputs.segments):
        x = offset(inputs.data, row * inputs.row_stride + s * inputs.segment_stride)
        first = s * inputs.features * w_stride
        acc = tile_dot(acc, x, inputs.row_stride, 1, offset(w, first), w_stride, inputs.features)
    return acc


@in_registers
def panel_features(acc, inputs, row, w, w_panel, w_stride):
    """`tile_features` for a single row and several panels ``w_panel`` apart."""
    for s in range(inputs.segments):
        x = offset(inputs.data, row * inputs.row_stride + s * inputs.segment_stride)
        first = s * inputs.features * w_stride
        acc = panel_dot(acc, x, 1, offset(w, first), w_panel, w_stride, inputs.features)
    return acc


@inline
def in_turn(k, count, turn):
    """The k-th of ``count`` pieces of weights, which every other ``turn`` reads from the last one to the first.

    Those that were read last are still near then: the product with a single row takes up to 24% less time.
    """
    return k if turn % 2 == 0 else count - 1 - k


# --- W^T dz ----------------------------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """Memory that is read next: each row asks for ``each_k`` bytes of it with each number it is multiplied by."""

    memory: object
    each_k: int


@inline
def _ask_ahead(first, last, piece, gates):
    """Prefetch rows of a piece: those of a tile are too short for the processor to see a pattern in them."""
    for r in range(first, last):
        prefetch(piece, r * gates.row_stride + gates.ahead, gates.width)


@in_registers
def _dot_asking_ahead(acc, piece, w, w_stride, gates):
    """`tile_dot` of a whole piece, in parts: before each, some rows of what is read later are asked for."""
    rows, count = len(acc), gates.width // ASKED_IN
    for part in range(ASKED_IN):
        _ask_ahead(rows * part // ASKED_IN, rows * (part + 1) // ASKED_IN, piece, gates)
        k = part * count
        acc = tile_dot(acc, offset(piece, k), gates.row_stride, 1, offset(w, k * w_stride), w_stride, count)
    return acc


@inline
def _transposed_tiles(shape, r, rows, keep, out, out_stride, gates, w, w_stride, ask):
    """Rows ``r..rows`` of a panel, as many whole tiles as fit; returns the first row left over."""
    while r + len(shape) <= rows:
        target = offset(out, r * out_stride)
        acc = tile_load(shape, target, out_stride) if keep else tile_zero(shape, target)
        for p in range(gates.panels):
            piece = offset(gates.data, r * gates.row_stride + p * gates.panel_stride)
            w_piece, count = offset(w, p * gates.width * w_stride), gates.width
            if gates.ahead > 0 and ASKED_IN == 1:
                _ask_ahead(0, len(shape), piece, gates)
            if asks(shape):
                first, asked_k = (r * gates.panels + p * len(shape)) * count * ask.each_k, len(shape) * ask.each_k
                acc = tile_dot_asking(
                    acc, piece, gates.row_stride, 1, w_piece, w_stride, count, ask.memory, first, asked_k
                )
            elif gates.ahead > 0 and ASKED_IN > 1:
                acc = _dot_asking_ahead(acc, piece, w_piece, w_stride, gates)
            else:
                acc = tile_dot(acc, piece, gates.row_stride, 1, w_piece, w_stride, count)
        tile_store(acc, target, out_stride)
        r += len(shape)
    return r


@inline
def _transposed_row(shape, begin, keep, out, gates, w, n_panels, width, turn):
    """One row of several panels of outputs at once, for independent sums; returns the first panel left over."""
    panel, count = gates.panels * gates.width * width, (n_panels - begin) // len(shape)
    for k in range(count):
        q = begin + len(shape) * in_turn(k, count, turn)
        target = offset(out, q * width)
        acc = tile_load(shape, target, width) if keep else tile_zero(shape, target)
        for p in range(gates.panels):
            piece = offset(w, q * panel + p * gates.width * width)
            acc = panel_dot(acc, offset(gates.data, p * gates.panel_stride), 1, piece, panel, width, gates.width)
        tile_store(acc, target, width)
    return begin + len(shape) * count


@inline
def _transposed_panels(tall, middle, one, rows, keep, out, out_stride, gates, w, n_panels, width):
    """`transposed_product` in tiles; rows that none takes together with others go through two panels at once."""
    of_panel, tall_end = gates.panels * gates.width * width, tall_rows(rows, tall, middle)
    # Where gates are asked for in parts, weights are not: both take dx a quarter longer.
    far = n_panels * gates.panels * gates.width * 2 * VECTOR_BYTES >= FAR_WEIGHTS
    far = far and not (gates.ahead > 0 and ASKED_IN > 1)
    each_k = 2 * VECTOR_BYTES // rows + 1 if far else 0
    for q in range(n_panels):
        to, panel, r = offset(out, q * width), offset(w, q * of_panel), 0
        ask = Ask(offset(w, of_panel * (q + 1 if q + 1 < n_panels else 0)), each_k)
        if far:
            r = _transposed_tiles(asking(tall), r, tall_end, keep, to, out_stride, gates, panel, width, ask)
        r = _transposed_tiles(tall, r, tall_end, keep, to, out_stride, gates, panel, width, ask)
        r = _transposed_tiles(middle, r, rows, keep, to, out_stride, gates, panel, width, ask)
        if q % 2 == 1:
            while r < rows:
                data, row = offset(gates.data, r * gates.row_stride), offset(out, r * out_stride)
                dz = Gates(data, gates.row_stride, gates.panels, gates.panel_stride, gates.width, 0)
                _transposed_row(tile_shape(2, 2), q - 1, keep, row, dz, w, q + 1, width, 0)
                r += 1
        elif q + 1 == n_panels:
            _transposed_tiles(one, r, rows, keep, to, out_stride, gates, panel, width, ask)


@inline
def transposed_product(rows, keep, out, out_stride, gates, w, n_panels, pair, turn=0):
    """out = W^T dz for ``rows`` rows (``keep``: out += W^T dz); ``w`` holds ``n_panels`` panels of ``pair`` outputs.

    A single row takes them `in_turn`.
    """
    if rows == 1:
        q = _transposed_row(tile_shape(4, 2), 0, keep, out, gates, w, n_panels, pair, turn)
        q = _transposed_row(tile_shape(2, 2), q, keep, out, gates, w, n_panels, pair, turn)
        _transposed_row(tile_shape(1, 2), q, keep, out, gates, w, n_panels, pair, turn)
        return
    tall, middle, one = tile_shape(TALL_2, 2), tile_shape(MIDDLE_2, 2), tile_shape(1, 2)
    _transposed_panels(tall, middle, one, rows, keep, out, out_stride, gates, w, n_panels, pair)


@merged
def _input_gradient_rows(gates, w, first, keep, dx, begin, end):
    panels, n_rows, width = gates.shape
    n_panels, n_sum, pair = w.shape
    stride, ahead = dx.shape[1], 0
    if gates.size * gates.itemsize > FAR:
        # With one panel of outputs a row's next piece is read before it can arrive: the next tile's rows are asked for.
        ahead = n_rows * width if n_panels > 1 else TALL_2 * width
    for r in range(begin, end, ROW_BLOCK):
        dz = Gates(offset(pointer(gates), r * width + first), width, panels, n_rows * width, n_sum // panels, ahead)
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
