"""Estimators that were saved and loaded are the same: values, types and the bits of what they predict."""

import copy
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

import fastrecur
from fastrecur import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from fastrecur.network.model import Model
from fastrecur.persistence.checks import shapes
from tests.estimators.data import CLASSES, assert_same_bits, make_array, make_ragged, make_targets, outputs, tiny
from tests.helpers import assert_same_estimator

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = make_array(n=20)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module", params=CLASSES, ids=lambda cls: cls.__name__)
def fitted(request):
    """An estimator of each class; no test may change it."""
    return tiny(request.param).fit(X, make_targets(request.param, X))


def saved_and_loaded(estimator, path):
    estimator.save(path)
    return fastrecur.load(path)


# --- what comes back -------------------------------------------------------------------------------------------------

DEPTHS = [
    {},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "hidden_size": 7},
    {"dtype": "float64"},
    {"dtype": "float64", "num_layers": 2, "bidirectional": True},
    {"early_stopping": True, "max_iter": 3, "validation_fraction": 0.3},
]


@pytest.mark.parametrize("parameters", DEPTHS, ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_the_same_estimator_comes_back(cls, parameters, path):
    ragged = make_ragged(n=30)
    estimator = tiny(cls, **parameters).fit(ragged, make_targets(cls, ragged))
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(outputs(loaded, ragged), outputs(estimator, ragged))
    assert_same_bits(loaded.predict(ragged), estimator.predict(ragged))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["low", "high"]), np.array(["low", "middle", "high"], dtype="U20"), np.array([3, -1], dtype=np.int8),
        np.array([0, 1, 2**40]), np.array([False, True]), np.array([0.0, 1.0], dtype=np.float32),
        np.array(["a", "b"], dtype=object), np.array([1, 2], dtype=">i4"), np.array([1, 2], dtype=np.uint8),
    ],
    ids=lambda labels: f"{labels.dtype}",
)  # fmt: skip
@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
def test_labels(cls, labels, path):
    estimator = tiny(cls).fit(X, labels[np.arange(20) % len(labels)])
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(loaded.predict(X), estimator.predict(X))


@pytest.mark.parametrize("n_outputs", [1, 2, 5])
@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
def test_several_outputs(cls, n_outputs, path):
    estimator = tiny(cls).fit(X, X[:, :n_outputs, 0])
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert loaded.predict(X).shape == (20, n_outputs)
    assert_same_bits(loaded.predict(X.astype(np.float32)), estimator.predict(X.astype(np.float32)))


