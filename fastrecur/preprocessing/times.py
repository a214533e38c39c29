"""Times of the rows of a frame: their order, and whether they are one step apart.

Times of a zone are ordered and compared in UTC, where an hour is an hour; steps of whole days by the clocks there, of
which a day has 23 or 25 hours when they are changed.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from fastrecur.frames import CLOCKS, kind_of_frame


@dataclass(frozen=True, eq=False)
class Times:
    """Times as numbers.

    Parameters
    ----------
    numbers : ndarray of shape (S,), int64 or float64
        Numbers as they came; dates and durations in ``unit`` of NumPy.
    unit : str or None
        Unit of NumPy, None for numbers.
    kind : {"", "M", "m"}
        NumPy's kind: dates "M", durations "m".
    single : bool
        Whether the numbers came as float32 or less, and are rounded as those are.
    zone : tzinfo or None
        Of dates that have one: the numbers are in UTC.
    clocks : ndarray of shape (S,) or None
        Of these the numbers as the clocks in the zone say.
    """

    numbers: NDArray
    unit: str | None = None
    kind: str = ""
    single: bool = False
    zone: datetime.tzinfo | None = None
    clocks: NDArray | None = None

    @classmethod
    def read(cls, column: nw.Series, name: str, keys: list) -> Times:
        """Read a column of times; ``keys`` are the ids, for the errors."""
        column, clocks, zone = _without_zone(column)
        if zone is not None:
            utc, local = (cls.read(part, name, keys) for part in (column, clocks))
            return replace(utc, zone=zone, clocks=local.numbers)
        dtype = column.dtype
        if not (dtype.is_integer() or dtype.is_float() or dtype in (nw.Date, nw.Datetime, nw.Duration)):
            raise TypeError(
                f"time: column {name!r} of frame holds {dtype}, neither numbers nor dates. Convert it, by "
                "pandas.to_datetime say."
            )
        missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
        if missing.any():
            raise _without_time(missing, name, keys)
        values = np.asarray(column.to_numpy())
        if values.dtype.kind in "mM":
            return cls(values.astype(np.int64), np.datetime_data(values.dtype)[0], values.dtype.kind)
        if values.dtype.kind == "O":  # dates of pandas with pyarrow
            values = values.astype("datetime64[us]")
            return cls(values.astype(np.int64), "us", "M")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _without_time(~np.isfinite(values), name, keys)
        single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
        return cls(values.astype(np.float64 if values.dtype.kind == "f" else np.int64), single=single)

    def text(self, number: Any) -> str:
        """Write the time that is ``number``."""
        if self.unit is None:
            return f"{number:g}" if isinstance(number, float) else str(number)
        value = np.array(number).astype(f"{self.kind}8[{self.unit}]")
        if self.kind == "M" and self.unit not in ("Y", "M"):
            return self._date(value)
        if self.kind == "m" and self.unit not in ("Y", "M"):
            whole = value.astype("m8[us]")
            if whole == value:  # no nanoseconds
                return str(whole.item()).removesuffix(", 0:00:00")
        return str(value)

    def _date(self, value: NDArray) -> str:
        """Write a date, as the clocks in its zone say."""
        if self.zone is None:
            return str(np.datetime_as_string(value, unit="auto"))
        utc = value.astype("M8[us]").item().replace(tzinfo=datetime.UTC)
        return utc.astimezone(self.zone).isoformat(timespec="auto" if utc.second or utc.microsecond else "minutes")

    def by_the_clocks(self) -> Times:
        """Return the times of a zone as its clocks say; times without a zone are that already."""
        return self if self.clocks is None else replace(self, numbers=self.clocks, zone=None, clocks=None)

    def in_months(self) -> Times | None:
        """Return the times counted in months, or None where the days of the months differ."""
        if self.kind != "M":
            return None
        dates = self.numbers.astype(f"datetime64[{self.unit}]")
        months = dates.astype("datetime64[M]")
        since, until = dates - months.astype(dates.dtype), (months + 1).astype(dates.dtype) - dates
        if (since == since[0]).all() or (until == until[0]).all():
            return Times(months.astype(np.int64), "M", "M")
        return None


def _without_zone(column: nw.Series) -> tuple[nw.Series, nw.Series, datetime.tzinfo | None]:
    """Return dates of a zone in UTC and as its clocks say, both without the zone, and the zone; of others None."""
    native = column.to_native()
    if kind_of_frame(native) == "pandas" and getattr(native.dtype, "kind", None) == "M":
        zone = native.dt.tz  # narwhals does not know pandas' America/New_York, nor offsets
        if zone is None:
            return column, column, None
        parts = (native.dt.tz_convert("UTC").dt.tz_localize(None), native.dt.tz_localize(None))
        return *(nw.from_native(part, series_only=True) for part in parts), zone
    if not isinstance(column.dtype, nw.Datetime) or column.dtype.time_zone is None:
        return column, column, None
    try:
        zone = ZoneInfo(column.dtype.time_zone)
    except (KeyError, ValueError, OSError):  # this machine does not know it
        zone = datetime.UTC
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None), column.dt.replace_time_zone(None), zone


def check_spacing(times: Times, order: NDArray, codes: NDArray, labels: list, step: Any) -> None:
    """Refuse times of one id that are equal or not one step apart.

    Parameters
    ----------
    times : Times
        One a row.
    order : int array of shape (S,)
        The rows sorted by id and time.
    codes : int array of shape (S,)
        Number of the id of each row.
    labels : list
        Id by number.
    step : "auto", None, number or duration
        See `fastrecur.preprocessing.sequences_from_frame`.

    Raises
    ------
    ValueError, TypeError
        Which id and time, or that ``step`` is none for such times.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.preprocessing.times import Times, check_spacing
    >>> check_spacing(Times(np.array([1, 2, 4, 5])), np.arange(4), np.zeros(4, int), ["a"], "auto")
    Traceback (most recent call last):
        ...
    ValueError: Id 'a' has no row for the time 3: from 2 the next is 4, where one step is 1. Add the row, with NaN for \
