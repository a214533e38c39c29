"""Gradient norm and optimiser steps over the flat vector of all parameters."""

import math

import numpy as np

from fastrecur.kernels.compile import inline, kernel


@inline
def global_norm(gradient):
    """L2 norm of the flat gradient, summed in float64 in one order."""
    sums = np.zeros(16)
    whole = gradient.size // 16 * 16
    for i in range(0, whole, 16):
        for j in range(16):
            sums[j] += np.float64(gradient[i + j]) * gradient[i + j]
    for i in range(whole, gradient.size):
        sums[0] += np.float64(gradient[i]) * gradient[i]
    return math.sqrt(sums.sum())


@kernel
def adam_step(parameters, gradient, max_norm, decay, n_weights, first, second, step, rate, beta_1, beta_2, epsilon):
    """One step of Adam (Kingma and Ba, 2015), with PyTorch's epsilon: behind the root of the corrected second moment.

    Parameters
    ----------
    parameters, gradient, first, second : array of shape (n_parameters,)
        ``first`` and ``second`` are the moments.
    max_norm : float
        The gradient is clipped to this global L2 norm, as PyTorch clips it (Pascanu, Mikolov and Bengio, 2013).
    decay : float
        L2 penalty: ``decay`` times the weight is added to the gradient of the first ``n_weights`` parameters.
    step : int
        Number of this step, from 1.

    Returns
    -------
    norm : float
        Of the gradient, before clipping.
    """
    norm = global_norm(gradient)
    scale = min(1.0, max_norm / (norm + 1e-6))
    kind = parameters.dtype.type
    correction = math.sqrt(1.0 - beta_2**step)
    size, root, epsilon = kind(rate / (1.0 - beta_1**step)), kind(1.0 / correction), kind(epsilon)
    scale, decay = kind(scale), kind(decay)
    keep_1, add_1, keep_2, add_2 = kind(beta_1), kind(1.0 - beta_1), kind(beta_2), kind(1.0 - beta_2)
    for i in range(parameters.size):
        g = gradient[i] * scale + (decay * parameters[i] if i < n_weights else kind(0.0))
        first[i] = keep_1 * first[i] + add_1 * g
        second[i] = keep_2 * second[i] + add_2 * g * g
        parameters[i] -= size * first[i] / (np.sqrt(second[i]) * root + epsilon)
    return norm


@kernel
def sgd_step(parameters, gradient, max_norm, decay, n_weights, velocity, rate, momentum):
    """One step of gradient descent with Nesterov's momentum, in PyTorch's form; parameters as in `adam_step`."""
    norm = global_norm(gradient)
    scale = min(1.0, max_norm / (norm + 1e-6))
    kind = parameters.dtype.type
    scale, decay, rate, momentum = kind(scale), kind(decay), kind(rate), kind(momentum)
    for i in range(parameters.size):
        g = gradient[i] * scale + (decay * parameters[i] if i < n_weights else kind(0.0))
        velocity[i] = momentum * velocity[i] + g
        parameters[i] -= rate * (g + momentum * velocity[i])
    return norm
