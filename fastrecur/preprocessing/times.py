"""Times of the rows of a frame: their order, and whether they are one step apart."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray


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
    """

    numbers: NDArray
    unit: str | None = None
    kind: str = ""
    single: bool = False

    @classmethod
    def read(cls, column: nw.Series, name: str, keys: list) -> Times:
        """Read a column of times; ``keys`` are the ids, for the errors."""
        dtype = column.dtype
        if not (dtype.is_integer() or dtype.is_float() or dtype in (nw.Date, nw.Datetime, nw.Duration)):
            raise TypeError(
                f"time: column {name!r} of frame holds {dtype}, neither numbers nor dates. Convert it, by "
                "pandas.to_datetime say."
            )
        missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
        if missing.any():
            raise _without_time(missing, name, keys)
        if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
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
        if self.kind == "m" and self.unit not in ("Y", "M"):
            whole = value.astype("m8[us]")
            if whole == value:  # no nanoseconds
                return str(whole.item()).removesuffix(", 0:00:00")
        return str(value)

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
    numbers = times.numbers[order]
    gaps = numbers[within + 1] - numbers[within]
    if (gaps == 0).any():
        pair = within[int((gaps == 0).argmax())]
        first, second = sorted(order[pair : pair + 2].tolist())
        raise ValueError(
            f"Id {labels[codes[order[pair]]]!r} has the time {times.text(numbers[pair])} twice, in rows {first} and "
            f"{second}. Leave one out, or average them."
        )
    if step is None or not len(gaps):
        return
    if wanted is None:
        monthly = times.in_months()
        if monthly is not None and (gaps != gaps[0]).any():
            times, numbers = monthly, monthly.numbers[order]
            gaps = numbers[within + 1] - numbers[within]
        wanted = _most_common(gaps)
    uneven = ~_equal(gaps, wanted, numbers, times.single)
    if uneven.any():
        index = int(uneven.argmax())
        raise _gap(
            times, numbers[within[index]], numbers[within[index] + 1], wanted, labels[codes[order[within[index]]]]
        )


def _gap(times: Times, before: Any, after: Any, step: Any, label: Any) -> ValueError:
    """Return the error of a gap, or of two rows that are too close."""
    duration = Times(times.numbers, times.unit, "m" if times.unit else "")
    what = f"no row for the time {times.text((before + step).item())}" if after > before + step else "uneven times"
    return ValueError(
        f"Id {label!r} has {what}: from {times.text(before.item())} the next is {times.text(after.item())}, where one "
        f"step is {duration.text(np.asarray(step).item())}. Add the row, with NaN for what is unknown, or pass "
        "step=None if the times only give the order."
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
