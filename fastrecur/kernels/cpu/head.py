"""The dense layer behind the recurrent ones: its outputs, and the probabilities of classes."""

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline, kernel
from fastrecur.kernels.cpu.products import Inputs, panel_features, tile_features
from fastrecur.kernels.cpu.simd import offset, pointer
from fastrecur.kernels.cpu.target import MIDDLE_2, TALL_2
from fastrecur.kernels.cpu.tile import tile_load, tile_shape, tile_store

#: Rows that share one pass over the weights.
ROW_BLOCK = 96


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


# --- outputs ---------------------------------------------------------------------------------------------------------


class Panels(NamedTuple):
    """Packed weights, as pointers: panels of ``width`` outputs, ``n_outputs`` of them valid."""

    w: object
    bias: object
    n_panels: int
    n_inputs: int
    width: int
    n_outputs: int


@inline
def _copy_outputs(scratch, count, out):
    for k in range(count):
        out[k] = scratch[k]


@inline
def _output_tiles(shape, r, last, x, net, p, scratch, out):
    """Panel ``p`` of the rows ``r..last``, as many whole tiles as fit; returns the first row left over."""
    k = p * net.width
    while r + len(shape) <= last:
        acc = tile_load(shape, offset(net.bias, k), 0)
        acc = tile_features(acc, x, r, offset(net.w, k * net.n_inputs), net.width)
        target = offset(out, r * net.n_outputs + k)
        if k + net.width <= net.n_outputs:
            tile_store(acc, target, net.n_outputs)
        else:
            tile_store(acc, scratch, net.width)
            for n in range(len(shape)):
                _copy_outputs(offset(scratch, n * net.width), net.n_outputs - k, offset(target, n * net.n_outputs))
        r += len(shape)
    return r


@inline
def _output_panels(shape, p, x, row, net, scratch, out):
    """Several panels of one row at once, for independent sums; returns the first panel left over."""
    while p + len(shape) <= net.n_panels:
        k, panel = p * net.width, net.n_inputs * net.width
        acc = tile_load(shape, offset(net.bias, k), net.width)
        acc = panel_features(acc, x, row, offset(net.w, p * panel), panel, net.width)
        tile_store(acc, scratch, net.width)
        count = min(len(shape) * net.width, net.n_outputs - k)
        _copy_outputs(scratch, count, offset(out, row * net.n_outputs + k))
        p += len(shape)
    return p


@inline
def _output_rows(w, bias, inputs, features, out, scratch, s, begin, end):
    n_panels, n_inputs, width = w.shape
    net = Panels(pointer(w), pointer(bias), n_panels, n_inputs, width, out.shape[1])
    x = Inputs(pointer(inputs), inputs.shape[1] * inputs.shape[2], inputs.shape[1], inputs.shape[2], features)
    scratch, target = offset(pointer(scratch), s * scratch.shape[1]), pointer(out)
    if end - begin == 1:
        p = _output_panels(tile_shape(4, 2), 0, x, begin, net, scratch, target)
        p = _output_panels(tile_shape(2, 2), p, x, begin, net, scratch, target)
        _output_panels(tile_shape(1, 2), p, x, begin, net, scratch, target)
        return
    for first in range(begin, end, ROW_BLOCK):
        last = min(first + ROW_BLOCK, end)
        for p in range(n_panels):
            r = _output_tiles(tile_shape(TALL_2, 2), first, last, x, net, p, scratch, target)
            r = _output_tiles(tile_shape(MIDDLE_2, 2), r, last, x, net, p, scratch, target)
            _output_tiles(tile_shape(1, 2), r, last, x, net, p, scratch, target)


@SharedKernel
def head_forward(w, bias, inputs, features, out, scratch, shards):
    """out = x W^T + b.

    Parameters
    ----------
    w : array of shape (P, S * features, 2 W)
        Weights in panels of 2 W outputs: `fastrecur.kernels.cpu.panels`, with the layout of the Elman RNN.
    bias : array of shape (P, 2 W)
    inputs : array of shape (M, S, stride)
        S segments of ``features`` numbers.
    features : int
    out : array of shape (M, K)
    scratch : array of shape (len(shards) - 1, TALL_2 * 2 W)
    shards : int64 array
        Bounds of the rows that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _output_rows(w, bias, inputs, features, out, scratch, s, shards[s], shards[s + 1])
