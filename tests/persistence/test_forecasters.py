"""Forecasters that were saved and loaded forecast the same bits; files that are no forecaster's say why."""

import copy
import io
import json
import pickle
import random

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
from fastrecur.forecasting import state
from tests.helpers import assert_same_estimator, assert_same_value
from tests.persistence.model_files import contents, loaded_or_none, places, refused, write

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

T, H = 60, 3
WAVES = np.column_stack([np.sin(np.arange(T) * np.pi / 3), 100 + 5 * np.cos(np.arange(T) * np.pi / 3)])
WAVES = WAVES + np.random.default_rng(0).normal(scale=0.05, size=WAVES.shape)
KNOWN = np.random.default_rng(1).normal(size=(T + H, 2))
DAYS = pd.date_range("2020-02-01", periods=T, freq="D", name="day")


def quick(cls=GRUForecaster, **parameters):
    settings = {"window": 6, "horizon": H, "hidden_size": 4, "max_iter": 3, "n_threads": 1, "random_state": 0}
    return cls(**settings | parameters)


def saved_and_loaded(forecaster, path):
    forecaster.save(path)
    return fastrecur.load(path)


def assert_same_forecaster(loaded, forecaster):
    """The same parameters, network and state, of the same types."""
    assert type(loaded) is type(forecaster)
    assert_same_value(loaded.get_params(), forecaster.get_params())
    assert_same_estimator(loaded.network_, forecaster.network_)
    assert vars(loaded).keys() == vars(forecaster).keys()
    found, expected = (
        state.to_plain({name: value for name, value in vars(model).items() if name != "network_"})
        for model in (loaded, forecaster)
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_same_value(found[name], value)
    for name in ("feature_names_in_", "exog_names_in_"):
        assert_same_value(getattr(loaded, name, None), getattr(forecaster, name, None))


def assert_same_forecasts(a, b):
    """Arrays, Series, DataFrames of pandas and polars, or lists of them, of the same bits, names and indices."""
    assert type(a) is type(b)
    if isinstance(a, list):
        for one, other in zip(a, b, strict=True):
            assert_same_forecasts(one, other)
    elif isinstance(a, np.ndarray):
        assert_same_value(a, b)
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True, check_freq=True)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=True)
    else:
        assert a.equals(b)


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


# --- files that cannot be loaded -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    """A forecaster with all kinds of state, and its file."""
    index = pd.date_range("2001-01-15", periods=T, freq=pd.DateOffset(months=2))
    series = pd.DataFrame(WAVES, index, columns=["load", "heat"])
    path = tmp_path_factory.mktemp("victim") / "forecaster.safetensors"
    forecaster = quick(quantiles=[0.1, 0.9]).fit([series, series[:40]], [KNOWN[:T], KNOWN[:40]])
    forecaster.save(path)
    return forecaster, path.read_bytes()


def attribute(document, *names):
    """Where a value stands: the list of pairs of a dict in the attributes, and its place."""
    value = document["attributes"]
    for name in names[:-1]:
        value = value[name] if isinstance(value, dict) and name in value else dict(map(tuple, value["dict"]))[name]
    if "dict" not in value:
        return value, names[-1]
    pairs = value["dict"]
    [place] = [i for i, pair in enumerate(pairs) if pair[0] == names[-1]]
    return pairs[place], 1


