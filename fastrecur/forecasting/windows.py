"""Series as what the network reads: scaled windows, with the inputs known in advance beside and behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrecur.forecasting.time_index import TimeIndex, without_index
from fastrecur.series import Frame, Series, rolling


class Scale(NamedTuple):
    """Mean and standard deviation of each feature of a series, (F,)."""

    mean: NDArray
    deviation: NDArray

    def scaled(self, values: NDArray) -> NDArray:
        """Return values (..., F) with the mean 0 and the deviation 1."""
        return (values - self.mean) / self.deviation

    def restored(self, values: NDArray) -> NDArray:
        """Undo `scaled`."""
        return values * self.deviation + self.mean


def scale_of(values: NDArray, name: str) -> Scale:
    """Return the scale of rows (T, F); the deviation of a constant feature is 1.

    Raises
    ------
    ValueError
        If the numbers are so large that their deviation overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = values.mean(axis=0), values.std(axis=0)
    bad = ~(np.isfinite(mean) & np.isfinite(deviation))
    if bad.any():
        feature = int(bad.argmax())
        raise ValueError(
            f"Feature {feature} of {name} has values up to {np.abs(values[:, feature]).max():.3g}, whose standard "
            "deviation overflows. Divide them by a constant first."
        )
    constant = deviation <= 10 * np.finfo(float).eps * np.abs(mean)
    return Scale(mean, np.where(constant, 1.0, deviation))


def wanted_scale(values: NDArray, name: str, scaling: str | None) -> Scale:
    """Return what ``scaling`` of a forecaster makes of rows (T, F): `scale_of`, or for None what changes nothing."""
    scale = scale_of(values, name)
    return Scale(np.zeros_like(scale.mean), np.ones_like(scale.deviation)) if scaling is None else scale


def centre(history: NDArray, scaling: str | None) -> NDArray:
    """Return what windows (n, window, F) are relative to, (n, 1, F)."""
    if scaling == "window":
        return history.mean(axis=1, keepdims=True)
    return np.zeros((len(history), 1, history.shape[2]))


@dataclass
class Origin:
    """Where a series ends and its forecast begins.

    ``history`` (window, F): the last values, scaled; ``known`` (window - 1, E): the inputs beside all but the first of
    them, scaled, or None; ``scale``: of the series; ``index`` and ``frame``: of its container; ``single``: float32.
    """

    history: NDArray
    known: NDArray | None
    scale: Scale
    index: TimeIndex | None
    frame: Frame | None
    single: bool


def origin_of(
    series: Series, scaled: NDArray, known: NDArray | None, scale: Scale, index: TimeIndex | None, window: int
) -> Origin:
    """Return where a series ends, with its scaled rows and those of the known inputs (the last ``window`` will do)."""
    return Origin(
        history=scaled[-window:].copy(),
        known=None if known is None else known[len(known) - window + 1 :].copy(),
        scale=scale,
        index=index,
        frame=without_index(series.frame),
        single=series.single,
    )


class Windows(NamedTuple):
    """All windows of some series, the oldest first, by their distance from the end of the series.

    ``history`` (n, window, F); ``known`` (n, window + H - 1, E) or None: the inputs from the second step of the window
    to the last of the horizon; ``targets`` (n, H, F).
    """

    history: NDArray
    known: NDArray | None
    targets: NDArray


def all_windows(panel: list[NDArray], known: list[NDArray] | None, window: int, horizon: int) -> Windows:
    """Windows of scaled series, and what follows each."""
    whole = np.concatenate([rolling(values, window + horizon) for values in panel])
    counts = [len(values) - window - horizon + 1 for values in panel]
    order = np.argsort(np.concatenate([np.arange(-count, 0) for count in counts]), kind="stable")
    whole = whole[order]
    if known is not None:
        parts = [rolling(rows[1:], window + horizon - 1) for rows in known]
        return Windows(whole[:, :window], np.concatenate(parts)[order], whole[:, window:])
    return Windows(whole[:, :window], None, whole[:, window:])


def network_inputs(history: NDArray, known: NDArray | None) -> NDArray:
    """What the network reads, (n, steps, features), from windows (n, window, F) and known inputs (n, steps, E).

    A step has the series' values and the known inputs of the step after it. Behind the window come the steps of which
    only the latter are known: there the values are 0, and one more feature, 0 within the window, is 1.
    """
    if known is None:
        return history
    n, window, n_features = history.shape
    ahead = known.shape[1] - window
    if ahead == 0:
        return np.concatenate([history, known], axis=2)
    values = np.concatenate([history, np.zeros((n, ahead, n_features))], axis=1)
    flag = np.zeros((n, window + ahead, 1))
    flag[:, window:] = 1.0
    return np.concatenate([values, flag, known], axis=2)
