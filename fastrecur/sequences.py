"""What X may be. This is the only module that reads layouts: everything behind it sees rows of time steps.

The letters: n sequences, T time steps, F features, S time steps of all sequences together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from fastrecur.arrays import all_finite, are_arrays, dtypes_of, dtypes_of_numbers
from fastrecur.frames import kind_of_frame
from fastrecur.kernels.cpu.lists import stack_arrays
from fastrecur.masks import refuse_masked
from fastrecur.stacked import Sequences

__all__ = ["Sequences", "array_or_elements", "check_sequences"]

_FORMS = "an array (n, T, F), an array or DataFrame (n, T), or a list of (T_i, F) or (T_i,) arrays"


def check_sequences(X: Any, *, estimator: Any | None = None, reset: bool = True, allow_nan: bool = False) -> Sequences:
    """Validate X and bring it into one form, without a copy where its memory allows.

    Parameters
    ----------
    X : array (n, T, F); array or DataFrame (n, T); list, tuple or object array of (T_i, F) or (T_i,) arrays
        The sequences; data frames (T_i, F) do for arrays. A list is ragged if one of its elements is an array, even
        when all are of one length, or if its nested lists differ in length; a rectangular nested list of numbers is the
        array that NumPy makes of it. float32 and float64 are kept, float16 becomes float32, integers and booleans
        become float64; a list that mixes them becomes float64.
    estimator : estimator instance, default=None
        Whose data this is. With `reset`, it is given `n_features_in_` (T for a table, F otherwise),
        `feature_names_in_` (the columns of a table, or of a list of data frames), `_fit_layout` and
        `_n_step_features` (F); without, X is checked against them.
    reset : bool, default=True
        True in fit, False everywhere else.
    allow_nan : bool, default=False
        Whether NaN may pass. Infinity never does. As in scikit-learn,
        ``sklearn.config_context(assume_finite=True)`` skips the search for both.

    Returns
    -------
    Sequences
        The time steps of all sequences, and where each begins.

    Raises
    ------
    ValueError
        If X is empty, a sequence has no time step, there is no feature, a value is NaN or infinite, sequences differ
        in their number of features (from each other or from fit), a list mixes 1-D and 2-D sequences, X is 1-D or
        has more than three axes, or X holds strings, complex numbers or masked values.
    TypeError
        If X is sparse or holds objects that are not numbers.

    Notes
    -----
    An estimator fitted on a table takes tables of the same T only, because the columns may have names, and arrays and
    lists of one feature a step and of any length. An estimator fitted on one of these takes any table.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.sequences import check_sequences
    >>> X = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    >>> sequences = check_sequences(X)
    >>> sequences.values.shape, np.shares_memory(sequences.values, X)
    ((6, 2), True)
    >>> check_sequences([[1.0, 2.0], [np.nan, 4.0]])
    Traceback (most recent call last):
        ...
    ValueError: X contains NaN: sequence 1, step 0, feature 0. Impute the value, or leave the time step out.
    """
    elements, frame = tuple(X) if isinstance(X, list | tuple) else X, None  # which nobody changes meanwhile
    dtypes = dtypes_of_numbers(elements)
    if dtypes is None:
        refuse_masked(X, "X")
        X, elements = array_or_elements(X)
        with_columns = _with_columns(elements or [])
        _check_columns(with_columns)
        frame = next((element for _, element in with_columns if kind_of_frame(element)), None)
    sequences = _from_array(X, estimator) if elements is None else _from_elements(elements, dtypes)
    if estimator is not None and not reset:
        _check_against_fit(X, frame, sequences, estimator)
    if not get_config()["assume_finite"]:
        _check_finite(sequences, allow_nan)
    if estimator is not None and reset:
        _remember(X, frame, sequences, estimator)
    return sequences


def array_or_elements(X: Any) -> tuple[Any, list | None]:
    """Tell ragged data from an array.

    Parameters
    ----------
    X : array-like, or list, tuple or object array of arrays
        Sequences, or one array of targets a sequence.

    Returns
    -------
    X : array-like
        X itself, or the array that NumPy makes of nested lists.
    elements : list of n objects or None
        The n sequences where X is ragged: one of its elements is an array, or its nested lists differ in length.

    Examples
    --------
    >>> from fastrecur.sequences import array_or_elements
    >>> array_or_elements([[1, 2], [3, 4]])[1] is None
    True
    >>> array_or_elements([[1, 2], [3]])[1]
    [[1, 2], [3]]
    """
    dtype = getattr(X, "dtype", None)
    if kind_of_frame(X) == "polars" and dtype is not None and dtype.is_nested():  # a Series of lists
        X = X.to_list()
    if getattr(dtype, "kind", None) == "O" and getattr(X, "ndim", None) == 1:  # an object array, or a Series of arrays
        X = list(X)
    if not isinstance(X, list | tuple):
        return X, None
    if not any(hasattr(x, "__array__") and not isinstance(x, np.generic) for x in X):
        try:
            array = np.asarray(X)
        except ValueError:  # NumPy's word for lists that differ in length
            return X, list(X)
        if array.dtype != object or array.ndim != 1:
            return array, None
    return X, list(X)


def _from_array(X: Any, estimator: Any | None) -> Sequences:
    if hasattr(X, "__array__") and 0 in (getattr(X, "shape", None) or ()):
        X = np.asarray(X)  # check_array stumbles over a data frame without columns
    if getattr(getattr(X, "dtype", None), "kind", None) == "c":
        _check_numbers(X, "X")  # says more than check_array
    try:
        array = check_array(  # knows sparse and complex data, np.matrix and the dtypes of data frames
            X,
            dtype=None,
            ensure_all_finite=False,
            ensure_2d=False,
            allow_nd=True,
            ensure_min_samples=0,
            ensure_min_features=0,
            estimator=estimator,
            input_name="X",
        )
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        text = str(error).strip().split("\n")[0]  # scikit-learn shows the array below
        raise kind(f"X cannot be read as sequences of numbers: {text}\nPass {_FORMS}.") from error
    array = _check_numbers(np.asarray(array), "X")
    _check_shape(array, X, estimator)
    scalar_steps = array.ndim == 2
    n, n_steps = array.shape[:2]
    return Sequences(
        values=np.ascontiguousarray(array, _float_type(array.dtype)).reshape(-1, 1 if scalar_steps else array.shape[2]),
        starts=np.arange(n, dtype=np.int64) * n_steps,
        lengths=np.full(n, n_steps, dtype=np.int64),
        layout="table" if scalar_steps else "array",
        scalar_steps=scalar_steps,
    )


def _check_shape(array: NDArray, X: Any, estimator: Any | None) -> None:
    """Two axes or three, none of them empty; ``X`` is what the array was made of."""
    shape = array.shape
    if array.ndim == 0:
        raise ValueError(f"X is a scalar, {X!r}. Pass {_FORMS}.")
    required = "while a minimum of 1 is required" + (f" by {type(estimator).__name__}" if estimator is not None else "")
    if shape[0] == 0:
        raise ValueError(f"X is empty: 0 sample(s) (shape={shape}) {required}. Pass at least one sequence.")
    if array.ndim == 1:
        raise ValueError(
            f"Expected X of 2 or 3 dimensions, got a 1D array of shape {shape}. Reshape your data either using "
            "X.reshape(-1, 1) if each value is a sequence of one time step or X.reshape(1, -1) if all are one sequence."
        )
    if array.ndim > 3:
        raise ValueError(f"X has {array.ndim} dimensions (shape={shape}), but at most 3 are understood. Pass {_FORMS}.")
    if shape[1] == 0:
        found = "0 feature(s)" if array.ndim == 2 else "0 time step(s)"
        raise ValueError(
            f"X has {found} (shape={shape}) {required}: sequence 0 has length 0, as have all others. "
            "Pass sequences of one time step or more."
        )
    if shape[-1] == 0:
        raise ValueError(f"X has 0 feature(s) (shape={shape}) {required}. Pass at least one feature a time step.")


def _from_elements(elements: Sequence, dtypes: set[np.dtype] | None) -> Sequences:
    """``dtypes``: of elements that are plain arrays of numbers, None of others."""
    arrays = elements
    if dtypes is None:
        arrays = _arrays_of_numbers(elements)
        dtypes = dtypes_of(arrays)
    dtype = np.result_type(*map(_float_type, dtypes))
    stacked, lengths = stack_arrays(arrays, dtype) or _stack(elements, arrays, dtype)
    return Sequences(
        values=stacked.reshape(len(stacked), -1),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        layout="ragged",
        scalar_steps=arrays[0].ndim == 1,
    )


def _arrays_of_numbers(elements: Sequence) -> list[NDArray]:
    try:
        arrays = [np.asarray(element) for element in elements]
    except ValueError:
        arrays = [_element_array(index, element) for index, element in enumerate(elements)]
    if dtypes_of_numbers(arrays) is not None:
        return arrays
    _check_axes(elements, arrays)
    return [_check_numbers(array, f"Sequence {index} of X") for index, array in enumerate(arrays)]


def _stack(elements: Sequence, arrays: Sequence[NDArray], dtype: np.dtype) -> tuple[NDArray, NDArray]:
    """Return all time steps, and how many each sequence has. Only where something is wrong it is searched for."""
    try:
        lengths = np.fromiter(map(len, arrays), dtype=np.int64, count=len(arrays))
        stacked = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, dtype=dtype)
        sound = stacked.ndim <= 2 and stacked.size > 0 and lengths.all()
    except (TypeError, ValueError):  # of len and NumPy, at numbers and at shapes that do not fit together
        sound = False
    if not sound:
        _check_axes(elements, arrays)
        _check_widths(arrays)
    return np.ascontiguousarray(stacked, dtype), lengths  # of Fortran-ordered arrays, NumPy makes such a whole


def _check_axes(elements: Sequence, arrays: Sequence[NDArray]) -> None:
    """All sequences must have one axis, or all two, and a time step; ``elements`` is what the arrays were made of."""
    dims = [array.ndim for array in arrays]
    if not set(dims) <= {1, 2}:
        index = next(index for index, ndim in enumerate(dims) if not 1 <= ndim <= 2)
        shape = f"has {dims[index]} dimensions" if dims[index] else f"is a {type(elements[index]).__name__}"
        raise (ValueError if dims[index] else TypeError)(
            f"Sequence {index} of X {shape}. In a list each sequence must be an array of shape (T_i, F) or (T_i,)."
        )
    lengths = list(map(len, arrays))
    if 0 in lengths:
        raise ValueError(
            f"Sequence {lengths.index(0)} of X has length 0. Pass sequences of one time step or more: "
            "leave the empty ones out, and their targets."
        )
    if len(set(dims)) > 1:
        other = dims.index(3 - dims[0])
        raise ValueError(
            f"X mixes 1-D and 2-D sequences: sequence 0 has shape {arrays[0].shape}, sequence {other} has shape "
            f"{arrays[other].shape}. Make all (T_i, F); x.reshape(-1, 1) turns a 1-D sequence into one of one feature."
        )


def _check_widths(arrays: Sequence[NDArray]) -> None:
    """Sequences (T_i, F) must have one F, of at least 1."""
    widths = [array.shape[1] for array in arrays]
    if widths[0] == 0:
        raise ValueError(
            f"X has 0 feature(s) (sequence 0 has shape {arrays[0].shape}) while a minimum of 1 is required. "
            "Pass at least one feature a time step."
        )
    if len(set(widths)) > 1:
        index = next(index for index, width in enumerate(widths) if width != widths[0])
        raise ValueError(
            f"The sequences of X differ in their number of features: sequence {index} has {widths[index]}, "
            f"sequence 0 has {widths[0]}. Give each time step the same features; only T may differ."
        )


def _with_columns(elements: list) -> list[tuple[int, Any]]:
    """Return the sequences of a list that have columns, each behind its index."""
    if are_arrays(elements):
        return []
    return [(index, element) for index, element in enumerate(elements) if hasattr(element, "columns")]


def _check_columns(with_columns: list[tuple[int, Any]]) -> None:
    """Data frames must have the same columns, in the same order."""
    wanted: list | None = None
    for index, element in with_columns:
        found = list(element.columns)
        if wanted is None:
            first, wanted = index, found
        elif found != wanted and len(found) == len(wanted):
            raise ValueError(
                f"The feature names of sequence {index} of X should match those of sequence {first}, in its order: "
                f"found {found}, expected {wanted}."
            )


def _element_array(index: int, element: Any) -> NDArray:
    try:
        return np.asarray(element)
    except ValueError as error:
        raise ValueError(
            f"Sequence {index} of X is a nested list whose time steps differ in their number of features ({error}). "
            "Make it an array of shape (T_i, F) or (T_i,)."
        ) from error


def _check_numbers(array: NDArray, name: str) -> NDArray:
    """Return an array of real numbers, objects turned into float64; `name` is "X" or "Sequence i of X"."""
    kind = array.dtype.kind
    if kind in "fiub":
        return array
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has dtype {array.dtype}. Pass real and imaginary part as two features."
        )
    if kind in "UST":
        raise ValueError(
            f"{name} holds strings (dtype {array.dtype}). Convert them to numbers first; SequenceTokenizer turns text "
            "into tokens."
        )
    if kind != "O":
        raise TypeError(f"{name} has dtype {array.dtype}, which holds no numbers. Convert it to float32 or float64.")
    numbers = np.empty(array.shape)
    axes = ("sequence", "step", "feature")[0 if name == "X" else 1 :]
    for position, value in np.ndenumerate(array):
        try:
            if isinstance(value, str | bytes):
                raise ValueError("a string")
            numbers[position] = np.nan if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            place = ", ".join(f"{axis} {i}" for axis, i in zip(axes, position, strict=False))
            found = f"{name} holds {value!r} at {place}" if place else f"{name} is a {type(value).__name__}"
            if isinstance(value, complex):
                raise ValueError(f"Complex data not supported: {found}.") from error
            if isinstance(value, str | bytes):
                raise ValueError(f"{found}, a string. Convert strings to numbers first.") from error
            raise TypeError(f"{found}, which is not a number: {error}. Pass {_FORMS}.") from error
    return numbers


def _float_type(dtype: np.dtype) -> type[np.floating]:
    """Return the type that values of `dtype` are kept in, in the machine's byte order."""
    return np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64


