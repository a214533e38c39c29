"""What the head reads of a batch of sequences, gathered piece by piece of time: rows by falling length.

Each of the three takes the stack, the number of sequences and whether more than one piece is to come.
"""

from typing import Any

import numpy as np

from fastrecur.kernels.cpu import pooling


class Last:
    """The last state of each sequence; backwards, the state at its first step."""

    def __init__(self, stack, n_rows, in_pieces):
        self._stack, self._n_rows, self._in_pieces = stack, n_rows, in_pieces
        self._last: Any = None

    def add(self, trace, begin):
        """Take in the states of a piece that begins at time step ``begin``, of the first rows of the batch."""
        last = self._stack.last_states(trace)
        if len(last) == self._n_rows:
            self._last = last.copy() if self._in_pieces else last  # the next piece takes the same buffers
        else:
            self._last[: len(last)] = last

    def pooled(self, lengths):
        """(B, D * H), of sequences of these ``lengths``."""
        return self._last

    def gradient(self, dpooled, lengths, trace, begin, workspace):
        """``dy`` and ``dlast`` of `RecurrentStack.backward` for a piece: here the gradient of the last states."""
        return None, dpooled


class Mean:
    """The mean of the states of each sequence."""

    def __init__(self, stack, n_rows, in_pieces):
        self._stack = stack
        self._sums = np.zeros((n_rows, stack.n_directions * stack.hidden_size))

    def add(self, trace, begin):
        """Take in a piece: see `Last.add`."""
        packing = trace.packing
        pooling.add_states(trace.states[-1], packing.n_rows, packing.steps(0), self._stack.hidden_size, self._sums)

    def pooled(self, lengths):
        """(B, D * H)."""
        return (self._sums / lengths[:, np.newaxis]).astype(self._stack.dtype)

    def gradient(self, dpooled, lengths, trace, begin, workspace):
        """Gradient of the outputs of a piece: see `Last.gradient`."""
        dy = _output_gradient(self._stack, trace, workspace)
        pooling.spread_mean(dpooled, lengths, trace.packing.steps(0), self._stack.hidden_size, dy)
        return dy, None


class Largest:
    """The largest state of each unit in each sequence."""

    def __init__(self, stack, n_rows, in_pieces):
        self._stack = stack
        width = stack.n_directions * stack.hidden_size
        self._largest, self._step = np.empty((n_rows, width), stack.dtype), np.empty((n_rows, width), np.int64)

    def add(self, trace, begin):
        """Take in a piece: see `Last.add`."""
        packing = trace.packing
        pooling.raise_largest(
            trace.states[-1], packing.n_rows, packing.steps(0), self._stack.hidden_size, begin, self._largest,
            self._step,
        )  # fmt: skip

    def pooled(self, lengths):
        """(B, D * H)."""
        return self._largest

    def gradient(self, dpooled, lengths, trace, begin, workspace):
        """Gradient of the outputs of a piece: see `Last.gradient`."""
        dy = _output_gradient(self._stack, trace, workspace)
        pooling.spread_largest(dpooled, self._step, trace.packing.steps(0), self._stack.hidden_size, begin, dy)
        return dy, None


POOLINGS: dict[str, Any] = {"last": Last, "mean": Mean, "max": Largest}


def _output_gradient(stack, trace, workspace):
    return workspace.take("gradient of the outputs", trace.packing.n_packed, stack.n_directions, stack.padded)


class RunningPool:
    """The same for streams, a step at a time and with the same bits; it never changes, `add` returns a new one."""

    def __init__(self, name, value=None):
        self._name, self._value = name, value

    def add(self, h, n_steps):
        """Take in the states (B, H) after ``n_steps`` time steps."""
        if self._name == "last":
            value = h
        elif self._name == "mean":
            value = h.astype(np.float64) if self._value is None else self._value + h
        else:
            value = h if self._value is None else np.where(h > self._value, h, self._value)
        return RunningPool(self._name, value)

    def pooled(self, n_steps, dtype):
        """(B, H)."""
        value = self._value / n_steps if self._name == "mean" else self._value
        return np.ascontiguousarray(value, dtype)
