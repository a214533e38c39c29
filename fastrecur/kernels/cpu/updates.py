"""Gradient norm and optimiser steps over the flat vector of all parameters.

The vector is walked in pieces: the weights, the biases, then one row after the other of the table of embeddings, of
which a batch uses some rows only. The other rows are neither read nor written, neither here nor in the moments, so
that a step costs what its rows cost.

Arguments that all steps share:

parameters : array of shape (n_parameters,)
    And, after ``decay``, the moments: arrays of the same shape.
gradient : array of shape (n_dense + R * n_columns,) or more
    Of the dense part, then of ``rows``, one after the other.
layout : tuple of int
    ``n_weights, n_dense, n_columns``: the first ``n_weights`` numbers are weights, those up to ``n_dense`` are biases,
    and from there on lie the rows of the table, of ``n_columns`` numbers each.
rows : int64 array of shape (R,)
    Rows of the table that have a gradient, each once.
max_norm : float
    The gradient is clipped to this global L2 norm, as PyTorch clips it (Pascanu, Mikolov and Bengio, 2013).
decay : float
    Penalty on weights and rows, not on biases: times the parameter it is added to the gradient, after clipping.

All return the norm of the gradient before clipping.
"""

import math

import numpy as np

from fastrecur.kernels import arithmetic
from fastrecur.kernels.compile import inline, kernel
from fastrecur.kernels.cpu.simd import offset, pointer, prefetch_to_write

#: Pieces of the vector in front of the table: weights, biases.
DENSE = 2

#: Rows that are asked for ahead: the processor cannot foresee where they lie.
ROWS_AHEAD = 8

#: Sums of squares side by side: as many additions as the processor has under way.
SUMS = 64


_clipping, _adam, _rmsprop, _sgd = map(
    inline, (arithmetic.clipping, arithmetic.adam, arithmetic.rmsprop, arithmetic.sgd)
)


@inline
def _piece(index, layout, rows):
    """Where a piece begins in the parameters and in the gradient, how many numbers it has, whether it decays."""
    n_weights, n_dense, n_columns = layout
    if index == 0:
        return 0, 0, n_weights, True
    if index == 1:
        return n_weights, n_weights, n_dense - n_weights, False
    row = index - DENSE
    return n_dense + rows[row] * n_columns, n_dense + row * n_columns, n_columns, True


@inline
def _ask_ahead(index, layout, rows, numbers):
    """Prefetch the row of the table that is the piece `ROWS_AHEAD` behind ``index``, out of ``numbers``."""
    if index + ROWS_AHEAD < DENSE + len(rows):
        start, _, n, _ = _piece(index + ROWS_AHEAD, layout, rows)
        prefetch_to_write(numbers, start, n)


@inline
def global_norm(gradient, layout, rows):
    """L2 norm of the dense part and the rows, summed in float64 in one order."""
    n, sums = layout[1] + len(rows) * layout[2], np.zeros(SUMS)
    whole = n // SUMS * SUMS
    g, s = pointer(gradient), pointer(sums)
    for i in range(0, whole, SUMS):
        for j in range(SUMS):
            s[j] += np.float64(g[i + j]) * g[i + j]
    for j in range(n - whole):
        s[j] += np.float64(g[whole + j]) * g[whole + j]
    return math.sqrt(sums.sum())


@kernel
def adam_step(
    parameters, gradient, layout, rows, max_norm, decay, first, second, rate, step, beta_1, beta_2, epsilon, decoupled
):
    """One step of Adam (Kingma and Ba, 2015), with PyTorch's epsilon: behind the root of the corrected second moment.

    Like PyTorch's, the first moment goes a tenth (``1 - beta_1``) of the way to the gradient. As nine tenths of itself
    and a tenth of the gradient it would stay short of a steady one: rounded to float32 they sum to 1 - 2e-8.

    Parameters
    ----------
    parameters, gradient, layout, rows, max_norm, decay
        See the module.
    first, second : array of shape (n_parameters,)
        The moments.
    rate : float
    step : int
        Number of this step, from 1.
    beta_1, beta_2, epsilon : float
    decoupled : bool
        AdamW (Loshchilov and Hutter, 2019): before the step, weights and rows shrink by ``rate * decay`` of
        themselves, and the gradient stays as it is.
    """
    norm = global_norm(gradient, layout, rows)
    scale = _clipping(norm, max_norm)
    kind = parameters.dtype.type
    correction = math.sqrt(1.0 - beta_2**step)
    size, root, epsilon = kind(rate / (1.0 - beta_1**step)), kind(1.0 / correction), kind(epsilon)
    add_1, keep_2, add_2 = kind(1.0 - beta_1), kind(beta_2), kind(1.0 - beta_2)
    scale = kind(scale)
    for index in range(DENSE + len(rows)):
        _ask_ahead(index, layout, rows, pointer(parameters))
        _ask_ahead(index, layout, rows, pointer(first))
        _ask_ahead(index, layout, rows, pointer(second))
        start, at, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays and not decoupled else 0.0)
        keep = kind(1.0 - rate * decay if decays and decoupled else 1.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), at)
        m, v = offset(pointer(first), start), offset(pointer(second), start)
        for i in range(n):
            # all are read before one is stored: large arrays begin alike within their pages, and a load that follows a
            # store of the same place in another page waits for it
            p[i], m[i], v[i] = _adam(
                p[i], g[i], m[i], v[i], scale, penalty, keep, size, root, epsilon, add_1, keep_2, add_2
            )
    return norm


@kernel
def rmsprop_step(parameters, gradient, layout, rows, max_norm, decay, square, rate, smoothing, epsilon):
    """One step of RMSprop (Tieleman and Hinton, 2012), in PyTorch's form: epsilon outside of the root."""
    norm = global_norm(gradient, layout, rows)
    scale = _clipping(norm, max_norm)
    kind = parameters.dtype.type
    scale, size, epsilon = kind(scale), kind(rate), kind(epsilon)
    keep, add = kind(smoothing), kind(1.0 - smoothing)
    for index in range(DENSE + len(rows)):
        _ask_ahead(index, layout, rows, pointer(parameters))
        _ask_ahead(index, layout, rows, pointer(square))
        start, at, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays else 0.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), at)
        v = offset(pointer(square), start)
        for i in range(n):
            p[i], v[i] = _rmsprop(p[i], g[i], v[i], scale, penalty, size, keep, add, epsilon)
    return norm


@kernel
def sgd_step(parameters, gradient, layout, rows, max_norm, decay, velocity, rate, momentum):
    """One step of gradient descent with Nesterov's momentum, in PyTorch's form."""
    norm = global_norm(gradient, layout, rows)
    scale = _clipping(norm, max_norm)
    kind = parameters.dtype.type
    scale, size, momentum = kind(scale), kind(rate), kind(momentum)
    for index in range(DENSE + len(rows)):
        _ask_ahead(index, layout, rows, pointer(parameters))
        _ask_ahead(index, layout, rows, pointer(velocity))
        start, at, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays else 0.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), at)
        v = offset(pointer(velocity), start)
        for i in range(n):
            p[i], v[i] = _sgd(p[i], g[i], v[i], scale, penalty, size, momentum)
    return norm
