"""Matrix products of our own on the GPU: x W of all steps, weight gradients, dx. The same bits at every run.

A block computes a square tile of the result from tiles of both factors in shared memory; where the result has few
tiles and the sum is long, several blocks share the sum, each with a part of it in scratch, and the parts are added up
in their order. There are no atomic additions anywhere.
"""

import math
from typing import NamedTuple

import numpy as np

from fastrecur.kernels.cuda.runtime import SIMULATED, Kernel, block_of, cuda, empty, n_multiprocessors, no_array
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
    """Constants of a compiled product: side of a tile, whether a factor is transposed, dtype's name."""

    tile: int
    transpose_a: bool
    transpose_b: bool
    dtype: str

    @property
    def real(self):
        """The dtype as NumPy's scalar type."""
        return np.dtype(self.dtype).type


def _threads(layout):
    return (layout.tile // MICRO) ** 2


@Kernel("r2 i i r2 i i1 b r2 b r2 i i r1 b i i i i b", _threads)
def product(layout):
    """C = A B, A^T B or A B^T: see `multiply`.

    No race: between the two barriers of a round the tiles are only read, after the second they are written anew, each
    number by one thread. Each number of ``c``, or of ``parts``, is written by one thread of one block.
    """
    tile, transpose_a, transpose_b, real = layout.tile, layout.transpose_a, layout.transpose_b, layout.real
    across, n_threads = tile // MICRO, _threads(layout)
    loads = tile * DEPTH // n_threads
    width, square = tile + 4, MICRO * MICRO

    def product(
        a, a_row, a_first, b, b_first, index, indexed, bias, biased, c, c_row, c_first, parts, in_parts, m, n, depth,
        share, add,
    ):  # fmt: skip
        a_tile = cuda.shared.array((DEPTH, width), real)
        b_tile = cuda.shared.array((DEPTH, width), real)
        acc = cuda.local.array(square, real)
        thread = cuda.threadIdx.x
        row = MICRO * (thread // across)
        column = MICRO * (thread % across)
        m_first = cuda.blockIdx.x * tile
        n_first = cuda.blockIdx.y * tile
        begin = cuda.blockIdx.z * share
        end = min(depth, begin + share)
        for i in range(square):
            acc[i] = real(0)
        for k_first in range(begin, end, DEPTH):
            for e in range(loads):
                i = thread + e * n_threads
                if transpose_a:
                    k = i // tile
                    v = i % tile
                else:
                    k = i % DEPTH
                    v = i // DEPTH
                value = real(0)
                if k_first + k < end and m_first + v < m:
                    if transpose_a:
                        value = a[k_first + k, a_first + m_first + v]
                    else:
                        value = a[a_row + m_first + v, a_first + k_first + k]
                a_tile[k, v] = value
                if transpose_b:
                    k = i % DEPTH
                    v = i // DEPTH
                else:
                    k = i // tile
                    v = i % tile
                value = real(0)
                if k_first + k < end and n_first + v < n:
                    if transpose_b:
                        value = b[n_first + v, b_first + k_first + k]
                    else:
                        line = index[k_first + k] if indexed else k_first + k
                        value = b[line, b_first + n_first + v]
                b_tile[k, v] = value
            cuda.syncthreads()
            for k in range(DEPTH):
                for p in range(MICRO):
                    for q in range(MICRO):
                        acc[p * MICRO + q] += a_tile[k, row + p] * b_tile[k, column + q]
            cuda.syncthreads()
        for p in range(MICRO):
            for q in range(MICRO):
                i = m_first + row + p
                j = n_first + column + q
                if i < m and j < n:
                    value = acc[p * MICRO + q]
                    if in_parts:
                        parts[(cuda.blockIdx.z * m + i) * n + j] = value
                    else:
                        if biased:
                            value += bias[0, j]
                        if add:
                            value += c[c_row + i, c_first + j]
                        c[c_row + i, c_first + j] = value

    return product


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
        Rows of ``b``.
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
    layout = ProductLayout(tile, transpose_a, transpose_b, dtype)
    product.launch(
        layout, (*blocks, n_parts), a, a_row, a_first, b, b_first, _none(index, 1, "int32"), index is not None,
        _none(bias, 2, dtype), bias is not None, c, c_row, c_first, _none(parts, 1, dtype), n_parts > 1, m, n, depth,
        share, add, stream=stream,
    )  # fmt: skip
    if n_parts > 1:
        _combine(parts, n_parts, c, c_first, m, n, add, stream)


def add_column_sums(a, out, n_rows, n_columns, parts, a_first=0, out_first=0, stream=0):
    """Launch ``out[0, out_first:] += a[:n_rows, a_first : a_first + n_columns].sum(axis=0)``; ``parts`` is scratch."""
    n_parts = max(1, min(64, parts.size // n_columns, n_rows // (4 * SUM_ROWS)))
    share = -(-n_rows // n_parts)
    n_parts = -(-n_rows // share)
    layout = ProductLayout(0, False, False, str(a.dtype))
    blocks = -(-n_columns // SUM_COLUMNS), n_parts
    sum_columns.launch(layout, blocks, a, a_first, parts, n_rows, n_columns, share, stream=stream)
    _combine(parts, n_parts, out, out_first, 1, n_columns, True, stream)


def weight_gradients(gates, first, count, x, dw_ih, dbias, parts, stream=0):
    """Launch ``dw_ih += dz^T x`` and ``dbias += dz.sum(axis=0)``, dz the columns of ``gates`` from ``first`` on."""
    n_packed, n_inputs = x.shape
    options = {"transpose_a": True, "a_first": first, "add": True, "parts": parts, "stream": stream}
    multiply(gates, x, dw_ih, count, n_inputs, n_packed, **options)
    add_column_sums(gates, dbias, n_packed, count, parts, first, 0, stream)


def recurrent_gradient(gates, first, count, h, direction, steps, mask, dw_hh, row, parts, stream=0):
    """Launch ``dw_hh[row : row + count] += dz^T h_prev``, h_prev the previous states (times the mask)."""
    n_packed, n_hidden = gates.shape[0], h.shape[2]
    out = dw_hh[row : row + count]
    options = {"transpose_a": True, "a_first": first, "add": True, "parts": parts, "stream": stream}
    if mask is None:
        states = h.reshape(h.shape[0], h.shape[1] * n_hidden)
        options |= {"b_first": direction * n_hidden, "index": steps.previous}
        multiply(gates, states, out, count, n_hidden, n_packed, **options)
        return
    before = empty((n_packed, n_hidden), h.dtype)
    layout = ProductLayout(0, False, False, str(h.dtype))
    blocks = -(-n_packed * n_hidden // _THREADS_OF_COMBINE)
    given = h, direction, steps.previous, steps.device, mask, before
    previous_states.launch(layout, blocks, *given, stream=stream)
    multiply(gates, before, out, count, n_hidden, n_packed, **options)


def _combine(parts, n_parts, c, c_first, m, n, add, stream):
    layout = ProductLayout(0, False, False, str(c.dtype))
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
