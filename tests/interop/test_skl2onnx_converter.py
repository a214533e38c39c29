"""Pipelines exported by skl2onnx against the pipelines themselves."""

import subprocess
import sys

import numpy as np
import pytest
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int32TensorType, Int64TensorType
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

from fastrecur import GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier
from fastrecur.interop import register_skl2onnx
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import CLASSES, DEPTHS, make_array, make_ragged, make_targets, refused, tiny
from tests.interop.data import assert_equal_outputs, expected, fitted, padded, run, targets

RAGGED = [3 * x.astype(np.float32) + 5 for x in make_ragged(n=24)]
ARRAY = 3 * make_array(24).astype(np.float32) + 5
LABELS, NUMBERS = make_targets(LSTMClassifier, ARRAY), make_targets(LSTMRegressor, ARRAY)

X_TYPE, LENGTHS_TYPE = ("X", FloatTensorType([None, None, 3])), ("sequence_lens", Int32TensorType([None]))

pytestmark = pytest.mark.filterwarnings("ignore:The loss was still falling")  # one epoch is enough here


def converted(model, *types, **options):
    """ONNX model with plain arrays as outputs."""
    if hasattr(model, "classes_"):
        options = {"options": {id(model): {"zipmap": False}}, **options}
    return convert_sklearn(model, initial_types=list(types or [X_TYPE]), **options)


def in_columns(estimator, X):
    """What `expected` gives, the numbers of a regressor as skl2onnx lays them out: (N, 1)."""
    wanted = expected(estimator, X)
    return {name: v[:, np.newaxis] if name == "variable" and v.ndim == 1 else v for name, v in wanted.items()}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_pipeline_on_ragged_sequences(cls, depth):
    pipeline = make_pipeline(PerTimestep(StandardScaler()), tiny(cls, pooling="mean", **DEPTHS[depth]))
    pipeline.fit(RAGGED, make_targets(cls, RAGGED))
    X, lengths = padded(RAGGED)
    found = run(converted(pipeline, X_TYPE, LENGTHS_TYPE), X=X, sequence_lens=lengths)
    assert_equal_outputs(found, in_columns(pipeline, RAGGED))


@pytest.mark.parametrize("cls", CLASSES)
def test_targets_of_time_steps(cls):
    estimator = tiny(cls, return_sequences=True)
    pipeline = make_pipeline(PerTimestep(StandardScaler()), estimator).fit(RAGGED, targets(estimator, RAGGED))
    X, lengths = padded(RAGGED)
    model = convert_sklearn(pipeline, initial_types=[X_TYPE, LENGTHS_TYPE])  # without a zipmap to be asked for
    assert_equal_outputs(run(model, X=X, sequence_lens=lengths), expected(pipeline, RAGGED), lengths)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_estimator_alone_with_a_sample_for_its_types(cls):
    estimator = fitted(cls, ARRAY)
    options = {cls: {"zipmap": False}} if hasattr(estimator, "classes_") else None
    found = run(to_onnx(estimator, ARRAY[:1], options=options), X=ARRAY)
    assert_equal_outputs(found, in_columns(estimator, ARRAY))


def test_two_targets():
    estimator = fitted(LSTMRegressor, ARRAY, np.stack([NUMBERS, 100 + NUMBERS], axis=1))
    assert_equal_outputs(run(converted(estimator), X=ARRAY), expected(estimator, ARRAY))


@pytest.mark.parametrize("lengths", [False, True])
def test_tokens(lengths):
    tokens = np.random.default_rng(0).integers(0, 9, size=(24, 6))
    estimator = fitted(LSTMClassifier, tokens, LABELS, embedding_dim=4)
    types, inputs = [("X", Int64TensorType([None, None]))], {"X": tokens}
    if lengths:
        types, inputs = [*types, LENGTHS_TYPE], {**inputs, "sequence_lens": np.full(24, 6, np.int32)}
    assert_equal_outputs(run(converted(estimator, *types), **inputs), expected(estimator, tokens))


