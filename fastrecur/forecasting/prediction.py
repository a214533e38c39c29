"""What a fitted forecaster does: forecasts, and how good they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.quantiles import check_quantiles
from fastrecur.forecasting import time_index
from fastrecur.forecasting.arguments import (
    check_exog,
    check_features,
    check_index_ahead,
    check_length,
    checked_horizon,
    pairing,
    read_known,
)
from fastrecur.forecasting.linear import LinearAutoregression
from fastrecur.forecasting.time_index import read_time_index
from fastrecur.forecasting.windows import Origin, centre, network_inputs, origin_of, wanted_scale
from fastrecur.series import names_of, read_panel

#: Paths of a recursive forecast of quantiles.
N_PATHS = 500


class SeriesPredictor:
    """Prediction, from what `fit` of `fastrecur.forecasting.forecaster` has left."""

    network_: Any
    linear_: LinearAutoregression | None
    n_features_in_: int
    n_exog_: int
    n_series_: int

    #: Parameters as they were in fit, names of columns, the seed of the paths.
    _fitted: dict[str, Any]

    #: Levels (Q,) that the network learned, or None; the `Scale` of the known inputs, or None.
    _levels_fitted: Any
    _known_scale: Any

    #: Of each step and feature (H, F), whether the network had anything to learn.
    _varies: NDArray

    #: Where each series ended, and what scaled errors are relative to (n, F).
    _origins: list[Origin]
    _naive_errors: NDArray

    _is_panel: bool
    quantiles: Any

    def predict(self, horizon=None, exog=None, *, series=None, past_exog=None):
        """Forecast what follows the series.

        Parameters
        ----------
        horizon : int, default=None
            Steps to forecast; None for as many as ``horizon`` was in fit. With ``strategy="direct"`` no more than that.
        exog : array (horizon,) or (horizon, E), Series or DataFrame; list of such, default=None
            The known inputs of the steps to come, where fit saw some. ``strategy="direct"`` reads those of all steps
            that it was fitted for, even if fewer are asked for.
        series : as in `fit`, default=None
            What to continue instead of the series of fit, with the same features. After a fit on one series: a longer
            version of that, whose scale is kept. Of other series fit a panel: each is then taken in its own scale.
            Nothing is learned from it.
        past_exog : as exog of `fit`, default=None
            The known inputs beside ``series``.

        Returns
        -------
        forecast : array of shape (horizon, F), Series or DataFrame; list of such for a panel
            The mean, or with ``quantiles`` the median. For a pandas series with its index continued.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If the horizon is beyond what was fitted, known inputs are missing, of another length or other times,
            series is shorter than the window, or columns of data frames differ from those of fit.

        Examples
        --------
        A holiday that is known in advance doubles the sales:

        >>> import numpy as np
        >>> from fastrecur import GRUForecaster
        >>> holiday = np.random.default_rng(0).random(207) < 0.2
        >>> sales = np.where(holiday, 20.0, 10.0)
        >>> forecaster = GRUForecaster(14, 7, tol=1e-2, random_state=0).fit(sales[:200], exog=holiday[:200])
        >>> forecast = forecaster.predict(exog=holiday[200:])
        >>> forecast.shape, bool(np.abs(forecast[:, 0] - sales[200:]).max() < 1)
        ((7, 1), True)
        """
        check_is_fitted(self, "network_")
        origins, values = self._forecast(horizon, exog, series, past_exog, self._points)
        return self._laid_out(origins, values, time_index.point_frame)

    def predict_quantiles(self, horizon=None, exog=None, *, series=None, past_exog=None):
        """Forecast the quantiles of what follows the series; they never cross.

        Parameters
        ----------
        horizon, exog, series, past_exog
            As in `predict`.

        Returns
        -------
        forecast : array of shape (horizon, F, Q) or DataFrame; list of such for a panel
            Of a pandas Series a column for each of ``quantiles``, of a DataFrame one for each feature and quantile.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As `predict`; or if the forecaster was fitted with ``quantiles=None``.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrecur import GRUForecaster
        >>> noise = np.random.default_rng(0).normal(size=300)
        >>> forecaster = GRUForecaster(4, quantiles=[0.1, 0.9], scaling="series", tol=1e-2, random_state=0).fit(noise)
        >>> forecaster.predict_quantiles().shape  # (horizon, F, Q)
        (1, 1, 2)
        """
        if self._is_of_means():
            raise ValueError("predict_quantiles needs a forecaster fitted with quantiles, such as [0.1, 0.5, 0.9].")
        levels = self._asked_levels()

        def quantiles(origins, known, horizon):
            return self._values(origins, known, horizon, levels)

        origins, values = self._forecast(horizon, exog, series, past_exog, quantiles)

        def laid_out(values, frame, index):
            return time_index.quantile_frame(values, levels, frame, index)

        return self._laid_out(origins, values, laid_out)

    def _is_of_means(self):
        check_is_fitted(self, "network_")
        return self._levels_fitted is None

    def _asked_levels(self):
        levels = check_quantiles(self._fitted["quantiles"] if self.quantiles is None else self.quantiles)
        fitted = self._levels_fitted
        if np.abs(levels[:, np.newaxis] - fitted).min(axis=1).max() > 1e-9:
            raise ValueError(f"quantiles={levels.tolist()} were not fitted, but {fitted.tolist()}. Fit again.")
        return levels

    def score(self, series, exog=None):
        """Score the forecasts of what came after the series of fit: 0 if they were right, the lower the worse.

        The score is minus the mean absolute error in units of the mean absolute change from step to step in the series
        of fit (MASE [1]_): at -1 the forecasts are as far off as repeating the last value was there, one step ahead.
        R^2 would be relative to the mean of the few steps that are scored, which none knew before.

        ``horizon`` steps are forecast at a time, each time from what came before them, the first ones from the series
        of fit; the last forecast begins earlier where fewer steps are left. With
        ``sklearn.model_selection.TimeSeriesSplit(n_splits, test_size=horizon)`` for ``cv``, `GridSearchCV` and its kind
        compare parameters without looking ahead, as `fastrecur.forecasting.backtest` does.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such where fit saw a panel
            What came after each series of fit, one step and more.
        exog : array (T,) or (T, E), Series or DataFrame; list of such, default=None
            The known inputs beside it, where fit saw some. ``strategy="direct"`` needs ``horizon`` steps of them.

        Returns
        -------
        score : float
            The mean over steps, features and series. Features that never changed in fit are left out; NaN if all are.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If these are other series than those of fit, their index does not go on where that ended, or known inputs
            are missing or of another length.

        References
        ----------
        .. [1] Hyndman and Koehler, "Another look at measures of forecast accuracy", International Journal of
           Forecasting 22 (2006).
        """
        check_is_fitted(self, "network_")
        panel, is_panel = read_panel(series)
        if (len(panel), is_panel) != (self.n_series_, self._is_panel):
            wanted = f"a list of the {self.n_series_} series" if self._is_panel else "the one series"
            found = f"a list of {len(panel)}" if is_panel else "one"
            raise ValueError(
                f"series must be what came after {wanted} of fit, found {found}. To split a panel in "
                "time, use fastrecur.forecasting.backtest."
            )
        names = names_of("series", panel, is_panel)
        check_features(panel, self.n_features_in_, self._fitted["columns"], names[0])
        for one, origin, name in zip(panel, self._origins, names, strict=True):
            check_index_ahead(one, origin.index, name, "what came at the times")
        known = self._read_known_of_score(exog, panel, is_panel, names)
        scaled_errors = [
            np.abs(self._rolling_forecast(origin, one.values, rows) - one.values).mean(axis=0) / unit
            for origin, one, rows, unit in zip(self._origins, panel, known, self._naive_errors, strict=True)
        ]
        defined = np.concatenate(scaled_errors)
        defined = defined[~np.isnan(defined)]
        return -float(defined.mean()) if len(defined) else float("nan")

    def _read_known_of_score(self, exog, panel, is_panel, names):
        """Scaled known inputs beside each series, None where fit saw none."""
        if (exog is not None) != (self.n_exog_ > 0):
            remedy = "is needed" if self.n_exog_ else "must be None"
            raise ValueError(f"fit saw {self.n_exog_} known input(s), so that exog, those beside series, {remedy}.")
        if exog is None:
            return [None] * len(panel)
        known = read_known(exog, panel, is_panel, names, "exog")
        check_exog(known, self.n_exog_, self._fitted["exog_columns"], "exog")
        for rows, name in zip(known, names_of("exog", known, is_panel), strict=True):
            if len(rows.values) < self._fitted["span"]:
                raise ValueError(
                    f"{name} has {len(rows.values)} row(s), but strategy='direct' was fitted for "
                    f"{self._fitted['span']} step(s) and reads the known inputs of all of them. Score as many or more."
                )
        return [self._known_scale.scaled(rows.values) for rows in known]

    def _rolling_forecast(self, origin, values, known):
        """Point forecasts (T, F) of what came after an origin, ``horizon`` at a time, each from what came before."""
        horizon, window = self._fitted["horizon"], self._fitted["window"]
        whole = np.concatenate([origin.history, origin.scale.scaled(values)])
        known = None if known is None else np.concatenate([origin.known, known])
        forecast = np.empty_like(values)
        for begin in range(0, len(values), horizon):
            start = max(0, min(begin, len(values) - horizon))
            steps = min(horizon, len(values) - start)
            here = replace(origin, history=whole[start : start + window])
            rows = None if known is None else known[np.newaxis, start : start + window - 1 + steps]
            forecast[start : start + steps][begin - start :] = self._points([here], rows, steps)[0, begin - start :]
        return forecast

    def _forecast(self, horizon, exog, series, past_exog, forecast):
        """Origins, and what ``forecast`` (`_points`, `_quantiles`) makes of what the caller gave."""
        span = self._fitted["span"]
        most = span if self._fitted["strategy"] == "direct" else None
        horizon = checked_horizon(horizon, self._fitted["horizon"], most)
        origins, is_panel = self._read_origins(series, past_exog)
        known = self._read_future(exog, origins, is_panel, max(horizon, span))
        return (origins, is_panel), forecast(origins, known, horizon)

    def _points(self, origins, known, horizon):
        """Means or medians that follow origins, (n, horizon, F)."""
        if self._is_of_means():
            return self._values(origins, known, horizon, None)
        return self._values(origins, known, horizon, [0.5])[..., 0]

    def _values(self, origins, known, horizon, levels):
        """Means (n, horizon, F) that follow origins, or quantiles (n, horizon, F, Q), beside scaled known inputs."""
        history = np.stack([origin.history for origin in origins])
        if self._fitted["strategy"] == "direct":
            values = self._next(history, known)[:, :horizon]
            if levels is not None:
                values = values[..., [np.abs(self._levels_fitted - level).argmin() for level in levels]]
        elif levels is None:
            values = self._path(history, known, horizon, lambda values: values)
        else:
            values = self._quantiles_of_paths(history, known, horizon, levels)
        deviation, mean = (np.stack([getattr(o.scale, name) for o in origins]) for name in ("deviation", "mean"))
        shape = (len(origins), 1, -1) + (1,) * (levels is not None)
        return values * deviation.reshape(shape) + mean.reshape(shape)

    def _next(self, history, known):
        """What follows scaled windows (n, window, F), in one go of the network: (n, H, F[, Q])."""
        n, _, n_features = history.shape
        level = centre(history, self._fitted["scaling"])
        inside = history - level
        outputs = self.network_.predict(network_inputs(inside, known))
        base = level if self.linear_ is None else level + self.linear_.predict(inside, known)
        if self._levels_fitted is None:
            return base + self._varies * outputs.reshape(n, -1, n_features)
        outputs = outputs.reshape(n, -1, n_features, len(self._levels_fitted))
        return base[..., np.newaxis] + self._varies[..., np.newaxis] * outputs

    def _path(self, history, known, horizon, choose):
        """Step by step, each with the last ones for history: what ``choose`` makes of the network's output, (n, F)."""
        window, values = history.shape[1], []
        for step in range(horizon):
            here = None if known is None else known[:, step : step + window]
            values.append(choose(self._next(history, here)[:, 0]))
            history = np.concatenate([history[:, 1:], values[-1][:, np.newaxis]], axis=1)
        return np.stack(values, axis=1)

    def _quantiles_of_paths(self, history, known, horizon, levels):
        """Quantiles, at each step, of paths that are drawn step by step from the network's own quantiles."""
        random_state, n = check_random_state(self._fitted["seed"]), len(history)

        def drawn(quantiles):
            u = random_state.uniform(size=quantiles.shape[:2])
            return _interpolated(u, self._levels_fitted, quantiles)

        history = np.repeat(history, N_PATHS, axis=0)
        known = None if known is None else np.repeat(known, N_PATHS, axis=0)
        paths = self._path(history, known, horizon, drawn)
        return np.moveaxis(np.quantile(paths.reshape(n, N_PATHS, horizon, -1), levels, axis=1), 0, -1)

    # --- what the caller hands to predict ----------------------------------------------------------------------------

    def _read_origins(self, series, past_exog):
        if series is None:
            if past_exog is not None:
                raise ValueError(
                    "past_exog goes with series, the history to continue. Pass the inputs to come as exog."
                )
            return self._origins, self._is_panel
        panel, is_panel = read_panel(series)
        names = names_of("series", panel, is_panel)
        check_features(panel, self.n_features_in_, self._fitted["columns"], names[0])
        window = self._fitted["window"]
        for one, name in zip(panel, names, strict=True):
            check_length(len(one.values), name, window, 0)
        if (past_exog is not None) != (self.n_exog_ > 0):
            raise ValueError(
                f"fit saw {self.n_exog_} known input(s), so that past_exog, those beside series, "
                f"{'is needed' if self.n_exog_ else 'must be None'}."
            )
        fitted = self._origins if len(panel) == self.n_series_ else self._origins[:1] * len(panel)
        indices = [
            read_time_index(one, name, origin.index) for one, name, origin in zip(panel, names, fitted, strict=True)
        ]
        known: list = [None] * len(panel)
        if past_exog is not None:
            read = read_known(past_exog, panel, is_panel, names, "past_exog")
            check_exog(read, self.n_exog_, self._fitted["exog_columns"], "past_exog")
            known = [self._known_scale.scaled(rows.values[-window:]) for rows in read]
        origins = []
        for one, name, index, rows in zip(panel, names, indices, known, strict=True):
            # One series of fit: it is taken for the same one, longer. Of several, each has its own scale.
            if self.n_series_ == len(panel) == 1:
                scale = self._origins[0].scale
            else:
                scale = wanted_scale(one.values, name, self._fitted["scaling"])
            origins.append(origin_of(one, scale.scaled(one.values[-window:]), rows, scale, index, window))
        return origins, is_panel

    def _read_future(self, exog, origins, is_panel, steps):
        """Known inputs from the second step of the windows to the end of the horizon, (n, window - 1 + steps, E)."""
        if not self.n_exog_:
            if exog is not None:
                raise ValueError("fit saw no exog, so that predict can use none. Fit with exog, or leave it out.")
            return None
        if exog is None:
            raise ValueError(
                f"fit saw {self.n_exog_} known input(s): predict needs exog, their values at the {steps} step(s) to "
                "come."
            )
        future, exog_is_panel = read_panel(exog, "exog")
        if (len(future), exog_is_panel) != (len(origins), is_panel):
            raise ValueError(pairing("exog", future, exog_is_panel, len(origins), is_panel))
        names = names_of("exog", future, is_panel)
        for one, origin, name in zip(future, origins, names, strict=True):
            if len(one.values) != steps:
                why = ", which strategy='direct' was fitted for" if self._fitted["span"] > 1 else ""
                raise ValueError(
                    f"{name} has {len(one.values)} row(s), but {steps} step(s) are to be forecast. Pass the known "
                    f"inputs of exactly these steps{why}."
                )
            check_index_ahead(one, origin.index, name, "the known inputs")
        check_exog(future, self.n_exog_, self._fitted["exog_columns"], "exog")
        scaled = self._known_scale.scaled(np.stack([one.values for one in future]))
        return np.concatenate([np.stack([origin.known for origin in origins]), scaled], axis=1)

    def _laid_out(self, origins, values, container):
        origins, is_panel = origins
        forecasts = []
        for origin, one in zip(origins, values, strict=True):
            index = None if origin.index is None else origin.index.after(len(one))
            forecasts.append(container(one.astype(np.float32 if origin.single else np.float64), origin.frame, index))
        return forecasts if is_panel else forecasts[0]


def _interpolated(u, levels, quantiles):
    """Quantiles at levels u (n, F), linear between ``levels`` (Q,), constant beyond them; of quantiles (n, F, Q)."""
    u = np.clip(u, levels[0], levels[-1])
    upper = np.clip(np.searchsorted(levels, u), 1, len(levels) - 1)
    below, above = (np.take_along_axis(quantiles, k[..., np.newaxis], axis=2)[..., 0] for k in (upper - 1, upper))
    share = (u - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
    return below + share * (above - below)
