"""What a time series may be: numbers in rows, one row a time step, of one series or of several (a panel)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastrecur.frames import kind_of_frame
from fastrecur.masks import refuse_masked

FORMS = "an array (T,) or (T, F), a pandas or polars Series or DataFrame, or a list of such series"


@dataclass(frozen=True)
class Frame:
    """What a data frame has besides numbers.

    ``kind`` is "pandas" or "polars"; ``columns`` are the names, of a vector one, maybe None; ``index`` is pandas' own.
    """

    kind: str
    vector: bool
    columns: list
    index: Any = None


@dataclass(frozen=True)
class Series:
    """Numbers of a series: ``values`` (T, F), float64; ``scalar`` where it came as (T,); ``single`` if in float32."""

    values: NDArray[np.float64]
    scalar: bool
    single: bool
    frame: Frame | None = None

    @property
    def columns(self) -> list | None:
        """Names of the features, None where it came without: of a vector the name is that of the series."""
        return None if self.frame is None or self.frame.vector else self.frame.columns


def read_panel(series: Any, name: str = "series") -> tuple[list[Series], bool]:
    """Read one series or several.

    Parameters
    ----------
    series : array (T,) or (T, F), pandas or polars Series or DataFrame; list, tuple or array (n, T, F) of such
        A list of numbers is one series, a list of lists several.
    name : str, default="series"
        Of the argument, for errors.

    Returns
    -------
    panel : list of Series
    is_panel : bool
        Whether there were several (or a list of one).

    Raises
    ------
    ValueError, TypeError
        If it is none of these, holds no rows, strings, NaN, infinity or masked values, or the series differ in their
        features: in number, or where they are data frames in names or order.

    Examples
    --------
    >>> panel, is_panel = read_panel([[1.0, 2.0, 3.0], [5.0, 6.0]])
    >>> [one.values.shape for one in panel], is_panel
    ([(3, 1), (2, 1)], True)
    """
    refuse_masked(series, name)
    if _is_panel(series):
        if not len(series):
            raise ValueError(f"{name} is empty. Pass {FORMS}.")
        panel = [_read(one, f"{name}[{i}]") for i, one in enumerate(series)]
        for i, one in enumerate(panel):
            if one.values.shape[1] != panel[0].values.shape[1]:
                raise ValueError(
                    f"{name}[{i}] has {one.values.shape[1]} feature(s), but {name}[0] has {panel[0].values.shape[1]}. "
                    "Give all series of a panel the same features."
                )
            check_columns(one, panel[0].columns, f"{name}[{i}]", f"those of {name}[0]")
        return panel, True
    return [_read(series, name)], False


def names_of(name: str, panel: list, is_panel: bool) -> list[str]:
    """Return what errors call each series of a panel."""
    return [f"{name}[{i}]" for i in range(len(panel))] if is_panel else [name]


def remember_names(estimator: Any, attribute: str, columns: list | None) -> None:
    """Set an attribute to the names of features, where they are strings; otherwise remove that of a fit before."""
    if are_names(columns):
        setattr(estimator, attribute, np.array(columns, dtype=object))
    elif hasattr(estimator, attribute):
        delattr(estimator, attribute)


def check_columns(series: Series, columns: list | None, name: str, wanted: str = "those of fit") -> None:
    """Compare the names of the features with those that are wanted, where both have names.

    As in scikit-learn names are strings, but numbers are compared with numbers.

    Raises
    ------
    ValueError
        If they differ, or come in another order; with both.
    """
    found = series.columns
    if found is None or columns is None or found == columns or are_names(found) != are_names(columns):
        return
    if sorted(map(str, found)) == sorted(map(str, columns)):
        what = f"must be in the same order as {wanted}"
    else:
        what = f"should match {wanted}"
    raise ValueError(f"The feature names of {name} {what}: found {found}, expected {columns}.")


def rolling(values: NDArray, length: int) -> NDArray:
    """Return all windows of ``length`` rows of (T, F), (T - length + 1, length, F): a view.

    Examples
    --------
    >>> import numpy as np
    >>> rolling(np.arange(4)[:, np.newaxis], 2)[:, :, 0]
    array([[0, 1],
           [1, 2],
           [2, 3]])
    """
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=0).transpose(0, 2, 1)


def are_names(columns: list | None) -> bool:
    """Whether the columns are what scikit-learn takes for feature names: strings."""
    return columns is not None and all(isinstance(column, str) for column in columns)


def _is_panel(series: Any) -> bool:
    if isinstance(series, list | tuple):
        return len(series) == 0 or _has_steps(series[0])
    if isinstance(series, np.ndarray):
        return series.ndim == 3 or (
            series.ndim == 1 and series.dtype == object and series.size > 0 and _has_steps(series[0])
        )
    return False


def _has_steps(element: Any) -> bool:
    return kind_of_frame(element) is not None or isinstance(element, list | tuple) or np.ndim(element) > 0


def _read(series: Any, name: str) -> Series:
    if series is None:
        raise ValueError(f"{name} is None. Pass {FORMS}.")
    frame, array = _taken_apart(series, name)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (T,) or (T, F), found {array.shape or 'a scalar'}. Pass {FORMS}.")
    for size, what in zip(array.shape, ("time step(s)", "feature(s)"), strict=False):
        if size == 0:
            raise ValueError(f"{name} has 0 {what} (shape={array.shape}) while a minimum of 1 is required.")
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    numbers = _numbers(array, name).reshape(len(array), -1)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        found = "NaN" if np.isnan(numbers[row, column]) else "infinity"
        label = f" ({frame.index[row]})" if frame is not None and frame.index is not None else ""
        raise ValueError(
            f"{name} contains {found}: step {row}{label}, feature {column}, {int(bad.sum())} such value(s) in all. "
            "Impute them first, or begin the series after them."
        )
    return Series(numbers, array.ndim == 1, single, frame)


def _taken_apart(series: Any, name: str) -> tuple[Frame | None, NDArray]:
    kind = kind_of_frame(series)
    if issparse(series):
        raise TypeError(f"{name} is a sparse matrix, but a series is dense. Pass {name}.toarray().")
    if kind is None:
        try:
            return None, np.asarray(series)
        except ValueError as error:
            raise ValueError(f"{name} is a nested list whose rows differ in length. Pass {FORMS}.") from error
    vector = len(series.shape) == 1
    index = series.index if kind == "pandas" else None
    columns = [series.name] if vector else list(series.columns)
    return Frame(kind, vector, columns, index), _frame_numbers(series, kind, columns, vector, name)


def _frame_numbers(series: Any, kind: str, columns: list, vector: bool, name: str) -> NDArray:
    if vector:
        return _column_numbers(series, kind, name)
    if not columns:
        return np.empty(series.shape)
    parts = [_column_numbers(series[column], kind, f"{name}[{column!r}]") for column in columns]
    return np.column_stack(parts)


def _column_numbers(column: Any, kind: str, name: str) -> NDArray:
    if kind == "polars":
        column = column.to_numpy()
    elif hasattr(column.dtype, "numpy_dtype"):  # pandas' nullable numbers
        column = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return _numbers(np.asarray(column), name, keep_single=True)


def _numbers(array: NDArray, name: str, keep_single: bool = False) -> NDArray:
    if array.dtype.kind in "fiub":
        single = keep_single and array.dtype.kind == "f" and array.dtype.itemsize <= 4
        return array.astype(np.float32 if single else np.float64)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}. Pass two features.")
    reason = ""
    if array.dtype.kind == "O" and not any(isinstance(value, str | bytes) for value in array.flat):
        try:
            return array.astype(np.float64)  # None becomes NaN
        except (TypeError, ValueError) as error:
            reason = f" ({error})"
    raise TypeError(
        f"{name} must hold numbers, found dtype {array.dtype}{reason}. Convert it, and move times into the index of a "
        "pandas frame or leave them out."
    )
