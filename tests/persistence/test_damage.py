"""Files of models that cannot be loaded say why: of other versions, damaged, forged."""

import json
import random
import struct
import tracemalloc

import numpy as np
import pytest

import fastrecur
from fastrecur import LSTMClassifier, LSTMRegressor, RNNRegressor
from tests.estimators.data import assert_same_bits, make_array, outputs, tiny
from tests.helpers import assert_same_estimator, assert_same_value
from tests.persistence.model_files import contents, loaded_or_none, places, raw, refused, write

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = make_array(n=12)


@pytest.fixture(scope="module")
def fitted():
    """A classifier; no test may change it."""
    return tiny(LSTMClassifier).fit(X, np.array(["no", "yes"])[np.arange(12) % 2])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# --- versions, classes, JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"format_version": 2, "fastrecur_version": "9.1"}, r"fastrecur 9\.1 wrote it in format version 2.*Upgrade"),
        ({"format_version": 10**30}, "no later one than 1. Upgrade"),
        ({"format_version": 0}, "format version is 0, which there never was"),
        ({"format_version": "1"}, "format version is '1'"),
        ({"format_version": True}, "format version is True"),
        ({"format_version": None}, "format version is None"),
        ({"class": "SVC"}, "holds 'SVC', which is none of RNNClassifier, .*GRURegressor"),
        ({"class": "sklearn.svm.SVC"}, "holds 'sklearn.svm.SVC'"),
        ({"class": ["LSTMClassifier"]}, r"holds \['LSTMClassifier'\]"),
        ({"class": None}, "holds None"),
        ({"class": "x" * 10_000}, "holds 'xxx"),
        ({"class": "LSTMRegressor"}, "attribute _y_ndim is missing|'class_weight'.*which LSTMRegressor has not"),
        ({"class": "GRUClassifier"}, r"missing \['bias_hh_l0', 'bias_ih_l0'\]|'forget_bias'.*which GRUC"),
        ({"parameters": None}, "None for 'parameters', where a JSON object belongs"),
        ({"attributes": []}, r"\[\] for 'attributes'"),
        ({"metadata_requests": 1}, "1 for 'metadata_requests'"),
        ({"metadata_requests": {"fit": []}}, "asks metadata for 'fit'"),
        ({"metadata_requests": {"owner": {"a": True}}}, "asks metadata for 'owner'"),
        ({"metadata_requests": {"fit": {"sample_weight": 3}}}, "sample_weight"),
        ({"metadata_requests": {"fit": {"sample_weight": "not a name"}}}, "not a name"),
    ],
    ids=str,
)
def test_a_wrong_document(fitted, path, document, found):
    fitted.save(path)
    ours, tensors = contents(path)
    write(path, ours | document, tensors)
    message = refused(path, found)
    assert len(message) < 600
    assert "checksum" not in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "metadata is not JSON"), ("{", "metadata is not JSON"), ("{'a': 1}", "metadata is not JSON"),
        ("[" * 100_000, "metadata is not JSON"), ("1" * 5000, "metadata is not JSON"),
        ("[]", r"metadata is \[\] and no JSON object"),
        ("null", "metadata is None"), ("NaN", "metadata is nan"), ('{"format_version": 1}', "holds None"),
        ('{"format_version": 1, "class": "LSTMClassifier"}', "None for 'parameters'"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_document_that_is_none(path, text, found):
    path.write_bytes(raw({"__metadata__": {"fastrecur": text}}))
    refused(path, found)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hidden_units": 3}, r"has the parameter\(s\) \['hidden_units'\], which LSTMClassifier has not"),
        ({"nonlinearity": "relu"}, r"has the parameter\(s\) \['nonlinearity'\]"),
        ({"self": 3}, r"has the parameter\(s\) \['self'\]"),
        ({"hidden_size": 0}, "'hidden_size' parameter of LSTMClassifier must be an int"),
        ({"solver": "evil"}, "'solver' parameter"),
        ({"dtype": ["float32"]}, "'dtype' parameter"),
        ({"tol": {"float": "nan"}}, "'tol' parameter"),
        ({"random_state": {"pickle": "gASV"}}, r"keys \['pickle'\] stands where a value should be"),
        ({"random_state": {"tensor": ["head_weight", "<f4"]}}, "'random_state' parameter"),
        ({"alpha": [[[[[0]]]]]}, "'alpha' parameter"),
    ],
    ids=str,
)
def test_wrong_parameters(fitted, path, change, found):
    fitted.save(path)
    document, tensors = contents(path)
    document["parameters"] |= change
    write(path, document, tensors)
    refused(path, found)


