"""Copies on the device: rows from place to place, parameters to padded weights and back.

No race in any of them: a thread writes one number, and no two rows of a target are the same.
"""

from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda

_THREADS = block_of(256)


def _threads(layout):
    return _THREADS


@Kernel("r2 i1 i r2 i1 i i i", _threads)
def _move(layout):
    zero = layout.real(0)

    def move(source, source_rows, source_first, out, out_rows, out_first, width, padded):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < source_rows.shape[0] * padded:
            line = i // padded
            u = i % padded
            row = source_rows[line]
            value = zero
            if row >= 0 and u < width:
                value = source[row, source_first + u]
            out[out_rows[line], out_first + u] = value

    return move


def move(source, source_rows, out, out_rows, width, padded=None, source_first=0, out_first=0):
    """Launch ``out[out_rows[i], out_first + u] = source[source_rows[i], source_first + u]`` for u below ``width``.

    0 for u from there up to ``padded``, and for a source row of -1.

    Parameters
    ----------
    source, out : device arrays of two axes
    source_rows, out_rows : int32 device arrays of shape (n,)
    """
    padded = width if padded is None else padded
    blocks = -(-source_rows.shape[0] * padded // _THREADS)
    given = source, source_rows, source_first, out, out_rows, out_first, width, padded
    _move.launch(_layout(out), blocks, *given)


@Kernel("r1 i1 r1", _threads)
def _pack(layout):
    zero = layout.real(0)

    def pack(flat, places, padded):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < places.shape[0]:
            padded[i] = flat[places[i]] if places[i] >= 0 else zero

    return pack


def pack(flat, places, padded):
    """Launch ``padded[i] = flat[places[i]]``, 0 where the place is -1: parameters to padded weights."""
    _pack.launch(_layout(flat), -(-places.shape[0] // _THREADS), flat, places, padded)


@Kernel("r1 i1 r1", _threads)
def _unpack(layout):
    def unpack(padded, places, flat):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < padded.shape[0] and places[i] >= 0:
            flat[places[i]] += padded[i]

    return unpack


def unpack(padded, places, flat):
    """Launch ``flat[places[i]] += padded[i]``: gradients of padded weights to those of parameters, each place once."""
    _unpack.launch(_layout(flat), -(-padded.shape[0] // _THREADS), padded, places, flat)


@Kernel("r2 r2 r2", _threads)
def _multiply(layout):
    def multiply(a, b, out):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < out.shape[0] * out.shape[1]:
            line = i // out.shape[1]
            u = i % out.shape[1]
            out[line, u] = a[line, u] * b[line, u]

    return multiply


def multiply(a, b, out):
    """Launch ``out = a * b``, number by number, on arrays of the same two axes; ``out`` may be one of them."""
    _multiply.launch(_layout(out), -(-out.shape[0] * out.shape[1] // _THREADS), a, b, out)


@Kernel("r1 r", _threads)
def _fill(layout):
    def fill(out, value):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < out.shape[0]:
            out[i] = value

    return fill


def fill(out, value):
    """Launch ``out[:] = value`` on a device array of one axis."""
    layout = _layout(out)
    _fill.launch(layout, -(-out.shape[0] // _THREADS), out, layout.real(value))


def _layout(array):
    return Layout(0, 0, str(array.dtype))
