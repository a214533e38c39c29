"""A table of embeddings on the GPU: rows for tokens, and what their gradients add up to.

No atomic addition: the tokens of a batch come sorted, and one thread owns a number of a row of the gradient. It walks
the time steps of its token in their order, as the CPU does, so that the bits are the same at every run.
"""

from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda

_THREADS = block_of(256)


def _threads(layout):
    return _THREADS


@Kernel("i1 i1 r2 r2", _threads)
def _gather(layout):
    """See `gather`. No race: a thread writes one number of ``out``."""

    def gather(tokens, rows, table, out):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = out.shape[1]
        if i < out.shape[0] * width:
            n = i // width
            out[n, i % width] = table[tokens[rows[n]], i % width]

    return gather


def gather(tokens, rows, table, out):
    """Launch the twin of `fastrecur.kernels.cpu.batches.gather_embeddings`.

    Parameters
    ----------
    tokens : int32 device array of shape (S,)
    rows : int32 device array of shape (N,)
    table : device array of shape (V, E)
    out : device array of shape (N, E)
    """
    blocks = -(-out.shape[0] * out.shape[1] // _THREADS)
    _gather.launch(Layout(0, 0, str(out.dtype)), blocks, tokens, rows, table, out)


@Kernel("r2 i1 i1 r2", _threads)
def _add_rows(layout):
    """See `add_rows`. No race: a thread adds to one number of ``dtable``, and to no other's."""
    zero = layout.real(0)

    def add_rows(dx, order, bounds, dtable):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = dtable.shape[1]
        if i < dtable.shape[0] * width:
            r = i // width
            e = i % width
            total = zero
            for j in range(bounds[r], bounds[r + 1]):
                total += dx[order[j], e]
            dtable[r, e] += total

    return add_rows


def add_rows(dx, order, bounds, dtable):
    """Launch ``dtable[r] += dx[order[bounds[r] : bounds[r + 1]]].sum(axis=0)``: the rows of a token, in their order.

    Parameters
    ----------
    dx : device array of shape (N, E)
    order : int32 device array of shape (N,)
    bounds : int32 device array of shape (R + 1,)
    dtable : device array of shape (R, E)
    """
    blocks = -(-dtable.shape[0] * dtable.shape[1] // _THREADS)
    _add_rows.launch(Layout(0, 0, str(dx.dtype)), blocks, dx, order, bounds, dtable)