@pytest.mark.parametrize(
    ("names", "value", "found"),
    [
        (("n_features_in_",), 3, "_fitted has 2 columns, but 3 are due"),
        (("n_features_in_",), "2", "n_features_in_ must be a whole number of at least 1"),
        (("n_exog_",), -1, "n_exog_ must be a whole number of at least 0"),
        (("n_exog_",), 0, r"_known_scale.mean is float64 of shape \(2,\); it must be float64 of shape \(1,\)"),
        (("n_series_",), 3, r"_naive_errors is float64 of shape \(2, 2\)"),
        (("n_series_",), True, "n_series_ must be"),
        (("_is_panel",), False, "_is_panel does not go with n_series_=2"),
        (("_is_panel",), 1, "_is_panel does not go"),
        (("_fitted",), 3, "_fitted must be a dict of window"),
        (("_fitted", "window"), 7, "linear_.coefficients is|_origins.history is"),
        (("_fitted", "window"), 10**30, "linear_.coefficients is|_origins"),
        (("_fitted", "strategy"), "both", "a value for 'strategy' that no fit leaves"),
        (("_fitted", "strategy"), "recursive", "span that is not that of its strategy"),
        (("_fitted", "scaling"), ["window"], "a value for 'scaling'"),
        (("_fitted", "seed"), 2**32, "a value for 'seed'"),
        (("_fitted", "quantiles"), [0.9, 0.1], "a value for 'quantiles'"),
        (("_fitted", "quantiles"), None, "_levels_fitted does not go with the quantiles"),
        (("_fitted", "columns"), ["load"], "1 columns, but 2 are due"),
        (("_fitted", "exog_columns"), 3, "a value for 'exog_columns'"),
        (("_levels_fitted",), [0.1, 0.9], "_levels_fitted does not go with the quantiles"),
        (("_varies",), None, "_varies is NoneType"),
        (("linear_",), {"dict": []}, "linear_ must be a dict of coefficients, intercepts"),
        (("_known_scale",), None, "_known_scale must be a dict of deviation, mean"),
        (("_origins", "known"), None, "_origins.known is NoneType"),
        (("_origins", "index"), [None], "_origins.index must be a list of 2"),
        (("_origins", "index"), [3, None], "_origins.index must be a dict of kind"),
        (("_origins", "frame"), [None, {"dict": [["kind", "R"]]}], "_origins.frame must be a dict"),
        (("predict",), 3, "'predict' is no name of an attribute"),
        (("window",), 3, "'window' is no name of an attribute"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_attributes(victim, names, value, found, path):
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    container, key = attribute(document, *names)
    container[key] = value
    write(path, document, tensors)
    refused(path, found)


@pytest.mark.parametrize(
    ("part", "value", "found"),
    [
        ("kind", "hours", "_origins.index is none of a series"),
        ("last", 0.5, "none of a series"),
        ("step", 3, "none of a series"),
        ("step", {"tuple": [1, {"dict": [["months", "two"]]}]}, "none of a series"),
        ("unit", "Y", "none of a series"),
        ("zone", 3, "none of a series"),
    ],
)
def test_a_wrong_index(victim, part, value, found, path):
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    container, key = attribute(document, "_origins", "index")
    pairs = container[key][0]["dict"]
    [pair] = [pair for pair in pairs if pair[0] == part]
    pair[1] = value
    write(path, document, tensors)
    refused(path, found)


@pytest.mark.parametrize("name", ["n_exog_", "_fitted", "_origins", "linear_", "_is_panel", "_varies"])
def test_missing_attributes(victim, name, path):
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    del document["attributes"][name]
    write(path, document, tensors)
    refused(path, f"the attribute {name} is missing")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"network": None}, "its metadata has None for 'network'"),
        ({"class": "LSTMForecaster"}, "the attribute network_: .*|'forget_bias'"),
        ({"class": "GRURegressor"}, r"has the parameter\(s\)"),
        ({"parameters": {"window": 0}}, "'window' parameter of GRUForecaster must be"),
    ],
    ids=str,
)
def test_a_wrong_document(victim, change, found, path):
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    write(path, document | change, tensors)
    refused(path, found)


def test_another_network(victim, path):
    """That of a forecaster of other sizes."""
    quick(horizon=2).fit(WAVES).save(path)
    other, other_tensors = contents(path)
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    tensors = {name: array for name, array in tensors.items() if name.startswith("attributes")}
    others = {name: array for name, array in other_tensors.items() if not name.startswith("attributes")}
    write(path, document | {"network": other["network"]}, tensors | others)
    refused(path, r"the network has \{'n_features': 2, 'n_outputs': 4, .*the forecaster needs \{'n_features': 5")


def test_damage(victim, path):
    """Whatever was flipped, a file is refused, or loaded as it was."""
    forecaster, data = victim
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        loaded = loaded_or_none(path)
        if loaded is not None:
            assert_same_forecaster(loaded, forecaster)


def test_forged_documents_at_random(victim, path):
    """A right digest on wrong JSON: refused with the reason, or a forecaster."""
    rng = random.Random(3)
    path.write_bytes(victim[1])
    document, tensors = contents(path)
    for _ in range(400):
        forged = json.loads(json.dumps(document))
        container, key = rng.choice(found := list(places(forged)))
        other, other_key = rng.choice(found)
        container[key] = rng.choice([json.loads(json.dumps(other[other_key])), None, -1, 2**70, "x", [], {}, 0.5])
        write(path, forged, tensors)
        assert type(loaded_or_none(path)) in (GRUForecaster, type(None))