def test_parameters_that_an_older_version_had_not(fitted, path):
    fitted.save(path)
    document, tensors = contents(path)
    del document["parameters"]["momentum"]
    write(path, document, tensors)
    assert_same_value(fastrecur.load(path).get_params(), fitted.get_params())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"classes_": None}, "attribute classes_ is a NoneType; it must be a ndarray"),
        ({"classes_": {"array": ["<U3", [3], ["a", "b", "c"]]}}, r"classes_ has the shape \(3,\), but the network 2"),
        ({"classes_": {"array": ["<U3", [1, 2], ["a", "b"]]}}, r"classes_ has the shape \(1, 2\)"),
        ({"classes_": {"tensor": ["head_bias", "<f4"]}}, r"tensors: missing \['head_bias'\]"),
        ({"n_features_in_": "3"}, "attribute n_features_in_ is a str"),
        ({"predict": "x"}, "'predict' is no name of an attribute"),
        ({"__class__": "x"}, "'__class__' is no name"),
        ({"_cell": "gru"}, "'_cell' is no name"),
        ({"hidden_size": 0}, "'hidden_size' is no name"),
        ({"_metadata_request": 0}, "'_metadata_request' is no name"),
        ({"_resume": 0}, "'_resume' is no name"),
        ({"": 0}, "'' is no name"),
        ({"_architecture": []}, "_architecture is a list; it must be a dict"),
        ({"_y_mean": {"tensor": ["attributes._y_mean", "<f8"]}}, "tensor 'attributes._y_mean' is missing"),
    ],
    ids=str,
)
def test_wrong_attributes(fitted, path, change, found):
    fitted.save(path)
    document, tensors = contents(path)
    document["attributes"] |= change
    write(path, document, tensors)
    refused(path, found)


@pytest.mark.parametrize("name", ["classes_", "_architecture", "n_features_in_", "n_outputs_"])
def test_missing_attributes(fitted, path, name):
    fitted.save(path)
    document, tensors = contents(path)
    del document["attributes"][name]
    write(path, document, tensors)
    refused(path, f"the attribute {name} is missing")


# --- tensors ---------------------------------------------------------------------------------------------------------


def with_number(array, value):
    array = array.copy()
    array.flat[3] = value
    return array


@pytest.mark.parametrize("sealed", [True, False], ids=["forged", "changed"])
@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("weight_hh_l0", lambda array: None, r"tensors: missing \['weight_hh_l0'\]"),
        ("weight_hh_l1", lambda array: np.zeros((16, 4), np.float32), r"tensors: unexpected \['weight_hh_l1'\]"),
        ("attributes.x", lambda array: np.zeros(3), r"tensors: unexpected \['attributes.x'\]"),
        ("weight_hh_l0", np.transpose, r"'weight_hh_l0' is float32 of shape \(4, 16\), .* of shape \(16, 4\)"),
        ("head_bias", lambda array: array[:1], r"'head_bias' is float32 of shape \(1,\), .* needs .* \(2,\)"),
        ("head_bias", lambda array: array[:0], r"'head_bias' is float32 of shape \(0,\)"),
        ("bias_l0", lambda array: array.reshape(1, -1), r"'bias_l0' is float32 of shape \(1, 16\)"),
        ("weight_ih_l0", lambda array: array.astype(np.float64), "'weight_ih_l0' is float64 .* needs float32"),
        ("weight_ih_l0", lambda array: array.astype(np.float16), "'weight_ih_l0' is float16 .* needs float32"),
        ("weight_ih_l0", lambda array: array.astype(np.int32), "'weight_ih_l0' is int32 .* needs float32"),
        ("weight_ih_l0", lambda array: with_number(array, np.nan), "'weight_ih_l0' holds NaN or infinity"),
        ("head_weight", lambda array: with_number(array, -np.inf), "'head_weight' holds NaN or infinity"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_wrong_tensors(fitted, path, name, change, found, sealed):
    fitted.save(path)
    document, tensors = contents(path)
    tensors[name] = change(tensors.get(name))
    kept = {name: np.ascontiguousarray(array) for name, array in tensors.items() if array is not None}
    write(path, document, kept, sealed)
    message = refused(path, found)
    assert ("The checksum is wrong" in message) == (not sealed)


def test_weights_that_were_changed(fitted, path):
    fitted.save(path)
    document, tensors = contents(path)
    tensors["head_bias"] = tensors["head_bias"] + np.float32(1)
    write(path, document, tensors, sealed=False)
    refused(path, "The checksum is wrong: the file was damaged or changed since it was saved")


@pytest.mark.parametrize(
    "dtype",
    ["BF16", "F8_E4M3", "F8_E5M2", "C64", "F4", "F6_E2M3", "E8M0"],
)
def test_tensors_of_dtypes_that_numpy_has_not(path, dtype):
    metadata = {"fastrecur": '{"format_version": 1}'}
    n_bytes = {"BF16": 16, "C64": 64, "F4": 4, "F6_E2M3": 6}.get(dtype, 8)
    tensor = {"dtype": dtype, "shape": [8], "data_offsets": [0, n_bytes]}
    path.write_bytes(raw({"__metadata__": metadata, "a": tensor}, bytes(n_bytes)))
    refused(path, f"'a' is of dtype {dtype}, which no estimator has|cut short or damaged")


@pytest.mark.parametrize("shape", [[2**62, 0], [2**63, 0], [2**64 - 1, 0], [0] * 200])
def test_shapes_beyond_numpy(path, shape):
    metadata = {"fastrecur": '{"format_version": 1}'}
    path.write_bytes(raw({"__metadata__": metadata, "a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}))
    refused(path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hidden_size": 10**6}, r"'weight_ih_l0' is .* needs float32 of shape \(4000000, 3\)"),
        ({"hidden_size": 10**30}, "'weight_ih_l0' is"),
        ({"num_layers": 10**12}, "1000000000000 layers have more than 5"),
        ({"n_outputs": 10**12}, "'head_weight' is"),
        ({"n_features": 10**12}, "'weight_ih_l0' is"),
        ({"n_directions": 2}, "tensors: missing"),
        ({"n_directions": 10**12}, "n_directions=1000000000000, which no network has"),
        ({"hidden_size": -4}, "hidden_size=-4"),
        ({"hidden_size": 4.0}, "hidden_size=4.0"),
        ({"hidden_size": True}, "hidden_size=True"),
        ({"hidden_size": "4"}, "hidden_size='4'"),
        ({"dtype": "float64"}, "is float32 .* needs float64"),
        ({"dtype": "object"}, "dtype='object', which no network has"),
        ({"dtype": 3}, "dtype=3"),
        ({"relu": 3}, "relu=3"),
        ({"other": 3}, "_architecture has the keys"),
        ({"hidden_size": None}, "hidden_size=None"),
    ],
    ids=str,
)
def test_a_network_that_lies_about_its_size(fitted, path, change, found):
    """Nothing of that size is made."""
    fitted.save(path)
    document, tensors = contents(path)
    pairs = dict(document["attributes"]["_architecture"]["dict"]) | change
    document["attributes"]["_architecture"] = {"dict": list(map(list, pairs.items()))}
    write(path, document, tensors)
    tracemalloc.start()
    refused(path, found)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_nothing_is_executed(path, fitted, monkeypatch):
    """No unpickling, no import by name, no evaluation."""
    fitted.save(path)

    def fail(*arguments, **options):
        pytest.fail(f"called with {arguments}")

    for target in ("pickle.loads", "pickle.load", "builtins.eval", "builtins.exec", "importlib.import_module"):
        monkeypatch.setattr(target, fail)
    fastrecur.load(path)


# --- damage at random ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["classifier", "regressor", "random_state"])
def victim(request, tmp_path_factory):
    """An estimator and the bytes of its file."""
    if request.param == "classifier":
        estimator = tiny(LSTMClassifier, hidden_size=1).fit(X, np.array(["no", "yes"])[np.arange(12) % 2])
    elif request.param == "regressor":
        estimator = tiny(LSTMRegressor, early_stopping=True, validation_fraction=0.3).fit(X, X[:, :2, 0])
    else:
        estimator = tiny(RNNRegressor, random_state=np.random.RandomState(0)).fit(X, X[:, 0, 0])
    path = tmp_path_factory.mktemp("victim") / "model.safetensors"
    estimator.save(path)
    return estimator, path.read_bytes()


def assert_equal_or_refused(estimator, path):
    loaded = loaded_or_none(path)
    if loaded is None:
        return False
    assert_same_estimator(loaded, estimator)
    assert_same_bits(outputs(loaded, X), outputs(estimator, X))
    return True


def test_flipped_bits(victim, path):
    estimator, data = victim
    rng = random.Random(0)
    n_equal = 0
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 2, 10])):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        n_equal += assert_equal_or_refused(estimator, path)
    assert n_equal < 10


