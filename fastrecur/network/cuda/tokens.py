"""Which rows of the table of embeddings a batch uses, and which of its time steps each of them has."""

import numpy as np

from fastrecur.network.model import step_rows
from fastrecur.network.packing import Packing


class BatchTokens:
    """The tokens of a batch, sorted on the host, where X is too: the device then adds up gradients in one order.

    Parameters
    ----------
    batch : Batch or None
        None: all tokens of the vocabulary, each on its own row, whatever the sequences use.
    n_tokens : int
        V.
    buffers : Buffers

    Attributes
    ----------
    n_used : int
        R, rows of the table that the batch uses.
    used : int32 device array of shape (R,)
        Those rows, rising.
    """

    def __init__(self, batch, n_tokens, buffers):
        self._buffers = buffers
        used = np.arange(n_tokens) if batch is None else np.unique(_tokens(batch, Packing(batch.lengths)))
        self._bounds = np.append(used, used[-1] + 1)
        self.n_used, self.used = len(used), buffers.send("used tokens", used)

    def sorted(self, piece, packing):
        """The packed rows of a piece of the batch by token, and where those of each of the R rows begin.

        Returns
        -------
        order, bounds : int32 device arrays of shape (N,), (R + 1,)
        """
        tokens = _tokens(piece, packing)
        order = np.argsort(tokens, kind="stable")
        bounds = np.searchsorted(tokens[order], self._bounds)
        return self._buffers.send("order of tokens", order), self._buffers.send("bounds of tokens", bounds)


def _tokens(batch, packing):
    """Token of each packed row."""
    return batch.values.reshape(-1)[step_rows(batch, packing)]
