"""Matrix products of our own on the GPU: x W of all steps, weight gradients, dx. The same bits at every run.

A block computes a square tile of the result from tiles of both factors in shared memory; where the result has few
tiles and the sum is long, several blocks share the sum, each with a part of it in scratch, and the parts are added up
in their order. There are no atomic additions anywhere.
"""

import math
from typing import NamedTuple

import numpy as np

from fastrecur.kernels.cuda.runtime import (
    SIMULATED,
    Kernel,
    block_of,
    cuda,
    inline,
    n_multiprocessors,
    no_array,
    unsigned,
)
from fastrecur.kernels.cuda.steps import line_of

#: Numbers of the sum that lie in shared memory at a time.
DEPTH = 16

#: Side of the square that a thread computes, in registers.
MICRO = 4

#: Shortest sum for which it is worth a block of its own.
LEAST_SHARE = 256

#: Columns and rows of a block that adds up columns.
SUM_COLUMNS, SUM_ROWS = 32, 8

_THREADS_OF_COMBINE = block_of(128)


class ProductLayout(NamedTuple):
    """Constants of a compiled product: a tile's side, which factor is transposed, rows of b by index, dtype's name."""

    tile: int
    transpose_a: bool
    transpose_b: bool
    indexed: bool
    dtype: str

    @property
    def real(self):
        """The dtype as NumPy's scalar type."""
        return np.dtype(self.dtype).type


