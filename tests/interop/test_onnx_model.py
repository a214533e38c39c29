"""ONNX models against the estimators that they were made of: labels, probabilities, predictions to 1e-5."""

import sys

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.interop import to_onnx
from fastrecur.layers import LSTM
from tests.estimators.data import CLASSES, CLASSIFIERS, DEPTHS, make_array, make_ragged, refused, tiny
from tests.interop.data import assert_equal_outputs, expected, fitted, padded, run

RAGGED = [x.astype(np.float32) for x in make_ragged(n=24)]
ARRAY = make_array(24).astype(np.float32)

#: What the head reads.
READS = {"last": {}, "mean": {"pooling": "mean"}, "max": {"pooling": "max"}, "steps": {"return_sequences": True}}

each_depth = pytest.mark.parametrize("depth", DEPTHS)
each_read = pytest.mark.parametrize("read", READS)


def full(X):
    return np.full(len(X), X.shape[1], np.int32)


@pytest.mark.parametrize("cls", CLASSES)
@each_depth
@each_read
def test_ragged_sequences(cls, depth, read):
    estimator = fitted(cls, RAGGED, **DEPTHS[depth], **READS[read])
    X, lengths = padded(RAGGED)
    found = run(to_onnx(estimator), X=X, sequence_lens=lengths)
    assert_equal_outputs(found, expected(estimator, RAGGED), lengths if read == "steps" else None)


@pytest.mark.parametrize("cls", CLASSES)
@each_read
def test_without_lengths_all_steps_are_valid(cls, read):
    estimator = fitted(cls, ARRAY, num_layers=2, **READS[read])
    model = to_onnx(estimator, sequence_lens=False)
    assert [given.name for given in model.graph.input] == ["X"]
    assert_equal_outputs(run(model, X=ARRAY), expected(estimator, ARRAY))
    assert_equal_outputs(run(to_onnx(estimator), X=ARRAY, sequence_lens=full(ARRAY)), expected(estimator, ARRAY))


@each_read
@each_depth
def test_what_lies_behind_the_end_does_not_matter(read, depth):
    estimator = fitted(LSTMClassifier, RAGGED, **DEPTHS[depth], **READS[read])
    model = to_onnx(estimator)
    results = []
    for filling in (0.0, -1e30):
        X, lengths = padded(RAGGED, filling)
        results.append(run(model, X=X, sequence_lens=lengths))
    for name, values in results[0].items():
        np.testing.assert_array_equal(values, results[1][name])
    if read == "steps":
        assert (results[0]["label"][np.arange(X.shape[1]) >= lengths[:, None]] == estimator.classes_[0]).all()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("ragged", [False, True], ids=["array", "ragged"])
def test_tokens(cls, ragged):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 11, size=(24, 6))
    lengths = rng.integers(1, 7, size=24).astype(np.int32)
    lengths[0] = 6
    X = [row[:length] for row, length in zip(tokens, lengths, strict=True)] if ragged else tokens
    estimator = fitted(cls, X, embedding_dim=5, pooling="mean")
    found = run(to_onnx(estimator), X=tokens, sequence_lens=lengths if ragged else full(tokens))
    assert_equal_outputs(found, expected(estimator, X))


@pytest.mark.parametrize("read", ["last", "steps"])
def test_a_table_has_one_feature_a_step(read):
    table = ARRAY[:, :, 0]
    estimator = fitted(LSTMRegressor, table, np.array(table) if read == "steps" else None, **READS[read])
    model = to_onnx(estimator)
    assert len(model.graph.input[0].type.tensor_type.shape.dim) == 2
    found = run(model, X=table, sequence_lens=full(table))
    assert_equal_outputs(found, expected(estimator, table), full(table) if read == "steps" else None)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
@each_depth
def test_nonlinearity(cls, nonlinearity, depth):
    estimator = fitted(cls, RAGGED, nonlinearity=nonlinearity, **DEPTHS[depth])
    X, lengths = padded(RAGGED)
    assert_equal_outputs(run(to_onnx(estimator), X=X, sequence_lens=lengths), expected(estimator, RAGGED))


@pytest.mark.parametrize("shape", [(24,), (24, 1), (24, 3)])
def test_targets_come_in_their_units_and_shape(shape):
    y = np.random.default_rng(0).normal(5000, 200, size=shape)
    estimator = fitted(LSTMRegressor, ARRAY, y)
    found = run(to_onnx(estimator), X=ARRAY, sequence_lens=full(ARRAY))["variable"]
    assert found.shape == shape
    np.testing.assert_allclose(found, estimator.predict(ARRAY), rtol=1e-6)


@pytest.mark.parametrize("shape", [(24, 8), (24, 8, 2)])
def test_step_targets_come_in_their_shape(shape):
    estimator = fitted(LSTMRegressor, ARRAY, np.random.default_rng(0).normal(size=shape), return_sequences=True)
    found = run(to_onnx(estimator), X=ARRAY, sequence_lens=full(ARRAY))["variable"]
    assert found.shape == shape
    np.testing.assert_allclose(found, estimator.predict(ARRAY), atol=1e-5)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_float64_network_computes_in_float32_to_1e_5(cls):
    estimator = fitted(cls, RAGGED, dtype="float64", bidirectional=True, pooling="mean")
    X, lengths = padded(RAGGED)
    assert_equal_outputs(run(to_onnx(estimator), X=X, sequence_lens=lengths), expected(estimator, RAGGED))


