"""Gradient norm and optimiser steps over the flat vector of all parameters.

The vector is walked in pieces: the weights, the biases, then one row after the other of the table of embeddings, of
which a batch uses some rows only. The other rows are neither read nor written, neither here nor in the moments, so
that a step costs what its rows cost.

Arguments that all steps share:

parameters, gradient : array of shape (n_parameters,)
    And, after ``decay``, the moments: arrays of the same shape.
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

from fastrecur.kernels.compile import inline, kernel
from fastrecur.kernels.cpu.simd import offset, pointer

#: Pieces of the vector in front of the table: weights, biases.
DENSE = 2

#: Sums of squares side by side: as many additions as the processor has under way.
SUMS = 64


@inline
def _piece(index, layout, rows):
    """Where a piece begins, of how many numbers it is made, and whether it decays."""
    n_weights, n_dense, n_columns = layout
    if index == 0:
        return 0, n_weights, True
    if index == 1:
        return n_weights, n_dense - n_weights, False
    return n_dense + rows[index - DENSE] * n_columns, n_columns, True


@inline
def _add_squares(gradient, n, sums):
    whole = n // SUMS * SUMS
    for i in range(0, whole, SUMS):
        for j in range(SUMS):
            sums[j] += np.float64(gradient[i + j]) * gradient[i + j]
    for j in range(n - whole):
        sums[j] += np.float64(gradient[whole + j]) * gradient[whole + j]


@inline
def global_norm(gradient, layout, rows):
    """L2 norm of the dense part and the rows, summed in float64 in one order."""
    sums, start = np.zeros(SUMS), pointer(gradient)
    _add_squares(start, layout[1], pointer(sums))
    for r in rows:
        _add_squares(offset(start, layout[1] + r * layout[2]), layout[2], pointer(sums))
    return math.sqrt(sums.sum())


@kernel
def zero_gradient(gradient, layout, rows):
    """Zero the dense part and the rows: all that a batch of these rows adds to and that its step reads."""
    for index in range(DENSE + len(rows)):
        start, n, _ = _piece(index, layout, rows)
        g = offset(pointer(gradient), start)
        for i in range(n):
            g[i] = 0.0


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
    scale = min(1.0, max_norm / (norm + 1e-6))
    kind = parameters.dtype.type
    correction = math.sqrt(1.0 - beta_2**step)
    size, root, epsilon = kind(rate / (1.0 - beta_1**step)), kind(1.0 / correction), kind(epsilon)
    add_1, keep_2, add_2 = kind(1.0 - beta_1), kind(beta_2), kind(1.0 - beta_2)
    scale = kind(scale)
    for index in range(DENSE + len(rows)):
        start, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays and not decoupled else 0.0)
        keep = kind(1.0 - rate * decay if decays and decoupled else 1.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), start)
        m, v = offset(pointer(first), start), offset(pointer(second), start)
        for i in range(n):
            d = g[i] * scale + penalty * p[i]
            # both moments are read before one is stored: large arrays begin alike within their pages, and a load
            # that follows a store of the same place in another page waits for it
            mean, variance = m[i] + add_1 * (d - m[i]), keep_2 * v[i] + add_2 * d * d
            p[i] = keep * p[i] - size * mean / (np.sqrt(variance) * root + epsilon)
            m[i], v[i] = mean, variance
    return norm


@kernel
def rmsprop_step(parameters, gradient, layout, rows, max_norm, decay, square, rate, smoothing, epsilon):
    """One step of RMSprop (Tieleman and Hinton, 2012), in PyTorch's form: epsilon outside of the root."""
    norm = global_norm(gradient, layout, rows)
    scale = min(1.0, max_norm / (norm + 1e-6))
    kind = parameters.dtype.type
    scale, size, epsilon = kind(scale), kind(rate), kind(epsilon)
    keep, add = kind(smoothing), kind(1.0 - smoothing)
    for index in range(DENSE + len(rows)):
        start, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays else 0.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), start)
        v = offset(pointer(square), start)
        for i in range(n):
            d = g[i] * scale + penalty * p[i]
            v[i] = keep * v[i] + add * d * d
            p[i] -= size * d / (np.sqrt(v[i]) + epsilon)
    return norm


@kernel
def sgd_step(parameters, gradient, layout, rows, max_norm, decay, velocity, rate, momentum):
    """One step of gradient descent with Nesterov's momentum, in PyTorch's form."""
    norm = global_norm(gradient, layout, rows)
    scale = min(1.0, max_norm / (norm + 1e-6))
    kind = parameters.dtype.type
    scale, size, momentum = kind(scale), kind(rate), kind(momentum)
    for index in range(DENSE + len(rows)):
        start, n, decays = _piece(index, layout, rows)
        penalty = kind(decay if decays else 0.0)
        p, g = offset(pointer(parameters), start), offset(pointer(gradient), start)
        v = offset(pointer(velocity), start)
        for i in range(n):
            d = g[i] * scale + penalty * p[i]
            v[i] = momentum * v[i] + d
            p[i] -= size * (d + momentum * v[i])
    return norm
