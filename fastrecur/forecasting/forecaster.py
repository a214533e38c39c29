"""What the three forecasters share: `fit`, and the network and the linear part behind it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state

from fastrecur.estimators.quantiles import check_quantiles
from fastrecur.estimators.saving import Saved
from fastrecur.forecasting.arguments import check_length, read_known
from fastrecur.forecasting.linear import FEWEST, LinearAutoregression, cross_fitted
from fastrecur.forecasting.naive import naive_error
from fastrecur.forecasting.parameters import ForecasterParameters
from fastrecur.forecasting.prediction import SeriesPredictor
from fastrecur.forecasting.time_index import read_time_index
from fastrecur.forecasting.windows import all_windows, centre, network_inputs, origin_of, scale_of, wanted_scale
from fastrecur.series import names_of, read_panel, remember_names

#: Levels that a recursive forecast draws its paths between, besides those that are asked for.
PATH_LEVELS = (0.01, 0.025, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.975, 0.99)

#: Deviation below which what the linear part leaves is constant, and is not what a network makes of it.
_NOTHING = 1e-12


@dataclass(eq=False, repr=False, kw_only=True)
class Forecaster(SeriesPredictor, Saved, ForecasterParameters, BaseEstimator):
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
        indices = [read_time_index(one, name) for one, name in zip(panel, names, strict=True)]
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
        scales = [wanted_scale(one.values, name, self.scaling) for one, name in zip(panel, names, strict=True)]
        scaled = [scale.scaled(one.values) for scale, one in zip(scales, panel, strict=True)]
        windows = all_windows(scaled, known, self.window, span)
        network, linear, varies = self._trained(windows, levels, len(panel))
        origins = [
            origin_of(panel[i], scaled[i], None if known is None else known[i], scales[i], indices[i], int(self.window))
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
        self._naive_errors = np.stack([naive_error(one.values) for one in panel])
        return self

    def _remember_names(self, columns, exog_columns):
        self._fitted |= {"columns": columns, "exog_columns": exog_columns}
        remember_names(self, "feature_names_in_", columns)
        remember_names(self, "exog_names_in_", exog_columns)

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

    def _trained(self, windows, levels, n_series):
        history, known, targets = windows
        level = centre(history, self.scaling)
        history, targets = history - level, targets - level
        linear = None
        if self.linear and len(history) >= FEWEST:
            linear = LinearAutoregression.fitted(history, known, targets)
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
