"""Dropout on the device: the masks of `fastrecur.network.dropout`, drawn where they are needed."""

from fastrecur.kernels.cuda import masks
from fastrecur.network.dropout import BETWEEN, OTHERS, RECURRENT


class DeviceDropout:
    """The masks of one batch.

    Parameters
    ----------
    dropout : fastrecur.network.dropout.Dropout
    stack : fastrecur.network.cuda.stack.CudaStack
    """

    def __init__(self, dropout, stack):
        self._dropout, self._stack, self.rate = dropout, stack, float(dropout.rate)

    def recurrent_masks(self, n_rows, buffers):
        """Masks of h by layer and direction, device arrays (B, padded H); None where nothing is dropped."""
        stack, rate = self._stack, float(self._dropout.recurrent_rate)
        if rate == 0.0:
            return [None] * len(stack.directions)
        out = buffers.take("masks of h", len(stack.directions), n_rows, stack.padded)
        masks.recurrent_masks(self._dropout.seed, RECURRENT, rate, stack.hidden_size, out)
        return [out[k] for k in range(len(stack.directions))]

    def between_layers(self, values, layer, places, out):
        """Times the mask, to ``out``: (N, D * padded H), what ``layer`` reads, or the gradient of it."""
        return self._drop(values, BETWEEN + layer, places.steps(0).device, out)

    def outputs(self, values, steps, out):
        """The same for what the head reads: (N, D * padded H) of a forward table, or (B, D * padded H) of one step."""
        return self._drop(values, OTHERS, steps, out)

    def _drop(self, values, stream, steps, out):
        dropout, stack = self._dropout, self._stack
        place = stack.hidden_size, stack.padded, steps, dropout.seed, stream, dropout.step_offset
        masks.drop_steps(values, *place, self.rate, out)
        return out
