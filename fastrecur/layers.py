"""Recurrent layers without scikit-learn: for loops of one's own, and for comparisons with ``torch.nn``."""

from fastrecur.network.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
