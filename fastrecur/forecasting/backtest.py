"""How a forecaster would have done: forecasts of the past from what was known before each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import TimeSeriesSplit
from sklearn.utils import Bunch

from fastrecur.estimators.quantiles import check_quantiles, pinball_losses
from fastrecur.forecasting.naive import naive_error
from fastrecur.frames import kind_of_frame
from fastrecur.network.validation import check_count
from fastrecur.series import names_of, read_panel


def backtest(
    forecaster: Any,
    series: Any,
    exog: Any = None,
    *,
    n_splits: int = 5,
    horizon: int | None = None,
    season_length: int = 1,
    refit: bool = True,
    max_train_size: int | None = None,
) -> Bunch:
    """Forecast the last ``n_splits * horizon`` steps of a series, ``horizon`` at a time.

    Each split is fitted on what comes before it alone: no value, no scale and no choice of the network looks ahead
    (`sklearn.model_selection.TimeSeriesSplit`). Known inputs of a split's steps are passed to `predict`: they are
    known in advance by what they are.

    Parameters
    ----------
    forecaster : forecaster
        Of fastrecur, or any with ``fit(series, exog)``, ``predict(horizon, exog)`` and a parameter ``horizon``. It is
        cloned.
    series, exog
        As in its ``fit``. Each series of a panel is split at its own end.
    n_splits : int, default=5
        Forecasts.
    horizon : int, default=None
        Steps of each; None for the forecaster's parameter.
    season_length : int, default=1
        Of the seasonal naive forecast that `mase` is relative to.
    refit : bool, default=True
        Fit anew for each split. False: fit once, before the first one, and continue the longer series from there.
    max_train_size : int, default=None
        Steps to train on at most, the last ones.

    Returns
    -------
    result : Bunch
        ``truth``, ``predictions``: lists of ``n_splits`` parts as `predict` returns them, of a panel of lists;
        ``train_sizes`` (n_splits,), or (n_splits, n) of a panel; ``mae``, ``rmse``, ``mase`` (n_splits,): means over
        the steps, features and series of a split, MASE in units of the seasonal naive forecast's mean absolute error
        within the training part [1]_. If the forecaster has ``quantiles``, also ``quantiles``, the list of what
        `predict_quantiles` returns; ``pinball`` (n_splits,), the mean pinball loss; ``coverage`` (Q,), the share of the
        truth at or below each quantile, which should be its level.

    Raises
    ------
    ValueError, TypeError
        If the series is too short for the splits or for a season in each training part, a size is no whole number of
        at least 1, exog has other rows than the series, or a fit refuses it.

    References
    ----------
    .. [1] Hyndman and Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting
       22 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.forecasting import SeasonalNaive, backtest
    >>> series = np.tile([1.0, 3.0, 2.0], 20) + np.arange(60)
    >>> result = backtest(SeasonalNaive(season_length=3), series, n_splits=4, horizon=3, season_length=3)
    >>> result.mae, result.mase
    (array([3., 3., 3., 3.]), array([1., 1., 1., 1.]))
    """
    for name, value in (("n_splits", n_splits), ("season_length", season_length)):
        check_count(name, value)
    horizon = forecaster.horizon if horizon is None else horizon
    check_count("horizon", horizon)
    if max_train_size is not None:
        check_count("max_train_size", max_train_size)
    panel, is_panel = read_panel(series)
    given = list(series) if is_panel else [series]
    known = [None] * len(given) if exog is None else _known_parts(exog, given, is_panel)
    splits = _splits([len(one.values) for one in panel], n_splits, horizon, max_train_size, is_panel)
    _check_season(season_length, splits)
    levels = getattr(forecaster, "quantiles", None)
    levels = None if levels is None else check_quantiles(levels)
    result = _forecasts(clone(forecaster).set_params(horizon=horizon), given, known, splits, refit, is_panel)
    truth = [[one.values[b:e] for one, (b, e) in zip(panel, test, strict=True)] for _, test in splits]
    units = [
        [naive_error(one.values[b:e], season_length) for one, (b, e) in zip(panel, train, strict=True)]
        for train, _ in splits
    ]
    listed = [part if is_panel else [part] for part in result.predictions]
    result |= _mean_errors(listed, truth, units)
    if levels is not None:
        listed = [part if is_panel else [part] for part in result.quantiles]
        result |= _quantile_errors(listed, truth, levels)
    return result


def _forecasts(forecaster, given, known, splits, refit, is_panel):
    """Fit and forecast split by split: what each forecast was, and what came."""

    def cut(parts, bounds):
        """Rows of each series, a list where a panel was given."""
        if parts[0] is None:
            return None
        cuts = [_rows(part, *b) for part, b in zip(parts, bounds, strict=True)]
        return cuts if is_panel else cuts[0]

    result = Bunch(truth=[], predictions=[], train_sizes=[])
    if getattr(forecaster, "quantiles", None) is not None:
        result.quantiles = []
    fitted: Any = None
    for train, test in splits:
        past, known_ahead = {}, cut(known, test)
        if refit or fitted is None:
            fitted = clone(forecaster).fit(cut(given, train), cut(known, train))
        else:
            past = {"series": cut(given, train), "past_exog": cut(known, train)}
        sizes = [end - begin for begin, end in train]
        result.train_sizes.append(sizes if is_panel else sizes[0])
        result.truth.append(cut(given, test))
        result.predictions.append(fitted.predict(forecaster.horizon, known_ahead, **past))
        if "quantiles" in result:
            result.quantiles.append(fitted.predict_quantiles(forecaster.horizon, known_ahead, **past))
    result.train_sizes = np.array(result.train_sizes)
    return result


def _mean_errors(predictions: list, truth: list, units: list) -> dict[str, NDArray]:
    """Means over the steps, features and series of each split; of each the series stand in a list."""
    means: dict[str, list] = {"mae": [], "rmse": [], "mase": []}
    for predicted, came, unit in zip(predictions, truth, units, strict=True):
        errors = [_array(p, t.shape) - t for p, t in zip(predicted, came, strict=True)]
        means["mae"].append(np.mean([np.abs(e).mean() for e in errors]))
        means["rmse"].append(np.sqrt(np.mean([(e**2).mean() for e in errors])))
        means["mase"].append(np.mean([np.mean(np.abs(e) / u) for e, u in zip(errors, unit, strict=True)]))
    return {name: np.array(values) for name, values in means.items()}


def _quantile_errors(quantiles: list, truth: list, levels: NDArray) -> dict[str, NDArray]:
    """Mean pinball loss of each split, and the share of the truth at or below each quantile."""
    errors = [
        np.concatenate(
            [_array(q, (*t.shape, len(levels))) - t[..., np.newaxis] for q, t in zip(forecast, came, strict=True)]
        )
        for forecast, came in zip(quantiles, truth, strict=True)
    ]
    return {
        "pinball": np.array([pinball_losses(e, levels).mean() for e in errors]),
        "coverage": (np.concatenate(errors) >= 0).mean(axis=(0, 1)),
    }


def _check_season(season_length: int, splits: list) -> None:
    """A season must lie within the shortest training part."""
    shortest = min(end - begin for train, _ in splits for begin, end in train)
    if season_length >= shortest:
        raise ValueError(
            f"season_length={season_length} needs more steps to train on, for the error that mase is relative to, than "
            f"the {shortest} that a split has. Lower it or n_splits, or pass a longer series."
        )


def _known_parts(exog, given, is_panel):
    """Known inputs of each series."""
    try:
        known = list(exog) if is_panel else [exog]
        fit = len(known) == len(given) and all(len(k) == len(s) for k, s in zip(known, given, strict=True))
    except TypeError:  # a scalar has no rows
        fit = False
    if not fit:
        raise ValueError("exog must have one row for each time step of series, and of a panel one part a series.")
    return known


def _splits(lengths, n_splits, horizon, max_train_size, is_panel):
    """Of each split the bounds (begin, end) of the training and of the test part of each series."""
    parts = []
    for length, name in zip(lengths, names_of("series", lengths, is_panel), strict=True):
        if length <= n_splits * horizon:
            raise ValueError(
                f"{name} has {length} time step(s), but n_splits={n_splits} "
                f"forecasts of horizon={horizon} need more than {n_splits * horizon}. Lower one of them."
            )
        if n_splits == 1:
            folds = [(np.arange(length - horizon)[-(max_train_size or length) :], np.arange(length - horizon, length))]
        else:
            splitter = TimeSeriesSplit(n_splits, test_size=horizon, max_train_size=max_train_size)
            folds = list(splitter.split(np.empty((length, 1))))
        parts.append([tuple((int(rows[0]), int(rows[-1]) + 1) for rows in fold) for fold in folds])
    return [tuple(zip(*split, strict=True)) for split in zip(*parts, strict=True)]


def _rows(one: Any, begin: int, end: int) -> Any:
    if kind_of_frame(one) == "pandas":
        return one.iloc[begin:end]
    return one[begin:end]


def _array(predicted: Any, shape: tuple[int, ...]) -> NDArray:
    values = predicted if isinstance(predicted, np.ndarray) else predicted.to_numpy()
    return values.reshape(shape)
