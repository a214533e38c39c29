"""Copies between sequences and packed batches (see `fastrecur.kernels.steps`), with conversion of the dtype."""

from numba import prange

from fastrecur.kernels.compile import SharedKernel, inline, kernel
from fastrecur.kernels.cpu.simd import copy, offset, pointer, prefetch
from fastrecur.kernels.steps import AT, ROWS

#: Lines this many bytes apart share a set of the level 1 cache: rows written so far apart drive each other out.
_CONFLICT = 4096

#: Time steps of a sequence that are gathered together where the rows of one lie so.
_FEW_STEPS = 8

#: Rows in no order, that the processor cannot see coming, are asked for so many time steps ahead.
_STEPS_AHEAD = 4


@inline
def _gather_steps(values, starts, apart, steps, out, begin, end):
    n_features, n_steps = values.shape[1], len(steps)
    source, target = pointer(values), pointer(out)
    in_conflict = apart == 1 and len(starts) * n_features * out.itemsize % _CONFLICT == 0
    at_once = 1 if apart > 1 else _FEW_STEPS if in_conflict else max(1, n_steps)
    for first in range(0, n_steps, at_once):
        # As the values lie, sequence after sequence or step after step: the processor sees the next ones coming.
        for b in range(begin, min(end, steps[first, ROWS])):
            if in_conflict:
                prefetch(source, (starts[b] + first + at_once) * n_features, at_once * n_features)
            for t in range(first, min(first + at_once, n_steps)):
                if steps[t, ROWS] <= b:
                    break
                x = offset(source, (starts[b] + t * apart) * n_features)
                if apart > 1:
                    prefetch(x, _STEPS_AHEAD * apart * n_features, n_features)
                copy(offset(target, (steps[t, AT] + b) * n_features), x, n_features)


@SharedKernel
def gather_steps(values, starts, apart, steps, out, shards):
    """Pack sequences: row ``steps[s, AT] + b`` of ``out`` receives time step t of sequence b.

    Parameters
    ----------
    values : array of shape (S, F)
        Time steps.
    starts : int64 array of shape (B,)
        First row of each sequence in ``values``, in the order of the batch.
    apart : int
        Rows of ``values`` from one time step of a sequence to its next.
    steps : int64 array of shape (T, 4)
        A forward table.
    out : array of shape (N, 1, F)
    shards : int64 array
        Bounds of the rows of the batch that each thread takes.
    """
    for s in prange(len(shards) - 1):
        _gather_steps(values, starts, apart, steps, out, shards[s], shards[s + 1])


@inline
def _scatter_steps(packed, first, starts, steps, n_hidden, out, begin, end):
    n_directions, stride, width = packed.shape[1], packed.shape[2], out.shape[1]
    source, target = pointer(packed), pointer(out)
    for b in range(begin, end):
        for t in range(len(steps)):
            if steps[t, ROWS] <= b:
                break
            y, h = (starts[b] + t) * width, (first + steps[t, AT] + b) * n_directions * stride
            for d in range(n_directions):
                copy(offset(target, y + d * n_hidden), offset(source, h + d * stride), n_hidden)


@inline
def _pad(starts, lengths, n_steps, out, begin, end):
    """Zeros to the rows ``begin..end`` of all those that pad a sequence, counted through all sequences."""
    width, target, at = out.shape[1], pointer(out), 0
    for b in range(len(lengths)):
        first, last = max(begin - at, 0), min(end - at, n_steps - lengths[b])
        padding = offset(target, (starts[b] + lengths[b] + first) * width)
        for k in range((last - first) * width):
            padding[k] = 0.0
        at += n_steps - lengths[b]


@SharedKernel
def scatter_steps(packed, first, starts, steps, n_hidden, out, lengths, n_steps, shards):
    """Undo `gather_steps`: the D * H valid numbers of the rows of ``packed`` from ``first`` on, to ``out``.

    And zeros to the rows of ``out`` beyond each length, of which every thread writes an equal part.

    Parameters
    ----------
    packed : array of shape (first + N, D, stride)
    first : int
    starts : int64 array of shape (B,)
    steps : int64 array of shape (T, 4)
        A forward table.
    n_hidden : int
    out : array of shape (S, D * n_hidden)
    lengths : int64 array of shape (B,)
        In the order of the batch; of shape (0,) where ``out`` has no padding.
    n_steps : int
        Rows of ``out`` for each sequence: those beyond its length are padded with zeros.
    shards : int64 array
        As in `gather_steps`.
    """
    n_shares, n_padding = len(shards) - 1, len(lengths) * n_steps - lengths.sum()
    for s in prange(n_shares):
        _pad(starts, lengths, n_steps, out, n_padding * s // n_shares, n_padding * (s + 1) // n_shares)
        _scatter_steps(packed, first, starts, steps, n_hidden, out, shards[s], shards[s + 1])


@kernel
def copy_padded(source, order, out):
    """Rows ``order`` of ``source`` (B, H), padded with zeros: ``out`` (B, stride)."""
    for b in range(out.shape[0]):
        for u in range(source.shape[1]):
            out[b, u] = source[order[b], u]
        for u in range(source.shape[1], out.shape[1]):
            out[b, u] = 0.0


@kernel
def packed_rows(starts, steps, out):
    """Row of the stacked time steps that each packed row is: ``starts[b] + t`` at ``steps[t, AT] + b``."""
    for t in range(len(steps)):
        for b in range(steps[t, ROWS]):
            out[steps[t, AT] + b] = starts[b] + t


@kernel
def gather_embeddings(tokens, rows, table, out):
    """Row n of ``out`` (N, 1, E) receives the row of ``table`` (V, E) for the token at ``rows[n]`` of ``tokens``."""
    width = table.shape[1]
    source, target = pointer(table), pointer(out)
    for n in range(len(rows)):
        copy(offset(target, n * width), offset(source, tokens[rows[n]] * width), width)


@kernel
def scatter_embeddings(tokens, rows, places, dx, dtable):
    """Undo `gather_embeddings` for gradients: rows of ``dx`` (N, 1, padded E) are added to ``dtable`` (R, E).

    The row of a token is ``places[token]``.
    """
    for n in range(len(rows)):
        place = places[tokens[rows[n]]]
        for e in range(dtable.shape[1]):
            dtable[place, e] += dx[n, 0, e]


@kernel
def place_tokens(tokens, rows, places, before, out):
    """Write the tokens at ``rows``, each once, to ``out``, in the order they come in; returns how many.

    Parameters
    ----------
    tokens : int64 array of shape (S,)
    rows : int64 array of shape (N,)
    places : int32 array of shape (V,)
        -1 but for the tokens ``before``; afterwards, of each token written to ``out``, where, and -1 of the others.
    before : int64 array
    out : int64 array of shape (N,)
    """
    n_used = 0
    for token in before:
        places[token] = -1
    for n in range(len(rows)):
        token = tokens[rows[n]]
        if places[token] < 0:
            places[token] = n_used
            out[n_used] = token
            n_used += 1
    return n_used
