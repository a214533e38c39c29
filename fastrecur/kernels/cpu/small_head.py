"""The dense layer and its loss for a few rows and outputs: plain loops, which compile in a tenth of the time of tiles.

`fastrecur.kernels.cpu.head_gradient` is the kernel for large ones.
"""

import math

import numpy as np

from fastrecur.kernels.compile import inline, kernel
from fastrecur.kernels.cpu.losses import pinball


@inline
def _outputs(inputs, weight_t, bias, out):
    for b in range(inputs.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] = bias[k]
        for u in range(inputs.shape[1]):
            h = inputs[b, u]
            for k in range(out.shape[1]):
                out[b, k] += h * weight_t[u, k]


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
def small_cross_entropy(
    inputs, weight, weight_t, bias, rows, labels, weights, scale, out, dout, dweight, dbias, dinputs
):
    """Loss and gradients as `fastrecur.kernels.cpu.head_gradient.head_gradient` has them, for labels.

    Parameters
    ----------
    inputs : array of shape (M, I)
    weight, weight_t, bias : array of shape (K, I), (I, K), (K,)
        The innermost loop over the outputs reads ``weight_t``.
    rows, labels, weights, scale
        As there.
    out, dout : array of shape (M, K)
        Assigned: z and its gradient.
    dweight, dbias : array of shape (K, I), (K,)
        Added to.
    dinputs : array of shape (M, I)
        Assigned.

    Returns
    -------
    loss : float
    """
    _outputs(inputs, weight_t, bias, out)
    loss = 0.0
    for b in range(len(rows)):
        loss += _cross_entropy(out[b], labels[rows[b]], weights[rows[b]] * scale, dout[b])
    _gradients(inputs, weight, dout, dweight, dbias, dinputs)
    return loss


@kernel
def small_squared_error(
    inputs, weight, weight_t, bias, rows, targets, weights, scale, out, dout, dweight, dbias, dinputs
):
    """As `small_cross_entropy`, for ``targets`` (n, K): the mean over K of (z - target)^2 / 2."""
    _outputs(inputs, weight_t, bias, out)
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
def small_pinball(inputs, weight, weight_t, bias, rows, targets, weights, scale, out, dout, dweight, dbias, dinputs):
    """As `small_cross_entropy`, for `fastrecur.kernels.cpu.losses.QuantileTargets`: the mean over K of the pinball."""
    _outputs(inputs, weight_t, bias, out)
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
