"""Data frames: the time index goes on, irregular ones are refused, polars is accepted."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastrecur.forecasting import SeasonalNaive

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

T, H = 60, 3

INDICES = {
    "days": pd.date_range("2020-02-01", periods=T + H, freq="D", name="day"),
    "month begins": pd.date_range("1949-01-01", periods=T + H, freq="MS"),
    "month ends": pd.date_range("1949-01-31", periods=T + H, freq="ME"),
    "weeks": pd.date_range("2020-01-05", periods=T + H, freq="W-SUN"),
    "business days": pd.date_range("2020-01-01", periods=T + H, freq="B"),
    "half hours": pd.date_range("2020-01-01", periods=T + H, freq="30min", tz="Europe/Vienna"),
    "quarters": pd.period_range("2001Q1", periods=T + H, freq="Q"),
    "years": pd.period_range("1700", periods=T + H, freq="Y", name="year"),
    "numbers": pd.RangeIndex(1700, 1700 + T + H),
    "every tenth": pd.Index(np.arange(5, 5 + 10 * (T + H), 10)),
    "durations": pd.timedelta_range("1h", periods=T + H, freq="h"),
}


def without_one(name):
    """An index of T steps that lacks the step 7."""
    return INDICES[name][: T + 1].delete(7)


each_index = pytest.mark.parametrize("name", INDICES)


@each_index
@pytest.mark.parametrize("with_frequency", [True, False])
def test_the_index_goes_on(name, with_frequency, quick, waves):
    index = INDICES[name]
    if not with_frequency and getattr(index, "freq", None) is not None and not isinstance(index, pd.PeriodIndex):
        index = index._with_freq(None)
    forecaster = quick().fit(pd.Series(waves[:, 0], index[:T], name="passengers"))
    forecast = forecaster.predict()
    assert isinstance(forecast, pd.Series)
    assert forecast.name == "passengers"
    pd.testing.assert_index_equal(forecast.index, INDICES[name][T:], exact="equiv", check_names=True)
    np.testing.assert_array_equal(forecast, quick().fit(waves[:, 0]).predict()[:, 0])
    assert forecaster.predict(2).index.equals(INDICES[name][T : T + 2])


@each_index
def test_skops(name, quick, waves):
    sio = pytest.importorskip("skops.io")
    forecaster = quick(quantiles=[0.1, 0.9]).fit(pd.Series(waves[:, 0], INDICES[name][:T], name="passengers"))
    data = sio.dumps(forecaster)
    trusted = sio.get_untrusted_types(data=data)
    assert all(kind.startswith("fastrecur.") for kind in trusted)
    pd.testing.assert_series_equal(sio.loads(data, trusted=trusted).predict(), forecaster.predict())


def test_days_off_of_ones_own(quick, waves):
    freq = pd.offsets.CustomBusinessDay(holidays=["2020-05-01"])
    index = pd.date_range("2020-02-06", periods=T + H, freq=freq)
    assert pd.Timestamp("2020-05-01") not in index
    assert quick().fit(pd.Series(waves[:, 0], index[:T])).predict().index.equals(index[T:])


def test_frames_keep_their_columns(quick, waves):
    frame = pd.DataFrame(waves, INDICES["days"][:T], columns=["load", "heat"])
    forecaster = quick(quantiles=[0.1, 0.9]).fit(frame)
    forecast, quantiles = forecaster.predict(), forecaster.predict_quantiles()
    assert list(forecast.columns) == ["load", "heat"]
    assert forecast.index.equals(INDICES["days"][T:])
    assert list(quantiles.columns) == [("load", 0.1), ("load", 0.9), ("heat", 0.1), ("heat", 0.9)]
    plain = quick(quantiles=[0.1, 0.9]).fit(waves).predict_quantiles()
    np.testing.assert_array_equal(quantiles.to_numpy().reshape(plain.shape), plain)
    vector = quick(quantiles=[0.1, 0.9]).fit(frame["load"]).predict_quantiles()
    assert list(vector.columns) == [0.1, 0.9]
    assert vector.columns.name == "quantile"


def test_a_panel_of_frames(quick, waves):
    panel = [pd.DataFrame(waves, INDICES["days"][:T]), pd.DataFrame(waves[:40], INDICES["weeks"][:40])]
    forecast = quick().fit(panel).predict()
    assert forecast[0].index.equals(INDICES["days"][T:])
    assert forecast[1].index.equals(INDICES["weeks"][40:43])


def test_other_series_have_their_own_index(quick, waves):
    forecaster = quick().fit(pd.Series(waves[:50, 0], INDICES["days"][:50]))
    assert forecaster.predict(series=pd.Series(waves[:, 0], INDICES["days"][:T])).index.equals(INDICES["days"][T:])
    assert isinstance(forecaster.predict(series=waves[:, 0]), np.ndarray)


def test_polars(quick, waves):
    plain = quick(quantiles=[0.1, 0.9]).fit(waves)
    found = quick(quantiles=[0.1, 0.9]).fit(pl.DataFrame(waves, schema=["load", "heat"]))
    assert found.predict().columns == ["load", "heat"]
    np.testing.assert_array_equal(found.predict().to_numpy(), plain.predict())
    assert found.predict_quantiles().columns == ["load_0.1", "load_0.9", "heat_0.1", "heat_0.9"]
    one = quick().fit(pl.Series("load", waves[:, 0])).predict()
    assert isinstance(one, pl.Series)
    assert (one.name, len(one)) == ("load", 3)


def test_nullable_and_small_dtypes(quick, waves):
    whole = (10 * waves[:, 0]).astype(int)
    expected = quick().fit(whole).predict()[:, 0]
    np.testing.assert_array_equal(quick().fit(pd.Series(whole, dtype="Int32")).predict(), expected)
    assert quick().fit(pd.Series(waves[:, 0], dtype="float32")).predict().dtype == np.float32


def test_known_inputs_in_frames(quick, waves):
    days = INDICES["days"]
    known = pd.DataFrame({"holiday": np.arange(T + H) % 7 == 0}, days)
    series = pd.Series(waves[:, 0], days[:T])
    forecaster = quick().fit(series, known[:T])
    assert forecaster.predict(exog=known[T:]).index.equals(days[T:])
    for exog, text in ((known[:T].set_axis(days[1 : T + 1]), "different indices"), (known[: T - 1], "has 59 row")):
        with pytest.raises(ValueError, match=text):
            quick().fit(series, exog)
    with pytest.raises(
        ValueError, match=r"runs from 2020-03-31 .* to 2020-04-02 .*, but the steps to come are 2020-04-01"
    ):
        forecaster.predict(exog=known[T - 1 : -1])
    assert forecaster.predict(exog=known[T:].to_numpy()).index.equals(days[T:])


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (without_one("days"), ValueError, "irregular: from 2020-02-07 .* to 2020-02-09"),
        (INDICES["days"][:T][::-1], ValueError, "is not in order"),
        (INDICES["days"][: T - 1].insert(5, INDICES["days"][5]), ValueError, "has the time 2020-02-06 00:00:00 twice"),
        (INDICES["days"][: T - 1].insert(5, pd.NaT), ValueError, r"missing time \(NaT\) at step 5"),
        (without_one("quarters"), ValueError, "irregular: from 2002Q3"),
        (without_one("durations"), ValueError, "irregular"),
        (pd.Index([*range(30), *range(31, 61)]), ValueError, "irregular: from 29 to 31"),
        (pd.Index([0, *range(59)]), ValueError, "has the time 0 twice"),
        (pd.Index([f"day {i}" for i in range(T)]), TypeError, "which says no time"),
        (pd.MultiIndex.from_product([range(6), range(10)]), TypeError, "which says no time"),
        (pd.Index(np.linspace(0, 1, T)), TypeError, "which says no time"),
    ],
)  # fmt: skip
def test_irregular_indices(index, error, text, quick, waves):
    for forecaster in (quick(), SeasonalNaive()):
        with pytest.raises(error, match=text):
            forecaster.fit(pd.Series(waves[:, 0], index))
    with pytest.raises(error, match=rf"series\[1\].*{text}"):
        quick().fit([pd.Series(waves[:, 0]), pd.Series(waves[:, 0], index)])


def test_strings_in_a_frame(quick, waves):
    frame = pd.DataFrame({"load": waves[:, 0], "day": ["monday"] * T})
    with pytest.raises(TypeError, match=r"series\['day'\] must hold numbers"):
        quick().fit(frame)
    with pytest.raises(TypeError, match=r"series\['day'\] must hold numbers, .*move times into the index"):
        quick().fit(pl.DataFrame({"day": pd.date_range("2020", periods=T), "load": waves[:, 0]}))


def test_seasonal_naive_keeps_frames(waves):
    forecast = SeasonalNaive(6, 3).fit(pd.DataFrame(waves, INDICES["weeks"][:T], columns=["a", "b"])).predict()
    assert forecast.index.equals(INDICES["weeks"][T:])
    np.testing.assert_array_equal(forecast.to_numpy(), waves[-6:-3])
