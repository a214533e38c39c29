"""Forecasts of series: the networks, the forecast to beat, and a look at the past that does not look ahead."""

from fastrecur.forecasting.backtest import backtest
from fastrecur.forecasting.forecasters import GRUForecaster, LSTMForecaster, RNNForecaster
from fastrecur.forecasting.naive import SeasonalNaive

__all__ = ["GRUForecaster", "LSTMForecaster", "RNNForecaster", "SeasonalNaive", "backtest"]
