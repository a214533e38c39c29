"""Dropout during training: what is dropped where, drawn from a seed."""

from dataclasses import dataclass

import numpy as np

from fastrecur.kernels.cpu import masks
from fastrecur.kernels.steps import ROWS

#: First streams of the three kinds of masks: of h, by layer and direction; of layers' outputs, by layer; of `apply`.
RECURRENT, BETWEEN, OTHERS = (kind << 32 for kind in range(3))


@dataclass(frozen=True)
class Dropout:
    """The masks of one batch; another batch needs another seed.

    Each number is dropped with probability ``rate``, all by themselves, or divided by 1 - ``rate``. A mask depends on
    what is written below and on its place alone, not on the dtype, the threads or the processor, and can be had again.

    Parameters
    ----------
    rate : float
        Of the outputs of a layer before the next one reads them, each time step by itself; and of `apply`. From 0 to
        below 1.
    recurrent_rate : float
        Of h_{t-1} where it enters the recurrent product W_hh h_{t-1}: one mask for all steps of a sequence (Gal and
        Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", 2016).
    seed : int
        From 0 to below 2^64.
    step_offset : int
        Time step at which the batch begins, where it is a chunk of longer sequences. Its recurrent masks are those of
        the chunk before (as long as rows only leave at the end of the batch), its other masks those of later steps.
    """

    rate: float = 0.0
    recurrent_rate: float = 0.0
    seed: int = 0
    step_offset: int = 0

    def __post_init__(self):
        for name in ("rate", "recurrent_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be from 0 to below 1, found {getattr(self, name)!r}.")

    def recurrent_masks(self, width, out):
        """Fill ``out`` (L * D, B, padded H) with the masks of h, 0 beyond the ``width`` hidden units."""
        masks.recurrent_masks(np.uint64(self.seed), RECURRENT, float(self.recurrent_rate), width, out)

    def between_layers(self, values, layer, width, steps, out, shards):
        """Write ``values`` (N, D, padded H), what ``layer`` reads or the gradient of it, times the mask to ``out``.

        ``steps`` is a forward table; ``shards`` bounds the rows of the batch of each thread; ``out`` may be ``values``.
        """
        self._drop(values, BETWEEN + layer, width, steps, out, shards)

    def apply(self, array, stream, width=None, steps=None, out=None):
        """Drop numbers of an array, in place unless there is an ``out``: the values, and later on their gradients.

        Parameters
        ----------
        array : array of shape (B, K), or packed (N, D, stride); C-contiguous
        stream : int
            Masks of different streams have nothing to do with one another.
        width : int, optional
            Numbers of the last axis that count, where it is padded. All by default.
        steps : int64 array of shape (T, 4), optional
            Forward table of the packed rows: each time step gets the mask that it has in any chunk of time. By default
            the rows are those of one step.
        out : array of the shape of ``array``, optional
            For an ``array`` that must not change, such as a view of the states.

        Returns
        -------
        out : array
        """
        out = array if out is None else out
        if self.rate == 0.0:
            if out is not array:
                out[...] = array
            return out
        if steps is None:
            steps = np.array([[0, len(array), 0, 0]])
        values, target = (part[:, np.newaxis] if part.ndim == 2 else part for part in (array, out))
        shards = np.array([0, steps[0, ROWS]])
        self._drop(values, OTHERS + stream, array.shape[-1] if width is None else width, steps, target, shards)
        return out

    def _drop(self, values, stream, width, steps, out, shards):
        seed, rate = np.uint64(self.seed), float(self.rate)
        masks.drop_steps(values, width, steps, seed, stream, self.step_offset, rate, out, shards)
