"""Losses over a block of rows, a chunk of outputs at a time: gradients take the place of the outputs.

A block holds its outputs transposed, a line for each output with the rows along the vectors. The gradient of a row is
``factor`` times what a loss leaves in the block: the factor of a softmax is known only after the last chunk.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fastrecur.kernels import arithmetic
from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.activations import exp
from fastrecur.kernels.cpu.simd import load, offset, select_less, splat, store

#: Rows of `Block.per_row`: per row the logit that is subtracted before exp, the largest one, the label's, the sum of a
#: chunk, the factor.
SHIFT, LARGEST, LABEL, SUM, FACTOR = range(5)
PER_ROW = 5

#: How far the largest logit may be above the shift, the largest one of the first chunk.
REACH = 30.0


class Block(NamedTuple):
    """A block of rows, as pointers.

    ``z`` (K, stride): outputs, then gradients; ``per_row`` (5, stride): `SHIFT` and so on; ``first``, ``count``: the
    rows; ``width``: the rows up to whole vectors of ``lanes``.
    """

    z: object
    per_row: object
    stride: int
    lanes: int
    first: int
    count: int
    width: int


class QuantileTargets(NamedTuple):
    """Targets of the pinball loss: output y * Q + q is held against target y, at level q.

    ``values`` (n, Y): the targets; ``levels`` (Q,), float64: which quantiles, between 0 and 1. There are Y * Q outputs.
    """

    values: object
    levels: object


def chunk_gradient(targets, rows, block, begin, end, losses, again):
    """Turn the outputs ``begin..end`` of a block into their gradients; adds to ``losses``.

    ``again``: for the second time, after `reaches` was False.
    """
    raise NotImplementedError("only within compiled kernels")


def reaches(targets, block):
    """Whether the chunks of a block went well; if not, they are to be computed again, from other shifts."""
    raise NotImplementedError("only within compiled kernels")


def finish_gradient(targets, rows, weights, scale, weight, block, d, d_stride, losses):
    """After the last chunk: factors, weighted losses, and what the labels change in ``z`` and in ``d`` (rows, I)."""
    raise NotImplementedError("only within compiled kernels")


# --- cross entropy ---------------------------------------------------------------------------------------------------


@inline
def _first_shifts(block, end):
    for v in range(0, block.width, block.lanes):
        shift = load(block.z, v)
        for k in range(1, end):
            z = load(block.z, k * block.stride + v)
            shift = select_less(shift, z, z, shift)
        store(block.per_row, SHIFT * block.stride + v, shift)
    for n in range(block.count, block.width):
        block.per_row[LABEL * block.stride + n] = -np.inf


@inline
def _set_labels_aside(labels, rows, block, begin, end):
    """The label's term joins the sum in float64 at the end: what the sum is without it is the gradient, exact."""
    label = offset(block.per_row, LABEL * block.stride)
    for n in range(block.count):
        k = labels[rows[block.first + n]]
        if begin <= k < end:
            label[n] = block.z[k * block.stride + n]
            block.z[k * block.stride + n] = -np.inf


@inline
def _exponentials(block, begin, end):
    """exp(z - shift) of a chunk, its sum, and the largest z."""
    for v in range(0, block.width, block.lanes):
        shift = load(block.per_row, SHIFT * block.stride + v)
        largest, total = splat(shift, -np.inf), splat(shift, 0.0)
        if begin > 0:
            largest = load(block.per_row, LARGEST * block.stride + v)
        for k in range(begin, end):
            z = load(block.z, k * block.stride + v)
            largest = select_less(largest, z, z, largest)
            e = exp(z - shift)
            total = total + e
            store(block.z, k * block.stride + v, e)
        store(block.per_row, LARGEST * block.stride + v, largest)
        store(block.per_row, SUM * block.stride + v, total)


@inline
def _cross_entropy_chunk(labels, rows, block, begin, end, losses, again):
    if begin == 0 and not again:
        _first_shifts(block, end)
    _set_labels_aside(labels, rows, block, begin, end)
    _exponentials(block, begin, end)
    total = offset(block.per_row, SUM * block.stride)
    for n in range(block.count):
        losses[block.first + n] += total[n]


