"""What the three forecasters share: `fit`, `predict`, `predict_quantiles`."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.quantiles import check_quantiles
from fastrecur.forecasting import time_index
from fastrecur.forecasting.arguments import (
    check_known_index,
    check_length,
    checked_horizon,
    names_of,
    pairing,
    read_known,
)
from fastrecur.forecasting.linear import FEWEST, LinearAutoregression, cross_fitted
from fastrecur.forecasting.parameters import ForecasterParameters
from fastrecur.forecasting.time_index import read_times
from fastrecur.forecasting.windows import Origin, all_windows, network_inputs, scale_of, unit_scale
from fastrecur.series import are_names, check_columns, read_panel

#: Levels that a recursive forecast draws its paths between, besides those that are asked for.
PATH_LEVELS = (0.01, 0.025, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.975, 0.99)

#: Deviation below which what the linear part leaves is constant, and is not what a network makes of it.
_NOTHING = 1e-12

#: Paths of a recursive forecast of quantiles.
N_PATHS = 500


@dataclass(eq=False, repr=False, kw_only=True)
class Forecaster(ForecasterParameters, BaseEstimator):
    """Base of the forecasters; the network's class comes from the subclasses."""

    _network_class: ClassVar[Any]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, series, exog=None):
        """Train on one series, or on several as one network.

        Parameters
        ----------
        series : array (T,) or (T, F), pandas or polars Series or DataFrame; list of such
            One series, or a panel of series of any lengths with the same F features.
        exog : array (T,) or (T, E), Series or DataFrame; list of such, default=None
            Inputs that are known in advance (calendar, prices, plans), one row for each row of the series.

        Returns
        -------
        self : forecaster

        Raises
        ------
        ValueError, TypeError
            If a parameter will not do; a series is shorter than window + horizon, holds NaN or numbers whose deviation
            overflows, or has an irregular time index; exog has another length or another index than the series.
            Nothing has been changed then.

        Warns
        -----
        ConvergenceWarning
            If the loss was still falling after ``max_iter`` epochs.
        """
        panel, is_panel = read_panel(series)
        names = names_of("series", panel, is_panel)
        times = [read_times(one, name) for one, name in zip(panel, names, strict=True)]
        known = None if exog is None else read_known(exog, panel, is_panel, names, "exog")
        levels = self._levels()
        span = self._span
        for one, name in zip(panel, names, strict=True):
            check_length(len(one.values), name, self.window, span)
        known_scale: Any = None
        known_columns = None
        if known is not None:
            known_columns = known[0].columns
            known_scale = scale_of(np.concatenate([rows.values for rows in known]), "exog")
            known = [known_scale.scaled(rows.values) for rows in known]
        scales = [self._scale_of(one.values, name) for one, name in zip(panel, names, strict=True)]
        scaled = [scale.scaled(one.values) for scale, one in zip(scales, panel, strict=True)]
        windows = all_windows(scaled, known, self.window, span)
        network, linear, varies = self._trained(windows, levels, len(panel))
        origins = [
            self._origin(panel[i], scaled[i], None if known is None else known[i], scales[i], times[i])
            for i in range(len(panel))
        ]
        self.network_, self.linear_, self._varies = network, linear, varies
        self.n_features_in_ = panel[0].values.shape[1]
        self.n_exog_ = 0 if known is None else known[0].shape[1]
        self.n_series_ = len(panel)
        # Parameters as they were: what is set afterwards is for the next fit.
        self._fitted = {"window": int(self.window), "span": span, "strategy": self.strategy, "scaling": self.scaling}
        self._fitted |= {"horizon": int(self.horizon), "seed": self._seed_of_paths()}
        self._fitted["quantiles"] = None if levels is None else check_quantiles(self.quantiles).tolist()
        self._remember_names(panel[0].columns, known_columns)
        self._levels_fitted, self._known_scale = levels, known_scale
        self._origins, self._is_panel = origins, is_panel
        return self

    def _remember_names(self, columns, exog_columns):
        self._fitted |= {"columns": columns, "exog_columns": exog_columns}
        for attribute, names in (("feature_names_in_", columns), ("exog_names_in_", exog_columns)):
            if are_names(names):
                setattr(self, attribute, np.array(names, dtype=object))
            elif hasattr(self, attribute):  # of a fit before
                delattr(self, attribute)

    # --- training ----------------------------------------------------------------------------------------------------

    @property
    def _span(self):
        """H of the network: steps that it predicts at once."""
        return 1 if self.strategy == "recursive" else int(self.horizon)

    def _levels(self):
        """Levels that the network learns: those asked for, the median, and for paths some between."""
        if self.quantiles is None:
            return None
        more = (0.5, *PATH_LEVELS) if self.strategy == "recursive" else (0.5,)
        levels = np.union1d(check_quantiles(self.quantiles), more)
        # 0.3 and 3 / 10 may differ in the last bit; what was asked for is kept.
        return levels[np.r_[True, np.diff(levels) > 1e-9]]

    def _seed_of_paths(self):
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _scale_of(self, values, name):
        scale = scale_of(values, name)
        return unit_scale(values.shape[1]) if self.scaling is None else scale

    def _trained(self, windows, levels, n_series):
        history, known, targets = windows
        centre = _centre(history, self.scaling)
        history, targets = history - centre, targets - centre
        linear = None
        if self.linear and len(history) >= FEWEST:
            linear = LinearAutoregression(history, known, targets)
            targets = targets - cross_fitted(history, known, targets)
        network = self._network(levels, (targets.shape[1] - 1) * n_series)
        if not network.keeps_enough(len(history)):
            network.set_params(early_stopping=False)
        network.fit(network_inputs(history, known), targets.reshape(len(targets), -1))
        return network, linear, targets.std(axis=0) > _NOTHING

    def _network(self, levels, gap):
        names = set(self._network_class._get_param_names()) - {"quantiles", "gap"}
        parameters = {name: getattr(self, name) for name in names}
        parameters |= {"quantiles": None if levels is None else levels.tolist(), "gap": gap}
        if self.warm_start and hasattr(self, "network_"):
            return deepcopy(self.network_).set_params(**parameters)
        return self._network_class(**parameters)

    def _origin(self, series, scaled, known, scale, times):
        window = int(self.window)
        return Origin(
            history=scaled[-window:].copy(),
            known=None if known is None else known[len(known) - window + 1 :].copy(),
            scale=scale,
            times=times,
            frame=time_index.without_index(series.frame),
            single=series.single,
        )

    # --- forecasts ---------------------------------------------------------------------------------------------------

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
        """
        origins, values = self._forecast(horizon, exog, series, past_exog, None if self._is_of_means() else [0.5])
        values = values if self._is_of_means() else values[..., 0]
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
        """
        if self._is_of_means():
            raise ValueError("predict_quantiles needs a forecaster fitted with quantiles, such as [0.1, 0.5, 0.9].")
        levels = self._asked_levels()
        origins, values = self._forecast(horizon, exog, series, past_exog, levels)

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

    def _forecast(self, horizon, exog, series, past_exog, levels):
        """Origins, and forecasts (n, horizon, F), or of quantiles (n, horizon, F, Q)."""
        direct, span = self._fitted["strategy"] == "direct", self._fitted["span"]
        horizon = checked_horizon(horizon, self._fitted["horizon"], span if direct else None)
        origins, is_panel = self._read_origins(series, past_exog)
        steps = max(horizon, span)
        known = self._read_future(exog, origins, is_panel, steps)
        history = np.stack([origin.history for origin in origins])
        if direct:
            values = self._next(history, known)[:, :horizon]
            if levels is not None:
                values = values[..., [np.abs(self._levels_fitted - level).argmin() for level in levels]]
        elif levels is None:
            values = self._path(history, known, horizon, lambda values: values)
        else:
            values = self._quantiles_of_paths(history, known, horizon, levels)
        deviation, mean = (np.stack([getattr(o.scale, name) for o in origins]) for name in ("deviation", "mean"))
        shape = (len(origins), 1, -1) + (1,) * (levels is not None)
        return (origins, is_panel), values * deviation.reshape(shape) + mean.reshape(shape)

    def _next(self, history, known):
        """What follows scaled windows (n, window, F), in one go of the network: (n, H, F[, Q])."""
        n, _, n_features = history.shape
        centre = _centre(history, self._fitted["scaling"])
        inside = history - centre
        outputs = self.network_.predict(network_inputs(inside, known))
        base = centre if self.linear_ is None else centre + self.linear_.predict(inside, known)
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
        if panel[0].values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"series has {panel[0].values.shape[1]} feature(s), but fit saw {self.n_features_in_}. Pass the same."
            )
        check_columns(panel[0], self._fitted["columns"], names[0])
        window = self._fitted["window"]
        for one, name in zip(panel, names, strict=True):
            check_length(len(one.values), name, window, 0)
        if (past_exog is not None) != (self.n_exog_ > 0):
            raise ValueError(
                f"fit saw {self.n_exog_} known input(s), so that past_exog, those beside series, "
                f"{'is needed' if self.n_exog_ else 'must be None'}."
            )
        fitted = self._origins if len(panel) == self.n_series_ else self._origins[:1] * len(panel)
        times = [read_times(one, name, origin.times) for one, name, origin in zip(panel, names, fitted, strict=True)]
        known = None if past_exog is None else read_known(past_exog, panel, is_panel, names, "past_exog")
        if known is not None:
            self._check_exog(known, "past_exog")
            known = [self._known_scale.scaled(rows.values) for rows in known]
        origins = []
        for i, one in enumerate(panel):
            # One series of fit: it is taken for the same one, longer. Of several, each has its own scale.
            scale = (
                self._origins[0].scale if self.n_series_ == len(panel) == 1 else self._scale_of(one.values, names[i])
            )
            rows = None if known is None else known[i][-window:]
            origins.append(self._origin(one, scale.scaled(one.values[-window:]), rows, scale, times[i]))
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
                raise ValueError(
                    f"{name} has {len(one.values)} row(s), but {steps} step(s) are to be forecast. Pass the known "
                    f"inputs of exactly these steps{', which strategy=direct was fitted for' * (self._span > 1)}."
                )
            check_known_index(one, origin.times, steps, name)
        self._check_exog(future, "exog")
        scaled = self._known_scale.scaled(np.stack([one.values for one in future]))
        return np.concatenate([np.stack([origin.known for origin in origins]), scaled], axis=1)

    def _check_exog(self, known, name):
        n = known[0].values.shape[1]
        if n != self.n_exog_:
            raise ValueError(f"{name} has {n} column(s), but in fit exog had {self.n_exog_}.")
        check_columns(known[0], self._fitted["exog_columns"], name)

    def _laid_out(self, origins, values, container):
        origins, is_panel = origins
        forecasts = []
        for origin, one in zip(origins, values, strict=True):
            index = None if origin.times is None else origin.times.after(len(one))
            forecasts.append(container(one.astype(np.float32 if origin.single else np.float64), origin.frame, index))
        return forecasts if is_panel else forecasts[0]


def _centre(history, scaling):
    """What windows (n, window, F) are relative to, (n, 1, F)."""
    if scaling == "window":
        return history.mean(axis=1, keepdims=True)
    return np.zeros((len(history), 1, history.shape[2]))


def _interpolated(u, levels, quantiles):
    """Quantiles at levels u (n, F), linear between ``levels`` (Q,), constant beyond them; of quantiles (n, F, Q)."""
    u = np.clip(u, levels[0], levels[-1])
    upper = np.clip(np.searchsorted(levels, u), 1, len(levels) - 1)
    below, above = (np.take_along_axis(quantiles, k[..., np.newaxis], axis=2)[..., 0] for k in (upper - 1, upper))
    share = (u - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
    return below + share * (above - below)