def test_float64_comes_out_as_float64():
    X = ARRAY.astype(np.float64)
    pipeline = make_pipeline(PerTimestep(StandardScaler()), tiny(LSTMClassifier)).fit(X, LABELS)
    found = run(converted(pipeline, ("X", DoubleTensorType([None, None, 3]))), X=X)
    assert found["probabilities"].dtype == np.float64
    assert_equal_outputs(found, expected(pipeline, X))


# --- PerTimestep -----------------------------------------------------------------------------------------------------

INNER = {
    "scaler": lambda: MinMaxScaler(),
    "more features": lambda: PolynomialFeatures(2),
    "pipeline": lambda: make_pipeline(SimpleImputer(), PolynomialFeatures(2), StandardScaler(), PCA(4)),
    "union": lambda: make_union(StandardScaler(), MinMaxScaler()),
    "columns": lambda: ColumnTransformer([("a", StandardScaler(), [0, 2]), ("b", MinMaxScaler(), [1])]),
}


@pytest.mark.parametrize("inner", INNER)
def test_transformers_of_time_steps(inner):
    transformer = PerTimestep(INNER[inner]()).fit(ARRAY)
    found = run(to_onnx(transformer, ARRAY[:1]), X=ARRAY)
    (steps,) = found.values()
    np.testing.assert_allclose(steps, transformer.transform(ARRAY), rtol=1e-4, atol=1e-4)
    pipeline = make_pipeline(PerTimestep(INNER[inner]()), tiny(LSTMRegressor)).fit(ARRAY, NUMBERS)
    assert_equal_outputs(run(converted(pipeline), X=ARRAY), in_columns(pipeline, ARRAY))


@pytest.mark.parametrize("inner", ["scaler", "more features"])
def test_transformers_of_a_table(inner):
    table = ARRAY[:, :, 0]
    pipeline = make_pipeline(PerTimestep(INNER[inner]()), tiny(LSTMRegressor)).fit(table, NUMBERS)
    transformer = pipeline[0]
    (steps,) = run(to_onnx(transformer, table[:1]), X=table).values()
    np.testing.assert_allclose(steps, transformer.transform(table), rtol=1e-5, atol=1e-5)
    found = run(converted(pipeline, ("X", FloatTensorType([None, None]))), X=table)
    assert_equal_outputs(found, in_columns(pipeline, table))


def test_several_steps_hand_the_lengths_on():
    steps = PerTimestep(StandardScaler()), PerTimestep(PolynomialFeatures(2)), PerTimestep(PCA(3))
    pipeline = make_pipeline(*steps, tiny(LSTMRegressor, bidirectional=True)).fit(RAGGED, np.arange(24.0))
    X, lengths = padded(RAGGED, 0.0)
    found = run(converted(pipeline, X_TYPE, LENGTHS_TYPE), X=X, sequence_lens=lengths)
    assert_equal_outputs(found, in_columns(pipeline, RAGGED))


# --- beside scikit-learn's own ---------------------------------------------------------------------------------------


def test_searches():
    inside = make_pipeline(
        PerTimestep(StandardScaler()), GridSearchCV(tiny(LSTMClassifier), {"hidden_size": [3, 4]}, cv=2)
    ).fit(ARRAY, LABELS)
    outside = GridSearchCV(
        make_pipeline(PerTimestep(StandardScaler()), tiny(RNNClassifier)), {"rnnclassifier__hidden_size": [3, 4]}, cv=2
    ).fit(ARRAY, LABELS)
    assert_equal_outputs(run(converted(inside), X=ARRAY), expected(inside, ARRAY))
    assert_equal_outputs(run(converted(outside.best_estimator_), X=ARRAY), expected(outside, ARRAY))


