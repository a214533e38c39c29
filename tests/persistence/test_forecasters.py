"""Forecasters that were saved and loaded forecast the same bits."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastrecur
from fastrecur import GRUForecaster, LSTMForecaster, RNNForecaster
from tests.helpers import assert_same_value
from tests.persistence.forecasters import (
    KNOWN,
    WAVES,
    T,
    assert_same_forecaster,
    assert_same_forecasts,
    quick,
    saved_and_loaded,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DAYS = pd.date_range("2020-02-01", periods=T, freq="D", name="day")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "forecaster.safetensors"


# --- what comes back -------------------------------------------------------------------------------------------------

SERIES = {
    "vector": WAVES[:, 0],
    "features": WAVES,
    "float32": WAVES.astype(np.float32),
    "panel": [WAVES, 3 * WAVES[:40]],
    "panel of one": [WAVES],
    "pandas vector": pd.Series(WAVES[:, 0], DAYS, name="load"),
    "pandas vector without a name": pd.Series(WAVES[:, 0], DAYS),
    "pandas frame": pd.DataFrame(WAVES, DAYS, columns=["load", "heat"]),
    "pandas frame with numbers for names": pd.DataFrame(WAVES),
    "panel of frames": [pd.DataFrame(WAVES, DAYS, columns=["a", "b"]), pd.DataFrame(WAVES[:40], columns=["a", "b"])],
    "polars": pl.DataFrame(WAVES, schema=["load", "heat"]),
    "polars vector": pl.Series("load", WAVES[:, 0]),
}

INDICES = {
    "month ends": pd.date_range("1949-01-31", periods=T, freq="ME"),
    "business days": pd.date_range("2020-01-01", periods=T, freq="B"),
    "the 15th": pd.date_range("2001-01-15", periods=T, freq=pd.DateOffset(months=2), name=("a", 1)),
    "half hours": pd.date_range("2020-01-01", periods=T, freq="30min", tz="Europe/Vienna"),
    "an offset": pd.date_range("2020-01-01", periods=T, freq="h", tz="UTC+02:00"),
    "seconds": pd.date_range("2020-01-01", periods=T, freq="D", unit="s"),
    "quarters": pd.period_range("2001Q1", periods=T, freq="Q"),
    "numbers": pd.RangeIndex(1700, 1700 + 2 * T, 2),
    "durations": pd.timedelta_range("1h", periods=T, freq="h"),
}

SETTINGS = [
    {},
    {"quantiles": [0.1, 0.5, 0.9]},
    {"strategy": "recursive"},
    {"strategy": "recursive", "quantiles": (0.2, 0.8)},
    {"scaling": "series", "linear": False, "dtype": "float64", "bidirectional": True},
    {"scaling": None, "num_layers": 2, "pooling": "mean", "dropout": 0.2},
]


@pytest.mark.parametrize("cls", [RNNForecaster, LSTMForecaster, GRUForecaster])
@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_the_same_forecaster_comes_back(cls, parameters, path):
    forecaster = quick(cls, **parameters).fit(WAVES, KNOWN[:T])
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    exog = KNOWN[T:]
    assert_same_forecasts(loaded.predict(exog=exog), forecaster.predict(exog=exog))
    assert loaded.score(WAVES[:5], KNOWN[:5]) == forecaster.score(WAVES[:5], KNOWN[:5])
    other = {"exog": exog, "series": 2 * WAVES[:30], "past_exog": KNOWN[:30]}
    assert_same_forecasts(loaded.predict(**other), forecaster.predict(**other))
    if "quantiles" in parameters:
        assert_same_forecasts(loaded.predict_quantiles(exog=exog), forecaster.predict_quantiles(exog=exog))


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_any_series(series, path):
    forecaster = quick(quantiles=[0.1, 0.9]).fit(series)
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    assert_same_forecasts(loaded.predict(), forecaster.predict())
    assert_same_forecasts(loaded.predict_quantiles(2), forecaster.predict_quantiles(2))


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_any_index(index, path):
    forecaster = quick().fit(pd.Series(WAVES[:, 0], index))
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    assert_same_forecasts(loaded.predict(), forecaster.predict())


def test_names_of_known_inputs(path):
    forecaster = quick().fit(WAVES, pd.DataFrame(KNOWN[:T], columns=["price", "holiday"]))
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    with pytest.raises(ValueError, match="same order as those of fit"):
        loaded.predict(exog=pd.DataFrame(KNOWN[T:], columns=["holiday", "price"]))


def _joblib(forecaster):
    buffer = io.BytesIO()
    joblib.dump(forecaster, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize("way", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy, _joblib])
@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_other_ways_keep_the_bits(parameters, way):
    forecaster = quick(**parameters).fit(SERIES["pandas frame"])
    kept = way(forecaster)
    assert_same_forecasts(kept.predict(), forecaster.predict())
    assert kept.score(WAVES[:4]) == forecaster.score(WAVES[:4])


@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_a_clone_fitted_again_is_the_same(parameters, path):
    forecaster = quick(**parameters).fit(WAVES)
    loaded = saved_and_loaded(forecaster, path)
    for again in (clone(loaded).fit(WAVES), loaded.fit(WAVES)):
        assert_same_forecasts(again.predict(), forecaster.predict())


@pytest.mark.parametrize("random_state", [None, np.int64(3), np.random.RandomState(5)], ids=str)
def test_random_states(random_state, path):
    """Of paths that are drawn, too."""
    forecaster = quick(strategy="recursive", quantiles=[0.2, 0.8], random_state=random_state).fit(WAVES)
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    assert_same_forecasts(loaded.predict_quantiles(), forecaster.predict_quantiles())
    if random_state is not None:
        assert_same_forecasts(loaded.fit(WAVES).predict(), forecaster.fit(WAVES).predict())


def test_what_was_set_since_is_for_the_next_fit(path):
    forecaster = quick(quantiles=[0.1, 0.9]).fit(WAVES)
    expected = forecaster.predict()
    forecaster.set_params(window=12, strategy="recursive", scaling=None, quantiles=None, hidden_size=7)
    loaded = saved_and_loaded(forecaster, path)
    assert_same_forecaster(loaded, forecaster)
    assert_same_forecasts(loaded.predict(), expected)


def test_a_loaded_forecaster_goes_on(path):
    loaded = saved_and_loaded(quick(warm_start=True, early_stopping=False).fit(WAVES), path)
    before = loaded.network_.loss_
    assert loaded.fit(WAVES).network_.loss_ < before


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_weights_lie_under_their_names(path):
    forecaster = quick().fit(WAVES)
    forecaster.save(path)
    tensors = load_file(path)
    for name, array in forecaster.network_.weights_.items():
        assert_same_value(tensors[name], array)


def test_equal_forecasters_have_equal_files(tmp_path):
    forecaster = quick(quantiles=[0.1, 0.9]).fit(SERIES["panel of frames"])
    forecaster.save(tmp_path / "a")
    fastrecur.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- what is not saved -----------------------------------------------------------------------------------------------


class Derived(GRUForecaster):
    pass


def test_what_could_not_be_loaded_is_not_saved(path):
    with pytest.raises(NotFittedError):
        quick().save(path)
    with pytest.raises(TypeError, match=r"save\(\) writes .*GRUForecaster: load\(\) could not rebuild a Derived"):
        quick(Derived).fit(WAVES).save(path)
    days_off = pd.offsets.CustomBusinessDay(holidays=["2020-05-01"])
    forecaster = quick().fit(pd.Series(WAVES[:, 0], pd.date_range("2020-02-06", periods=T, freq=days_off)))
    with pytest.raises(TypeError, match=r"Cannot save: the index of the series has steps, .*without a name"):
        forecaster.save(path)
    forecaster = quick().fit(WAVES)
    forecaster.network_.weights_["head_bias"][0] = np.nan
    with pytest.raises(ValueError, match="Cannot save: the tensor 'head_bias' holds NaN"):
        forecaster.save(path)
    forecaster = quick().fit(WAVES)
    forecaster.notes = {1, 2}
    with pytest.raises(TypeError, match=r"Cannot save: attributes.notes is a set"):
        forecaster.save(path)
    del forecaster.notes
    forecaster._varies = forecaster._varies[:1]
    with pytest.raises(ValueError, match=r"Cannot save: the attribute _varies is bool of shape \(1, 2\)"):
        forecaster.save(path)
    assert not path.exists()
