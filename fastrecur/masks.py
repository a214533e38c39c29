"""Masked arrays, which scikit-learn and NumPy's conversions read without their masks."""

from typing import Any

import numpy as np

from fastrecur.arrays import are_arrays, dtypes_of

_CONTAINERS = (list, tuple, np.ndarray)


def refuse_masked(values: Any, name: str) -> None:
    """Refuse masked values, behind whose masks there are numbers that would be read as data.

    Parameters
    ----------
    values : object
        What the caller gave: an array, or a list of what may be arrays.
    name : str
        What to call it in the error.

    Raises
    ------
    ValueError
        If a value is masked. A masked array without such a value may pass.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.masks import refuse_masked
    >>> refuse_masked([np.ma.masked_greater([1.0, 9.0], 5.0)], "X")
    Traceback (most recent call last):
        ...
    ValueError: X[0] has 1 masked value(s). Fill them (numpy.ma.filled), or leave them out.
    """
    if isinstance(values, np.ma.MaskedArray):
        n_masked = np.ma.count_masked(values)
        if n_masked:
            raise ValueError(f"{name} has {n_masked} masked value(s). Fill them (numpy.ma.filled), or leave them out.")
    elif isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype == object):
        if are_arrays(values) and not any(dtype.kind == "O" for dtype in dtypes_of(values)):
            return
        for index, value in enumerate(values):
            if isinstance(value, _CONTAINERS):
                refuse_masked(value, f"{name}[{index}]")
