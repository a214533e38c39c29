"""What a head reads of the states of a sequence: their mean, or the largest of each unit, over the valid time steps.

A long sequence may come in pieces of time: the sums and the largest values are carried from piece to piece, so that
their bits do not depend on how it was cut. States lie as in `fastrecur.kernels.steps`, from row ``first`` on.
"""

from fastrecur.kernels.compile import kernel
from fastrecur.kernels.steps import AT, ROWS


@kernel
def add_states(states, first, steps, n_hidden, sums):
    """Add the states of each sequence to ``sums``.

    Parameters
    ----------
    states : array of shape (first + N, D, padded H)
    first : int
    steps : int64 array of shape (T, 4)
        A forward table.
    n_hidden : int
    sums : float64 array of shape (B, D * H)
    """
    for t in range(len(steps)):
        at = first + steps[t, AT]
        for b in range(steps[t, ROWS]):
            for d in range(states.shape[1]):
                for u in range(n_hidden):
                    sums[b, d * n_hidden + u] += states[at + b, d, u]


@kernel
def raise_largest(states, first, steps, n_hidden, begin, largest, step):
    """Raise ``largest`` (B, D * H) to the states, and keep in ``step``, int64, the time step of each, from ``begin``.

    Of equal states the first counts; at ``begin`` 0 the states of step 0 are taken as they are.
    """
    for t in range(len(steps)):
        at = first + steps[t, AT]
        for b in range(steps[t, ROWS]):
            for d in range(states.shape[1]):
                for u in range(n_hidden):
                    h, k = states[at + b, d, u], d * n_hidden + u
                    if begin + t == 0 or h > largest[b, k]:
                        largest[b, k] = h
                        step[b, k] = begin + t


@kernel
def spread_mean(dpooled, lengths, steps, n_hidden, dy):
    """Gradient of the mean: each step of sequence b receives ``dpooled[b] / lengths[b]``.

    Parameters
    ----------
    dpooled : array of shape (B, D * H)
    lengths : int64 array of shape (B,)
        Of the whole sequences.
    dy : array of shape (N, D, padded H)
        Assigned.
    """
    for t in range(len(steps)):
        at = steps[t, AT]
        for b in range(steps[t, ROWS]):
            share = dy.dtype.type(1.0) / dy.dtype.type(lengths[b])
            for d in range(dy.shape[1]):
                for u in range(n_hidden):
                    dy[at + b, d, u] = dpooled[b, d * n_hidden + u] * share
                for u in range(n_hidden, dy.shape[2]):
                    dy[at + b, d, u] = 0.0


@kernel
def spread_largest(dpooled, step, steps, n_hidden, begin, dy):
    """Gradient of the largest: ``dpooled`` (B, D * H) goes to the steps that `raise_largest` kept. Assigns ``dy``."""
    dy[:] = 0.0
    for b in range(steps[0, ROWS]):
        for d in range(dy.shape[1]):
            for u in range(n_hidden):
                k = d * n_hidden + u
                t = step[b, k] - begin
                if 0 <= t < len(steps):
                    dy[steps[t, AT] + b, d, u] = dpooled[b, k]
