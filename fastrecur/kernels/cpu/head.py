"""The dense layer behind the recurrent ones, and the losses. One row after another: no row knows of the others."""

import math

import numpy as np

from fastrecur.kernels.compile import inline, kernel


@inline
def _forward(pooled, weight_t, bias, out):
    for b in range(pooled.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] = bias[k]
        for u in range(pooled.shape[1]):
            h = pooled[b, u]
            for k in range(out.shape[1]):
                out[b, k] += h * weight_t[u, k]


@kernel
def head_forward(pooled, weight_t, bias, out):
    """out = pooled W^T + b.

    Parameters
    ----------
    pooled : array of shape (B, D * H)
    weight_t : array of shape (D * H, K)
        The transposed weights: the innermost loop runs over the outputs.
    bias : array of shape (K,)
    out : array of shape (B, K)
    """
    _forward(pooled, weight_t, bias, out)


@inline
def _backward(pooled, weight, dout, dweight, dbias, dpooled):
    dpooled[:] = 0.0
    for b in range(pooled.shape[0]):
        for k in range(dout.shape[1]):
            d = dout[b, k]
            dbias[k] += d
            for u in range(pooled.shape[1]):
                dpooled[b, u] += d * weight[k, u]
                dweight[k, u] += d * pooled[b, u]


@kernel
def softmax(logits, out):
    """Probabilities of each row: exp(z_k - max z) / sum, both arrays (B, K)."""
    for b in range(logits.shape[0]):
        largest = logits[b, 0]
        for k in range(logits.shape[1]):
            largest = max(largest, logits[b, k])
        total = 0.0
        for k in range(logits.shape[1]):
            e = math.exp(np.float64(logits[b, k] - largest))
            out[b, k] = e
            total += e
        for k in range(logits.shape[1]):
            out[b, k] /= total


@inline
def _cross_entropy(logits, rows, labels, weights, gradient):
    n_rows, n_classes = logits.shape
    loss = 0.0
    for b in range(n_rows):
        label, share = labels[rows[b]], weights[rows[b]] / n_rows
        largest = np.float64(logits[b, 0])
        for k in range(n_classes):
            largest = max(largest, np.float64(logits[b, k]))
        total = 0.0
        for k in range(n_classes):
            total += math.exp(logits[b, k] - largest)
        log_total = largest + math.log(total)
        loss += share * (log_total - logits[b, label])
        for k in range(n_classes):
            gradient[b, k] = share * (math.exp(logits[b, k] - log_total) - (1.0 if k == label else 0.0))
    return loss


@inline
def _squared_error(outputs, rows, targets, weights, gradient):
    n_rows, n_outputs = outputs.shape
    loss = 0.0
    for b in range(n_rows):
        share = weights[rows[b]] / (n_rows * n_outputs)
        for k in range(n_outputs):
            error = outputs[b, k] - targets[rows[b], k]
            loss += 0.5 * share * error * error
            gradient[b, k] = share * error
    return loss


@kernel
def cross_entropy(pooled, weight, weight_t, bias, rows, labels, weights, out, dout, dweight, dbias, dpooled):
    """Weighted mean of -log softmax(z)_label over the batch, z = pooled W^T + b, and all its gradients.

    Parameters
    ----------
    pooled : array of shape (B, D * H)
    weight, weight_t, bias : array of shape (K, D * H), (D * H, K), (K,)
    rows : int64 array of shape (B,)
        Which entries of ``labels`` and ``weights`` the batch is made of.
    labels : int64 array of shape (n,)
    weights : float64 array of shape (n,)
        Their mean over all sequences is 1, so that a batch divides by its size.
    out, dout : array of shape (B, K)
        Assigned: z and its gradient.
    dweight, dbias : array of shape (K, D * H), (K,)
        Added to.
    dpooled : array of shape (B, D * H)
        Assigned.

    Returns
    -------
    loss : float
    """
    _forward(pooled, weight_t, bias, out)
    loss = _cross_entropy(out, rows, labels, weights, dout)
    _backward(pooled, weight, dout, dweight, dbias, dpooled)
    return loss


@kernel
def squared_error(pooled, weight, weight_t, bias, rows, targets, weights, out, dout, dweight, dbias, dpooled):
    """Weighted mean of (z - target)^2 / 2 over the batch and the outputs; as `cross_entropy`, ``targets`` (n, K)."""
    _forward(pooled, weight_t, bias, out)
    loss = _squared_error(out, rows, targets, weights, dout)
    _backward(pooled, weight, dout, dweight, dbias, dpooled)
    return loss
