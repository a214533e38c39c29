"""The three forecasters: one of each cell."""

from dataclasses import dataclass
from typing import ClassVar

from fastrecur.estimators.parameters import ElmanParameters, LSTMParameters
from fastrecur.forecasting.documentation import documented
from fastrecur.forecasting.forecaster import Forecaster
from fastrecur.forecasting.networks import GRUWindows, LSTMWindows, RNNWindows


@documented("RNN")
@dataclass(eq=False, repr=False, kw_only=True)
class RNNForecaster(Forecaster, ElmanParameters):
    """Elman recurrent network that forecasts series."""

    _network_class: ClassVar[type] = RNNWindows


@documented("LSTM")
@dataclass(eq=False, repr=False, kw_only=True)
class LSTMForecaster(Forecaster, LSTMParameters):
    """LSTM (long short-term memory) that forecasts series."""

    _network_class: ClassVar[type] = LSTMWindows


@documented("GRU")
@dataclass(eq=False, repr=False, kw_only=True)
class GRUForecaster(Forecaster):
    """GRU (gated recurrent unit) that forecasts series."""

    _network_class: ClassVar[type] = GRUWindows


FORECASTERS = (RNNForecaster, LSTMForecaster, GRUForecaster)
