"""Arithmetic of single numbers, written once: plain Python, which the CPU's and CUDA's compilers both take.

`fastrecur.kernels.cpu` compiles it with `fastrecur.kernels.compile.inline`, `fastrecur.kernels.cuda` with
`fastrecur.kernels.cuda.runtime.inline`. Every number of a function has one dtype, that of the network, where nothing
else is said.
"""

import math

import numpy as np

# --- solvers: one parameter, its gradient and its moments ------------------------------------------------------------


def clipping(norm, max_norm):
    """What a gradient of this norm, float64, is multiplied with, as PyTorch clips it."""
    return min(1.0, max_norm / (norm + 1e-6))


def adam(p, g, m, v, scale, penalty, keep, size, root, epsilon, add_1, keep_2, add_2):
    """Parameter and moments after a step of Adam: see `fastrecur.kernels.cpu.updates.adam_step`."""
    d = g * scale + penalty * p
    mean, variance = m + add_1 * (d - m), keep_2 * v + add_2 * d * d
    return keep * p - size * mean / (math.sqrt(variance) * root + epsilon), mean, variance


def rmsprop(p, g, v, scale, penalty, size, keep, add, epsilon):
    """Parameter and moment after a step of RMSprop: see `fastrecur.kernels.cpu.updates.rmsprop_step`."""
    d = g * scale + penalty * p
    square = keep * v + add * d * d
    return p - size * d / (math.sqrt(square) + epsilon), square


def sgd(p, g, v, scale, penalty, size, momentum):
    """Parameter and velocity after a step of `fastrecur.kernels.cpu.updates.sgd_step`."""
    d = g * scale + penalty * p
    velocity = momentum * v + d
    return p - size * (d + momentum * velocity), velocity


# --- losses ----------------------------------------------------------------------------------------------------------


def pinball(error, level):
    """Loss of a quantile that is ``error`` above its target, and its derivative; both numbers float64."""
    slope = error  # where it is NaN or 0
    if error > 0.0:
        slope = 1.0 - level
    elif error < 0.0:
        slope = -level
    return slope * error, slope


# --- random numbers --------------------------------------------------------------------------------------------------

#: What the counter of splitmix64 goes up by, and the factors of its hash, 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9 and
#: 0x94D049BB133111EB, as what is taken from 2^64 for them: numba-cuda-mlir compiles no constant beyond 2^63.
GAMMA, FIRST, SECOND = np.uint64(0x61C8864680B583EB), np.uint64(0x40A7B892E31B1A47), np.uint64(0x6B2FB644ECCEEE15)

_30, _27, _31, _ZERO, _ONE = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(0), np.uint64(1)


def splitmix(key, n):
    """Number ``n`` of the sequence of splitmix64 that begins at ``key``: 64 bits, uint64."""
    z = key - (np.uint64(n) + _ONE) * GAMMA
    z = _ZERO - (z ^ (z >> _30)) * FIRST
    z = _ZERO - (z ^ (z >> _27)) * SECOND
    return z ^ (z >> _31)
