"""The forecast to beat: what was a season ago."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.parameters import Count
from fastrecur.forecasting import time_index
from fastrecur.forecasting.arguments import checked_horizon
from fastrecur.series import names_of, read_panel


class SeasonalNaive(BaseEstimator):
    """Forecast each step as the last value that is whole seasons before it.

    Parameters
    ----------
    season_length : int, default=1
        Steps of a season, 12 for months; 1 repeats the last value.
    horizon : int, default=1
        Steps to forecast, unless `predict` says otherwise.

    References
    ----------
    .. [1] Hyndman and Athanasopoulos, "Forecasting: principles and practice", 3rd edition, 2021, section 5.2.

    Examples
    --------
    >>> from fastrecur.forecasting import SeasonalNaive
    >>> SeasonalNaive(season_length=3).fit([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).predict(4).ravel()
    array([4., 5., 6., 4.])
    """

    _parameter_constraints: ClassVar[dict] = {"season_length": [Count()], "horizon": [Count()]}

    def __init__(self, season_length: int = 1, horizon: int = 1) -> None:
        self.season_length = season_length
        self.horizon = horizon

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, series: Any, exog: Any = None) -> SeasonalNaive:
        """Remember the last season.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such
        exog : ignored

        Returns
        -------
        self : SeasonalNaive

        Raises
        ------
        ValueError, TypeError
            If a series is shorter than the season, holds NaN, or has an irregular time index.
        """
        self._origins, self._is_panel = self._read(series)
        return self

    def predict(
        self, horizon: int | None = None, exog: Any = None, *, series: Any = None, past_exog: Any = None
    ) -> Any:
        """Forecast what follows the series of fit, or ``series``.

        Parameters
        ----------
        horizon : int, default=None
            Steps; None for the parameter's.
        exog, past_exog : ignored
        series : as in `fit`, default=None

        Returns
        -------
        forecast : array of shape (horizon, F), Series or DataFrame; list of such for a panel

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If the horizon is no whole number of at least 1, or `fit` would refuse the series.
        """
        check_is_fitted(self, "_origins")
        horizon = checked_horizon(horizon, self.horizon, None)
        origins, is_panel = (self._origins, self._is_panel) if series is None else self._read(series)
        forecasts = []
        for season, frame, times in origins:
            values = season[np.arange(horizon) % len(season)]
            index = None if times is None else times.after(horizon)
            forecasts.append(time_index.point_frame(values, frame, index))
        return forecasts if is_panel else forecasts[0]

    def _read(self, series):
        panel, is_panel = read_panel(series)
        origins = []
        for one, name in zip(panel, names_of("series", panel, is_panel), strict=True):
            if len(one.values) < self.season_length:
                raise ValueError(
                    f"{name} has {len(one.values)} time step(s), fewer than season_length={self.season_length}. Pass a "
                    "longer series or lower season_length."
                )
            frame = time_index.without_index(one.frame)
            origins.append((one.values[-self.season_length :].copy(), frame, time_index.read_time_index(one, name)))
        return origins, is_panel


def naive_error(values: NDArray, season_length: int = 1) -> NDArray:
    """Mean absolute change of rows (T, F) over a season, what scaled errors are relative to; NaN where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> naive_error(np.array([[1.0, 7.0], [3.0, 7.0], [2.0, 7.0]]))
    array([1.5, nan])
    """
    if len(values) <= season_length:
        return np.full(values.shape[1], np.nan)
    error = np.abs(values[season_length:] - values[:-season_length]).mean(axis=0)
    return np.where(error > 0, error, np.nan)
