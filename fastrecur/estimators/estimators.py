"""The six estimators: a cell and a kind of target each."""

from dataclasses import dataclass
from typing import ClassVar

from fastrecur.estimators.classification import SequenceClassifier
from fastrecur.estimators.documentation import documented
from fastrecur.estimators.parameters import ElmanParameters, LSTMParameters
from fastrecur.estimators.regression import SequenceRegressor


@documented("RNN")
@dataclass(eq=False, repr=False, kw_only=True)
class RNNClassifier(SequenceClassifier, ElmanParameters):
    """Elman recurrent network that classifies sequences."""

    _cell: ClassVar[str] = "rnn"


@documented("RNN")
@dataclass(eq=False, repr=False, kw_only=True)
class RNNRegressor(SequenceRegressor, ElmanParameters):
    """Elman recurrent network that predicts a number or several from a sequence."""

    _cell: ClassVar[str] = "rnn"


@documented("LSTM")
@dataclass(eq=False, repr=False, kw_only=True)
class LSTMClassifier(SequenceClassifier, LSTMParameters):
    """LSTM (long short-term memory) that classifies sequences."""

    _cell: ClassVar[str] = "lstm"


@documented("LSTM")
@dataclass(eq=False, repr=False, kw_only=True)
class LSTMRegressor(SequenceRegressor, LSTMParameters):
    """LSTM (long short-term memory) that predicts a number or several from a sequence."""

    _cell: ClassVar[str] = "lstm"


@documented("GRU")
@dataclass(eq=False, repr=False, kw_only=True)
class GRUClassifier(SequenceClassifier):
    """GRU (gated recurrent unit) that classifies sequences."""

    _cell: ClassVar[str] = "gru"


@documented("GRU")
@dataclass(eq=False, repr=False, kw_only=True)
class GRURegressor(SequenceRegressor):
    """GRU (gated recurrent unit) that predicts a number or several from a sequence."""

    _cell: ClassVar[str] = "gru"


ESTIMATORS = (RNNClassifier, RNNRegressor, LSTMClassifier, LSTMRegressor, GRUClassifier, GRURegressor)
