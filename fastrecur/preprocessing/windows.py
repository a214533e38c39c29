"""`SlidingWindow`: a series as windows, each with the values that follow."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.parameters import Count
from fastrecur.series import check_columns, names_of, read_panel, remember_names, rolling


class SlidingWindow(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn a series into (X, y) pairs: ``window`` values in a row, and the ``horizon`` values after them.

    `transform` returns both, as the pairs that the ``fit`` of a regressor takes; the number of pairs is not that of the
    time steps, which is why this is no step of a `Pipeline`. No value of a y is in its X, and none before it is missed.

    Parameters
    ----------
    window : int, default=24
        Time steps of each X.
    horizon : int, default=1
        Time steps of each y.
    step : int, default=1
        Time steps from the beginning of one window to that of the next.

    Attributes
    ----------
    n_features_in_ : int
        F, 1 for a series (T,).
    feature_names_in_ : ndarray of shape (F,)
        Names of the features, where fit saw a DataFrame with such.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.preprocessing import SlidingWindow
    >>> X, y = SlidingWindow(window=3, horizon=2).fit_transform(np.arange(7))
    >>> X
    array([[0., 1., 2.],
           [1., 2., 3.],
           [2., 3., 4.]])
    >>> y
    array([[3., 4.],
           [4., 5.],
           [5., 6.]])
    """

    _parameter_constraints: ClassVar[dict] = {name: [Count()] for name in ("window", "horizon", "step")}

    def __init__(self, window: int = 24, horizon: int = 1, step: int = 1) -> None:
        self.window = window
        self.horizon = horizon
        self.step = step

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, series: Any, y: None = None) -> SlidingWindow:
        """Check a series and remember its number of features; nothing else is learned.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such
            One series, or several of any lengths with the same features.
        y : None
            Ignored.

        Returns
        -------
        SlidingWindow
            The fitted object itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter will not do, or the series is shorter than window + horizon, or holds no numbers.
        """
        panel, is_panel = read_panel(series)
        for one, place in zip(panel, names_of("series", panel, is_panel), strict=True):
            self._check_length(one, place)
        self.n_features_in_, self._columns = panel[0].values.shape[1], panel[0].columns
        remember_names(self, "feature_names_in_", self._columns)
        return self

    def transform(self, series: Any) -> tuple[NDArray, NDArray]:
        """Windows and what follows them.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such

        Returns
        -------
        X : array of shape (n, window) or (n, window, F)
            The former where the series has the shape (T,). Those of a list stand one series after the other.
        y : array of shape (n, horizon) or (n, horizon, F)
            Without the axis of the horizon where that is 1: (n,) or (n, F).

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If a series is shorter than window + horizon, has other features than in fit, or holds no numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.linear_model import Ridge
        >>> from fastrecur.preprocessing import SlidingWindow
        >>> windows = SlidingWindow(window=12, horizon=3)
        >>> series = np.sin(np.arange(100) * np.pi / 6)
        >>> X, y = windows.fit_transform(series)
        >>> model = Ridge(alpha=1e-6).fit(X, y)
        >>> model.predict(windows.last_window(series)).round(3)
        array([[0.866, 0.5  , 0.   ]])
        """
        panel, names = self._checked(series)
        length, X, y = self.window + self.horizon, [], []
        for one, place in zip(panel, names, strict=True):
            self._check_length(one, place)
            pairs = rolling(one.values, length)[:: self.step]
            X.append(pairs[:, : self.window])
            y.append(pairs[:, self.window :])
        return self._laid_out(panel, X), self._without_unit_horizon(self._laid_out(panel, y))

    def fit_transform(self, series: Any, y: None = None) -> tuple[NDArray, NDArray]:
        """Fit, and transform the same series: see `transform`.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such
        y : None
            Ignored.

        Returns
        -------
        X, y : arrays

        Raises
        ------
        ValueError, TypeError
            As `fit`.
        """
        return self.fit(series).transform(series)

    def last_window(self, series: Any) -> NDArray:
        """Return the X whose y is still to come: the last ``window`` values of each series.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of n such

        Returns
        -------
        X : array of shape (n, window) or (n, window, F)
            n is 1 for one series.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If a series is shorter than the window, has other features than in fit, or holds no numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrecur.preprocessing import SlidingWindow
        >>> SlidingWindow(window=3).fit(np.arange(7)).last_window(np.arange(7))
        array([[4., 5., 6.]])
        """
        panel, names = self._checked(series)
        for one, place in zip(panel, names, strict=True):
            if len(one.values) < self.window:
                raise ValueError(
                    f"{place} has {len(one.values)} time step(s), fewer than window={self.window}. Pass a longer one "
                    "or lower window."
                )
        return self._laid_out(panel, [one.values[np.newaxis, -self.window :] for one in panel])

    def series_of_windows(self, series: Any) -> NDArray[np.int64]:
        """Return which series of a list each pair of `transform` comes from, for ``groups`` of a cross-validation.

        Parameters
        ----------
        series : array (T,) or (T, F), Series or DataFrame; list of such

        Returns
        -------
        index : int64 array of shape (n,)

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If a series has other features than in fit, or holds no numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrecur.preprocessing import SlidingWindow
        >>> panel = [np.arange(5), np.arange(4)]
        >>> SlidingWindow(window=3).fit(panel).series_of_windows(panel)
        array([0, 0, 1])
        """
        panel, _ = self._checked(series)
        length = self.window + self.horizon
        counts = [max(0, -(-(len(one.values) - length + 1) // self.step)) for one in panel]
        return np.repeat(np.arange(len(panel)), counts)

    def _checked(self, series):
        check_is_fitted(self, "n_features_in_")
        panel, is_panel = read_panel(series)
        if panel[0].values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"series does not match: X has {panel[0].values.shape[1]} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input. Pass the features that fit saw."
            )
        names = names_of("series", panel, is_panel)
        check_columns(panel[0], self._columns, names[0])
        return panel, names

    def _check_length(self, one, place):
        n = len(one.values)
        if n < self.window + self.horizon:
            raise ValueError(
                f"{place} has {n} time step(s) (n_samples={n}), but window={self.window} and "
                f"horizon={self.horizon} need {self.window + self.horizon}. Pass a longer series, or lower one of them."
            )

    def _laid_out(self, panel, parts):
        whole = np.concatenate(parts)
        if all(one.single for one in panel):
            whole = whole.astype(np.float32)
        return whole[:, :, 0] if all(one.scalar for one in panel) else whole

    def _without_unit_horizon(self, y):
        return y[:, 0] if self.horizon == 1 else y
