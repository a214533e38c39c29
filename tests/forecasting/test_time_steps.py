"""Steps between times: those that have no name of pandas, time zones, and few rows after fit."""

import pickle

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

T, H = 60, 3


def goes_on(forecaster, index, waves):
    """Whether the index of a forecast is what comes after the first T times."""
    forecaster.fit(pd.Series(waves[:, 0], index[:T]))
    return list(pickle.loads(pickle.dumps(forecaster)).predict().index) == list(index[T:])


@pytest.mark.parametrize("months", [1, 3])
def test_offsets_without_a_name(months, quick, waves):
    assert goes_on(quick(), pd.date_range("2001-01-15", periods=T + H, freq=pd.DateOffset(months=months)), waves)


@pytest.mark.parametrize("freq", ["2M", "15min", "2Q"])
def test_periods_of_several(freq, quick, waves):
    index = pd.period_range("2001-01", periods=T + H, freq=freq)
    assert goes_on(quick(), index, waves)
    with pytest.raises(ValueError, match="irregular"):
        quick().fit(pd.Series(waves[:-1, 0], index[:T].delete(7)))


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Vienna"])
@pytest.mark.parametrize("months", [1, 2])
def test_one_day_of_each_month(months, zone, quick, waves):
    index = pd.date_range("2001-01-15 12:30", periods=T + H, freq=pd.DateOffset(months=months), tz=zone)
    index = pd.DatetimeIndex(index, freq=None)
    assert index.freq is None
    assert goes_on(quick(), index, waves)
    with pytest.raises(ValueError, match="irregular"):
        quick().fit(pd.Series(waves[:-1, 0], index[:T].delete(7)))


def test_zones_of_dateutil(quick, waves):
    tz = pytest.importorskip("dateutil.tz")
    zone = tz.gettz("Europe/Vienna") or tz.tzoffset("here", 3600)
    index = pd.date_range("2020-06-01", periods=T + H, freq="D", tz=zone)
    assert goes_on(quick(), index, waves)
    assert quick().fit(pd.Series(waves[:, 0], index[:T])).predict().index.tz == zone


@pytest.mark.parametrize("last", ["2025-03-29", "2025-10-25"])
def test_clocks_that_are_changed(last, quick, waves):
    index = pd.date_range(end=f"{last} 02:30", periods=T, freq="D", tz="Europe/Vienna")
    text = rf"after {last} 02:30.* does not exist, or exists twice.*tz_convert\('UTC'\)"
    with pytest.raises(ValueError, match=text):
        quick().fit(pd.Series(waves[:, 0], index)).predict()
    index = pd.date_range(end=f"{last} 02:30", periods=T, freq="D", tz="UTC")
    assert len(quick().fit(pd.Series(waves[:, 0], index)).predict()) == H


ZONES = ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe"]  # the last changes its clocks by half an hour


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("start", ["2025-03-07", "2025-03-28", "2025-10-03", "2025-10-24", "2025-10-31"])
@pytest.mark.parametrize("freq", ["h", "30min", "6h"])
def test_hours_across_a_change_of_the_clocks(zone, start, freq, quick, waves):
    """The change may lie in the series or in the forecast; with the frequency or without."""
    index = pd.date_range(start, periods=T + H, freq=freq, tz=zone)
    assert goes_on(quick(), index, waves)
    assert goes_on(quick(), pd.DatetimeIndex(index, freq=None), waves)
    forecaster = quick().fit(pd.Series(waves[:, 0], index[:T]))
    few = pd.Series(waves[-7:, 0], pd.DatetimeIndex(index[T - 7 : T], freq=None))
    assert list(forecaster.predict(series=few).index) == list(index[T:])