@pytest.mark.parametrize("cls", CLASSES)
def test_data_frames(cls, path):
    frame = pd.DataFrame(X[:, :, 0], columns=[f"t ü{t}" for t in range(8)])
    estimator = tiny(cls).fit(frame, make_targets(cls, X))
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(outputs(loaded, frame), outputs(estimator, frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame.iloc[:, ::-1])


@pytest.mark.parametrize("random_state", [0, np.int64(3), None, np.random.RandomState(5)], ids=str)
def test_random_states_go_on(random_state, path):
    estimator = tiny(GRUClassifier, random_state=random_state).fit(X, np.arange(20) % 2)
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    if random_state is not None:
        again = [clone(model).fit(X, np.arange(20) % 2) for model in (loaded, estimator)]
        assert_same_bits(*(model.predict_proba(X) for model in again))


def test_parameters_of_other_types_come_back(path):
    parameters = {
        "hidden_size": np.int64(4), "max_iter": np.uint8(1), "alpha": np.float32(0.25), "tol": 0, "shuffle": np.False_,
        "max_grad_norm": None, "momentum": 1e-320, "dtype": np.str_("float64"), "nonlinearity": np.str_("relu"),
    }  # fmt: skip
    estimator = tiny(RNNClassifier, **parameters).fit(X, np.arange(20) % 2)
    assert_same_estimator(saved_and_loaded(estimator, path), estimator)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -np.inf, np.nan, "text", [1, (2, {"a": [None]})],
        {1: 0.5, "1": 2.0, np.int64(7): 1.0, np.str_("x"): 3.0}, np.float32(0.1), np.bool_(True),
        np.zeros((0, 3), np.uint8), np.array(2.5, np.float16), np.arange(6.0).reshape(2, 3).T, np.array([True]),
        np.array(["a", 1, None], dtype=object), np.array(["2020-01-01"], "M8[D]"), {"a": {"b": np.arange(3)}},
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_attributes_of_any_plain_kind_come_back(value, path):
    estimator = tiny(LSTMRegressor).fit(X, X[:, 0, 0])
    estimator.other_ = value
    estimator._other = [value]
    assert_same_estimator(saved_and_loaded(estimator, path), estimator)


def test_what_stays_out(path):
    estimator = tiny(LSTMClassifier, warm_start=True).fit(X, np.arange(20) % 2)
    for name in ("_resume", "_resume_moments", "_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx"):
        setattr(estimator, name, object())
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    loaded.fit(X, np.arange(20) % 2)


def test_metadata_requests_come_back(path):
    with config_context(enable_metadata_routing=True):
        for estimator in (tiny(LSTMClassifier), tiny(LSTMClassifier).set_fit_request(sample_weight="importance")):
            loaded = saved_and_loaded(estimator.fit(X, np.arange(20) % 2), path)
            assert hasattr(loaded, "_metadata_request") == hasattr(estimator, "_metadata_request")
            for model in (loaded, clone(loaded)):
                assert repr(model.get_metadata_routing()) == repr(estimator.get_metadata_routing())


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("cls", CLASSES)
def test_pooling_and_dropout(cls, pooling, path):
    estimator = tiny(cls, pooling=pooling, dropout=0.25, recurrent_dropout=0.5).fit(X, make_targets(cls, X))
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(outputs(loaded, X), outputs(estimator, X))


@pytest.mark.parametrize("cls", CLASSES)
def test_targets_a_time_step(cls, path):
    ragged = make_ragged(n=20)
    y = [x[:, 0] > 0 if is_classifier(cls()) else x[:, :2] for x in ragged]
    estimator = tiny(cls, return_sequences=True).fit(ragged, y)
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    for a, b in zip(loaded.predict(ragged), estimator.predict(ragged), strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize("cls", CLASSES)
def test_tokens(cls, path):
    tokens = [list(range(i % 7 + 1)) for i in range(20)]
    estimator = tiny(cls, embedding_dim=3).fit(tokens, make_targets(cls, tokens))
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(loaded.weights_["embedding"], estimator.weights_["embedding"])
    assert_same_bits(outputs(loaded, tokens), outputs(estimator, tokens))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_loaded_estimator_goes_on(cls, path):
    y = make_targets(cls, X)
    estimator = tiny(cls, warm_start=True).fit(X, y)
    loaded = saved_and_loaded(estimator, path)
    loaded.fit(X, y).partial_fit(X, y)
    assert loaded.loss_ < estimator.loss_


def test_output_as_data_frames(path):
    estimator = tiny(LSTMClassifier)
    estimator.set_output(transform="pandas").fit(X, np.arange(20) % 2)
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    pd.testing.assert_frame_equal(loaded.transform(X), estimator.transform(X))


@pytest.mark.parametrize(
    "labels", [[0, 1], ["a", "b"], np.array([3, 4], np.uint8), np.array(["a", "b"]), [False, True]], ids=repr
)
def test_class_weights_keep_their_keys(labels, path):
    weights = {labels[0]: 2, labels[1]: 0.5}
    estimator = tiny(LSTMClassifier, class_weight=weights).fit(X, np.asarray(labels)[np.arange(20) % 2])
    assert_same_estimator(saved_and_loaded(estimator, path), estimator)


def test_a_fitted_parameter_that_was_set_since(path):
    """What was fitted is in the file beside what the next fit shall do."""
    estimator = tiny(GRURegressor).fit(X, X[:, 0, 0]).set_params(hidden_size=9, dtype="float64", num_layers=2)
    loaded = saved_and_loaded(estimator, path)
    assert_same_estimator(loaded, estimator)
    assert_same_bits(loaded.predict(X), estimator.predict(X))


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_weights_lie_under_their_names(fitted, path):
    fitted.save(path)
    tensors = load_file(path)
    for name, array in fitted.weights_.items():
        assert_same_bits(tensors[name], array)


def test_the_metadata_is_json(fitted, path):
    fitted.save(path)
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["fastrecur"])
    assert document["class"] == type(fitted).__name__
    assert document["fastrecur_version"] == fastrecur.__version__
    assert document["format_version"] == 1
    assert document["parameters"]["hidden_size"] == 4
    assert document["attributes"]["n_features_in_"] == 3
    if hasattr(fitted, "classes_"):
        assert document["attributes"]["classes_"] == {"array": ["<U6", [3], ["high", "low", "middle"]]}


def test_equal_estimators_have_equal_files(fitted, tmp_path):
    for name in ("a", "b"):
        copy.deepcopy(fitted).save(tmp_path / name)
    fastrecur.load(tmp_path / "a").save(tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_what_is_loaded_is_free_of_the_file(fitted, path):
    loaded = saved_and_loaded(fitted, path)
    expected = outputs(fitted, X)
    path.write_bytes(b"")
    assert_same_bits(outputs(loaded, X), expected)
    for array in loaded.weights_.values():
        assert array.flags.writeable
        assert array.flags.owndata


@pytest.mark.parametrize("parameters", DEPTHS, ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_shapes_are_foreseen_as_the_network_has_them(cls, parameters):
    estimator = tiny(cls, **parameters)
    estimator.fit(X, make_targets(cls, X))
    model = Model(cls._cell, **estimator._architecture)
    assert shapes(cls._cell, estimator._architecture) == model.parameters.shapes


# --- what is not saved -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_an_estimator_must_be_fitted(cls, path):
    with pytest.raises(NotFittedError, match="fit"):
        cls().save(path)
    assert not path.exists()


class Derived(LSTMClassifier):
    pass


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden_size": "many"}, ValueError, "'hidden_size' parameter"),
        ({"note": {1, 2}}, TypeError, "Cannot save: attributes.note is a set. A file has no place for it"),
        ({"predict": 3}, ValueError, "Cannot save: 'predict' is no name of an attribute"),
        ({"two words": 3}, ValueError, "Cannot save: 'two words' is no name of an attribute"),
        ({"classes_": None}, ValueError, "classes_ is a NoneType; it must be a ndarray"),
        ({"classes_": np.arange(5)}, ValueError, r"classes_ has the shape \(5,\), but the network 2 output"),
        ({"weights_": {}}, ValueError, "network's tensors"),
        ({"_architecture": {}}, ValueError, "_architecture has the keys"),
    ],
    ids=str,
)
def test_what_could_not_be_loaded_is_not_saved(change, error, message, path):
    estimator = tiny(LSTMClassifier).fit(X, np.arange(20) % 2)
    estimator.__dict__.update(change)
    with pytest.raises(error, match=message):
        estimator.save(path)
    assert not path.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_must_be_finite(value, path):
    estimator = tiny(LSTMClassifier).fit(X, np.arange(20) % 2)
    estimator.weights_["weight_hh_l0"][3, 2] = value
    with pytest.raises(ValueError, match="Cannot save: the tensor 'weight_hh_l0' holds NaN or infinity"):
        estimator.save(path)


def test_a_derived_class_is_not_saved(path):
    estimator = tiny(Derived).fit(X, np.arange(20) % 2)
    with pytest.raises(TypeError, match=r"save\(\) writes RNNClassifier, .*: load\(\) could not rebuild a Derived"):
        estimator.save(path)


# --- other ways of keeping an estimator ------------------------------------------------------------------------------


def _joblib(estimator, path):
    joblib.dump(estimator, path)
    return joblib.load(path)


def _mapped(estimator, path):
    joblib.dump(estimator, path)
    return joblib.load(path, mmap_mode="r")


def _skops(estimator, path):
    skops.io.dump(estimator, path)
    trusted = skops.io.get_untrusted_types(file=path)
    name = type(estimator).__name__
    assert set(trusted) <= {f"fastrecur.estimators.estimators.{name}"}
    return skops.io.load(path, trusted=trusted)


@pytest.mark.parametrize(
    "way",
    [
        lambda estimator, path: pickle.loads(pickle.dumps(estimator)),
        lambda estimator, path: copy.deepcopy(estimator),
        _joblib,
        _mapped,
        _skops,
        lambda estimator, path: saved_and_loaded(_mapped(estimator, path), path.with_name("other")),
    ],
    ids=["pickle", "deepcopy", "joblib", "joblib-mmap", "skops", "joblib-mmap-save"],
)
def test_other_ways_keep_the_bits(fitted, way, path):
    ragged = make_ragged(n=30)
    expected = outputs(fitted, ragged)
    kept = way(fitted, path)
    assert_same_bits(outputs(kept, ragged), expected)
    assert_same_bits(kept.predict(ragged), fitted.predict(ragged))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_clone_fitted_again_is_the_same(cls, path):
    y = make_targets(cls, X)
    estimator = tiny(cls, early_stopping=True, validation_fraction=0.3, max_iter=3).fit(X, y)
    loaded = saved_and_loaded(estimator, path)
    for again in (clone(estimator).fit(X, y), clone(loaded).fit(X, y), loaded.fit(X, y)):
        assert_same_bits(outputs(again, X), outputs(estimator, X))
        assert again.loss_curve_ == estimator.loss_curve_