what is unknown, or pass step=None if the times only give the order.
    """
    wanted = _number_of_step(times, step)
    within = np.flatnonzero(np.diff(codes[order]) == 0)  # pairs of rows of one id
    numbers, gaps = _gaps(times, order, within)
    if (gaps == 0).any():
        pair = within[int((gaps == 0).argmax())]
        first, second = sorted(order[pair : pair + 2].tolist())
        hour = times.unit and (gaps > 0).any() and _changed_clocks(times, 0, _most_common(gaps[gaps > 0]))
        raise ValueError(
            f"Id {labels[codes[order[pair]]]!r} has the time {times.text(numbers[pair])} twice, in rows {first} and "
            f"{second}. Leave one out, or average them.{f' {CLOCKS}' if hour else ''}"
        )
    if step is None or not len(gaps):
        return
    times, wanted = _as_spaced(times, order, within, wanted)
    numbers, gaps = _gaps(times, order, within)
    uneven = ~_equal(gaps, wanted, numbers, times.single)
    if uneven.any():
        index = int(uneven.argmax())
        raise _gap(
            times, numbers[within[index]], numbers[within[index] + 1], wanted, labels[codes[order[within[index]]]]
        )


def _gaps(times: Times, order: NDArray, within: NDArray) -> tuple[NDArray, NDArray]:
    """Return the numbers in order, and the differences of the pairs."""
    numbers = times.numbers[order]
    return numbers, numbers[within + 1] - numbers[within]


def _as_spaced(times: Times, order: NDArray, within: NDArray, wanted: Any) -> tuple[Times, Any]:
    """Return the times as they are evenly spaced, if they are, and their step: in UTC, by the clocks or in months."""
    gaps = _gaps(times, order, within)[1]
    if wanted is None:
        monthly = times.by_the_clocks().in_months()
        if monthly is not None and (gaps != gaps[0]).any():
            return monthly, _most_common(_gaps(monthly, order, within)[1])
    step = _most_common(gaps) if wanted is None else wanted
    if times.clocks is not None and _most_common(gaps) >= _day(times) - _hour(times):
        clocks = times.by_the_clocks()
        local = _gaps(clocks, order, within)[1]
        by_clocks = _most_common(local) if wanted is None else wanted
        if by_clocks % _day(times) == 0 and 0 < (gaps != step).sum() >= (local != by_clocks).sum():
            return clocks, by_clocks
    return times, step


def _hour(times: Times) -> Any:
    return np.timedelta64(1, "h") / np.timedelta64(1, times.unit)  # type: ignore[call-overload]


def _day(times: Times) -> Any:
    return 24 * _hour(times)


def _changed_clocks(times: Times, gap: Any, step: Any) -> bool:
    """Whether clocks that were changed by an hour explain a gap between dates without a zone."""
    if times.kind != "M" or times.zone is not None or times.unit in ("Y", "M", "W", "D") or step >= _day(times):
        return False
    return gap == 0 or gap == step + _hour(times)


def _gap(times: Times, before: Any, after: Any, step: Any, label: Any) -> ValueError:
    """Return the error of a gap, or of two rows that are too close."""
    duration = Times(times.numbers, times.unit, "m" if times.unit else "")
    what = f"no row for the time {times.text((before + step).item())}" if after > before + step else "uneven times"
    hint = f" {CLOCKS}" if _changed_clocks(times, after - before, step) else ""
    return ValueError(
        f"Id {label!r} has {what}: from {times.text(before.item())} the next is {times.text(after.item())}, where one "
        f"step is {duration.text(np.asarray(step).item())}. Add the row, with NaN for what is unknown, or pass "
        f"step=None if the times only give the order.{hint}"
    )


def _most_common(gaps: NDArray) -> Any:
    """Return the most common gap, of several the smallest; floats are told apart by eight digits."""
    if gaps.dtype.kind != "f":
        values, counts = np.unique(gaps, return_counts=True)
        return values[counts.argmax()]
    scale = float(gaps.min())
    values, first, counts = np.unique(np.round(gaps / scale, 6), return_index=True, return_counts=True)
    return gaps[first[counts.argmax()]]


def _equal(gaps: NDArray, step: Any, numbers: NDArray, single: bool) -> NDArray[np.bool_]:
    if gaps.dtype.kind != "f":
        return gaps == step
    largest = np.abs(numbers).max().astype(np.float32 if single else np.float64)
    return np.abs(gaps - step) <= 1e-6 * step + 4 * float(np.spacing(largest))


def _number_of_step(times: Times, step: Any) -> Any:
    """Return ``step`` in the unit of the times, None for "auto" and None."""
    if step is None or (isinstance(step, str) and step == "auto"):
        return None
    number = step
    if times.unit is None:
        if isinstance(step, bool) or not isinstance(step, Real):
            raise TypeError(f"step must be a number, as the times are, 'auto' or None, found {step!r}.")
    else:
        try:
            if not isinstance(step, datetime.timedelta | np.timedelta64):
                raise TypeError
            number = np.timedelta64(step) / np.timedelta64(1, times.unit)  # type: ignore[call-overload]
        except TypeError as error:  # months and years have no length
            text = "step must be a timedelta of weeks or less, as the times are no numbers, 'auto' or None"
            raise TypeError(f"{text}, found {step!r}.") from error
    if not number > 0:
        raise ValueError(f"step must be positive, found {step!r}.")
    return number


def _without_time(missing: NDArray[np.bool_], name: str, keys: list) -> ValueError:
    row = int(missing.argmax())
    return ValueError(
        f"Row {row} of frame, of id {keys[row]!r}, has no time: column {name!r} is missing or infinite there."
    )