def _check_finite(sequences: Sequences, allow_nan: bool) -> None:
    values = sequences.values
    if all_finite(values):
        return
    bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
    n_bad = np.count_nonzero(bad)
    if n_bad == 0:
        return
    row, feature = np.unravel_index(bad.argmax(), bad.shape)
    sequence = np.searchsorted(sequences.starts, row, side="right") - 1
    found, remedy = ("NaN", "Impute") if np.isnan(values[row, feature]) else ("infinity", "Clip")
    more = f" (and {n_bad - 1} more such values)" if n_bad > 1 else ""
    raise ValueError(
        f"X contains {found}: sequence {sequence}, step {row - sequences.starts[sequence]}, feature {feature}{more}. "
        f"{remedy} the value, or leave the time step out."
    )


def _remember(X: Any, frame: Any, sequences: Sequences, estimator: Any) -> None:
    validate_data(estimator, _seen(X, frame, sequences), reset=True, skip_check_array=True)
    estimator._fit_layout = sequences.layout
    estimator._n_step_features = sequences.n_features


def _seen(X: Any, frame: Any, sequences: Sequences) -> Any:
    """Return what scikit-learn is shown: a table, or of a list or an array a sequence or a step of F features."""
    if sequences.layout == "table":
        return X
    return sequences.values[:1] if frame is None else frame


