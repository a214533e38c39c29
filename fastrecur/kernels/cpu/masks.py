"""Dropout's masks: which numbers of an array become 0, while the others are divided by the share that stays.

A number of a mask depends on a seed, a stream, a time step and its place in the step, and on nothing else: neither on
threads nor on the processor, nor on how many rows or steps there are. So the way back draws a mask anew instead of
keeping it, and sequences that are cut into chunks of time get the masks of whole ones.

The generator is splitmix64: a hash of a counter.

References
----------
Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). Srivastava et al., "Dropout: a simple
way to prevent neural networks from overfitting", JMLR 15 (2014).
"""

import numpy as np
from numba import prange

from fastrecur.kernels import arithmetic
from fastrecur.kernels.compile import SharedKernel, inline, kernel
from fastrecur.kernels.cpu.simd import copy, offset, pointer
from fastrecur.kernels.steps import AT, ROWS

#: Of 53 random bits.
BELOW = 2.0**53

_number = inline(arithmetic.splitmix)


@inline
def _key(seed, stream, step):
    """Where the sequence of a step begins."""
    return _number(_number(_number(seed, 0), stream), step)


@inline
def _threshold(rate):
    """What 53 random bits must reach for their number to stay."""
    return np.uint64(rate * BELOW)


@inline
def _factor(key, place, threshold, kept, dropped):
    return kept if _number(key, place) >> np.uint64(11) >= threshold else dropped


@kernel
def recurrent_masks(seed, stream, rate, width, out):
    """One mask for all time steps of each row of a batch; the first rows are the same for every number of rows.

    Parameters
    ----------
    seed : uint64
    stream : int
        Of the first mask; those of the others follow.
    rate : float
        The share that is dropped.
    width : int
        H: what lies beyond becomes 0.
    out : array of shape (L * D, B, padded H)
        Assigned: 0 or 1 / (1 - rate).
    """
    kind = out.dtype.type
    threshold, kept, dropped = _threshold(rate), kind(1.0 / (1.0 - rate)), kind(0.0)
    for i in range(out.shape[0]):
        key = _key(seed, stream + i, 0)
        for b in range(out.shape[1]):
            for u in range(width):
                out[i, b, u] = _factor(key, b * width + u, threshold, kept, dropped)
            for u in range(width, out.shape[2]):
                out[i, b, u] = dropped


@inline
def _drop(values, width, steps, seed, stream, step, rate, out, begin, end):
    """`drop_steps` for the rows ``begin..end`` of the batch."""
    n_pieces, stride = values.shape[1:]
    kind = out.dtype.type
    threshold, kept, dropped = _threshold(rate), kind(1.0 / (1.0 - rate)), kind(0.0)
    for s in range(len(steps)):
        key = _key(seed, stream, step + s)
        for b in range(begin, min(end, steps[s, ROWS])):
            for d in range(n_pieces):
                at, place = ((steps[s, AT] + b) * n_pieces + d) * stride, (b * n_pieces + d) * width
                target = offset(pointer(out), at)
                copy(target, offset(pointer(values), at), width)  # LLVM allows equal addresses
                for u in range(width):  # of one array alone, which vectorises in place too
                    target[u] *= _factor(key, place + u, threshold, kept, dropped)


@SharedKernel
def drop_steps(values, width, steps, seed, stream, step, rate, out, shards):
    """out = values * mask, with a mask of its own for each time step.

    Parameters
    ----------
    values : array of shape (N, D, stride)
    width : int
        Numbers of each of the D pieces of a row: neither read nor written beyond.
    steps : int64 array of shape (T, 4)
        A forward table.
    seed : uint64
    stream : int
    step : int
        The time step of the first line of ``steps``.
    rate : float
        The share that is dropped.
    out : array of shape (N, D, stride)
        May be ``values`` itself.
    shards : int64 array
        Bounds of the rows of the batch that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _drop(values, width, steps, seed, stream, step, rate, out, shards[s], shards[s + 1])
