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