def _check_against_fit(X: Any, frame: Any, sequences: Sequences, estimator: Any) -> None:
    name = type(estimator).__name__
    table = sequences.layout == "table"
    if frame is not None and estimator._fit_layout == "ragged":
        validate_data(estimator, frame, reset=False, skip_check_array=True)  # the names of the features
    if table and estimator._fit_layout == "table":
        validate_data(estimator, X, reset=False, skip_check_array=True, ensure_2d=False)  # the names of the columns
        if sequences.max_length != estimator.n_features_in_:
            raise ValueError(
                f"X has {sequences.max_length} features, but {name} is expecting {estimator.n_features_in_} features "
                "as input: the columns of a 2-D X are its time steps. Pass sequences of another length as an array "
                "(n, T, 1) or as a list of 1-D arrays."
            )
    if sequences.n_features != estimator._n_step_features:
        read = ", one a time step, as every 2-D X" if table else " a time step"
        fitted = " (fit saw a 2-D X, one feature a time step)" if estimator._fit_layout == "table" else ""
        raise ValueError(
            f"X has {sequences.n_features} features{read}, but {name} is expecting {estimator._n_step_features} "
            f"features as input{fitted}. Pass the features that fit saw."
        )
    if frame is None and not table and estimator._fit_layout == "ragged":
        validate_data(estimator, sequences.values[:1], reset=False, skip_check_array=True)  # warns of lost names
