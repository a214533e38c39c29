"""Losses on the GPU: outputs of a head become their gradients, a block for each row; and sums that depend on no order.

Every sum is a tree of fixed shape: each thread of a block adds up the numbers that are its own, in their order, then
the threads' sums are added in pairs. No addition is atomic, so that the bits are the same at every run. Losses and sums
of squares are added in double precision, as on the CPU.

What is meant by ``rows``, ``weights`` and ``scale`` says `fastrecur.kernels.cpu.head_gradient.head_gradient`.
"""

import math
from typing import NamedTuple

import numpy as np

from fastrecur.kernels import arithmetic
from fastrecur.kernels.cuda.runtime import SIMULATED, Kernel, cuda, inline

#: Outputs of a row up to which a warp takes it; beyond, eight warps do.
FEW_OUTPUTS = 128

#: Threads of a block that adds up a vector, and blocks at most that share one.
SUM_THREADS = 4 if SIMULATED else 256
SUM_BLOCKS = 3 if SIMULATED else 128


_pinball = inline(arithmetic.pinball)


class LossLayout(NamedTuple):
    """Constants of a compiled loss: threads of a block (a power of 2), dtype's name."""

    threads: int
    dtype: str

    @property
    def real(self):
        """The dtype as NumPy's scalar type."""
        return np.dtype(self.dtype).type


def loss_layout(n_outputs, dtype):
    """`LossLayout` for rows of ``n_outputs``."""
    threads = 4 if SIMULATED else 32 if n_outputs <= FEW_OUTPUTS else 256
    return LossLayout(threads, str(dtype))


def _threads(layout):
    return layout.threads


def _tree(n_threads):
    """(total, largest): what a thread's number and those of the others come to, in all threads of the block.

    No race: a thread writes its own number of ``values``, in shared memory. In a round, threads below ``half`` write
    their own and read one beyond ``half``, which no one writes; a barrier stands before the first and behind each.
    """

    @inline
    def total_of(values, thread, number):
        values[thread] = number
        half = n_threads // 2
        cuda.syncthreads()
        while half > 0:
            if thread < half:
                values[thread] += values[thread + half]
            cuda.syncthreads()
            half //= 2
        return values[0]

    @inline
    def largest_of(values, thread, number):
        values[thread] = number
        half = n_threads // 2
        cuda.syncthreads()
        while half > 0:
            if thread < half:
                a = values[thread]
                b = values[thread + half]
                if b > a or b != b:  # NaN stays
                    values[thread] = b
            cuda.syncthreads()
            half //= 2
        return values[0]

    return total_of, largest_of


@Kernel("r2 i1 i1 d1 d d1", _threads)
def cross_entropy(layout):
    """Loss of a row of logits, and its gradient in their place: see `Losses.gradient`.

    The sum of the exponentials is taken without the label's, and joined with it in double precision: a gradient near 0
    is exact.

    No race: ``z`` of a row belongs to its block and a number of it to one thread, but for the first logit and the
    label's: others read them before a barrier behind which their owners write. ``values`` of the largest logit is read
    by all before a second barrier, behind which the threads write their sums into it.
    """
    n_threads, real = layout.threads, layout.real
    total_of, largest_of = _tree(n_threads)

    def cross_entropy(z, rows, labels, weights, scale, losses):
        values = cuda.shared.array(n_threads, real)
        thread = cuda.threadIdx.x
        m = cuda.blockIdx.x
        n_outputs = z.shape[1]
        row = rows[m]
        label = labels[row]
        largest = z[m, thread if thread < n_outputs else 0]
        for k in range(thread + n_threads, n_outputs, n_threads):
            if z[m, k] > largest:
                largest = z[m, k]
        largest = largest_of(values, thread, largest)
        z_label = z[m, label]
        cuda.syncthreads()
        total = real(0)
        for k in range(thread, n_outputs, n_threads):
            e = math.exp(z[m, k] - largest)
            z[m, k] = e
            if k != label:
                total += e
        others = total_of(values, thread, total)
        total = np.float64(others) + np.float64(math.exp(z_label - largest))
        share = scale * weights[row]
        factor = real(share / total)
        for k in range(thread, n_outputs, n_threads):
            z[m, k] = factor * (-others if k == label else z[m, k])
        if thread == 0:
            losses[m] = share * (math.log(total) + (np.float64(largest) - np.float64(z_label)))

    return cross_entropy


