"""Copies on the device: rows from place to place, minibatches of sequences, parameters to padded weights and back.

A block has 256 threads, and none of them waits for another.
"""

from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda
from fastrecur.kernels.cuda.steps import line_of

_THREADS = block_of(256)


def _threads(layout):
    return _THREADS


@Kernel("r2 i1 i r2 i1 i i i", _threads)
def _move(layout):
    """See `move`.

    No race: a thread writes one number, and no two lines of ``out_rows`` are the same. ``out`` may be ``source`` where
    all ``source_rows`` are -1: nothing is read then.
    """
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


@Kernel("i1 i2 i1", _threads)
def _packed_rows(layout):
    """See `packed_rows`. No race: a thread writes the one number of its packed row, and reads what no one writes."""

    def packed_rows(starts, steps, rows):
        n = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if n < rows.shape[0]:
            t = line_of(steps, n)
            rows[n] = starts[n - steps[t, 0]] + t

    return packed_rows


def packed_rows(starts, steps, rows):
    """Launch the twin of `fastrecur.kernels.cpu.batches.packed_rows`, on int32 device arrays, ``steps`` forwards."""
    _packed_rows.launch(_NO_NUMBERS, -(-rows.shape[0] // _THREADS), starts, steps, rows)


@Kernel("r1 i1 r1", _threads)
def _pack(layout):
    """See `pack`. No race: a thread writes one number of ``padded``, and ``flat`` is only read."""
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
    """See `unpack`. No race: each place is there once, so that a number of ``flat`` has one thread."""

    def unpack(padded, places, flat):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < padded.shape[0] and places[i] >= 0:
            flat[places[i]] = padded[i]

    return unpack


def unpack(padded, places, flat):
    """Launch ``flat[places[i]] = padded[i]``: gradients of padded weights to those of parameters, each place once."""
    _unpack.launch(_layout(flat), -(-padded.shape[0] // _THREADS), padded, places, flat)


@Kernel("r1 r", _threads)
def _fill(layout):
    """See `fill`. No race: a thread writes one number."""

    def fill(out, value):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < out.shape[0]:
            out[i] = value

    return fill


def fill(out, value):
    """Launch ``out[:] = value`` on a device array of one axis."""
    layout = _layout(out)
    _fill.launch(layout, -(-out.shape[0] // _THREADS), out, layout.real(value))


#: Layout of a kernel that has to do with integers alone.
_NO_NUMBERS = Layout(0, 0, "float32")


def _layout(array):
    return Layout(0, 0, str(array.dtype))
