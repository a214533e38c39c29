"""A packed batch: the order of its rows, its tables of steps, and who works on what."""

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.steps import AT, state_segments, step_table

#: Multiply-adds that take as long as to copy a number; numbers that take as long as to begin a copy.
_A_NUMBER, _TO_BEGIN = 16, 16


class Packing:
    """How a batch of sequences of given lengths is packed (see `fastrecur.kernels.steps`).

    Parameters
    ----------
    lengths : array of int, shape (B,)
        In the caller's order.

    Attributes
    ----------
    in_order : bool
        Whether the caller's rows fall in length as they come.
    order : int64 array of shape (B,)
        Row b of the packed batch is the caller's row ``order[b]``: by falling length, equal ones in their order.
    lengths : int64 array of shape (B,)
        In the order of the packed batch.
    n_packed : int
        N, all time steps of all rows.
    n_steps : int
        T, time steps of the longest row.
    """

    def __init__(self, lengths):
        lengths = np.array(lengths, dtype=np.int64)  # a copy: packings are kept
        self.equal = bool((lengths == lengths[0]).all())
        self.in_order = self.equal or bool((lengths[:-1] >= lengths[1:]).all())
        self.order = np.arange(len(lengths)) if self.in_order else np.argsort(-lengths, kind="stable")
        self.lengths = lengths if self.in_order else lengths[self.order]
        self.n_rows = len(lengths)
        self.n_packed = int(lengths.sum())
        self.n_steps = int(self.lengths[0])
        self._steps = {}
        self._segments = {}
        self._shards = {}

    def fills(self, n_steps):
        """Whether every row has ``n_steps`` time steps."""
        return self.equal and self.n_steps == n_steps

    def steps(self, direction):
        """Table of steps, forwards (0) or reversed (1)."""
        if direction not in self._steps:
            self._steps[direction] = step_table(self.lengths, bool(direction))
        return self._steps[direction]

    def segments(self, direction):
        """Where the previous states of the packed rows lie."""
        if direction not in self._segments:
            self._segments[direction] = state_segments(self.steps(direction))
        return self._segments[direction]

    @property
    def one_share(self):
        """All rows for one thread."""
        return self.shards(1, 1)

    def shards(self, width, n_threads):
        """Bounds of the rows that each thread copies, ``width`` numbers a time step."""
        key = width, n_threads
        if key not in self._shards:
            self._shards[key] = threads.row_shards(self.lengths, _A_NUMBER * (width + _TO_BEGIN), n_threads)
        return self._shards[key]

    def final_rows(self, direction, alternating=False):
        """Row of the state buffer that holds the final state of each row; ``alternating``: of a buffer of 3 B rows."""
        if alternating:
            last = self.n_steps if direction else self.lengths
            first = self.n_rows * (2 - last % 2)
        else:
            first = self.n_rows + (0 if direction else self.steps(0)[self.lengths - 1, AT])
        return np.arange(self.n_rows) + np.where(self.lengths > 0, first, 0)

    def final(self, direction, alternating=False):
        """`final_rows` and `order`, as slices where all rows are equally long, or lie in order."""
        if self.equal:
            first = self.n_rows if direction else self.n_packed
            if alternating:
                first = self.n_rows * (2 - self.n_steps % 2)
            return slice(first, first + self.n_rows), slice(None)
        return self.final_rows(direction, alternating), slice(None) if self.in_order else self.order

    def unsorted(self, states):
        """States (L * D, B, H) of the packed batch in the caller's order of rows."""
        return states if self.in_order else states[:, np.argsort(self.order)]
