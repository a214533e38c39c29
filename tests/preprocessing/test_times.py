"""Times of a zone whose clocks are changed, out of pandas and polars: hours in UTC, whole days by the clocks."""

import datetime
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastrecur.preprocessing import sequences_from_frame

ZONES = ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe"]  # the last changes its clocks by half an hour


def as_pandas(times):
    return pd.DataFrame({"id": "a", "time": times, "x": np.arange(len(times))})


def as_polars(times):
    """Without pyarrow, which polars wants for times of pandas with a zone."""
    naive = times if times.tz is None else times.tz_convert("UTC").tz_localize(None)
    column = pl.Series("time", naive.to_numpy())
    if times.tz is not None:
        column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(str(times.tz))
    return pl.DataFrame({"id": ["a"] * len(times), "time": column, "x": np.arange(len(times))})


@pytest.fixture(params=[as_pandas, as_polars])
def frame_of(request):
    """A long frame of one id with such times."""
    return request.param


def rows(frame, **options):
    return sequences_from_frame(frame, "id", "time", "x", **options)[0][0]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("start", ["2025-03-08", "2025-03-29", "2025-04-05", "2025-10-04", "2025-10-25", "2025-11-01"])
@pytest.mark.parametrize("freq", ["h", "30min", "12h"])
def test_hours(frame_of, zone, start, freq):
    times = pd.date_range(start, periods=60, freq=freq, tz=zone)
    np.testing.assert_array_equal(rows(frame_of(times)), np.arange(60))
    shuffled = times[np.random.default_rng(0).permutation(60)]
    found = rows(frame_of(shuffled))
    np.testing.assert_array_equal(found, shuffled.argsort())


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ["D", "2D", "W", "MS", "ME", pd.DateOffset(months=2)])
def test_days_and_more(frame_of, zone, freq):
    times = pd.date_range("2025-01-15 00:30", periods=30, freq=freq, tz=zone)
    np.testing.assert_array_equal(rows(frame_of(times)), np.arange(30))


@pytest.mark.parametrize("step", [datetime.timedelta(days=1), np.timedelta64(24, "h")])
def test_a_day_that_is_asked_for(frame_of, step):
    times = pd.date_range("2025-10-10", periods=30, freq="D", tz="Europe/Vienna")
    assert len(rows(frame_of(times), step=step)) == 30
    with pytest.raises(ValueError, match="where one step is 2 days"):
        rows(frame_of(times), step=2 * step)


def test_noon_in_utc_is_a_day_too(frame_of):
    """By the clocks of the zone it comes an hour later from the change on."""
    times = pd.date_range("2025-03-20 12:00", periods=30, freq="D", tz="UTC").tz_convert("Europe/Vienna")
    assert len(rows(frame_of(times))) == 30


SPRING = pd.date_range("2025-03-29", periods=60, freq="h", tz="Europe/Vienna")
AUTUMN = pd.date_range("2025-10-25", periods=60, freq="h", tz="Europe/Vienna")
DAYS = pd.date_range("2025-03-20", periods=30, freq="D", tz="Europe/Vienna")


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (SPRING.delete(26), "2025-03-30T03:00+02:00: from 2025-03-30T01:00+01:00 the next is 2025-03-30T04:00+02:00"),
        (SPRING.delete(25), "2025-03-30T01:00+01:00: from 2025-03-30T00:00+01:00 the next is 2025-03-30T03:00+02:00"),
        (AUTUMN.delete(27), "2025-10-26T02:00+01:00: from 2025-10-26T02:00+02:00 the next is 2025-10-26T03:00+01:00"),
        (AUTUMN.delete(26), "2025-10-26T02:00+02:00: from 2025-10-26T01:00+02:00 the next is 2025-10-26T02:00+01:00"),
        (DAYS.delete(15), "2025-04-04: from 2025-04-03 the next is 2025-04-05, where one step is 1 day"),
        (DAYS.delete(10), "2025-03-30: from 2025-03-29 the next is 2025-03-31, where one step is 1 day"),
    ],
    ids=["after spring", "before spring", "second hour", "first hour", "a day", "the short day"],
)
def test_a_missing_row_is_named_by_the_clocks(frame_of, times, found):
    with pytest.raises(ValueError, match=re.escape(f"Id 'a' has no row for the time {found}")):
        rows(frame_of(times))


def test_local_times_without_their_zone(frame_of):
    """What looks like a gap or a double may be the clocks."""
    hint = "If these are local times of clocks that were changed then, give them their time zone first"
    with pytest.raises(ValueError, match=f"no row for the time 2025-03-30T02:00: .*{hint}"):
        rows(frame_of(SPRING.tz_localize(None)))
    with pytest.raises(ValueError, match=f"has the time 2025-10-26T02:00 twice, in rows 26 and 27.*{hint}"):
        rows(frame_of(AUTUMN.tz_localize(None)))
    with pytest.raises(ValueError, match=r"has the time 2025-10-26T02:00\+01:00 twice") as caught:
        rows(frame_of(AUTUMN.delete(26).append(AUTUMN[27:28])))
    assert "clocks" not in str(caught.value)
    with pytest.raises(ValueError, match="no row for the time 2025-03-30T02:00") as caught:
        rows(frame_of(SPRING.tz_localize(None).delete(26)))
    assert "clocks" not in str(caught.value)


def test_a_zone_that_is_an_offset():
    times = pd.date_range("2025-03-29", periods=10, freq="h", tz="UTC+03:00")
    assert len(rows(as_pandas(times))) == 10
    with pytest.raises(ValueError, match=r"no row for the time 2025-03-29T05:00\+03:00"):
        rows(as_pandas(times.delete(5)))
