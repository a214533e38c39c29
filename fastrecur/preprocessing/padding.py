"""Sequences between layouts: padded arrays and their lengths, channels first."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrecur.masks import refuse_masked
from fastrecur.sequences import array_or_elements, check_sequences

#: Up to here float64, in which sequences are stacked, holds every integer.
_EXACT = 2**53


def pad_sequences(X: Any, value: float = 0.0) -> tuple[NDArray, NDArray[np.int64]]:
    """Bring sequences to the length of the longest, for what takes arrays only.

    The estimators and layers of this library need no padding.

    Parameters
    ----------
    X : list, tuple or object array of (T_i, F) or (T_i,) arrays; array (n, T, F) or (n, T)
        The sequences. NaN may be in them.
    value : float, default=0.0
        What stands behind the end of the shorter ones.

    Returns
    -------
    array : ndarray of shape (n, T, F), or (n, T) where X has no axis of features
        T is the length of the longest. Integers and float32 keep their dtype, all else becomes float64.
    lengths : int64 array of shape (n,)
        T_i, what `unpad_sequences` and the layers' ``lengths`` take.

    Raises
    ------
    ValueError
        If X is not one of the forms above (see `fastrecur.sequences.check_sequences`), or `value` is none of its dtype.
    TypeError
        If `value` is not a number, or X holds objects that are not numbers.

    Examples
    --------
    >>> from fastrecur.preprocessing import pad_sequences
    >>> pad_sequences([[1, 2, 3], [4]])
    (array([[1, 2, 3],
            [4, 0, 0]]), array([3, 1]))
    """
    _check_number(value)
    sequences = check_sequences(X, allow_nan=True)
    dtype = _integer_dtype(X) or sequences.values.dtype
    _check_held(value, dtype)
    if dtype.kind != "f" and np.abs(sequences.values).max() > _EXACT:
        raise ValueError(
            f"X holds integers beyond 2**53 = {_EXACT}, which float64 cannot tell apart. Number them anew."
        )
    padded = np.full((len(sequences), sequences.max_length, sequences.n_features), value, dtype=dtype)
    padded[np.arange(sequences.max_length) < sequences.lengths[:, np.newaxis]] = sequences.values
    return padded[:, :, 0] if sequences.scalar_steps else padded, sequences.lengths.copy()


def unpad_sequences(array: ArrayLike, lengths: ArrayLike) -> list[NDArray]:
    """Cut the padding off.

    Parameters
    ----------
    array : array of shape (n, T) or (n, T, ...)
        Padded sequences, or one result a time step, of any dtype.
    lengths : array-like of int, shape (n,)
        T_i, from 1 to T.

    Returns
    -------
    list of n arrays of shape (T_i,) or (T_i, ...)
        Views of `array`.

    Raises
    ------
    ValueError
        If `array` has fewer than two axes, or there is not one length from 1 to T for each of its sequences.
    TypeError
        If the lengths are not integers.

    Examples
    --------
    >>> from fastrecur.preprocessing import unpad_sequences
    >>> unpad_sequences([[1, 2, 3], [4, 0, 0]], [3, 1])
    [array([1, 2, 3]), array([4])]
    """
    refuse_masked(array, "array")
    padded = np.asarray(array)
    if padded.ndim < 2:
        raise ValueError(f"array has shape {padded.shape}, but padded sequences have two axes or more: (n, T, ...).")
    n, longest = padded.shape[:2]
    counts = np.asarray(lengths)
    if counts.dtype.kind not in "iu" and counts.size:
        raise TypeError(f"lengths must hold integers, found dtype {counts.dtype}.")
    if counts.shape != (n,):
        raise ValueError(f"lengths has shape {counts.shape}, but array has {n} sequence(s): one length each is due.")
    wrong = (counts < 1) | (counts > longest)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"lengths[{index}] is {counts[index]}, but array has {longest} time step(s): 1 to {longest} do."
        )
    return [row[:length] for row, length in zip(padded, counts.tolist(), strict=True)]


def from_channels_first(X: Any) -> NDArray | list[NDArray]:
    """Turn sequences with their features first, the layout of aeon and sktime, into those of this library.

    Parameters
    ----------
    X : array (n, F, T); list, tuple or object array of (F, T_i) arrays
        The sequences, one row a feature ("channel"). NaN may be in them.

    Returns
    -------
    array (n, T, F), or list of n arrays (T_i, F)
        Copies of the dtypes of `fastrecur.sequences.check_sequences`: float32 is kept, integers become float64.

    Raises
    ------
    ValueError
        If the axes are not those above, or X holds strings, infinity or what is no number, or sequences differ in F.
    TypeError
        If X holds objects that are not numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.preprocessing import from_channels_first
    >>> from_channels_first(np.zeros((10, 3, 50))).shape
    (10, 50, 3)
    >>> [x.shape for x in from_channels_first([np.zeros((3, 50)), np.zeros((3, 7))])]
    [(50, 3), (7, 3)]
    """
    refuse_masked(X, "X")
    X, elements = array_or_elements(X)
    if elements is None:
        array = np.asarray(X)
        if array.ndim != 3:
            raise ValueError(
                f"X has shape {array.shape}, but features first have three axes: (n, F, T). An array (n, T) of one "
                "feature a step goes to the estimator as it is."
            )
        turned: Any = np.swapaxes(array, 1, 2)
    else:
        turned = [_turned(index, element) for index, element in enumerate(elements)]
    sequences = check_sequences(turned, allow_nan=True)
    values = sequences.values
    return sequences.unstack(values.copy() if any(np.shares_memory(values, part) for part in turned) else values)


def _turned(index: int, element: Any) -> NDArray:
    array = np.asarray(element)
    if array.ndim != 2:
        raise ValueError(
            f"Sequence {index} of X has shape {array.shape}, but features first have two axes: (F, T_i). Sequences "
            "(T_i,) of one feature a step go to the estimator as they are."
        )
    return array.T


def _integer_dtype(X: Any) -> np.dtype | None:
    """Return the dtype of X where it holds integers only."""
    X, elements = array_or_elements(X)
    dtype = np.asarray(X).dtype if elements is None else np.result_type(*(np.asarray(x).dtype for x in elements))
    return dtype if dtype.kind in "iu" else None


def _check_number(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"value must be a number, found {value!r}.")


def _check_held(value: float, dtype: np.dtype) -> None:
    try:
        with np.errstate(over="ignore"):
            held = dtype.type(value)
        exact = np.isfinite(held) == np.isfinite(value) if dtype.kind == "f" else held == value
    except (OverflowError, ValueError):  # beyond the integers, or NaN
        exact = False
    if not exact:
        raise ValueError(f"value={value!r} is none that {dtype}, the dtype of X, can hold. Convert X, to float64 say.")