@pytest.mark.parametrize("hours", range(2, 5))
def test_the_clocks_are_changed_within_the_forecast(hours, quick, waves):
    for change in ("2025-03-30 01:00", "2025-10-26 01:00"):  # in UTC
        index = pd.date_range(end=pd.Timestamp(change) - pd.Timedelta(hours=hours), periods=T, freq="h", tz="UTC")
        found = quick(horizon=6).fit(pd.Series(waves[:, 0], index.tz_convert("Europe/Vienna"))).predict().index
        expected = pd.date_range(index[-1] + pd.Timedelta(hours=1), periods=6, freq="h").tz_convert("Europe/Vienna")
        assert list(found) == list(expected)
        assert len(set(found.map(lambda label: label.utcoffset()))) == 2


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ["D", "W", "B", "MS"])
def test_days_across_a_change_of_the_clocks(zone, freq, quick, waves):
    index = pd.date_range("2025-02-10 08:00", periods=T + H, freq=freq, tz=zone)
    assert goes_on(quick(), pd.DatetimeIndex(index, freq=None), waves)


@pytest.mark.parametrize(
    ("start", "missing", "text"),
    [
        ("2025-03-29", 26, r"from 2025-03-30 01:00:00\+01:00 to .* 04:00:00\+02:00 .*without .* 03:00:00\+02:00"),
        ("2025-10-25", 27, r"from 2025-10-26 02:00:00\+02:00 to .* 03:00:00\+01:00 .*without .* 02:00:00\+01:00"),
    ],
)
def test_an_hour_that_is_missing_when_the_clocks_are_changed(start, missing, text, quick, waves):
    index = pd.date_range(start, periods=T + 1, freq="h", tz="Europe/Vienna").delete(missing)
    with pytest.raises(ValueError, match=rf"series is irregular: {text}, .* 1 such place"):
        quick().fit(pd.Series(waves[:, 0], index))


def test_a_day_that_is_missing_beside_a_short_one(quick, waves):
    index = pd.date_range("2025-03-20", periods=T + 1, freq="D", tz="Europe/Vienna").delete(15)
    text = r"from 2025-04-03 00:00:00 to 2025-04-05 00:00:00 \(step 15\), without 2025-04-04 00:00:00, .* 1 such place"
    with pytest.raises(ValueError, match=text):
        quick().fit(pd.Series(waves[:, 0], index))


def test_local_times_without_their_zone(quick, waves):
    hint = "If these are local times of clocks that were changed then, give them their time zone first"
    for start, text in (("2025-03-29", "2025-03-30 01:00:00 to 2025-03-30 03:00:00"), ("2025-10-25", "02:00:00 twice")):
        index = pd.date_range(start, periods=T, freq="h", tz="Europe/Vienna").tz_localize(None)
        with pytest.raises(ValueError, match=f"{text}.*{hint}"):
            quick().fit(pd.Series(waves[:, 0], index))
    index = pd.date_range("2025-03-29", periods=T + 1, freq="D").delete(5)
    with pytest.raises(ValueError, match="irregular") as caught:
        quick().fit(pd.Series(waves[:, 0], index))
    assert "clocks" not in str(caught.value)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-31", periods=T + H, freq="ME"),
        pd.date_range("2020-01-02", periods=T + H, freq="B"),
        pd.date_range("2020-01-01", periods=T + H, freq="2h"),
        pd.timedelta_range("1h", periods=T + H, freq="2h"),
        pd.RangeIndex(0, 7 * (T + H), 7),
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_rows_go_in_the_steps_of_fit(index, rows, quick, waves):
    forecaster = quick(window=1).fit(pd.Series(waves[:50, 0], index[:50]))
    few = pd.Index(index.to_numpy()[T - rows : T])
    found = forecaster.predict(series=pd.Series(waves[T - rows :, 0], few)).index
    np.testing.assert_array_equal(found, index[T:])


def test_other_steps_than_those_of_fit(quick, waves):
    forecaster = quick(window=2).fit(pd.Series(waves[:, 0], pd.date_range("2020-01-01", periods=T, freq="D")))
    weeks = pd.date_range("2020-01-01", periods=10, freq="7D")
    found = forecaster.predict(series=pd.Series(waves[:10, 0], pd.DatetimeIndex(weeks, freq=None))).index
    assert found[0] == weeks[-1] + pd.Timedelta(days=7)
