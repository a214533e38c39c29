"""sequences_from_frame: what is gathered, from which frames, and what is refused."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.impute import SimpleImputer

from fastrecur.preprocessing import PerTimestep, sequences_from_frame

ROWS = {
    "who": ["b", "a", "b", "a", "b", "c"],
    "day": [3, 1, 1, 2, 2, 7],
    "u": [0.3, 1.1, 0.1, 1.2, 0.2, 2.7],
    "v": [3.0, 11.0, 1.0, 12.0, 2.0, 27.0],
}
EXPECTED = [[[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]], [[1.1, 11.0], [1.2, 12.0]], [[2.7, 27.0]]]

each_library = pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])


def timed(library, times, who=None):
    """Frame of one feature, which numbers the rows."""
    return library({"who": who or ["a"] * len(times), "t": times, "u": np.arange(float(len(times)))})


def dates(*texts):
    return [datetime.datetime.fromisoformat(text) for text in texts]


# What is gathered


@each_library
@pytest.mark.parametrize("columns", [["u", "v"], None, ("u", "v")])
def test_sequences_are_sorted_by_time_and_ids_come_in_their_order(library, columns):
    X, ids = sequences_from_frame(library(ROWS), "who", "day", columns)
    assert [x.tolist() for x in X] == EXPECTED
    assert ids.tolist() == ["b", "a", "c"]
    assert all(x.dtype == np.float64 for x in X)


@each_library
def test_the_order_of_the_rows_has_no_effect(library):
    order = np.array([2, 1, 5, 0, 4, 3])
    frame = library({name: [values[i] for i in order] for name, values in ROWS.items()})
    X, ids = sequences_from_frame(frame, "who", "day", ["v"])
    assert ids.tolist() == ["b", "a", "c"]
    assert [x.ravel().tolist() for x in X] == [[1, 2, 3], [11, 12], [27]]


@each_library
def test_the_columns_come_in_the_order_that_was_asked(library):
    X, _ = sequences_from_frame(library(ROWS), "who", "day", ["v", "u"])
    assert X[2].tolist() == [[27.0, 2.7]]


@each_library
def test_a_single_name_leaves_the_axis_of_features_out(library):
    frame = library({"who": [5, 5, 4], "t": [0, 1, 0], "word": [7, 8, 9]})
    X, ids = sequences_from_frame(frame, "who", "t", "word")
    assert [x.tolist() for x in X] == [[7, 8], [9]]
    assert all(x.dtype == np.int64 for x in X)
    assert ids.dtype == np.int64


@each_library
def test_dtypes_and_missing_values(library):
    frame = library(
        {"who": ["a"] * 2, "t": [0, 1], "f": np.array([1, 2], "float32"), "n": [1.5, None], "b": [True, False]}
    )
    assert sequences_from_frame(frame, "who", "t", "f")[0][0].dtype == np.float32
    X, _ = sequences_from_frame(frame, "who", "t", ["f", "n", "b"])
    np.testing.assert_array_equal(X[0], [[1, 1.5, 1], [2, np.nan, 0]])
    assert PerTimestep(SimpleImputer()).fit_transform(X)[0][1, 1] == 1.5


@pytest.mark.parametrize(
    "column",
    [pd.array([1, None], "Int64"), pd.array([1.0, None], "Float64"), pl.Series([1, None]), np.array([1, np.nan])],
    ids=["Int64", "Float64", "polars", "float64"],
)
def test_columns_that_know_nothing_missing_and_those_that_do(column):
    library = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X, _ = sequences_from_frame(library({"who": ["a", "a"], "t": [1, 2], "u": column}), "who", "t", ["u"])
    np.testing.assert_array_equal(X[0], [[1], [np.nan]])


def test_categories_as_ids():
    frame = pd.DataFrame(ROWS).astype({"who": "category"})
    assert sequences_from_frame(frame, "who", "day", ["u"])[1].tolist() == ["b", "a", "c"]


# Steps


@each_library
@pytest.mark.parametrize(
    "times",
    [
        [3, 1, 2],
        [0.1, 0.2, 0.30000000000000004, 0.4],
        (1e9 + np.arange(50) / 100).tolist(),
        dates("2024-01-02", "2024-01-01"),
        dates("2024-01-01T00:00", "2024-01-01T00:10", "2024-01-01T00:20"),
        dates("2023-12-01", "2024-01-01", "2024-02-01", "2024-03-01"),
        dates("2023-12-15", "2024-01-15", "2024-02-15"),
        dates("2024-01-31", "2024-02-29", "2024-03-31"),
        dates("2023-03-31", "2023-06-30", "2023-09-30", "2023-12-31"),
        dates("2022-01-01", "2023-01-01", "2024-01-01", "2025-01-01"),
        [datetime.timedelta(hours=1), datetime.timedelta(hours=2), datetime.timedelta(hours=3)],
        [5],
    ],
    ids=lambda times: str(times[-1]),
)
def test_times_that_are_evenly_spaced(library, times):
    X, _ = sequences_from_frame(timed(library, times), "who", "t", "u")
    np.testing.assert_array_equal(X[0], np.argsort(times))


@each_library
@pytest.mark.parametrize(
    ("times", "who", "message"),
    [
        ([1, 2, 4, 5], None, "Id 'a' has no row for the time 3: from 2 the next is 4, where one step is 1"),
        ([1, 2, 3, 1, 3], list("aaabb"), "Id 'b' has no row for the time 2: from 1 the next is 3, where one step is 1"),
        ([0, 2, 4, 5], None, "Id 'a' has uneven times: from 4 the next is 5, where one step is 2"),
        ([0.0, 0.5, 1.5], None, "no row for the time 1: from 0.5 the next is 1.5, where one step is 0.5"),
        (
            dates("2024-01-01", "2024-01-02", "2024-01-04"),
            None,
            "no row for the time 2024-01-03.*: from 2024-01-02.* the next is 2024-01-04.*, where one step is 1 day",
        ),
        (
            dates("2024-01-01", "2024-02-01", "2024-04-01", "2024-05-01"),
            None,
            "no row for the time 2024-03: from 2024-02 the next is 2024-04, where one step is 1 months",
        ),
        (
            dates("2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T03:30"),
            None,
            "no row for the time 2024-01-01T02:00",
        ),
        (
            [datetime.timedelta(minutes=m) for m in (0, 1, 3)],
            None,
            "no row for the time 0:02:00: from 0:01:00 the next is 0:03:00, where one step is 0:01:00",
        ),
    ],
)
def test_missing_steps(library, times, who, message):
    frame = timed(library, times, who)
    with pytest.raises(ValueError, match=message):
        sequences_from_frame(frame, "who", "t", "u")
    X, _ = sequences_from_frame(frame, "who", "t", "u", step=None)
    assert sum(map(len, X)) == len(times)


@each_library
@pytest.mark.parametrize("step", ["auto", None])
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 2, 1, 3], "Id 'a' has the time 1 twice, in rows 0 and 2. Leave one out"),
        ([0.5, 0.5], "Id 'a' has the time 0.5 twice, in rows 0 and 1"),
        (dates("2024-01-02", "2024-01-01", "2024-01-02"), "Id 'a' has the time 2024-01-02.* twice, in rows 0 and 2"),
    ],
)
def test_duplicate_times(library, times, message, step):
    with pytest.raises(ValueError, match=message):
        sequences_from_frame(timed(library, times), "who", "t", "u", step=step)


@each_library
def test_a_step_that_was_given(library):
    hours = timed(library, dates("2024-01-01T00:00", "2024-01-01T02:00"))
    assert len(sequences_from_frame(hours, "who", "t", "u", step=np.timedelta64(2, "h"))[0]) == 1
    with pytest.raises(ValueError, match="no row for the time 2024-01-01T01:00"):
        sequences_from_frame(hours, "who", "t", "u", step=datetime.timedelta(hours=1))
    with pytest.raises(ValueError, match="no row for the time 2: from 1 the next is 3"):
        sequences_from_frame(timed(library, [1, 3]), "who", "t", "u", step=1)
    assert len(sequences_from_frame(timed(library, [0.1, 0.3]), "who", "t", "u", step=0.2)[0]) == 1


@each_library
@pytest.mark.parametrize(
    ("times", "step", "kind", "message"),
    [
        ([1, 2], "day", TypeError, "step must be a number, as the times are"),
        ([1, 2], True, TypeError, "step must be a number"),
        ([1, 2], 0, ValueError, "step must be positive, found 0"),
        (dates("2024-01-01"), 1, TypeError, "step must be a timedelta"),
        (dates("2024-01-01"), np.timedelta64(1, "M"), TypeError, "step must be a timedelta of weeks or less"),
        (dates("2024-01-01"), datetime.timedelta(-1), ValueError, "step must be positive"),
    ],
)
def test_a_step_that_will_not_do(library, times, step, kind, message):
    with pytest.raises(kind, match=message):
        sequences_from_frame(timed(library, times), "who", "t", "u", step=step)


@each_library
def test_dates_without_hours_and_with_a_time_zone(library):
    days = [datetime.date(2024, 2, day) for day in (28, 29)]
    frame = pl.DataFrame({"who": ["a"] * 2, "t": days, "u": [1, 2]})
    assert len(sequences_from_frame(frame, "who", "t", "u")[0][0]) == 2
    hours = pd.date_range("2024-03-31", periods=6, freq="h", tz="Europe/Berlin")  # summer time begins among them
    frame = pd.DataFrame({"who": "a", "t": hours, "u": 1.0})
    frame = frame if library is pd.DataFrame else pl.DataFrame({name: frame[name].to_list() for name in frame})
    assert len(sequences_from_frame(frame, "who", "t", "u")[0][0]) == 6


# Frames that will not do


@each_library
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("whom", "day", ["u"]), ValueError, "id: frame has no column 'whom', only 'who', 'day', 'u', 'v'"),
        (("who", "t", ["u"]), ValueError, "time: frame has no column 't'"),
        (("who", "day", ["w"]), ValueError, "columns: frame has no column 'w'"),
        (("who", "who", ["u"]), ValueError, "id and time are both the column 'who'"),
        (("who", "day", []), ValueError, "columns is empty"),
        ((0, "day", ["u"]), TypeError, "id must name columns by str, found 0"),
        (("who", "day", [1]), TypeError, "columns must name columns by str, found 1"),
        (("who", "day", 1), TypeError, "columns must be a list of column names, one name or None .*, found 1"),
        (("u", "who", ["v"]), TypeError, "time: column 'who' of frame holds .*, neither numbers nor dates"),
        (("u", "day", ["who"]), TypeError, "columns: column 'who' of frame holds .*, not numbers"),
    ],
)
def test_columns_that_will_not_do(library, arguments, kind, message):
    with pytest.raises(kind, match=message):
        sequences_from_frame(library(ROWS), *arguments)


@each_library
def test_missing_ids_and_times(library):
    with pytest.raises(ValueError, match="Row 1 of frame has no id: column 'who' is missing there"):
        sequences_from_frame(timed(library, [1, 2], ["a", None]), "who", "t", "u")
    with pytest.raises(ValueError, match="Row 0 of frame has no id"):
        sequences_from_frame(timed(library, [1, 2], [np.nan, 1.0]), "who", "t", "u")
    for time in (None, float("nan"), float("inf")):
        with pytest.raises(
            ValueError, match="Row 1 of frame, of id 'b', has no time: column 't' is missing or infinite"
        ):
            sequences_from_frame(timed(library, [1.0, time], ["a", "b"]), "who", "t", "u")
    with pytest.raises(ValueError, match="Row 1 of frame, of id 'b', has no time"):
        sequences_from_frame(timed(library, [datetime.datetime(2024, 1, 1), None], ["a", "b"]), "who", "t", "u")


@each_library
def test_an_empty_frame(library):
    with pytest.raises(ValueError, match="frame is empty: 0 rows"):
        sequences_from_frame(library(ROWS)[:0], "who", "day", ["u"])


def test_two_columns_of_one_name():
    frame = pd.DataFrame(np.ones((2, 4)), columns=["who", "day", "u", "u"])
    with pytest.raises(ValueError, match=r"frame has more than one column named 'u'\. Give each column a name"):
        sequences_from_frame(frame, "who", "day", "u")


def test_levels_of_an_index():
    frame = pd.DataFrame(ROWS).set_index(["who", "day"])
    with pytest.raises(ValueError, match=r"id: frame has no column 'who'.*reset_index\(\)"):
        sequences_from_frame(frame, "who", "day", ["u"])
    assert len(sequences_from_frame(frame.reset_index(), "who", "day", ["u"])[0]) == 3


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ROWS, "frame is of type dict. Pass a DataFrame"),
        (np.zeros((2, 3)), "frame is of type ndarray. Pass a DataFrame"),
        (pl.DataFrame(ROWS).lazy(), r"frame is of type LazyFrame. Call collect\(\)"),
    ],
)
def test_no_frame(frame, message):
    with pytest.raises(TypeError, match=message):
        sequences_from_frame(frame, "who", "day", ["u"])


@each_library
def test_integers_beyond_int64(library):
    columns = {"who": ["a", "a"], "t": [1, 2], "u": np.array([1, 2**63], np.uint64), "v": [1, 2]}
    with pytest.raises(ValueError, match="column 'u' of frame holds 9223372036854775808, more than int64 can"):
        sequences_from_frame(library(columns), "who", "t", ["u", "v"])
    columns["u"] = np.array([1, 2**63 - 1], np.uint64)
    X, _ = sequences_from_frame(library(columns), "who", "t", ["u", "v"])
    assert X[0].tolist() == [[1, 1], [2**63 - 1, 2]]


@each_library
def test_times_in_single_precision(library):
    times = (1000 + np.arange(60) / 10).astype(np.float32)
    columns = {"who": ["a"] * 60, "t": times, "u": np.arange(60)}
    X, _ = sequences_from_frame(library(columns), "who", "t", "u")
    assert len(X[0]) == 60
    columns = {name: np.delete(values, 7) for name, values in columns.items()}
    with pytest.raises(ValueError, match=r"no row for the time 1000\.7"):
        sequences_from_frame(library(columns), "who", "t", "u")
