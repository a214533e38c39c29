"""Data frames of pandas and polars, neither of which is imported before one of theirs comes along."""

from __future__ import annotations

import sys
from typing import Any

from numpy.typing import NDArray

#: What may be wrong with dates without a time zone, where a time comes twice or an hour is missing.
CLOCKS = "If these are local times of clocks that were changed then, give them their time zone first."


def kind_of_frame(given: Any) -> str | None:
    """Return "pandas" or "polars" for a Series or DataFrame of these, else None."""
    for kind in ("pandas", "polars"):
        module = sys.modules.get(kind)
        if module is not None and isinstance(given, module.Series | module.DataFrame):
            return kind
    return None


def make_frame(kind: str, values: NDArray, columns: Any, index: Any = None) -> Any:
    """Return a DataFrame of rows (T, F); ``index`` is for pandas.

    Examples
    --------
    >>> import numpy as np
    >>> make_frame("pandas", np.eye(2), ["u", "v"])
         u    v
    0  1.0  0.0
    1  0.0  1.0
    """
    if kind == "pandas":
        import pandas

        return pandas.DataFrame(values, index=index, columns=columns, copy=False)
    import polars

    return polars.DataFrame(values, schema=list(columns), orient="row")
