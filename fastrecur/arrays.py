"""What arrays hold, and lists of them. Thousands of arrays are the rule: no loop of Python over them."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_dtype = operator.attrgetter("dtype")


def are_arrays(elements: Iterable[Any]) -> bool:
    """Tell whether all are plain arrays."""
    return set(map(type, elements)) == {np.ndarray}


def dtypes_of(arrays: Iterable[NDArray]) -> set[np.dtype]:
    """Return the dtypes that occur."""
    return set(map(_dtype, arrays))


def dtypes_of_numbers(values: Any) -> set[np.dtype] | None:
    """Return the dtypes of a list of plain arrays of numbers, None of all else: it may have masks, columns, objects."""
    if not isinstance(values, list | tuple) or not are_arrays(values):
        return None
    dtypes = dtypes_of(values)
    return dtypes if {dtype.kind for dtype in dtypes} <= set("fiub") else None


def all_finite(values: NDArray) -> bool:
    """Tell whether there is no NaN and no infinity: by the sum, which takes no memory, and rarely one by one."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())
