"""The dense layer and its loss for a few rows and outputs: plain loops, which compile in a tenth of the time of tiles.

`fastrecur.kernels.cpu.head_gradient` is the kernel for large ones.
"""

import math

import numpy as np

from fastrecur.kernels.compile import inline, kernel
from fastrecur.kernels.cpu.losses import pinball


@inline
def _outputs(inputs, weight, bias, scratch):
    """z = x W^T + b, and room for its gradient."""
    n_rows, n_inputs = inputs.shape
    n_outputs, size = len(bias), n_rows * len(bias)
    weight_t = scratch[2 * size : 2 * size + weight.size].reshape(n_inputs, n_outputs)  # for the innermost loop
    for k in range(n_outputs):
        for u in range(n_inputs):
            weight_t[u, k] = weight[k, u]
    out = scratch[:size].reshape(n_rows, n_outputs)
    for b in range(n_rows):
        for k in range(n_outputs):
            out[b, k] = bias[k]
        for u in range(n_inputs):
            h = inputs[b, u]
            for k in range(n_outputs):
                out[b, k] += h * weight_t[u, k]
    return out, scratch[size : 2 * size].reshape(n_rows, n_outputs)


@inline
def _gradients(inputs, weight, dout, dweight, dbias, dinputs):
    dinputs[:] = 0.0
    for b in range(inputs.shape[0]):
        for k in range(dout.shape[1]):
            d = dout[b, k]
            dbias[k] += d
            for u in range(inputs.shape[1]):
                dinputs[b, u] += d * weight[k, u]
                dweight[k, u] += d * inputs[b, u]


@inline
def _cross_entropy(logits, label, share, gradient):
    n_classes = len(logits)
    largest = np.float64(logits[0])
    for k in range(n_classes):
        largest = max(largest, np.float64(logits[k]))
    total = 0.0
    for k in range(n_classes):
        total += math.exp(logits[k] - largest)
    log_total = largest + math.log(total)
    for k in range(n_classes):
        gradient[k] = share * (math.exp(logits[k] - log_total) - (1.0 if k == label else 0.0))
    return share * (log_total - logits[label])


@kernel
def small_cross_entropy(inputs, weight, bias, rows, labels, weights, scale, scratch, dweight, dbias, dinputs):
    """Loss and gradients as `fastrecur.kernels.cpu.head_gradient.head_gradient` has them, for labels.

    Parameters
    ----------
    inputs : array of shape (M, I)
    weight, bias : array of shape (K, I), (K,)
    rows, labels, weights, scale
        As there.
    scratch : array of shape (2 M K + I K,)
    dweight, dbias : array of shape (K, I), (K,)
        Added to.
    dinputs : array of shape (M, I)
        Assigned.

    Returns
    -------
    loss : float
    """
    out, dout = _outputs(inputs, weight, bias, scratch)
    loss = 0.0
    for b in range(len(rows)):
        loss += _cross_entropy(out[b], labels[rows[b]], weights[rows[b]] * scale, dout[b])
    _gradients(inputs, weight, dout, dweight, dbias, dinputs)
    return loss


@kernel
def small_squared_error(inputs, weight, bias, rows, targets, weights, scale, scratch, dweight, dbias, dinputs):
    """As `small_cross_entropy`, for ``targets`` (n, K): the mean over K of (z - target)^2 / 2."""
    out, dout = _outputs(inputs, weight, bias, scratch)
    loss = 0.0
    for b in range(len(rows)):
        share = weights[rows[b]] * scale / out.shape[1]
        for k in range(out.shape[1]):
            error = out[b, k] - targets[rows[b], k]
            loss += 0.5 * share * error * error
            dout[b, k] = share * error
    _gradients(inputs, weight, dout, dweight, dbias, dinputs)
    return loss


@kernel
def small_pinball(inputs, weight, bias, rows, targets, weights, scale, scratch, dweight, dbias, dinputs):
    """As `small_cross_entropy`, for `fastrecur.kernels.cpu.losses.QuantileTargets`: the mean over K of the pinball."""
    out, dout = _outputs(inputs, weight, bias, scratch)
    n_levels, total = len(targets.levels), 0.0
    for b in range(len(rows)):
        share = weights[rows[b]] * scale / out.shape[1]
        for k in range(out.shape[1]):
            error = out[b, k] - targets.values[rows[b], k // n_levels]
            loss, slope = pinball(error, targets.levels[k % n_levels])
            total += share * loss
            dout[b, k] = share * slope
    _gradients(inputs, weight, dout, dweight, dbias, dinputs)
    return total
