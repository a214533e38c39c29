"""Packed sequences: how a batch of different lengths lies in memory, and the table that walks it.

Rows of a batch are sorted by falling length. The rows that are still alive at time step t are then the
first ``n_t`` rows, and a batch is stored as ``N = sum(lengths)`` packed rows, step after step: first the
``n_0 = B`` rows of step 0, then the ``n_1`` rows of step 1, and so on. Nothing is stored for padding and
nothing is computed for it. (PyTorch's ``PackedSequence`` has the same order.)

A state buffer has ``B + N`` rows: rows ``0..B`` hold the initial state, row ``B + n`` the state after
packed row ``n``. Where final states are all that is wanted, ``3 B`` rows will do: the steps go by turns to
the rows ``B..2 B`` and ``2 B..3 B``, in which a row that has ended stays as it is.

The kernels do not know time, direction or raggedness: they follow a table with one line a step.
"""

import numpy as np

from fastrecur.kernels.compile import kernel

#: Columns of a step table.
AT, ROWS, CARRIED, BEFORE = range(4)


def step_table(lengths, reverse=False):
    """Table of the steps of a packed batch, in the order in which the recurrence visits them.

    Parameters
    ----------
    lengths : array of int, shape (B,)
        Valid time steps of each row, never rising. Rows of length 0 keep their initial state.
    reverse : bool
        Visit the steps from the last to the first, each row from its own last valid step.

    Returns
    -------
    steps : int64 array of shape (T, 4), T = lengths[0]
        One line a step: ``AT``, the packed row where the step begins; ``ROWS``, its number of rows;
        ``CARRIED``, how many of them carry on from the step visited before (the others, rows
        ``CARRIED..ROWS``, begin here, from the initial state); ``BEFORE``, the row of the state buffer
        where the states of the carried rows lie.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    steps = np.zeros((lengths[0] if len(lengths) else 0, 4), dtype=np.int64)
    _fill_steps(lengths, reverse, steps)
    return steps


@kernel
def _fill_steps(lengths, reverse, steps):
    n_rows, n_steps = len(lengths), len(steps)
    at, rows = 0, n_rows
    for t in range(n_steps):
        while lengths[rows - 1] <= t:
            rows -= 1
        s = n_steps - 1 - t if reverse else t
        steps[s, AT], steps[s, ROWS] = at, rows
        at += rows
    for s in range(1, n_steps):
        steps[s, CARRIED] = min(steps[s - 1, ROWS], steps[s, ROWS])
        steps[s, BEFORE] = n_rows + steps[s - 1, AT]


def state_segments(steps):
    """Where the previous state of each packed row lies, as few contiguous runs as possible.

    Parameters
    ----------
    steps : int64 array of shape (T, 4)
        A table of `step_table`.

    Returns
    -------
    segments : int64 array of shape (S, 3)
        Lines ``(n, count, before)``: the previous states of the packed rows ``n..n+count`` lie in the
        rows ``before..before+count`` of the state buffer. Together the lines cover every packed row once.
        Sequences of equal length need one line (forwards) or two (reversed).
    """
    segments = np.zeros((2 * len(steps), 3), dtype=np.int64)
    return segments[: _fill_segments(steps, segments)]


@kernel
def _fill_segments(steps, segments):
    n_steps, count = len(steps), 0
    for k in range(n_steps):
        s = k if steps[0, AT] == 0 else n_steps - 1 - k
        at, rows, carried, before = steps[s, AT], steps[s, ROWS], steps[s, CARRIED], steps[s, BEFORE]
        for n, size, source in ((at, carried, before), (at + carried, rows - carried, carried)):
            last = segments[count - 1]
            if size == 0:
                continue
            if count > 0 and source - n == last[2] - last[0]:
                last[1] += size
            else:
                segments[count, 0], segments[count, 1], segments[count, 2] = n, size, source
                count += 1
    return count