def test_ensembles():
    members = [("lstm", tiny(LSTMRegressor)), ("gru", tiny(GRURegressor))]
    regressor = VotingRegressor(members).fit(ARRAY, NUMBERS)
    assert_equal_outputs(run(converted(regressor), X=ARRAY), in_columns(regressor, ARRAY))
    members = [("lstm", tiny(LSTMClassifier)), ("rnn", tiny(RNNClassifier))]
    classifier = VotingClassifier(members, voting="soft", flatten_transform=False).fit(ARRAY, LABELS)
    assert_equal_outputs(run(converted(classifier), X=ARRAY), expected(classifier, ARRAY))


TRANSFORM = {cls: {"transform": True} for cls in CLASSES}


def test_states_for_later_steps():
    pipeline = make_pipeline(PerTimestep(StandardScaler()), tiny(LSTMClassifier), LogisticRegression())
    pipeline.fit(ARRAY, LABELS)
    found = run(converted(pipeline, options={**TRANSFORM, LogisticRegression: {"zipmap": False}}), X=ARRAY)
    assert_equal_outputs(found, expected(pipeline, ARRAY))
    pipeline = make_pipeline(make_union(tiny(LSTMRegressor), tiny(GRURegressor, pooling="max")), LinearRegression())
    pipeline.fit(ARRAY, NUMBERS)
    assert_equal_outputs(run(converted(pipeline, options=TRANSFORM), X=ARRAY), in_columns(pipeline, ARRAY))


@pytest.mark.parametrize(
    ("step", "last"),
    [
        (tiny(LSTMClassifier), LogisticRegression()),
        (tiny(LSTMRegressor), LinearRegression()),
        (GridSearchCV(tiny(LSTMRegressor), {"hidden_size": [3, 4]}, cv=2), LinearRegression()),
    ],
    ids=["classifier", "regressor", "search"],
)
def test_predictions_for_later_steps_are_refused(step, last):
    pipeline = make_pipeline(step, last).fit(ARRAY, LABELS if is_classifier(step) else NUMBERS)
    name = type(getattr(step, "estimator", step)).__name__
    refused(
        lambda: converted(pipeline),
        ValueError,
        f"{name} stands before another step",
        rf"{{{name}: {{'transform': True}}}}",
    )
    options = {type(getattr(step, "estimator", step)): {"transform": True}}
    if is_classifier(step):
        options[LogisticRegression] = {"zipmap": False}
    wanted = in_columns(pipeline, ARRAY)
    found = list(run(converted(pipeline, options=options), X=ARRAY).values())
    found = found[-len(wanted) :]  # skl2onnx makes what a search inside a pipeline gives an output too
    assert_equal_outputs(dict(zip(wanted, found, strict=True)), wanted)


# --- options ---------------------------------------------------------------------------------------------------------


def test_a_map_of_probabilities_is_the_default():
    estimator = fitted(LSTMClassifier, ARRAY)
    found = run(convert_sklearn(estimator, initial_types=[X_TYPE]), X=ARRAY)
    assert found["output_label"].tolist() == estimator.predict(ARRAY).tolist()
    for row, wanted in zip(found["output_probability"], estimator.predict_proba(ARRAY), strict=True):
        assert list(row) == estimator.classes_.tolist()
        np.testing.assert_allclose(list(row.values()), wanted, atol=1e-5)


def test_a_column_for_each_class():
    estimator = fitted(LSTMClassifier, ARRAY)
    found = list(run(to_onnx(estimator, ARRAY[:1], options={"zipmap": "columns"}), X=ARRAY).values())
    np.testing.assert_allclose(np.stack(found[1:], axis=1), estimator.predict_proba(ARRAY), atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [([False, True], [0, 1]), ([2.0, 5.0], [2, 5]), ([3, 9], [3, 9]), (["a", "b"], ["a", "b"])],
)
def test_labels_are_whole_numbers_or_strings(classes, wanted):
    estimator = fitted(RNNClassifier, ARRAY, np.array(classes)[np.arange(24) % 2])
    found = run(converted(estimator), X=ARRAY)["label"]
    assert found.tolist() == [wanted[classes.index(label)] for label in estimator.predict(ARRAY).tolist()]


