"""The weight gradients of all cells: dW = sum of dz [x, h]^T over all packed rows, and db.

One matrix product, shared out by rows of dW: no private copies and no reduction, so that the bits are the same for
every number of threads. It goes by blocks of packed rows, of which a panel's gates stay in the level 1 cache, while all
inputs pass by, a few at a time of all rows.
"""

import math
from typing import NamedTuple

from numba import prange
from numba.extending import overload

from fastrecur.kernels.compile import SharedKernel, inline, merged
from fastrecur.kernels.cpu.panels import unpack_panel
from fastrecur.kernels.cpu.products import FAR, Inputs
from fastrecur.kernels.cpu.recurrence import zero_rows
from fastrecur.kernels.cpu.simd import copy, load, offset, pointer, prefetch, prefetch_to_write, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_2, MIDDLE_3, MIDDLE_4, TALL_2, TALL_3, TALL_4, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import tall_rows, tile_dot, tile_load, tile_shape, tile_store, tile_zero

#: Packed rows in one block of the sum, and less than twice as many where there are few. In small blocks, if a panel's
#: gates and all inputs of one fit into so many bytes of the level 1 cache.
SUM_BLOCK, SMALL_BLOCK, NEAR = 128, 64, 40_000

#: Inputs that lie together in a copied block: whole tiles of any height.
STRIP = math.lcm(TALL_2, TALL_3, TALL_4)

#: Vectors of a row of dW from which on it pays to copy the inputs of a block. A tile reads a few of all rows, and where
#: these are as long as a power of two, they drive each other out of the cache. With AVX-512 it costs 14 to 17% (H 512,
#: Zen 5).
WORTH_A_COPY = 40 if VECTOR_BYTES < 64 else 2**62


