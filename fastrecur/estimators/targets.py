"""Targets: those of time steps stacked as the sequences are, and what none may be."""

import numpy as np
from sklearn import get_config

from fastrecur.sequences import array_or_elements


def stack_targets(y, lengths):
    """One target a time step, sequence after sequence.

    Parameters
    ----------
    y : array of shape (n, T) or (n, T, K), or list of arrays of shape (T_i,) or (T_i, K)
    lengths : int64 array of shape (n,)
        Time steps of each sequence of X.

    Returns
    -------
    stacked : array of shape (S,) or (S, K)

    Raises
    ------
    ValueError
        If y has not one target for each time step of X.

    Examples
    --------
    >>> from fastrecur.estimators.targets import stack_targets
    >>> stack_targets([[0, 1, 1], [1]], [3, 1])
    array([0, 1, 1, 1])
    """
    y, elements = array_or_elements(y)
    if elements is None and np.ndim(y) == 0:
        raise ValueError(f"y must be an array (n, T) or a list of (T_i,) arrays, found a {type(y).__name__}.")
    elements = [np.asarray(element) for element in (np.asarray(y) if elements is None else elements)]
    if len(elements) != len(lengths):
        raise ValueError(
            f"y has {len(elements)} sequence(s) of targets, but X has {len(lengths)} sequence(s): inconsistent numbers "
            "of samples. With return_sequences=True pass one target for each time step of each sequence."
        )
    for index, (element, length) in enumerate(zip(elements, lengths, strict=True)):
        if element.ndim not in (1, 2):
            raise ValueError(
                f"y[{index}] has shape {element.shape}. With return_sequences=True each element of y must have shape "
                "(T_i,), or (T_i, K) for regression: one target a time step."
            )
        if len(element) != length:
            raise ValueError(
                f"y[{index}] has {len(element)} target(s), but sequence {index} of X has {length} time step(s). With "
                "return_sequences=True pass one target a time step."
            )
    shapes = {element.shape[1:] for element in elements}
    if len(shapes) > 1:
        raise ValueError(f"y mixes targets of shapes {sorted(shapes)} a time step. Give each the same number.")
    if len({element.dtype.kind in "US" for element in elements}) > 1:
        raise ValueError("y mixes strings and numbers. Give all sequences targets of one kind.")
    return np.concatenate(elements)


def check_finite_targets(y, lengths=None):
    """Refuse NaN, infinity and whatever stands for a missing label. As scikit-learn's checks, off with assume_finite.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, K); with ``lengths`` (S,) or (S, K)
    lengths : int64 array of shape (n,), optional
        Time steps of each sequence, where each of them has a target.

    Raises
    ------
    ValueError
        That says which sequence, and which time step and output where there are several.

    Examples
    --------
    >>> from fastrecur.estimators.targets import check_finite_targets
    >>> check_finite_targets([0.0, 1.0, float("nan"), 1.0], [1, 3])
    Traceback (most recent call last):
        ...
    ValueError: y contains NaN: sequence 1, step 1. Impute the value, or leave the time step out.
    """
    y = np.asarray(y)
    if get_config()["assume_finite"] or y.dtype.kind not in "fO":
        return
    bad = np.vectorize(_is_missing, otypes=[bool])(y) if y.dtype.kind == "O" else ~np.isfinite(y)
    n_bad = np.count_nonzero(bad)
    if n_bad == 0:
        return
    place = np.unravel_index(bad.argmax(), y.shape)
    value, names, unit = y[place], ["sequence"], "sequence"
    if lengths is not None:
        sequence = np.searchsorted(np.cumsum(lengths), place[0], side="right")
        place = sequence, place[0] - int(np.sum(lengths[:sequence])), *place[1:]
        names, unit = ["sequence", "step"], "time step"
    where = ", ".join(f"{name} {i}" for name, i in zip((*names, "output"), place, strict=False))
    more = f" (and {n_bad - 1} more such values)" if n_bad > 1 else ""
    found, remedy = value, "Impute"  # None, pandas.NA
    if isinstance(value, float | np.floating):
        found, remedy = ("NaN", "Impute") if np.isnan(value) else ("infinity", "Clip")
    raise ValueError(f"y contains {found}: {where}{more}. {remedy} the value, or leave the {unit} out.")


def _is_missing(value):
    """Whether an object is None, NaN, pandas.NA or infinity."""
    if np.ndim(value) > 0:  # no label at all, of which others tell
        return False
    try:
        return value is None or bool(value != value) or (isinstance(value, float) and abs(value) == np.inf)
    except (TypeError, ValueError):  # of pandas.NA nobody knows whether it equals itself
        return True


def as_dtype_of_x(y, dtype):
    """Predictions, float64, in the dtype of X: float32 or float64.

    Raises
    ------
    ValueError
        If float32 cannot hold them.
    """
    if dtype != np.float32:
        return y
    if np.abs(y).max(initial=0.0) > np.finfo(np.float32).max:
        raise ValueError("The predictions are beyond float32, the dtype of X. Pass X as float64.")
    return y.astype(np.float32)