def test_replaced_cut_and_moved_bytes(victim, path):
    estimator, data = victim
    rng = random.Random(1)
    for _ in range(600):
        start, end = sorted(rng.randrange(len(data)) for _ in range(2))
        end = min(end, start + rng.choice([1, 4, 30, 1000]))
        piece = rng.choice([b"", rng.randbytes(end - start), data[start:end] * 2, data[:8], b'"', b"{", b"9", b"-"])
        path.write_bytes(data[:start] + piece + data[end:])
        assert_equal_or_refused(estimator, path)


def test_changed_text_of_the_header(victim, path):
    """The header of the same length with other digits and letters: what a flipped bit seldom reaches."""
    estimator, data = victim
    rng = random.Random(2)
    n_header = struct.unpack("<Q", data[:8])[0]
    for _ in range(600):
        place = 8 + rng.randrange(n_header)
        damaged = bytearray(data)
        damaged[place] = rng.choice(b'0123456789-.eE"{}[],: aft\\')
        path.write_bytes(damaged)
        assert_equal_or_refused(estimator, path)


def test_forged_documents_at_random(victim, path):
    """A right digest on wrong JSON: a value in it is replaced by another of the same file."""
    estimator, data = victim
    rng = random.Random(3)
    path.write_bytes(data)
    document, tensors = contents(path)
    for _ in range(600):
        forged = json.loads(json.dumps(document))
        found = list(places(forged))
        container, key = rng.choice(found)
        other, other_key = rng.choice(found)
        container[key] = rng.choice([json.loads(json.dumps(other[other_key])), None, -1, 2**70, "x", [], {}, 0.5])
        write(path, forged, tensors)
        loaded = loaded_or_none(path)
        assert loaded is None or type(loaded) is type(estimator)