@Kernel("r2 i1 r2 d1 d d1", _threads)
def squared_error(layout):
    """Half the mean square of a row's errors, and its gradient in place of ``z``: see `Losses.gradient`.

    No race: a number of ``z`` belongs to one thread, and so does each of ``values`` up to the barriers of the sum.
    """
    n_threads, real = layout.threads, layout.real
    total_of, _ = _tree(n_threads)

    def squared_error(z, rows, targets, weights, scale, losses):
        values = cuda.shared.array(n_threads, np.float64)
        thread = cuda.threadIdx.x
        m = cuda.blockIdx.x
        row = rows[m]
        share = scale * weights[row] / z.shape[1]
        total = np.float64(0)
        for k in range(thread, z.shape[1], n_threads):
            error = z[m, k] - targets[row, k]
            total += np.float64(0.5) * np.float64(error) * np.float64(error)
            z[m, k] = real(share) * error
        total = total_of(values, thread, total)
        if thread == 0:
            losses[m] = share * total

    return squared_error


@Kernel("r2 i1 r2 d1 d1 d d1", _threads)
def pinball(layout):
    """Mean pinball loss of a row, and its gradient in place of ``z``. No race: as `squared_error`."""
    n_threads, real = layout.threads, layout.real
    total_of, _ = _tree(n_threads)

    def pinball(z, rows, targets, levels, weights, scale, losses):
        values = cuda.shared.array(n_threads, np.float64)
        thread = cuda.threadIdx.x
        m = cuda.blockIdx.x
        row = rows[m]
        n_levels = levels.shape[0]
        share = scale * weights[row] / z.shape[1]
        total = np.float64(0)
        for k in range(thread, z.shape[1], n_threads):
            level = levels[k % n_levels]
            error = np.float64(z[m, k] - targets[row, k // n_levels])
            loss, slope = _pinball(error, level)
            total += loss
            z[m, k] = real(share * slope)
        total = total_of(values, thread, total)
        if thread == 0:
            losses[m] = share * total

    return pinball


@Kernel("r1 d1", _threads)
def squares(layout):
    """Sum of the squares of a vector, a number a block, in ``parts``.

    No race: a thread writes its own number of ``values``, which are read behind the barriers of the sum; a block
    writes one number of ``parts``.
    """
    n_threads = layout.threads
    total_of, _ = _tree(n_threads)

    def squares(vector, parts):
        values = cuda.shared.array(n_threads, np.float64)
        thread = cuda.threadIdx.x
        total = np.float64(0)
        for i in range(cuda.blockIdx.x * n_threads + thread, vector.shape[0], cuda.gridDim.x * n_threads):
            total += np.float64(vector[i]) * np.float64(vector[i])
        total = total_of(values, thread, total)
        if thread == 0:
            parts[cuda.blockIdx.x] = total

    return squares


@Kernel("d1 i d1 i b", _threads)
def total(layout):
    """Sum of ``count`` numbers, or its root, into ``out[place]``, by one block. No race: as `squares`."""
    n_threads = layout.threads
    total_of, _ = _tree(n_threads)

    def total(numbers, count, out, place, root):
        values = cuda.shared.array(n_threads, np.float64)
        thread = cuda.threadIdx.x
        part = np.float64(0)
        for i in range(thread, count, n_threads):
            part += numbers[i]
        whole = total_of(values, thread, part)
        if thread == 0:
            out[place] = math.sqrt(whole) if root else whole

    return total


def add_up(numbers, count, out, place, root=False):
    """Launch ``out[place] = numbers[:count].sum()``, or its root, on float64 device arrays."""
    total.launch(LossLayout(SUM_THREADS, "float64"), 1, numbers, count, out, place, root)


def norm(vector, parts, out, place):
    """Launch ``out[place] = sqrt((vector**2).sum())``; ``parts``, float64 of at least `SUM_BLOCKS`, is scratch."""
    n_blocks = min(SUM_BLOCKS, -(-vector.shape[0] // SUM_THREADS))
    squares.launch(LossLayout(SUM_THREADS, str(vector.dtype)), n_blocks, vector, parts)
    add_up(parts, n_blocks, out, place, root=True)