@inline
def _cross_entropy_reaches(block):
    """Move the shifts that are too low to the largest logit: beside the rows, too, where infinity would spread."""
    good = True
    for n in range(block.width):
        largest = max(block.per_row[LARGEST * block.stride + n], block.per_row[LABEL * block.stride + n])
        if largest - block.per_row[SHIFT * block.stride + n] > REACH:
            block.per_row[SHIFT * block.stride + n] = largest
            good = False
    return good


@inline
def _cross_entropy_finish(labels, rows, weights, scale, weight, block, d, d_stride, losses):
    kind, n_inputs = weight.dtype.type, weight.shape[1]
    for v in range(0, block.width, block.lanes):
        label = load(block.per_row, LABEL * block.stride + v)
        store(block.per_row, SUM * block.stride + v, exp(label - load(block.per_row, SHIFT * block.stride + v)))
    for n in range(block.count):
        row = rows[block.first + n]
        shift = np.float64(block.per_row[SHIFT * block.stride + n])
        z_label = np.float64(block.per_row[LABEL * block.stride + n])
        others, share = losses[block.first + n], scale * weights[row]
        total = others + np.float64(block.per_row[SUM * block.stride + n])
        losses[block.first + n] = share * (math.log(total) + (shift - z_label))
        block.per_row[FACTOR * block.stride + n] = share / total
        k, change = labels[row], kind(-others)
        block.z[k * block.stride + n] = change
        for i in range(n_inputs):
            d[n * d_stride + i] += change * weight[k, i]


# --- squared error ---------------------------------------------------------------------------------------------------


@inline
def _squared_error_chunk(targets, rows, block, begin, end, losses):
    for n in range(block.count):
        row = rows[block.first + n]
        for k in range(begin, end):
            error = block.z[k * block.stride + n] - targets[row, k]
            losses[block.first + n] += 0.5 * error * error
            block.z[k * block.stride + n] = error


@inline
def _mean_finish(n_outputs, rows, weights, scale, block, losses):
    """Of a loss that is a mean over the outputs."""
    for n in range(block.count):
        share = scale * weights[rows[block.first + n]] / n_outputs
        losses[block.first + n] *= share
        block.per_row[FACTOR * block.stride + n] = share


# --- pinball ---------------------------------------------------------------------------------------------------------


pinball = inline(arithmetic.pinball)


@inline
def _pinball_chunk(targets, rows, block, begin, end, losses):
    n_levels = len(targets.levels)
    for n in range(block.count):
        row = rows[block.first + n]
        for k in range(begin, end):
            error = block.z[k * block.stride + n] - targets.values[row, k // n_levels]
            loss, slope = pinball(error, targets.levels[k % n_levels])
            losses[block.first + n] += loss
            block.z[k * block.stride + n] = slope


# --- which loss: labels (n,), targets (n, K), or QuantileTargets -----------------------------------------------------


@overload(chunk_gradient)
def _chunk_gradient(targets, rows, block, begin, end, losses, again):
    if isinstance(targets, types.BaseTuple):
        return lambda targets, rows, block, begin, end, losses, again: _pinball_chunk(
            targets, rows, block, begin, end, losses
        )
    if targets.ndim == 1:
        return lambda targets, rows, block, begin, end, losses, again: _cross_entropy_chunk(
            targets, rows, block, begin, end, losses, again
        )
    return lambda targets, rows, block, begin, end, losses, again: _squared_error_chunk(
        targets, rows, block, begin, end, losses
    )


@overload(reaches)
def _reaches(targets, block):
    if not isinstance(targets, types.BaseTuple) and targets.ndim == 1:
        return lambda targets, block: _cross_entropy_reaches(block)
    return lambda targets, block: True


@overload(finish_gradient)
def _finish_gradient(targets, rows, weights, scale, weight, block, d, d_stride, losses):
    if not isinstance(targets, types.BaseTuple) and targets.ndim == 1:
        return lambda targets, rows, weights, scale, weight, block, d, d_stride, losses: _cross_entropy_finish(
            targets, rows, weights, scale, weight, block, d, d_stride, losses
        )
    return lambda targets, rows, weights, scale, weight, block, d, d_stride, losses: _mean_finish(
        weight.shape[0], rows, weights, scale, block, losses
    )
