"""The head with a loss: z = x W^T + b, the loss of z, and all its gradients.

Nothing is packed: a block of rows at a time is turned around, so that the rows run along the vectors and the weights
are read as the parameters hold them. The three products are then one kind of sum,

=======================  ========================  =====================  ==================
product                  numbers, one a row        vectors                sum over
=======================  ========================  =====================  ==================
z^T = W x^T + b          W, an output a row        x^T of the block       inputs
dx = dz W                dz^T, transposed          W                      outputs
dW = dz^T x              dz^T, an output a row     x, times the factor    rows of the batch
=======================  ========================  =====================  ==================

and of a block only z^T (K, rows) is held, where K may be a vocabulary. All sums run in one order: z over the inputs,
dx over the outputs, dW over the rows of the batch, whatever the blocks and the threads.
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline
from fastrecur.kernels.cpu.losses import FACTOR, PER_ROW, Block, chunk_gradient, finish_gradient, reaches
from fastrecur.kernels.cpu.products import Inputs
from fastrecur.kernels.cpu.simd import fma, load, offset, pointer, splat, store
from fastrecur.kernels.cpu.target import MIDDLE_2, TALL_2, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import tile_dot, tile_load, tile_shape, tile_store

#: Rows of a block at most: with K 10,000, 288 are 8% faster than 96, which read the weights and write dW more often.
BLOCK = 288

#: Outputs of a chunk: their weights and their z stay near from one product to the next.
CHUNK = 96


# --- one sum for all three products ----------------------------------------------------------------------------------


@inline
def _add_tiles(shape, r, rows, out, out_row, a, a_row, a_k, b, b_k, count):
    while r + len(shape) <= rows:
        target = offset(out, r * out_row)
        acc = tile_dot(tile_load(shape, target, out_row), offset(a, r * a_row), a_row, a_k, b, b_k, count)
        tile_store(acc, target, out_row)
        r += len(shape)
    return r


@inline
def _add_product(rows, out, out_row, a, a_row, a_k, b, b_k, count):
    """``out[r] += sum over k < count of a[r * a_row + k * a_k] * b[k * b_k]``, two vectors wide, k rising."""
    r = _add_tiles(tile_shape(TALL_2, 2), 0, rows, out, out_row, a, a_row, a_k, b, b_k, count)
    r = _add_tiles(tile_shape(MIDDLE_2, 2), r, rows, out, out_row, a, a_row, a_k, b, b_k, count)
    _add_tiles(tile_shape(1, 2), r, rows, out, out_row, a, a_row, a_k, b, b_k, count)


# --- buffers ---------------------------------------------------------------------------------------------------------


def scratch_size(n_outputs, n_inputs, lanes, n_blocks, block, n_threads):
    """Numbers of the scratch memory of `head_gradient` with vectors of ``lanes``: see `_net`."""
    pair = 2 * lanes
    padded = -(-n_inputs // pair) * pair
    rest = 2 * n_outputs * pair if padded > n_inputs else 0
    shared = n_blocks * block * (n_outputs + PER_ROW + padded) + rest + n_outputs * lanes
    return shared + n_threads * block * (n_inputs + padded)


class Net(NamedTuple):
    """Weights and scratch memory, as pointers, and the sizes.

    ``n_outputs`` K, ``n_inputs`` I; inputs go by ``pair``, two vectors at a time, ``padded`` to whole ones; a block
    has ``stride`` rows or fewer.

    - ``logits`` (blocks, K + PER_ROW, stride): z^T of the blocks of a round and, under it, what is kept of each row;
    - ``scaled`` (blocks, stride, padded I): inputs times the factors of the rows;
    - ``rest``, ``rest_gradient`` (K, pair): the last columns of the weights and of their gradient, where a whole pair
      would reach beyond the row;
    - ``bias_sums`` (K, lanes);
    - ``own`` (threads, stride * (I + padded I)): x^T and dx of the block that a thread is at.
    """

    weight: object
    bias: object
    n_outputs: int
    n_inputs: int
    padded: int
    pair: int
    stride: int
    logits: object
    scaled: object
    rest: object
    rest_gradient: object
    bias_sums: object
    own: object


@inline
def _net(weight, bias, scratch, n_blocks, block):
    n_outputs, n_inputs = weight.shape
    lanes = VECTOR_BYTES // weight.itemsize
    pair = 2 * lanes
    padded = -(-n_inputs // pair) * pair
    size = n_outputs * pair
    if padded == n_inputs:
        size = 0
    scaled = offset(pointer(scratch), n_blocks * (n_outputs + PER_ROW) * block)
    rest = offset(scaled, n_blocks * block * padded)
    bias_sums = offset(rest, 2 * size)
    return Net(
        weight=pointer(weight),
        bias=pointer(bias),
        n_outputs=n_outputs,
        n_inputs=n_inputs,
        padded=padded,
        pair=pair,
        stride=block,
        logits=pointer(scratch),
        scaled=scaled,
        rest=rest,
        rest_gradient=offset(rest, size),
        bias_sums=bias_sums,
        own=offset(bias_sums, n_outputs * lanes),
    )


@inline
def _columns(net, whole, rest, k, q):
    """Pointer to pair ``q`` of row ``k`` of a matrix like the weights, and the distance of its rows."""
    if (q + 1) * net.pair <= net.n_inputs:
        return offset(whole, k * net.n_inputs + q * net.pair), net.n_inputs
    return offset(rest, k * net.pair), net.pair


@inline
def _copy_rest(weight, net):
    """The last columns of the weights, padded with zeros."""
    first = net.padded - net.pair
    for k in range(net.n_outputs if net.padded > net.n_inputs else 0):
        for i in range(net.pair):
            net.rest[k * net.pair + i] = weight[k, first + i] if first + i < net.n_inputs else 0.0


# --- a block of rows -------------------------------------------------------------------------------------------------


@inline
def _turn(x, first, count, width, pair, out):
    """x^T of a block: panels (I, pair), the rows along the vectors; rows that are not there are zero."""
    for v in range(0, width, pair):
        panel, valid = offset(out, v * x.segments * x.features), min(pair, count - v)
        for s in range(x.segments):
            source = offset(x.data, (first + v) * x.row_stride + s * x.segment_stride)
            for u in range(x.features):
                line = (s * x.features + u) * pair
                for n in range(valid):
                    panel[line + n] = source[n * x.row_stride + u]
                for n in range(valid, pair):
                    panel[line + n] = 0.0


@inline
def _begin_block(net, block, d, losses):
    for n in range(block.count * net.padded):
        d[n] = 0.0
    for n in range(block.count):
        losses[block.first + n] = 0.0
    for n in range(block.count, block.width):
        block.per_row[FACTOR * block.stride + n] = 0.0


@inline
def _block_outputs(net, block, begin, end, turned):
    """The outputs ``begin..end``."""
    z, w = offset(block.z, begin * block.stride), offset(net.weight, begin * net.n_inputs)
    for k in range(end - begin):
        for v in range(0, block.width, block.lanes):
            store(z, k * block.stride + v, splat(z, net.bias[begin + k]))
    for v in range(0, block.width, net.pair):
        x = offset(turned, v * net.n_inputs)
        _add_product(end - begin, offset(z, v), block.stride, w, net.n_inputs, 1, x, net.pair, net.n_inputs)


@inline
def _block_inputs(net, block, begin, end, d):
    """What the gradients of the outputs ``begin..end`` add to the gradient of the inputs."""
    z = offset(block.z, begin * block.stride)
    for q in range(net.padded // net.pair):
        w, w_stride = _columns(net, net.weight, net.rest, begin, q)
        _add_product(block.count, offset(d, q * net.pair), net.padded, z, 1, block.stride, w, w_stride, end - begin)


@inline
def _scale(x, dx, net, block, d, scaled):
    """Bring in the factors: dx of a block, and x times the factors for dW; both padded with zeros."""
    for n in range(block.count):
        factor, row = block.per_row[FACTOR * block.stride + n], block.first + n
        for s in range(x.segments):
            at, target = row * x.row_stride + s * x.segment_stride, n * net.padded + s * x.features
            for u in range(x.features):
                dx[at + u] = factor * d[target + u]
                scaled[target + u] = factor * x.data[at + u]
            for u in range(x.features, x.segment_stride):
                dx[at + u] = 0.0
        for u in range(n * net.padded + net.n_inputs, (n + 1) * net.padded):
            scaled[u] = 0.0


@inline
def _block_gradient(
    inputs, features, weight, bias, rows, targets, weights, scale, dinputs, scratch, n_blocks, size, losses, j, first,
    share,
):  # fmt: skip
    """Block ``j`` of a round, the rows from ``first`` on, by the thread ``share``: dx, losses, and what dW needs."""
    net = _net(weight, bias, scratch, n_blocks, size)
    x = Inputs(pointer(inputs), inputs.shape[1] * inputs.shape[2], inputs.shape[1], inputs.shape[2], features)
    turned = offset(net.own, share * size * (net.n_inputs + net.padded))
    d = offset(turned, size * net.n_inputs)
    z = offset(net.logits, j * (net.n_outputs + PER_ROW) * size)
    count = min(size, len(inputs) - first)
    width = -(-count // net.pair) * net.pair
    block = Block(z, offset(z, net.n_outputs * size), size, net.pair // 2, first, count, width)
    _turn(x, first, count, width, net.pair, turned)
    for attempt in range(2):
        _begin_block(net, block, d, losses)
        for k in range(0, net.n_outputs, CHUNK):
            end = min(k + CHUNK, net.n_outputs)
            _block_outputs(net, block, k, end, turned)
            chunk_gradient(targets, rows, block, k, end, losses, attempt > 0)
            _block_inputs(net, block, k, end, d)
        if reaches(targets, block):
            break
    finish_gradient(targets, rows, weights, scale, weight, block, d, net.padded, losses)
    _scale(x, pointer(dinputs), net, block, d, offset(net.scaled, j * size * net.padded))


# --- weights ---------------------------------------------------------------------------------------------------------


@inline
def _add_biases(net, k, rows, count, first, last, dbias):
    """Sums of the gradients of ``rows`` outputs from ``k`` on, lane by lane until the last round."""
    lanes, lines = net.pair // 2, net.n_outputs + PER_ROW
    for j in range(k, k + rows):
        sums = offset(net.bias_sums, j * lanes)
        acc = splat(sums, 0.0)
        if not first:
            acc = load(sums, 0)
        for b in range(0, count, net.stride):
            z = offset(net.logits, b * lines)
            g, factor = offset(z, j * net.stride), offset(z, (net.n_outputs + FACTOR) * net.stride)
            for v in range(0, min(net.stride, count - b), lanes):
                acc = fma(load(g, v), load(factor, v), acc)
        store(sums, 0, acc)
        if last:
            for v in range(1, lanes):
                sums[0] += sums[v]
            dbias[j] += sums[0]


@inline
def _weight_tile(weight, bias, scratch, n_blocks, size, dweight, dbias, count, tile, first, last):
    """A tile of dW, `TALL_2` outputs by a pair of vectors of inputs, over the ``count`` rows of a round.

    ``first``, ``last``: whether the round is the first or the last one.
    """
    net = _net(weight, bias, scratch, n_blocks, size)
    n_pairs = net.padded // net.pair
    k, q = tile // n_pairs * TALL_2, tile % n_pairs
    rows, padded = min(TALL_2, net.n_outputs - k), (q + 1) * net.pair > net.n_inputs
    out, out_row = _columns(net, pointer(dweight), net.rest_gradient, k, q)
    if padded and first:
        for i in range(rows * net.pair):
            out[i] = 0.0
    for b in range(0, count, net.stride):
        g, x = offset(net.logits, b * (net.n_outputs + PER_ROW) + k * net.stride), offset(net.scaled, b * net.padded)
        _add_product(
            rows, out, out_row, g, net.stride, 1, offset(x, q * net.pair), net.padded, min(net.stride, count - b)
        )
    if q == 0:
        _add_biases(net, k, rows, count, first, last, dbias)
    if padded and last:
        for j in range(rows):
            for i in range(net.n_inputs - q * net.pair):
                dweight[k + j, q * net.pair + i] += out[j * net.pair + i]


@SharedKernel
def head_gradient(
    inputs, features, weight, bias, rows, targets, weights, scale, dweight, dbias, dinputs, scratch, n_blocks, block,
    shards,
):  # fmt: skip
    """Loss of z = x W^T + b, ``scale * sum over m of weights[rows[m]] * loss_m``, and all its gradients.

    loss_m is -log softmax(z_m)_label for labels (cross entropy), the mean over K of (z_m - target)^2 / 2 for targets
    (squared error), and of max((1 - q) e, -q e) with e = z_m - target for targets with levels q (pinball).

    Parameters
    ----------
    inputs : array of shape (M, S, stride)
        S segments of ``features`` numbers.
    features : int
    weight, bias : array of shape (K, S * features), (K,)
    rows : int64 array of shape (M,)
        Which entries of ``targets`` and ``weights`` the rows of the inputs belong to.
    targets : int64 array of shape (n,), array of shape (n, K), or QuantileTargets
        Labels, or targets, or targets with levels.
    weights : float64 array of shape (n,)
    scale : float
    dweight, dbias : array of shape (K, S * features), (K,)
        Added to.
    dinputs : array of shape (M, S, stride)
        Assigned; zero beside the segments.
    scratch : array of shape (`scratch_size`,)
    n_blocks, block : int
        Blocks of a round, which the threads share, and rows of a block: whole pairs of vectors.
    shards : int64 array
        Bounds of the tiles of dW that each thread takes: ceil(K / TALL_2) times the pairs of vectors of a row.

    Returns
    -------
    loss : float
    """
    n_rows, n_threads = len(inputs), len(shards) - 1
    losses = np.empty(n_rows)
    _copy_rest(weight, _net(weight, bias, scratch, n_blocks, block))
    for first in range(0, n_rows, n_blocks * block):
        count = min(n_blocks * block, n_rows - first)
        here = -(-count // block)
        for s in prange(n_threads):
            for j in range(s * here // n_threads, (s + 1) * here // n_threads):
                _block_gradient(
                    inputs, features, weight, bias, rows, targets, weights, scale, dinputs, scratch, n_blocks, block,
                    losses, j, first + j * block, s,
                )  # fmt: skip
        begins, ends = first == 0, first + count == n_rows
        for s in prange(n_threads):
            for tile in range(shards[s], shards[s + 1]):
                _weight_tile(weight, bias, scratch, n_blocks, block, dweight, dbias, count, tile, begins, ends)
    loss = 0.0
    for n in range(n_rows):
        loss += losses[n]
    return loss
