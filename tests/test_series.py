"""What a series may be: one or a panel, arrays, lists, frames."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array

from fastrecur.series import kind_of_frame, read_panel


@pytest.mark.parametrize(
    ("given", "shapes", "is_panel"),
    [
        ([1, 2, 3], [(3, 1)], False),
        (np.arange(3), [(3, 1)], False),
        (np.ones((3, 2)), [(3, 2)], False),
        ([np.ones(3), np.ones(5)], [(3, 1), (5, 1)], True),
        ((np.ones((3, 2)), np.ones((4, 2))), [(3, 2), (4, 2)], True),
        ([[1.0, 2.0]], [(2, 1)], True),
        (np.ones((2, 5, 3)), [(5, 3), (5, 3)], True),
        (np.array([np.ones(3), np.ones(4)], dtype=object), [(3, 1), (4, 1)], True),
        (np.array([1.0, None, 2.0][::2], dtype=object), [(2, 1)], False),
        (pd.Series([1, 2]), [(2, 1)], False),
        (pd.DataFrame({"a": [1, 2], "b": [True, False]}), [(2, 2)], False),
        ([pl.Series([1.0]), pd.Series([1.0])], [(1, 1), (1, 1)], True),
        (pl.DataFrame({"a": [1, 2]}), [(2, 1)], False),
    ],
)
def test_forms(given, shapes, is_panel):
    panel, found = read_panel(given)
    assert ([one.values.shape for one in panel], found) == (shapes, is_panel)
    assert all(one.values.dtype == np.float64 for one in panel)


def test_what_is_remembered():
    (one,), _ = read_panel(pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 6], dtype="float32"))
    assert (one.scalar, one.single, one.frame.kind, one.frame.vector, one.frame.columns) == (
        False,
        True,
        "pandas",
        False,
        ["a"],
    )
    assert list(one.frame.index) == [5, 6]
    (one,), _ = read_panel(pl.Series("x", [1, 2]))
    assert (one.scalar, one.single, one.frame.columns, one.frame.index) == (True, False, ["x"], None)
    assert [kind_of_frame(given) for given in (pd.Series(), pl.DataFrame(), [1.0], np.ones(3))] == [
        "pandas",
        "polars",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (csr_array(np.eye(3)), TypeError, "sparse"),
        (np.ones(3) * 1j, ValueError, "Complex data not supported"),
        (np.empty((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
        (pd.DataFrame(index=range(3)), ValueError, r"0 feature\(s\)"),
        (np.empty(0), ValueError, r"0 time step\(s\)"),
        (None, ValueError, "what is None. Pass an array"),
        ([np.ones(2), None], ValueError, r"what\[1\] is None. Pass an array"),
        ([np.ones(2), "abc"], ValueError, r"what\[1\] must have shape"),
        ([{"a": 1}], TypeError, "what must hold numbers"),
        (np.array(["2020-01-01"], "M8[D]"), TypeError, "dtype datetime64"),
        (pd.Series([1, None], dtype="Int64"), ValueError, r"what contains NaN: step 1 \(1\)"),
    ],
)
def test_bad_series(given, error, text):
    with pytest.raises(error, match=text):
        read_panel(given, "what")


def test_masked_values():
    masked = np.ma.masked_greater(np.arange(4.0), 2)
    with pytest.raises(ValueError, match=r"what has 1 masked value\(s\)"):
        read_panel(masked, "what")
    with pytest.raises(ValueError, match=r"what\[1\] has 1 masked value\(s\)"):
        read_panel([np.ones(3), masked], "what")
    (one,), _ = read_panel(np.ma.array([1.0, 2.0]))
    assert one.values.ravel().tolist() == [1.0, 2.0]


def test_columns_of_a_panel():
    frame = pd.DataFrame({"u": [1.0, 2.0], "v": [3.0, 4.0]})
    read_panel([frame, frame.to_numpy(), frame])
    with pytest.raises(
        ValueError, match=r"what\[1\] must be in the same order as those of what\[0\]: found \['v', 'u'\]"
    ):
        read_panel([frame, frame[["v", "u"]]], "what")