@inline
def block_rows(n_packed, row_bytes=NEAR):
    """Packed rows of a block: all but the last have so many; ``row_bytes``: of a panel's gates and of the inputs."""
    rows = SMALL_BLOCK if SMALL_BLOCK * row_bytes <= NEAR else SUM_BLOCK
    return -(-n_packed // max(1, n_packed // rows))


@inline
def in_strips(n):
    """``n`` rounded up to whole strips."""
    return -(-n // STRIP) * STRIP


@inline
def worth_a_copy(dw, n_vectors):
    """Whether the inputs of each block are copied."""
    return len(dw) * n_vectors >= WORTH_A_COPY


def scratch_size(dw, n_vectors, n_features, n_packed, before):
    """Numbers that a thread needs for a block's inputs, of which ``n_features`` are features: see `weight_gradient`."""
    if len(before) == 1 and not worth_a_copy.py_func(dw, n_vectors):
        return 0
    n_inputs = in_strips.py_func(n_features) + in_strips.py_func(dw.shape[1] - n_features)
    return block_rows.py_func(n_packed) * n_inputs


# --- the inputs of a block -------------------------------------------------------------------------------------------


class Pieces(NamedTuple):
    """Inputs of a block's packed rows, ``width`` numbers a row and piece: strips of a copy, or the rows of a segment.

    Rows are ``row`` numbers apart, pieces ``apart``.
    """

    data: object
    row: int
    width: int
    apart: int
    count: int


@inline
def _copied(out, n_rows, n, width):
    """`Pieces` of ``n`` inputs, copied ``width`` at a time of all rows."""
    return Pieces(out, width, width, width * n_rows, -(-n // width))


@inline
def _copy_rows(source, row, n_rows, first, n_inputs, out, width, apart):
    """Copy inputs of some rows to pieces, as the inputs from ``first`` on."""
    k = 0
    while k < n_inputs:
        at = (first + k) % width
        n = min(width - at, n_inputs - k)
        target, piece = offset(out, (first + k) // width * apart + at), offset(source, k)
        for r in range(n_rows):
            if n == STRIP:  # a constant: no call
                copy(offset(target, r * width), offset(piece, r * row), STRIP)
            else:
                copy(offset(target, r * width), offset(piece, r * row), n)
        k += n


@merged
def _features(x, begin, count, scratch, copies):
    """`Pieces` of the features of the packed rows ``begin..begin + count``."""
    data, n = offset(x.data, begin * x.row_stride), x.segments * x.features
    if not copies:
        return Pieces(data, x.row_stride, x.features, x.segment_stride, x.segments)
    for s in range(x.segments):
        source = offset(data, s * x.segment_stride)
        _copy_rows(source, x.row_stride, count, s * x.features, x.features, scratch, STRIP, STRIP * count)
    return _copied(scratch, count, n, STRIP)


@merged
def _states(h, row, before, run, begin, count, n_hidden, scratch, copies):
    """`Pieces` of the previous states of the same rows; ``run`` is the line of ``before`` for the first of them.

    Rows that do not lie together are copied whole where strips are not asked for.
    """
    if not copies and before[run, 0] + before[run, 1] >= begin + count:
        return Pieces(offset(h, (before[run, 2] + begin - before[run, 0]) * row), row, n_hidden, 0, 1)
    width, n = STRIP if copies else n_hidden, begin
    while n < begin + count:
        run = _run_of(before, run, n)
        rows = min(before[run, 0] + before[run, 1], begin + count) - n
        source = offset(h, (before[run, 2] + n - before[run, 0]) * row)
        _copy_rows(source, row, rows, 0, n_hidden, offset(scratch, (n - begin) * width), width, width * count)
        n += rows
    return _copied(scratch, count, n_hidden, width)


@inline
def _run_of(before, run, n):
    """The line of ``before`` for packed row ``n``, from ``run`` on."""
    while before[run, 0] + before[run, 1] <= n:
        run += 1
    return run


# --- the product -----------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Gate gradients of one panel and ``count`` packed rows, ``row`` numbers apart.

    ``fresh``: dW begins with them. ``far``: dW is asked for a tile ahead. With each row of dW ``ask`` numbers of the
    gates that are read next are asked for.
    """

    gates: object
    row: int
    count: int
    fresh: bool
    far: bool
    ask: int


@inline
def _tiles(shape, k, last, a, a_row, block, out, out_row, asked):
    while k + len(shape) <= last:
        target = offset(out, k * out_row)
        prefetch(asked, k * block.ask, len(shape) * block.ask)
        if block.far:
            prefetch_to_write(target, len(shape) * out_row, len(shape) * out_row)
        acc = tile_zero(shape, out) if block.fresh else tile_load(shape, target, out_row)
        acc = tile_dot(acc, offset(a, k), 1, a_row, block.gates, block.row, block.count)
        tile_store(acc, target, out_row)
        k += len(shape)
    return k


@inline
def _product(tall, middle, one, k, last, a, a_row, block, out, out_row, asked):
    """out[k] += sum over the rows n of a block of a[n, k] gates[n], for k..last; where it is fresh, to 0."""
    end = k + tall_rows(last - k, tall, middle)
    k = _tiles(tall, k, end, a, a_row, block, out, out_row, asked)
    k = _tiles(middle, k, last, a, a_row, block, out, out_row, asked)
    _tiles(one, k, last, a, a_row, block, out, out_row, asked)


def _strip(vectors, k, last, a, a_row, block, out, out_row, asked):
    """`_product` with the tiles that suit panels of ``len(vectors)`` vectors."""
    raise NotImplementedError


@overload(_strip, strict=False)
def _strip_of(vectors, *args):
    return {2: _strip_of_2, 3: _strip_of_3, 4: _strip_of_4}[vectors.count]


def _strip_of_2(vectors, k, last, a, a_row, block, out, out_row, asked):
    tall, middle, one = tile_shape(TALL_2, 2), tile_shape(MIDDLE_2, 2), tile_shape(1, 2)
    _product(tall, middle, one, k, last, a, a_row, block, out, out_row, asked)


def _strip_of_3(vectors, k, last, a, a_row, block, out, out_row, asked):
    tall, middle, one = tile_shape(TALL_3, 3), tile_shape(MIDDLE_3, 3), tile_shape(1, 3)
    _product(tall, middle, one, k, last, a, a_row, block, out, out_row, asked)


def _strip_of_4(vectors, k, last, a, a_row, block, out, out_row, asked):
    tall, middle, one = tile_shape(TALL_4, 4), tile_shape(MIDDLE_4, 4), tile_shape(1, 4)
    _product(tall, middle, one, k, last, a, a_row, block, out, out_row, asked)


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


@merged
def _pieces(vectors, k, last, inputs, block, out, columns, asked):
    """Rows ``k..last`` of a panel's part of dW, for the packed rows of a block."""
    for piece in range(inputs.count):
        at = piece * inputs.width
        low, high, a = max(k - at, 0), min(last - at, inputs.width), offset(inputs.data, piece * inputs.apart)
        to, asked_there = offset(out, at * columns), offset(asked, at * block.ask)
        _strip(vectors, low, high, a, inputs.row, block, to, columns, asked_there)


@merged
def _rows(gates, x, h, h_row, n_zero, before, dw, dbias, vectors, first_hidden, scratch, maps, layer, begin, end):
    """The rows ``begin..end`` of dW, counted through all panels; dbias with the first row of a panel.

    The previous states of the first ``n_zero`` packed rows are zero.
    """
    n_rows, gates_row = gates.shape[1:]
    n_inputs, columns = dw.shape[1:]
    n_features, size, run = x.segments * x.features, block_rows(n_rows, (n_inputs + gates_row) * gates.itemsize), 0
    first_gates = offset(pointer(gates), begin // n_inputs * n_rows * gates_row)
    copies, far = worth_a_copy(dw, len(vectors)), dw.size * dw.itemsize >= FAR
    gates_far = gates.size * gates.itemsize > FAR
    for n in range(0, n_rows, size):
        count = min(size, n_rows - n)
        zeros = min(max(n_zero - n, 0), count)
        run = _run_of(before, run, min(n + zeros, n_rows - 1))
        ask = -(-count * gates_row // n_inputs) if gates_far else 0
        features = _features(x, n, count, scratch, copies)
        behind = offset(scratch, in_strips(n_features) * count)
        states = _states(h, h_row, before, run, n + zeros, count - zeros, n_inputs - n_features, behind, copies)
        row = begin
        while row < end:
            p, k = row // n_inputs, row % n_inputs
            last = min(n_inputs, k + end - row)
            dz, fresh = offset(pointer(gates), (p * n_rows + n) * gates_row), n == 0
            if k == 0:
                bias = offset(pointer(dbias), p * gates_row)
                _bias_gradient(dz, gates_row, count, fresh, bias, columns // len(vectors))
            asked = offset(dz, n_rows * gates_row)  # of the next panel
            if row + last - k == end:  # of the next block
                asked = offset(first_gates, (n + count) * gates_row)
            out = offset(pointer(dw), p * n_inputs * columns)
            block = Block(dz, gates_row, count, fresh, far, ask)
            _pieces(vectors, k, min(last, n_features), features, block, out, columns, asked)
            block = Block(offset(dz, zeros * gates_row + first_hidden), gates_row, count - zeros, fresh, far, ask)
            out, asked = offset(out, n_features * columns), offset(asked, n_features * ask)
            _pieces(vectors, k - n_features, last - n_features, states, block, out, columns, asked)
            if n + count == n_rows:
                unpack_panel(dw, dbias, p, k, last, maps, layer)
            row += last - k


@merged
def _shard(gates, x, features, h, direction, before, dw, dbias, vectors, first_hidden, scratch, maps, layer, shards, s):
    inputs = Inputs(pointer(x), x.shape[1] * x.shape[2], x.shape[1], x.shape[2], features)
    states, h_row = offset(pointer(h), direction * h.shape[2]), h.shape[1] * h.shape[2]
    mine, begin, end, n_zero = offset(pointer(scratch), s * scratch.shape[1]), shards[s], shards[s + 1], 0
    if before[0, 2] == 0:  # the first packed rows begin with the initial states
        n_zero = min(zero_rows(h, direction, h.shape[0] - gates.shape[1]), before[0, 1])
    _rows(gates, inputs, states, h_row, n_zero, before, dw, dbias, vectors, first_hidden, mine, maps, layer, begin, end)


@SharedKernel
def weight_gradient(
    gates, x, features, h, direction, before, dw, dbias, vectors, first_hidden, scratch, maps, layer, shards
):
    """dW and db of a layer, added to its gradients.

    Parameters
    ----------
    gates : array of shape (P, N, G)
        Gradients of the pre-activations, G numbers a panel.
    x : array of shape (N, S, stride)
        What the layer read: S segments of ``features`` numbers.
    h : array of shape (B + N, D, stride)
        States, of which ``direction`` is used. Of the rows 0..B, if they are all zero, nothing is added.
    before : int64 array of shape (R, 3)
        Where the previous states lie: `fastrecur.kernels.steps.state_segments`.
    dw : array of shape (P, S * features + H, vectors * W)
        Scratch: dW in the order of the panels. Rows of features belong to the gates' numbers from 0 on, rows of
        hidden units to those from ``first_hidden`` on.
    dbias : array of shape (P, G)
        Scratch.
    vectors : tuple of 2, 3 or 4 integers
        As many as a row of a panel has vectors; compiled for each number apart.
    scratch : array of shape (len(shards) - 1, `scratch_size`)
    maps, layer : tuple of arrays
        As in `fastrecur.kernels.cpu.panels.unpack_panel`; ``layer`` is added to.
    shards : int64 array
        Bounds of the P * (S * features + H) rows of dW that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _shard(
            gates, x, features, h, direction, before, dw, dbias, vectors, first_hidden, scratch, maps, layer, shards, s
        )
