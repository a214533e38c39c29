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
    shortest = min(end - begin for train, _ in splits for begin, end in train)
    if season_length >= shortest:
        raise ValueError(
            f"season_length={season_length} needs more steps to train on, for the error that mase is relative to, than "
            f"the {shortest} that a split has. Lower it or n_splits, or pass a longer series."
        )
    collect = (lambda parts: parts) if is_panel else (lambda parts: parts[0])

    def cut(parts, bounds):
        return None if parts[0] is None else collect([_rows(p, *b) for p, b in zip(parts, bounds, strict=True)])

    levels = getattr(forecaster, "quantiles", None)
    result = Bunch(truth=[], predictions=[], train_sizes=[], mae=[], rmse=[], mase=[])
    errors_of_quantiles: list[NDArray] = []
    if levels is not None:
        levels, result = check_quantiles(levels), Bunch(**result, quantiles=[], pinball=[])
    fitted: Any = None
    for train, test in splits:
        anew = refit or fitted is None
        if anew:
            fitted = clone(forecaster).set_params(horizon=horizon).fit(cut(given, train), cut(known, train))
        past = {} if anew else {"series": cut(given, train), "past_exog": cut(known, train)}
        result.train_sizes.append(collect([end - begin for begin, end in train]))
        result.truth.append(cut(given, test))
        result.predictions.append(fitted.predict(horizon, cut(known, test), **past))
        truth = [one.values[begin:end] for one, (begin, end) in zip(panel, test, strict=True)]
        units = [naive_error(one.values[b:e], season_length) for one, (b, e) in zip(panel, train, strict=True)]
        predicted = result.predictions[-1] if is_panel else result.predictions[-1:]
        for name, error in _mean_errors(predicted, truth, units).items():
            result[name].append(error)
        if levels is not None:
            result.quantiles.append(fitted.predict_quantiles(horizon, cut(known, test), **past))
            found = zip(result.quantiles[-1] if is_panel else result.quantiles[-1:], truth, strict=True)
            errors = np.concatenate([_array(q, (*t.shape, len(levels))) - t[..., np.newaxis] for q, t in found])
            result.pinball.append(pinball_losses(errors, levels).mean())
            errors_of_quantiles.append(errors)
    for name in ("train_sizes", "mae", "rmse", "mase", *(["pinball"] if levels is not None else [])):
        result[name] = np.array(result[name])
    if levels is not None:
        result.coverage = (np.concatenate(errors_of_quantiles) >= 0).mean(axis=(0, 1))
    return result


def _mean_errors(predicted: list, truth: list[NDArray], units: list[NDArray]) -> dict[str, np.floating]:
    """Means over the steps, features and series of a split."""
    errors = [_array(p, t.shape) - t for p, t in zip(predicted, truth, strict=True)]
    return {
        "mae": np.mean([np.abs(e).mean() for e in errors]),
        "rmse": np.sqrt(np.mean([(e**2).mean() for e in errors])),
        "mase": np.mean([np.mean(np.abs(e) / unit) for e, unit in zip(errors, units, strict=True)]),
    }


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