def _threads(layout):
    return (layout.tile // MICRO) ** 2


@Kernel("r2 i i r2 i i1 r2 b r2 i i i i i i i b", _threads)
def product(layout):
    """C = A B, A^T B or A B^T: see `multiply`.

    No race: between the two barriers of a round the tiles are only read, after the second they are written anew, each
    number by one thread. Each number of ``c`` is written by one thread of one block: blocks that share a sum, along z,
    write ``m_of_part`` rows apart.
    """
    tile, real = layout.tile, layout.real
    across, width = tile // MICRO, tile + 4
    load_a, load_b = _loads(layout)
    clear, add, store = _rows(layout)

    def product(
        a, a_row, a_first, b, b_first, index, bias, biased, c, c_row, c_first, m, n, depth, share, m_of_part, added,
    ):  # fmt: skip
        a_tile = cuda.shared.array((DEPTH, width), real)
        b_tile = cuda.shared.array((DEPTH, width), real)
        row0 = cuda.local.array(MICRO, real)
        row1 = cuda.local.array(MICRO, real)
        row2 = cuda.local.array(MICRO, real)
        row3 = cuda.local.array(MICRO, real)
        thread = unsigned(cuda.threadIdx.x)
        row = unsigned(MICRO) * (thread // unsigned(across))
        column = unsigned(MICRO) * (thread % unsigned(across))
        m_first = unsigned(cuda.blockIdx.x) * unsigned(tile)
        n_first = unsigned(cuda.blockIdx.y) * unsigned(tile)
        m_left = unsigned(m) - m_first
        n_left = unsigned(n) - n_first
        begin = cuda.blockIdx.z * share
        end = min(depth, begin + share)
        clear(row0)
        clear(row1)
        clear(row2)
        clear(row3)
        for k_first in range(begin, end, DEPTH):
            k_left = unsigned(end - k_first)
            load_a(a_tile, a, unsigned(a_row) + m_first, unsigned(a_first), m_left, unsigned(k_first), k_left, thread)
            load_b(b_tile, b, n_first, unsigned(b_first), n_left, unsigned(k_first), k_left, thread, index)
            cuda.syncthreads()
            for four in range(0, DEPTH, 4):  # no compiler has to be asked to unroll them
                k = unsigned(four)
                add(row0, row1, row2, row3, a_tile, b_tile, k, row, column)
                add(row0, row1, row2, row3, a_tile, b_tile, k + unsigned(1), row, column)
                add(row0, row1, row2, row3, a_tile, b_tile, k + unsigned(2), row, column)
                add(row0, row1, row2, row3, a_tile, b_tile, k + unsigned(3), row, column)
            cuda.syncthreads()
        m_first += unsigned(c_row + cuda.blockIdx.z * m_of_part)
        c_first = unsigned(c_first) + n_first
        store(row0, row, column, m_left, n_left, c, m_first, c_first, bias, n_first, biased, added)
        store(row1, row + unsigned(1), column, m_left, n_left, c, m_first, c_first, bias, n_first, biased, added)
        store(row2, row + unsigned(2), column, m_left, n_left, c, m_first, c_first, bias, n_first, biased, added)
        store(row3, row + unsigned(3), column, m_left, n_left, c, m_first, c_first, bias, n_first, biased, added)

    return product


def _rows(layout):
    """(clear, add, store): what a thread does with the four rows of its square, each in an array of registers.

    Loops over the four numbers of one array are unrolled by every compiler; over a square of them by few, and an array
    that is indexed by a loop falls to local memory.
    """
    real = layout.real

    @inline
    def clear(values):
        for q in range(MICRO):
            values[q] = real(0)

    @inline
    def add_row(values, factor, b_tile, k, column):
        for q in range(MICRO):
            values[q] += factor * b_tile[k, column + unsigned(q)]

    @inline
    def add(row0, row1, row2, row3, a_tile, b_tile, k, row, column):
        add_row(row0, a_tile[k, row], b_tile, k, column)
        add_row(row1, a_tile[k, row + unsigned(1)], b_tile, k, column)
        add_row(row2, a_tile[k, row + unsigned(2)], b_tile, k, column)
        add_row(row3, a_tile[k, row + unsigned(3)], b_tile, k, column)

    @inline
    def store(values, i, column, m_left, n_left, c, m_first, c_first, bias, n_first, biased, added):
        if i < m_left:
            for q in range(MICRO):
                j = column + unsigned(q)
                if j < n_left:
                    value = values[q]
                    if biased:
                        value += bias[0, n_first + j]
                    if added:
                        value += c[m_first + i, c_first + j]
                    c[m_first + i, c_first + j] = value

    return clear, add, store


def _loads(layout):
    """(load_a, load_b): tiles of the factors from ``row`` (or column, of a transposed one) and ``k`` on, zero beyond.

    Threads side by side read numbers side by side: each keeps its place in a line, and takes every so many lines.
    """
    tile, transpose_a, transpose_b, real = layout.tile, layout.transpose_a, layout.transpose_b, layout.real
    n_threads, indexed = _threads(layout), layout.indexed
    n_loads, zero = tile * DEPTH // n_threads, real(0)
    width_a, width_b = (tile if transpose_a else DEPTH), (DEPTH if transpose_b else tile)

    @inline
    def load_a(out, a, row, first, rows, k, ks, thread):
        place = thread % unsigned(width_a)
        for e in range(n_loads):
            line = thread // unsigned(width_a) + unsigned(e * (n_threads // width_a))
            if transpose_a:
                out[line, place] = a[k + line, first + row + place] if line < ks and place < rows else zero
            else:
                out[place, line] = a[row + line, first + k + place] if place < ks and line < rows else zero

    @inline
    def load_b(out, b, column, first, columns, k, ks, thread, index):
        place = thread % unsigned(width_b)
        for e in range(n_loads):
            line = thread // unsigned(width_b) + unsigned(e * (n_threads // width_b))
            if transpose_b:
                out[place, line] = b[column + line, first + k + place] if place < ks and line < columns else zero
            elif line < ks and place < columns:
                source = unsigned(index[k + line]) if indexed else k + line
                out[line, place] = b[source, first + column + place]
            else:
                out[line, place] = zero

    return load_a, load_b


@Kernel("r2 i r1 i i i", lambda layout: SUM_COLUMNS * SUM_ROWS)
def sum_columns(layout):
    """Sums of the columns of a matrix over shares of its rows, as parts for `combine`.

    No race: each thread writes its own number of ``sums``; behind the barrier they are only read. Each part is written
    by one thread.
    """
    real = layout.real

    def sum_columns(a, a_first, parts, n_rows, n_columns, share):
        sums = cuda.shared.array((SUM_ROWS, SUM_COLUMNS), real)
        x = cuda.threadIdx.x % SUM_COLUMNS
        y = cuda.threadIdx.x // SUM_COLUMNS
        column = cuda.blockIdx.x * SUM_COLUMNS + x
        total = real(0)
        begin = cuda.blockIdx.y * share
        if column < n_columns:
            for i in range(begin + y, min(n_rows, begin + share), SUM_ROWS):
                total += a[i, a_first + column]
        sums[y, x] = total
        cuda.syncthreads()
        if y == 0 and column < n_columns:
            for i in range(1, SUM_ROWS):
                total += sums[i, x]
            parts[cuda.blockIdx.y * n_columns + column] = total

    return sum_columns


@Kernel("r1 i r2 i i i b", lambda layout: _THREADS_OF_COMBINE)
def combine(layout):
    """Add up the parts of each number, in their order. No race: each number is written by one thread."""
    real = layout.real

    def combine(parts, n_parts, c, c_first, m, n, add):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < m * n:
            total = real(0)
            for p in range(n_parts):
                total += parts[p * m * n + i]
            if add:
                total += c[i // n, c_first + i % n]
            c[i // n, c_first + i % n] = total

    return combine


@Kernel("r3 i i1 i2 r2 r2", lambda layout: _THREADS_OF_COMBINE)
def previous_states(layout):
    """Previous state of each packed row times its mask. No race: each number is written by one thread."""

    def previous_states(h, direction, previous, steps, mask, out):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = out.shape[1]
        if i < out.shape[0] * n_hidden:
            n = i // n_hidden
            u = i % n_hidden
            b = n - steps[line_of(steps, n), 0]
            out[n, u] = h[previous[n], direction, u] * mask[b, u]

    return previous_states


def multiply(
    a, b, c, m, n, depth, transpose_a=False, transpose_b=False, a_row=0, a_first=0, b_first=0, c_row=0, c_first=0,
    bias=None, index=None, add=False, parts=None, stream=0,
):  # fmt: skip
    """Launch C = A B (+ bias) (+ C), on columns of the matrices from ``a_first``, ``b_first``, ``c_first`` on.

    With ``a_row`` and ``c_row`` on rows from there on too (of ``a`` as it is, not transposed).

    Parameters
    ----------
    a : device array, (m, depth) at least, or (depth, m) with ``transpose_a``
    b : device array, (depth, n) at least, or (n, depth) with ``transpose_b``
    c : device array, (m, n) at least
    bias : device array of shape (1, n), optional
    index : int32 device array of shape (depth,), optional
        Rows of ``b``, as it is, not transposed.
    add : bool
        Add to ``c`` what it holds.
    parts : device array of one axis, optional
        Scratch: with room for several results, several blocks may share a sum.
    """
    dtype = str(a.dtype)
    tile = _tile(m, n)
    blocks = -(-m // tile), -(-n // tile)  # rows first: a grid has 2^31 - 1 blocks along x, but 65,535 along y
    n_parts = 1 if parts is None or bias is not None or c_row else _n_parts(blocks, m * n, depth, parts.size)
    share = -(-depth // (n_parts * DEPTH)) * DEPTH
    n_parts = -(-depth // share)
    out, place, apart = c, (c_row, c_first), 0
    if n_parts > 1:
        out, place, apart = parts[: n_parts * m * n].reshape(n_parts * m, n), (0, 0), m
    product.launch(
        ProductLayout(tile, transpose_a, transpose_b, index is not None, dtype), (*blocks, n_parts), a, a_row, a_first,
        b, b_first, _none(index, 1, "int32"), _none(bias, 2, dtype), bias is not None, out, *place, m, n, depth, share,
        apart, add and n_parts == 1, stream=stream,
    )  # fmt: skip
    if n_parts > 1:
        _combine(parts, n_parts, c, c_first, m, n, add, stream)


def add_column_sums(a, out, n_rows, n_columns, parts, a_first=0, out_first=0, stream=0):
    """Launch ``out[0, out_first:] += a[:n_rows, a_first : a_first + n_columns].sum(axis=0)``; ``parts`` is scratch."""
    n_parts = max(1, min(64, parts.size // n_columns, n_rows // (4 * SUM_ROWS)))
    share = -(-n_rows // n_parts)
    n_parts = -(-n_rows // share)
    layout = ProductLayout(0, False, False, False, str(a.dtype))
    blocks = -(-n_columns // SUM_COLUMNS), n_parts
    sum_columns.launch(layout, blocks, a, a_first, parts, n_rows, n_columns, share, stream=stream)
    _combine(parts, n_parts, out, out_first, 1, n_columns, True, stream)


def weight_gradients(gates, first, count, x, dw_ih, dbias, parts, stream=0):
    """Launch ``dw_ih += dz^T x`` and ``dbias += dz.sum(axis=0)``, dz the columns of ``gates`` from ``first`` on."""
    n_packed, n_inputs = x.shape
    options = {"transpose_a": True, "a_first": first, "add": True, "parts": parts, "stream": stream}
    multiply(gates, x, dw_ih, count, n_inputs, n_packed, **options)
    add_column_sums(gates, dbias, n_packed, count, parts, first, 0, stream)


def states_before(h, direction, steps, mask, scratch, stream=0):
    """What the recurrent product read at each packed row, for `recurrent_gradient`: a matrix, a column, an index.

    With a mask it is computed, into ``scratch``; without, it is the states themselves, their rows by index.
    """
    n_hidden, n_packed = h.shape[2], steps.previous.shape[0]
    if mask is None:
        return h.reshape(h.shape[0], h.shape[1] * n_hidden), direction * n_hidden, steps.previous
    before = scratch[: n_packed * n_hidden].reshape(n_packed, n_hidden)
    layout = ProductLayout(0, False, False, False, str(h.dtype))
    blocks = -(-n_packed * n_hidden // _THREADS_OF_COMBINE)
    given = h, direction, steps.previous, steps.device, mask, before
    previous_states.launch(layout, blocks, *given, stream=stream)
    return before, 0, None


def recurrent_gradient(gates, first, count, before, dw_hh, row, parts, stream=0):
    """Launch ``dw_hh[row : row + count] += dz^T h_prev``, dz the columns of ``gates`` from ``first`` on.

    ``before`` is what `states_before` gave.
    """
    states, b_first, index = before
    options = {"transpose_a": True, "a_first": first, "b_first": b_first, "index": index, "add": True, "parts": parts}
    out = dw_hh[row : row + count]
    multiply(gates, states, out, count, out.shape[1], gates.shape[0], **options, stream=stream)


def _combine(parts, n_parts, c, c_first, m, n, add, stream):
    layout = ProductLayout(0, False, False, False, str(c.dtype))
    blocks = -(-m * n // _THREADS_OF_COMBINE)
    combine.launch(layout, blocks, parts, n_parts, c, c_first, m, n, add, stream=stream)


def _tile(m, n):
    """Side of the tiles: the large ones move half the bytes, the small ones occupy more multiprocessors."""
    if SIMULATED:
        return 16
    return 64 if -(-m // 64) * -(-n // 64) >= 2 * n_multiprocessors() else 32


def _n_parts(blocks, size, depth, room):
    wanted = -(-2 * n_multiprocessors() // math.prod(blocks))
    return max(1, min(wanted, depth // LEAST_SHARE if not SIMULATED else depth // DEPTH, room // size))


def _none(array, ndim, dtype):
    return no_array(ndim, dtype) if array is None else array
