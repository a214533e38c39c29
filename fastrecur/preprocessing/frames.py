"""Long data frames to sequences: one row a time step, a column that says whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from fastrecur.preprocessing.times import Times, check_spacing
from fastrecur.sequences import Sequences


def sequences_from_frame(
    frame: Any, id: str, time: str, columns: str | Sequence[str] | None = None, *, step: Any = "auto"
) -> tuple[list[NDArray], NDArray]:
    """Gather the sequences of a long data frame, which has one row a time step.

    Parameters
    ----------
    frame : DataFrame of pandas or polars, Table of pyarrow
        The rows, in any order.
    id : str
        Column that says which sequence a row belongs to.
    time : str
        Column that the rows of a sequence are sorted by: numbers, dates (with a time zone or without) or
        durations.
    columns : list of str, or str, default=None
        Columns of the features, numbers or booleans. None takes all others. A single name makes sequences without an
        axis of features, such as an estimator with ``embedding_dim`` takes for tokens.
    step : "auto", None, number, `datetime.timedelta` or `numpy.timedelta64`, default="auto"
        From one time to the next. "auto" is the most common difference in the frame, of several the smallest. None lets
        the times differ by anything: they only give the order.

    Returns
    -------
    sequences : list of n arrays of shape (T_i, F), or (T_i,)
        In the order in which their ids first occur. Integers stay such, float32 too; missing values become NaN, which
        ``PerTimestep(SimpleImputer())`` fills.
    ids : ndarray of shape (n,)
        The id of each.

    Raises
    ------
    ValueError
        If a column is not there, the frame has no rows, an id or a time is missing, an id has a time twice, or, unless
        `step` is None, the times of an id are not one step apart; id and time are named. Or if two columns have one
        name, or an integer is larger than int64 holds.
    TypeError
        If `frame` is no data frame, a column is not named by a str, or does not hold what it should.

    Notes
    -----
    Steps are missing where two times of an id that follow each other are not exactly one step apart, with a tolerance
    for the rounding of floats. One step is the same for all ids. Dates that all lie on one day of their months, or all
    on the last, are counted in months. Hours of a time zone are counted in UTC, so that none is missing and none comes
    twice when its clocks are changed, whole days by those clocks. Days of business have weekends missing: they want
    ``step=None``.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastrecur.preprocessing import sequences_from_frame
    >>> frame = pd.DataFrame({"who": ["b", "a", "b"], "day": [2, 1, 1], "u": [0.2, 0.3, 0.1], "v": [2.0, 3.0, 1.0]})
    >>> X, ids = sequences_from_frame(frame, "who", "day", ["u", "v"])
    >>> X[0]
    array([[0.1, 1. ],
           [0.2, 2. ]])
    >>> ids.tolist()
    ['b', 'a']
    >>> sequences_from_frame(frame.assign(day=[1, 1, 1]), "who", "day", ["u", "v"])
    Traceback (most recent call last):
        ...
    ValueError: Id 'b' has the time 1 twice, in rows 0 and 2. Leave one out, or average them.
    """
    table = _as_table(frame)
    names = _feature_names(table, id, time, columns)
    if not len(table):
        raise ValueError("frame is empty: 0 rows. Pass at least one time step.")
    keys = _keys(table[id])
    numbers: dict[Any, int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    times = Times.read(table[time], time, keys)
    order = np.lexsort((times.numbers, codes))
    labels = list(numbers)
    check_spacing(times, order, codes, labels, step)
    values = _stacked([_numbers(table[name]) for name in names], names)[order]
    lengths = np.bincount(codes).astype(np.int64)
    sequences = Sequences(values, np.cumsum(lengths) - lengths, lengths, "ragged", isinstance(columns, str))
    rows = values[:, 0] if isinstance(columns, str) else values
    first_rows = np.unique(codes, return_index=True)[1]
    return list(sequences.unstack(rows)), table[id].to_numpy()[first_rows]


def _as_table(frame: Any) -> nw.DataFrame:
    try:
        return nw.from_native(frame, eager_only=True)
    except DuplicateError as error:  # of pandas; the others have no such frames
        twice = frame.columns[frame.columns.duplicated()].unique().tolist()
        raise ValueError(
            f"frame has more than one column named {', '.join(map(repr, twice))}. Give each column a name of its own."
        ) from error
    except TypeError as error:
        lazy = hasattr(frame, "collect")
        raise TypeError(
            f"frame is of type {type(frame).__name__}. "
            + (
                "Call collect() on it first."
                if lazy
                else "Pass a DataFrame of pandas or polars, or a Table of pyarrow."
            )
        ) from error


def _feature_names(table: nw.DataFrame, id: str, time: str, columns: Any) -> list[str]:
    """Return the columns of the features; all that are named must be there."""
    for argument, name in (("id", id), ("time", time)):
        _check_column(table, argument, name)
    if id == time:
        raise ValueError(f"id and time are both the column {id!r}. Pass two columns.")
    if columns is None:
        names = [name for name in table.columns if name not in (id, time)]
    elif isinstance(columns, str):
        names = [columns]
    elif isinstance(columns, Iterable):
        names = list(columns)
    else:
        raise TypeError(f"columns must be a list of column names, one name or None for all others, found {columns!r}.")
    if not names:
        raise ValueError(f"columns is empty: there is no feature beside {id!r} and {time!r}. Name at least one column.")
    for name in names:
        _check_column(table, "columns", name)
    return names


def _check_column(table: nw.DataFrame, argument: str, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{argument} must name columns by str, found {name!r}.")
    if name not in table.columns:
        index = getattr(getattr(table.to_native(), "index", None), "names", ())
        remedy = " It is a level of the index: call frame.reset_index() first." if name in index else ""
        raise ValueError(
            f"{argument}: frame has no column {name!r}, only {', '.join(map(repr, table.columns))}.{remedy}"
        )


def _keys(column: nw.Series) -> list:
    missing = _missing(column)
    if missing.any():
        raise ValueError(f"Row {int(missing.argmax())} of frame has no id: column {column.name!r} is missing there.")
    return column.to_list()


def _missing(column: nw.Series) -> NDArray[np.bool_]:
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(True)
    return np.asarray(missing.to_numpy(), dtype=bool)


def _numbers(column: nw.Series) -> NDArray:
    """Return the values of a feature: integers where none is missing, float32 or float64 otherwise."""
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        raise TypeError(f"columns: column {column.name!r} of frame holds {dtype}, not numbers. Encode it first.")
    if dtype.is_decimal() or dtype == nw.Boolean or (dtype.is_integer() and column.null_count()):
        column = column.cast(nw.Float64)
    elif column.null_count() and dtype.is_float():
        column = column.fill_null(float("nan"))
    return np.asarray(column.to_numpy())


def _stacked(parts: list[NDArray], names: list[str]) -> NDArray:
    kinds = {part.dtype.kind for part in parts}
    if kinds <= set("iu"):
        for part, name in zip(parts, names, strict=True):
            if part.dtype == np.uint64 and part.max() > np.iinfo(np.int64).max:
                raise ValueError(
                    f"columns: column {name!r} of frame holds {part.max()}, more than int64 can. Cast it to float64, "
                    "or number its values."
                )
        return np.column_stack([part.astype(np.int64) for part in parts])  # of int64 and uint64, NumPy makes floats
    same = {part.dtype for part in parts} == {np.dtype(np.float32)}
    return np.column_stack(parts).astype(np.float32 if same else np.float64)
