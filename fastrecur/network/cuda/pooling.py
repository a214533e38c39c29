"""What the head reads of a batch of sequences on the device: twins of `fastrecur.network.pooling`.

Each of the three takes the stack, the buffers and the lengths of the whole sequences, an int32 device array (B,).
Arrays have D * padded H columns, and sequences lie by falling length.
"""

import numpy as np

from fastrecur.kernels.cuda import batches, pooling


class Last:
    """The last state of each sequence; backwards, the state at its first step, of a batch that comes whole."""

    def __init__(self, stack, buffers, lengths):
        self._stack = stack
        self.pooled = buffers.take("pooled", lengths.shape[0], stack.n_directions * stack.padded)

    def add(self, trace, begin):
        """Take in the states of a piece that begins at time step ``begin``, of the first rows of the batch."""
        stack, places = self._stack, trace.places
        states = _flat(trace.states[-1])
        for d in range(stack.n_directions):
            firsts = d * stack.padded, d * stack.padded
            batches.move(states, places.final(d), self.pooled, places.rows, stack.padded, None, *firsts)

    def gradient(self, dpooled, trace, begin):
        """``dy`` and ``dlast`` of `CudaStack.backward` for a piece: here the gradient of the last states."""
        return None, dpooled


class Mean:
    """The mean of the states of each sequence."""

    def __init__(self, stack, buffers, lengths):
        self._stack, self._buffers, self._lengths = stack, buffers, lengths
        shape = lengths.shape[0], stack.n_directions * stack.padded
        self.pooled = buffers.take("pooled", *shape)
        self._sums = buffers.take("sums", *shape, dtype=np.float64)

    def add(self, trace, begin):
        """Take in a piece: see `Last.add`."""
        given = _flat(trace.states[-1]), trace.places.packing.n_rows, trace.places.steps(0).device
        pooling.mean(*given, begin, self._lengths, self._sums, self.pooled)

    def gradient(self, dpooled, trace, begin):
        """Gradient of the outputs of a piece: see `Last.gradient`."""
        dy, shaped = _output_gradient(self._stack, trace, self._buffers)
        pooling.spread_mean(dpooled, self._lengths, trace.places.steps(0).device, dy)
        return shaped, None


class Largest:
    """The largest state of each unit in each sequence."""

    def __init__(self, stack, buffers, lengths):
        self._stack, self._buffers = stack, buffers
        shape = lengths.shape[0], stack.n_directions * stack.padded
        self.pooled = buffers.take("pooled", *shape)
        self._step = buffers.take("steps of the largest", *shape, dtype=np.int32)

    def add(self, trace, begin):
        """Take in a piece: see `Last.add`."""
        given = _flat(trace.states[-1]), trace.places.packing.n_rows, trace.places.steps(0).device
        pooling.largest(*given, begin, self.pooled, self._step)

    def gradient(self, dpooled, trace, begin):
        """Gradient of the outputs of a piece: see `Last.gradient`."""
        dy, shaped = _output_gradient(self._stack, trace, self._buffers)
        pooling.spread_largest(dpooled, self._step, trace.places.steps(0).device, begin, dy)
        return shaped, None


POOLINGS = {"last": Last, "mean": Mean, "max": Largest}


def _flat(states):
    return states.reshape(states.shape[0], states.shape[1] * states.shape[2])


def _output_gradient(stack, trace, buffers):
    """A buffer for the gradient of the last layer's outputs, as (N, D * padded H) and as (N, D, padded H)."""
    n_packed = trace.places.packing.n_packed
    dy = buffers.take("gradient of the outputs", n_packed, stack.n_directions * stack.padded)
    return dy, dy.reshape(n_packed, stack.n_directions, stack.padded)
