"""What lists of arrays hold. Thousands of arrays are the rule: no loop of Python over them."""

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
