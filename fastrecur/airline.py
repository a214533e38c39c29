"""`load_airline`: the monthly airline passengers, the series that every method of forecasting is tried on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrecur.network.validation import check_flag

#: Thousands of passengers, a year a line from January to December, 1949 to 1960.
_PASSENGERS = (
    (112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118),
    (115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140),
    (145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166),
    (171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194),
    (196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201),
    (204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229),
    (242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278),
    (284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306),
    (315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336),
    (340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337),
    (360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405),
    (417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432),
)


def load_airline(as_frame: bool = False) -> Any:
    """Load the monthly totals of international airline passengers, January 1949 to December 1960 (series G of [1]_).

    It grows, has a season of 12 months, and the season grows with it.

    Parameters
    ----------
    as_frame : bool, default=False
        Return a pandas Series with its months, a PeriodIndex.

    Returns
    -------
    passengers : float64 array of shape (144,), or Series
        In thousands.

    Raises
    ------
    TypeError
        If ``as_frame`` is no bool.
    ImportError
        With ``as_frame`` if pandas is missing.

    References
    ----------
    .. [1] Box and Jenkins, "Time series analysis: forecasting and control", revised edition, 1976.

    Examples
    --------
    >>> from fastrecur.datasets import load_airline
    >>> load_airline()[:4]
    array([112., 118., 132., 129.])
    """
    check_flag("as_frame", as_frame)
    passengers = np.array(_PASSENGERS, np.float64).ravel()
    if not as_frame:
        return passengers
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("load_airline(as_frame=True) needs pandas: pip install pandas") from error
    months = pd.period_range("1949-01", periods=len(passengers), freq="M", name="month")
    return pd.Series(passengers, months, name="passengers")