def test_labels_as_numbers_on_demand():
    estimator = fitted(LSTMClassifier, ARRAY)
    model = to_onnx(estimator, ARRAY[:1], options={LSTMClassifier: {"zipmap": False, "nocl": True}})
    assert run(model, X=ARRAY)["label"].tolist() == estimator.predict_proba(ARRAY).argmax(axis=1).tolist()


@pytest.mark.parametrize("target_opset", [13, 17, 18, 21])
def test_opsets(target_opset):
    pipeline = make_pipeline(PerTimestep(StandardScaler()), tiny(LSTMRegressor, pooling="max")).fit(ARRAY, NUMBERS)
    assert_equal_outputs(run(converted(pipeline, target_opset=target_opset), X=ARRAY), in_columns(pipeline, ARRAY))


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "parts"),
    [
        ([("X", FloatTensorType([None, None, 5]))], ["5 features", "fitted on 3"]),
        ([("X", FloatTensorType([None, 3]))], [r"\[None, None, 3\]"]),
        ([("X", FloatTensorType([None, None, None]))], [r"\[None, None, 3\]"]),
        ([X_TYPE, ("lengths", FloatTensorType([None]))], ["lengths", "Int32TensorType"]),
        ([X_TYPE, LENGTHS_TYPE, ("more", Int32TensorType([None]))], ["3 inputs"]),
    ],
)
def test_types_that_will_not_do(types, parts):
    estimator = fitted(RNNClassifier, ARRAY)
    refused(lambda: converted(estimator, *types), ValueError, *parts)


def test_types_that_will_not_do_for_time_steps():
    refused(lambda: converted(PerTimestep(StandardScaler()).fit(ARRAY), ("X", FloatTensorType([None, 3]))), ValueError,
            "PerTimestep", r"\[None, None, 3\]", r"\[None, 3\]")  # fmt: skip
    table = PerTimestep(StandardScaler()).fit(ARRAY[:, :, 0])
    refused(lambda: converted(table), ValueError, r"1 feature\(s\)", r"\[None, None, 1\] or \[None, None\]")


def test_tokens_must_be_integers():
    estimator = fitted(RNNClassifier, np.arange(48).reshape(24, 2) % 5, LABELS, embedding_dim=2)
    refused(lambda: converted(estimator, ("X", FloatTensorType([None, None]))), ValueError, "tokens", "Int64TensorType")


def test_what_cannot_be_converted():
    for model in (LSTMClassifier(), PerTimestep(StandardScaler())):
        with pytest.raises(NotFittedError):
            convert_sklearn(model, initial_types=[X_TYPE])
    estimator = fitted(RNNClassifier, ARRAY)
    refused(lambda: converted(estimator, target_opset=12), ValueError, "target_opset", "at least 13")


def test_the_import_registers_and_lives_without_skl2onnx():
    code = """
import sys
{before}
import fastrecur.interop as interop
from fastrecur import LSTMClassifier
{after}
"""
    with_it = code.format(
        before="", after="from skl2onnx._supported_operators import sklearn_operator_name_map as names\n"
        "assert names[LSTMClassifier] == 'FastrecurLSTMClassifier'",
    )  # fmt: skip
    without = code.format(
        before="sys.modules['skl2onnx'] = None",
        after="try:\n    interop.register_skl2onnx()\nexcept ImportError as error:\n    print(error)",
    )
    for source, output in ((with_it, ""), (without, 'pip install "fastrecur[onnx]"')):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert output in done.stdout


def test_registering_twice_changes_nothing():
    estimator = fitted(RNNClassifier, ARRAY)
    register_skl2onnx()
    assert_equal_outputs(run(converted(estimator), X=ARRAY), expected(estimator, ARRAY))
