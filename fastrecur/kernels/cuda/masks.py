"""Dropout's masks on the GPU: the numbers of `fastrecur.kernels.cpu.masks`, bit for bit, each from its own counter."""

import numpy as np

from fastrecur.kernels.arithmetic import splitmix
from fastrecur.kernels.cpu.masks import BELOW
from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import SIMULATED, Kernel, block_of, cuda, inline
from fastrecur.kernels.cuda.steps import line_of

_THREADS = block_of(256)

#: NumPy, with which the simulator computes, warns where a product of uint64 passes 2^64, as it is meant to.
_wrapping = np.errstate(over="ignore") if SIMULATED else lambda function: function

_11 = np.uint64(11)

_number = inline(_wrapping(splitmix))


def _threads(layout):
    return _THREADS


@Kernel("u i u r i r3", _threads)
def _recurrent(layout):
    """See `recurrent_masks`. No race: a thread writes one number, and reads none."""
    zero = layout.real(0)

    def recurrent_masks(seed, stream, threshold, kept, width, out):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_rows = out.shape[1]
        padded = out.shape[2]
        if i < out.shape[0] * n_rows * padded:
            k = i // (n_rows * padded)
            b = i // padded % n_rows
            u = i % padded
            value = zero
            if u < width:
                key = _number(_number(_number(seed, np.uint64(0)), np.uint64(stream + k)), np.uint64(0))
                if _number(key, np.uint64(b * width + u)) >> _11 >= threshold:
                    value = kept
            out[k, b, u] = value

    return recurrent_masks


def recurrent_masks(seed, stream, rate, width, out):
    """Launch the twin of `fastrecur.kernels.cpu.masks.recurrent_masks`."""
    blocks = -(-out.shape[0] * out.shape[1] * out.shape[2] // _THREADS)
    layout = Layout(0, 0, str(out.dtype))
    _recurrent.launch(layout, blocks, np.uint64(seed), stream, *_rate(layout, rate), width, out)


@Kernel("r2 i i i2 u i i u r r2", _threads)
def _drop(layout):
    """See `drop_steps`. No race: a thread reads one number and writes that in its place, be it in the same array."""
    zero = layout.real(0)

    def drop_steps(values, width, stride, steps, seed, stream, step, threshold, kept, out):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < out.shape[0] * out.shape[1]:
            n = i // out.shape[1]
            column = i % out.shape[1]
            u = column % stride
            value = zero
            if u < width:
                s = line_of(steps, n)
                place = ((n - steps[s, 0]) * (out.shape[1] // stride) + column // stride) * width + u
                key = _number(_number(_number(seed, np.uint64(0)), np.uint64(stream)), np.uint64(step + s))
                if _number(key, np.uint64(place)) >> _11 >= threshold:
                    value = kept * values[n, column]
                else:
                    value = zero * values[n, column]  # NaN stays NaN
            out[n, column] = value

    return drop_steps


def drop_steps(values, width, stride, steps, seed, stream, step, rate, out):
    """Launch the twin of `fastrecur.kernels.cpu.masks.drop_steps`.

    Parameters
    ----------
    values, out : device arrays of shape (N, D * stride)
        May be the same. Behind the ``width`` numbers of each of the D pieces of a row, ``out`` becomes 0.
    steps : int32 device array of shape (T, 4)
        A forward table.
    width, stride, seed, stream, step, rate
        As there.
    """
    layout = Layout(0, 0, str(out.dtype))
    blocks = -(-out.shape[0] * out.shape[1] // _THREADS)
    given = values, width, stride, steps, np.uint64(seed), stream, step, *_rate(layout, rate), out
    _drop.launch(layout, blocks, *given)


def _rate(layout, rate):
    """What 53 random bits must reach for their number to stay, and what it is multiplied with then."""
    return np.uint64(rate * BELOW), layout.real(1.0 / (1.0 - rate))
