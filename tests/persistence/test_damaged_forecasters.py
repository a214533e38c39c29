"""Files of forecasters that cannot be loaded say why: damaged, or forged with a right digest."""

import json
import random

import pandas as pd
import pytest

from fastrecur import GRUForecaster
from tests.persistence.forecasters import KNOWN, WAVES, T, assert_same_forecaster, quick
from tests.persistence.model_files import contents, loaded_or_none, places, refused, write

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "forecaster.safetensors"


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
