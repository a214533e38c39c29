"""The networks inside of the forecasters: regressors of what follows a window."""

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from fastrecur.estimators.parameters import ElmanParameters, LSTMParameters
from fastrecur.estimators.quantiles import SequenceQuantileRegressor


@dataclass(eq=False, repr=False, kw_only=True)
class WindowRegressor(SequenceQuantileRegressor):
    """Takes windows in the order of time, and validates on the last ones.

    Of the windows before those, ``gap`` are left out: what follows them is in the validation too. Where that would be
    more than half of them, nothing should be kept out: see `keeps_enough`.
    """

    gap: int = 0

    _parameter_constraints: ClassVar[dict] = {"gap": [Interval(Integral, 0, None, closed="left")]}

    def _split_rows(self, values, n_sequences, n_validation, seed):
        n_train = n_sequences - n_validation
        rows = np.arange(n_sequences)
        return rows[: n_train - self.gap], rows[n_train:]

    def keeps_enough(self, n_windows: int) -> bool:
        """Whether validation, and the gap before it, leave at least half of the other windows to train on."""
        n_train = n_windows - int(np.ceil(self.validation_fraction * n_windows))
        return n_windows > 1 and 2 * self.gap <= max(n_train, 0)


@dataclass(eq=False, repr=False, kw_only=True)
class RNNWindows(WindowRegressor, ElmanParameters):
    """Of an Elman RNN."""

    _cell: ClassVar[str] = "rnn"


@dataclass(eq=False, repr=False, kw_only=True)
class LSTMWindows(WindowRegressor, LSTMParameters):
    """Of an LSTM."""

    _cell: ClassVar[str] = "lstm"


@dataclass(eq=False, repr=False, kw_only=True)
class GRUWindows(WindowRegressor):
    """Of a GRU."""

    _cell: ClassVar[str] = "gru"