@pytest.mark.parametrize("cls", CLASSES)
@each_depth
@each_read
def test_float64_operators(cls, depth, read):
    """ONNX Runtime has none; the reference evaluator of onnx does, and knows no lengths."""
    X = make_array(24)
    estimator = fitted(cls, X, dtype="float64", **DEPTHS[depth], **READS[read])
    model = to_onnx(estimator, dtype="float64", sequence_lens=False)
    onnx.checker.check_model(model, full_check=True)
    names = [output.name for output in model.graph.output]
    found = dict(zip(names, ReferenceEvaluator(model).run(None, {"X": X}), strict=True))
    for name, values in expected(estimator, X).items():
        if name == "label":
            assert found[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (np.array([7, -2]), "int64"),
        (np.array([7, 2], np.uint8), "int64"),
        (np.array([False, True]), "bool"),
        (np.array([1.0, 2.0]), "float64"),
        (np.array(["no", "yes"]), "object"),
        (np.array(["no", "yes"], dtype=object), "object"),
    ],
    ids=["int", "uint8", "bool", "float", "str", "objects"],
)
def test_labels_of_every_kind(labels, kind):
    estimator = fitted(GRUClassifier, ARRAY, labels[np.arange(24) % 2])
    found = run(to_onnx(estimator), X=ARRAY, sequence_lens=full(ARRAY))["label"]
    assert found.dtype == kind
    assert found.tolist() == estimator.predict(ARRAY).tolist()


@pytest.mark.parametrize("target_opset", [13, 14, 17, 18, 21])
@pytest.mark.parametrize("read", READS)
def test_opsets(target_opset, read):
    estimator = fitted(LSTMClassifier, RAGGED, **READS[read])
    model = to_onnx(estimator, target_opset=target_opset)
    assert model.opset_import[0].version == target_opset
    X, lengths = padded(RAGGED)
    found = run(model, X=X, sequence_lens=lengths)
    assert_equal_outputs(found, expected(estimator, RAGGED), lengths if read == "steps" else None)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_operators_are_the_recurrent_ones(cls):
    model = to_onnx(fitted(cls, ARRAY, num_layers=3, bidirectional=True))
    name = cls.__name__.removesuffix("Classifier")
    assert [node.op_type for node in model.graph.node].count(name) == 3
    assert (model.producer_name, model.graph.name) == ("fastrecur", cls.__name__)


def test_inputs_and_outputs_tell_their_shapes():
    model = to_onnx(fitted(LSTMClassifier, RAGGED, return_sequences=True))
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "X": ["N", "T", 3],
        "sequence_lens": ["N"],
        "label": ["N", "T"],
        "probabilities": ["N", "T", 3],
    }


# --- errors ----------------------------------------------------------------------------------------------------------


def test_what_is_no_fitted_estimator():
    with pytest.raises(NotFittedError):
        to_onnx(LSTMClassifier())
    refused(lambda: to_onnx(LSTM(2, 3)), TypeError, "estimator", "layer LSTM")
    refused(lambda: to_onnx(make_pipeline(tiny(LSTMClassifier))), TypeError, "convert_sklearn", "register_skl2onnx")
    refused(lambda: to_onnx("model"), TypeError, "fitted estimator", "instance of str")


@pytest.mark.parametrize(
    ("options", "error", "parts"),
    [
        ({"sequence_lens": "yes"}, TypeError, ["sequence_lens", "'yes'"]),
        ({"dtype": "float16"}, ValueError, ["dtype", "'float16'", "'float32'"]),
        ({"target_opset": 12}, ValueError, ["target_opset", "at least 13", "12"]),
        ({"target_opset": 18.0}, TypeError, ["target_opset", r"18\.0"]),
        ({"target_opset": 999}, ValueError, ["target_opset", "at most", "999"]),
    ],
)
def test_options_that_will_not_do(options, error, parts):
    estimator = fitted(RNNClassifier, ARRAY)
    refused(lambda: to_onnx(estimator, **options), error, *parts)


def test_labels_that_onnx_has_not():
    estimator = fitted(RNNClassifier, ARRAY)
    estimator.classes_ = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]")
    refused(lambda: to_onnx(estimator), TypeError, "labels", "LabelEncoder")


def test_targets_beyond_float32():
    estimator = fitted(LSTMRegressor, ARRAY, np.arange(24) * 1e300, dtype="float64")
    refused(lambda: to_onnx(estimator), ValueError, "head_weight|head_bias", "float32", "dtype='float64'")
    to_onnx(estimator, dtype="float64")


def test_without_onnx(monkeypatch):
    estimator = fitted(RNNClassifier, ARRAY)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fastrecur\[onnx\]"'):
        to_onnx(estimator)
