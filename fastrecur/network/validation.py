"""Checks of what a caller hands to a layer: each error names the argument, what was found and what would do."""

import numbers
from collections.abc import Mapping

import numpy as np


def check_count(name, value, least=1):
    """``value`` must be a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int of at least {least}, found {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, found {value}.")


def check_flag(name, value):
    """``value`` must be True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, found {value!r}.")


def check_dtype(value):
    """The dtype that ``value`` names, float32 or float64."""
    try:
        name = np.dtype(value).name if value is not None else None
    except TypeError:
        name = None
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be one of 'float32', 'float64', found {value!r}.")
    return np.dtype(name)


def check_random_state(value):
    """`numpy.random.RandomState` from a seed, from None (a new one) or from itself."""
    if isinstance(value, np.random.RandomState):
        return value
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise ValueError(f"random_state must be an int, a numpy.random.RandomState or None, found {value!r}.")
    return np.random.RandomState(None if value is None else int(value))


def as_array(name, value):
    """Array of what the caller gave."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: nested lists of different lengths make none ({error}).") from error


def check_choice(name, value, choices):
    """``value`` must be one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, found {value!r}.")


def check_real(name, array):
    """``array`` must hold real numbers."""
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, found an array of dtype {array.dtype}.")


def check_array_shape(name, array, shape, dtype):
    """Array of ``dtype`` and exactly ``shape``."""
    array = as_array(name, array)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, found {array.shape}.")
    check_real(name, array)
    return np.asarray(array, dtype=dtype)


def check_lengths(lengths, n_rows, n_steps):
    """Lengths of a padded batch, int64, each from 1 to ``n_steps``."""
    lengths = as_array("lengths", lengths)
    if lengths.shape != (n_rows,) or lengths.dtype.kind not in "iu":
        raise ValueError(f"lengths must be {n_rows} whole numbers, found shape {lengths.shape} of {lengths.dtype}.")
    bad = np.flatnonzero((lengths < 1) | (lengths > n_steps))
    if len(bad):
        raise ValueError(f"lengths must lie between 1 and T = {n_steps}, found {lengths[bad[0]]} in row {bad[0]}.")
    return lengths.astype(np.int64)


def join_biases(given, shapes):
    """Add up PyTorch's two biases a layer where the cell has one (RNN and LSTM)."""
    if not isinstance(given, Mapping):
        raise TypeError(f"parameters must be a dict of arrays by name, found a {type(given).__name__}.")
    given = dict(given)
    for name in shapes:
        pair = (name.replace("bias_l", "bias_ih_l"), name.replace("bias_l", "bias_hh_l"))
        if name.startswith("bias_l") and name not in given and all(part in given for part in pair):
            given[name] = np.asarray(given.pop(pair[0])) + np.asarray(given.pop(pair[1]))
    return given


def check_arrays(what, given, shapes):
    """``given`` must have exactly the names and shapes of ``shapes``."""
    missing, unknown = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
    if missing or unknown:
        raise ValueError(f"{what} must have the names {sorted(shapes)}; missing {missing}, unknown {unknown}.")
    for name, shape in shapes.items():
        check_array_shape(f"{what}[{name!r}]", given[name], shape, np.float64)
