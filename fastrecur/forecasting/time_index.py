"""Time indices of pandas frames: steps must be regular, and the index of a forecast goes on where the series ended."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrecur.frames import CLOCKS, make_frame
from fastrecur.series import Frame, Series

_REMEDY = "Sort it, fill the gaps (asfreq, then interpolate), or drop the index: reset_index(drop=True)."


@dataclass(frozen=True)
class TimeIndex:
    """Where the index of a series ended, in plain Python as far as may be: ``last``, the number behind the last label.

    ``step`` is the name of a frequency of pandas, an int, or a tuple of n and the keywords of a `pandas.DateOffset`;
    ``unit`` and ``zone``, a name, are those of dates. Where no name says all (days off of one's own), step and zone are
    themselves.
    """

    kind: str
    last: int
    step: Any
    name: Any
    unit: str | None = None
    zone: Any = None

    def after(self, n_steps: int) -> Any:
        """Return the index of the ``n_steps`` that follow.

        Raises
        ------
        ValueError
            If one of them is a local time that there is not, or twice.
        """
        import pandas as pd

        n = n_steps + 1
        if self.kind == "dates":
            last = pd.DatetimeIndex(np.array([self.last], f"M8[{self.unit}]"))
            last = last if self.zone is None else last.tz_localize("UTC").tz_convert(self.zone)
            try:
                index = pd.date_range(last[0], periods=n, freq=_offset(self.step)).as_unit(self.unit)
            except Exception as error:  # of pandas or pytz, as their versions have it
                if self.zone is None:
                    raise
                raise ValueError(
                    f"One of the {n_steps} step(s) after {last[0]} is a local time that does not exist, or exists "
                    f"twice, as the clocks are changed ({error}). Convert the series' "
                    "index to UTC: tz_convert('UTC')."
                ) from error
        elif self.kind == "periods":
            index = pd.period_range(pd.Period(ordinal=self.last, freq=_offset(self.step)), periods=n)
        elif self.kind == "durations":
            last = pd.TimedeltaIndex(np.array([self.last], f"m8[{self.unit}]"))
            index = pd.timedelta_range(last[0], periods=n, freq=_offset(self.step)).as_unit(self.unit)
        else:
            index = pd.RangeIndex(self.last, self.last + n * self.step, self.step)
        return index[1:].rename(self.name)


def read_time_index(series: Series, name: str, fitted: TimeIndex | None = None) -> TimeIndex | None:
    """Read the index of a pandas frame; None for anything else.

    ``fitted`` are those of the series in fit, None for that itself: an index without a frequency that goes in its steps
    is taken to do so, as few rows do not tell days from days of business.

    Raises
    ------
    ValueError, TypeError
        If the index is not regular: says where. Of what is no time (strings, say), that it is none.
    """
    if series.frame is None or series.frame.index is None:
        return None
    import pandas as pd

    index = series.frame.index
    if isinstance(index, pd.PeriodIndex):
        _check_rising(index, name)
        _check_steps(index, index.freq.n, name)
        return TimeIndex("periods", int(index.asi8[-1]), index.freqstr, index.name)
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        _check_rising(index, name)
        kind = "durations" if isinstance(index, pd.TimedeltaIndex) else "dates"
        step = index.freq or _step_of_fit(index, kind, fitted) or _inferred(index)
        if step is None:
            _check_steps(index, None, name)
            step = index[1] - index[0] if len(index) > 1 else None
        if step is None:
            raise ValueError(f"The index of {name} has one time and no frequency. Set one: series.asfreq('D').")
        last = int(index.asi8[-1])
        if kind == "durations":
            return TimeIndex("durations", last, _named(step), index.name, index.unit)
        return TimeIndex("dates", last, _named(step), index.name, index.unit, _named_zone(index.tz))
    if isinstance(index, pd.MultiIndex) or index.dtype.kind not in "iu":
        raise TypeError(
            f"The index of {name} is of dtype {index.dtype}, which says no time. Use dates (pandas.to_datetime), "
            "periods or whole numbers, or drop it: reset_index(drop=True)."
        )
    _check_rising(index, name)
    labels = index.to_numpy()
    if len(labels) > 1:
        step = int(labels[1] - labels[0])
    else:
        step = fitted.step if fitted is not None and fitted.kind == "numbers" else 1
    _check_steps(index, step, name)
    return TimeIndex("numbers", int(labels[-1]), step, index.name)


def _step_of_fit(index: Any, kind: str, fitted: TimeIndex | None) -> Any:
    """Return the step of fit where the index goes in it, None otherwise."""
    import pandas as pd

    if fitted is None or fitted.kind != kind:
        return None
    ranges = {"dates": pd.date_range, "durations": pd.timedelta_range}
    try:
        expected = ranges[kind](index[0], periods=len(index), freq=_offset(fitted.step))
    except Exception:  # local times that do not exist: not the steps of this index
        return None
    return _offset(fitted.step) if (index == expected).all() else None


def _inferred(index: Any) -> Any:
    import pandas as pd

    if len(index) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas 3, about the type of what it returns: either will do
        return pd.infer_freq(index) or _months(index)


def _months(index: Any) -> Any:
    """Return the offset between dates on one day of their months (the 15th, say), None if they are not that."""
    import pandas as pd

    if not isinstance(index, pd.DatetimeIndex):
        return None
    steps = np.diff(np.asarray(12 * index.year + index.month))
    local = index.tz_localize(None)
    within = local - local.to_period("M").to_timestamp()
    if (steps == steps[0]).all() and steps[0] > 0 and (within == within[0]).all():
        return pd.DateOffset(months=int(steps[0]))
    return None


def _named_zone(zone: Any) -> Any:
    """Return the name of a time zone, or itself where pandas makes another of the name."""
    import pandas as pd

    if zone is None:
        return None
    try:
        return str(zone) if pd.Timestamp(0, tz=str(zone)).tz == zone else zone
    except (ValueError, LookupError, OSError):  # the name of dateutil's is a path
        return zone


def _named(step: Any) -> Any:
    """Return a frequency as `TimeIndex` keeps it."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    offset = to_offset(step)
    try:
        if to_offset(offset.freqstr) == offset:
            return offset.freqstr
    except ValueError:  # a DateOffset of some months has a name that cannot be read
        pass
    whole = type(offset) is pd.DateOffset and not offset.normalize
    if whole and all(type(value) is int for value in offset.kwds.values()):
        return (int(offset.n), dict(offset.kwds))
    return offset


def _offset(step: Any) -> Any:
    """Undo `_named`."""
    import pandas as pd

    return pd.DateOffset(step[0], **step[1]) if isinstance(step, tuple) else step


def _check_rising(index: Any, name: str) -> None:
    if index.hasnans:
        raise ValueError(
            f"The index of {name} has a missing time (NaT) at step {int(index.isna().argmax())}. {_REMEDY}"
        )
    if not index.is_unique:
        found = index[index.duplicated()][0]
        raise ValueError(f"The index of {name} has the time {found} twice. {_REMEDY}{_hint(index, 0)}")
    if not index.is_monotonic_increasing:
        labels = index.to_numpy()
        at = int((labels[1:] < labels[:-1]).argmax())
        raise ValueError(f"The index of {name} is not in order: {index[at + 1]} comes after {index[at]}. {_REMEDY}")


def _check_steps(index: Any, step: int | None, name: str) -> None:
    """All steps must be ``step``, or where that is None the most frequent one, of days by the clocks of the zone."""
    steps = np.diff(_numbers(index))
    if not len(steps):
        return
    if step is None:
        step = _most_frequent(steps)
        if getattr(index, "tz", None) is not None and step >= 23 * _hour(index):
            local = index.tz_localize(None)
            by_clocks = np.diff(_numbers(local))
            if 0 < np.count_nonzero(steps != step) >= np.count_nonzero(by_clocks != _most_frequent(by_clocks)):
                index, steps, step = local, by_clocks, _most_frequent(by_clocks)
    wrong = np.flatnonzero(steps != step)
    if len(wrong):
        at = int(wrong[0])
        whole = steps[at] > step and steps[at] % step == 0
        missing = f", without {_label(index, _numbers(index)[at] + step)}," if whole else ""
        raise ValueError(
            f"The index of {name} is irregular: from {index[at]} to {index[at + 1]} (step {at + 1}){missing} is not "
            f"the step that the others have, {len(wrong)} such place(s) in all. {_REMEDY}"
            f"{_hint(index, steps[at] - step)}"
        )


def _numbers(index: Any) -> NDArray:
    """Return the labels as whole numbers."""
    return index.asi8 if hasattr(index, "asi8") else index.to_numpy()


def _label(index: Any, number: int) -> Any:
    """Return the label that has a number."""
    import pandas as pd

    if isinstance(index, pd.PeriodIndex):
        return pd.Period(ordinal=number, freq=index.freq)
    if isinstance(index, pd.TimedeltaIndex):
        return pd.TimedeltaIndex(np.array([number], f"m8[{index.unit}]"))[0]
    if isinstance(index, pd.DatetimeIndex):
        label = pd.DatetimeIndex(np.array([number], f"M8[{index.unit}]"))[0]
        return label if index.tz is None else label.tz_localize("UTC").tz_convert(index.tz)
    return number


def _most_frequent(steps: NDArray) -> int:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _hour(index: Any) -> int:
    return int(np.timedelta64(1, "h") / np.timedelta64(1, index.unit))


def _hint(index: Any, more: int) -> str:
    """Say that clocks may have been changed, where steps of hours are 0 or longer by one hour."""
    import pandas as pd

    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or more not in (0, _hour(index)):
        return ""
    of_hours = _most_frequent(np.diff(_numbers(index))) < 24 * _hour(index)
    return f" {CLOCKS}" if of_hours else ""


# --- forecasts in the container of the series ------------------------------------------------------------------------


def without_index(frame: Frame | None) -> Frame | None:
    """Return what `point_frame` and `quantile_frame` need of a frame."""
    return None if frame is None else replace(frame, index=None)


def point_frame(values: NDArray, frame: Frame | None, index: Any) -> Any:
    """Return a forecast (h, F) as the series came: an array, or a Series or DataFrame."""
    if frame is None:
        return values
    if frame.kind == "pandas":
        import pandas as pd

        if frame.vector:
            return pd.Series(values[:, 0], index=index, name=frame.columns[0])
    elif frame.vector:
        import polars as pl

        return pl.Series(frame.columns[0], values[:, 0])
    return make_frame(frame.kind, values, frame.columns, index)


def quantile_frame(values: NDArray, levels: NDArray, frame: Frame | None, index: Any) -> Any:
    """Return quantiles (h, F, Q): an array, or a DataFrame with a column a level, or a feature and a level."""
    if frame is None:
        return values
    levels = levels.tolist()
    if frame.kind == "pandas":
        import pandas as pd

        if frame.vector:
            return pd.DataFrame(values[:, 0], index=index, columns=pd.Index(levels, name="quantile"))
        columns = pd.MultiIndex.from_product([frame.columns, levels], names=["feature", "quantile"])
        return pd.DataFrame(values.reshape(len(values), -1), index=index, columns=columns)
    names = [f"{column}_{level:g}" for column in frame.columns for level in levels]
    return make_frame("polars", values.reshape(len(values), -1), names)
