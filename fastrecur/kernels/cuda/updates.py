"""Optimiser steps on the GPU: the twins of `fastrecur.kernels.cpu.updates`, a thread for each number.

The gradient is one vector: first that of the dense parameters, then that of the rows of the table of embeddings which
the batch used, one row behind the other. Where the parameters of the latter lie, and their moments, says ``rows``. The
norm of the gradient is a number in ``log``, on the device: no step waits for the host.
"""

import math

from fastrecur.kernels import arithmetic
from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda, inline

_THREADS = block_of(256)

#: Parameters, gradient, rows, n_weights, n_dense, n_columns, log, place of the norm in it, max_norm, penalty.
_GIVEN = "r1 r1 i1 i i i d1 i d r"


_clipping, _adam, _rmsprop, _sgd = map(
    inline, (arithmetic.clipping, arithmetic.adam, arithmetic.rmsprop, arithmetic.sgd)
)


def _threads(layout):
    return _THREADS


@inline
def _place(i, rows, n_dense, n_columns):
    """Place among the parameters of number ``i`` of the gradient."""
    if i < n_dense:
        return i
    behind = i - n_dense
    return n_dense + rows[behind // n_columns] * n_columns + behind % n_columns


@Kernel(f"{_GIVEN} r r1 r1 r r r r r r", _threads)
def adam(layout):
    """A step of Adam or AdamW: see `adam_step`.

    No race: a thread reads and writes one parameter and its moments, no other's, because each row is there once;
    gradient, rows and norm are only read.
    """
    real, zero, one = layout.real, layout.real(0), layout.real(1)

    def adam(
        parameters, gradient, rows, n_weights, n_dense, n_columns, log, norm, max_norm, penalty, keep, first, second,
        size, root, epsilon, add_1, keep_2, add_2,
    ):  # fmt: skip
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < gradient.shape[0]:
            n = _place(i, rows, n_dense, n_columns)
            scale = real(_clipping(log[norm], max_norm))
            decays = i < n_weights or i >= n_dense
            parameters[n], first[n], second[n] = _adam(
                parameters[n], gradient[i], first[n], second[n], scale, penalty if decays else zero,
                keep if decays else one, size, root, epsilon, add_1, keep_2, add_2,
            )  # fmt: skip

    return adam


@Kernel(f"{_GIVEN} r1 r r r r", _threads)
def rmsprop(layout):
    """A step of RMSprop: see `rmsprop_step`.

    No race: a thread reads and writes one parameter and its moments, no other's, because each row is there once;
    gradient, rows and norm are only read.
    """
    real, zero = layout.real, layout.real(0)

    def rmsprop(
        parameters, gradient, rows, n_weights, n_dense, n_columns, log, norm, max_norm, penalty, square, size, keep,
        add, epsilon,
    ):  # fmt: skip
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < gradient.shape[0]:
            n = _place(i, rows, n_dense, n_columns)
            scale = real(_clipping(log[norm], max_norm))
            penalty = penalty if i < n_weights or i >= n_dense else zero
            parameters[n], square[n] = _rmsprop(
                parameters[n], gradient[i], square[n], scale, penalty, size, keep, add, epsilon
            )

    return rmsprop


@Kernel(f"{_GIVEN} r1 r r", _threads)
def sgd(layout):
    """A step of gradient descent with Nesterov's momentum: see `sgd_step`.

    No race: a thread reads and writes one parameter and its moments, no other's, because each row is there once;
    gradient, rows and norm are only read.
    """
    real, zero = layout.real, layout.real(0)

    def sgd(
        parameters, gradient, rows, n_weights, n_dense, n_columns, log, norm, max_norm, penalty, velocity, size,
        momentum,
    ):  # fmt: skip
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < gradient.shape[0]:
            n = _place(i, rows, n_dense, n_columns)
            scale = real(_clipping(log[norm], max_norm))
            penalty = penalty if i < n_weights or i >= n_dense else zero
            parameters[n], velocity[n] = _sgd(parameters[n], gradient[i], velocity[n], scale, penalty, size, momentum)

    return sgd


def adam_step(given, decay, first, second, rate, step, beta_1, beta_2, epsilon, decoupled):
    """Launch the twin of `fastrecur.kernels.cpu.updates.adam_step`.

    Parameters
    ----------
    given : tuple
        ``parameters, gradient, rows, n_weights, n_dense, n_columns, log, norm, max_norm``: device arrays, where the
        dense parameters and a row of the table end, and the place of the gradient's norm in ``log``. ``gradient`` has
        as many numbers as take part in the step. Without a table ``n_columns`` is 0.
    decay, first, second, rate, step, beta_1, beta_2, epsilon, decoupled
        As there; the moments are device arrays.
    """
    correction = math.sqrt(1.0 - beta_2**step)
    penalty, keep = (0.0, 1.0 - rate * decay) if decoupled else (decay, 1.0)
    numbers = rate / (1.0 - beta_1**step), 1.0 / correction, epsilon, 1.0 - beta_1, beta_2, 1.0 - beta_2
    _launch(adam, given, (penalty, keep), (first, second), numbers)


def rmsprop_step(given, decay, square, rate, smoothing, epsilon):
    """Launch the twin of `fastrecur.kernels.cpu.updates.rmsprop_step`: see `adam_step`."""
    _launch(rmsprop, given, (decay,), (square,), (rate, smoothing, 1.0 - smoothing, epsilon))


def sgd_step(given, decay, velocity, rate, momentum):
    """Launch the twin of `fastrecur.kernels.cpu.updates.sgd_step`: see `adam_step`."""
    _launch(sgd, given, (decay,), (velocity,), (rate, momentum))


def _launch(kernel, given, shrinking, moments, numbers):
    gradient = given[1]
    layout = Layout(0, 0, str(gradient.dtype))
    shrinking, numbers = (map(layout.real, values) for values in (shrinking, numbers))
    kernel.launch(layout, -(-gradient.shape[0] // _THREADS), *given, *shrinking, *moments, *numbers)
