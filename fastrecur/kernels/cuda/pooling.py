"""What a head reads of the states of a sequence, on the GPU: the twins of `fastrecur.kernels.cpu.pooling`.

States are (B + N, W), W = D * padded H. A thread owns one unit of one sequence and walks its time steps in their order,
so that the bits do not depend on how a sequence was cut in pieces. The units are side by side in memory, and so are the
threads that read them.
"""

import numpy as np

from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda

_THREADS = block_of(128)


def _threads(layout):
    return _THREADS


@Kernel("r2 i i2 i i1 d2 r2", _threads)
def _mean(layout):
    """See `mean`. No race: a thread reads and writes the sum and the mean of its unit; states are only read."""
    real = layout.real

    def mean(states, first, steps, begin, lengths, sums, pooled):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = states.shape[1]
        if i < steps[0, 1] * width:
            b = i // width
            u = i % width
            total = sums[b, u] if begin > 0 else np.float64(0)
            for t in range(steps.shape[0]):
                if b < steps[t, 1]:
                    total += np.float64(states[first + steps[t, 0] + b, u])
            sums[b, u] = total
            pooled[b, u] = real(total / lengths[b])

    return mean


def mean(states, first, steps, begin, lengths, sums, pooled):
    """Launch the sums of the states of a piece, and the means so far.

    Parameters
    ----------
    states : device array of shape (first + N, W)
    first : int
    steps : int32 device array of shape (T, 4)
        A forward table.
    begin : int
        Time step at which the piece begins.
    lengths : int32 device array of shape (B,)
        Of the whole sequences.
    sums : float64 device array of shape (B, W)
        Those of the pieces before; assigned by the first piece.
    pooled : device array of shape (B, W)
        Assigned; right after the last piece of a sequence.
    """
    _launch(_mean, sums, states, first, steps, begin, lengths, sums, pooled)


@Kernel("r2 i i2 i r2 i2", _threads)
def _largest(layout):
    """See `largest`. No race: a thread reads and writes the largest value of its unit and its step, no other's."""

    def largest(states, first, steps, begin, pooled, step):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = states.shape[1]
        if i < steps[0, 1] * width:
            b = i // width
            u = i % width
            value = pooled[b, u]
            when = step[b, u]
            for t in range(steps.shape[0]):
                if b < steps[t, 1]:
                    h = states[first + steps[t, 0] + b, u]
                    if begin + t == 0 or h > value:
                        value = h
                        when = begin + t
            pooled[b, u] = value
            step[b, u] = when

    return largest


def largest(states, first, steps, begin, pooled, step):
    """Launch the twin of `fastrecur.kernels.cpu.pooling.raise_largest`; ``step`` (B, W) is int32."""
    _launch(_largest, pooled, states, first, steps, begin, pooled, step)


@Kernel("r2 i1 i2 r2", _threads)
def _spread_mean(layout):
    """See `spread_mean`. No race: a thread writes ``dy`` of its unit at all steps."""
    real = layout.real

    def spread_mean(dpooled, lengths, steps, dy):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = dy.shape[1]
        if i < steps[0, 1] * width:
            b = i // width
            u = i % width
            value = dpooled[b, u] * (real(1) / real(lengths[b]))
            for t in range(steps.shape[0]):
                if b < steps[t, 1]:
                    dy[steps[t, 0] + b, u] = value

    return spread_mean


def spread_mean(dpooled, lengths, steps, dy):
    """Launch the twin of `fastrecur.kernels.cpu.pooling.spread_mean`, ``dy`` (N, W)."""
    _launch(_spread_mean, dpooled, dpooled, lengths, steps, dy)


@Kernel("r2 i2 i2 i r2", _threads)
def _spread_largest(layout):
    """See `spread_largest`. No race: a thread writes ``dy`` of its unit at all steps."""
    zero = layout.real(0)

    def spread_largest(dpooled, step, steps, begin, dy):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = dy.shape[1]
        if i < steps[0, 1] * width:
            b = i // width
            u = i % width
            value = dpooled[b, u]
            when = step[b, u] - begin
            for t in range(steps.shape[0]):
                if b < steps[t, 1]:
                    dy[steps[t, 0] + b, u] = value if t == when else zero

    return spread_largest


def spread_largest(dpooled, step, steps, begin, dy):
    """Launch the twin of `fastrecur.kernels.cpu.pooling.spread_largest`, ``dy`` (N, W)."""
    _launch(_spread_largest, dpooled, dpooled, step, steps, begin, dy)


def _launch(kernel, pooled, *given):
    blocks = -(-pooled.shape[0] * pooled.shape[1] // _THREADS)
    kernel.launch(Layout(0, 0, str(given[0].dtype)), blocks, *given)
