"""Refused y and sample_weight: the error names the argument and what was found, before any work."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context

from fastrecur import LSTMClassifier, LSTMRegressor
from fastrecur.exceptions import ExplodingGradientWarning
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    REGRESSORS,
    assert_same_weights,
    make_ragged,
    make_targets,
    refused,
    refused_fit,
    tiny,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 12  # sequences of the good data


# --- y ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, N - 1, N + 1])
@pytest.mark.parametrize("cls", CLASSES)
def test_y_of_another_length(cls, n, no_network):
    X = make_ragged(n=N)
    y = np.resize(make_targets(cls, X), n)
    refused_fit(tiny(cls), X, y, ValueError, r"\by\b", rf"\b{n}\b", rf"\b{N}\b")


@pytest.mark.parametrize("cls", CLASSES)
def test_no_y(cls, no_network):
    refused_fit(tiny(cls), make_ragged(n=N), None, ValueError, "requires y", "None")


@pytest.mark.parametrize("label", ["a", 7, True])
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_one_class_only(cls, label, no_network):
    parts = (r"\by\b", f"one class only.*{label}", "at least 2 classes")
    refused_fit(tiny(cls), make_ragged(n=N), [label] * N, ValueError, *parts)


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (np.linspace(0.0, 1.0, N), "continuous"),
        ([np.nan] + [0.0, 1.0, 2.0] * 3 + [0.0, 1.0], "NaN"),
        ([np.inf] + [0.0, 1.0, 2.0] * 3 + [0.0, 1.0], "infinity"),
        (np.zeros((N, 2), dtype=int), r"\(12, 2\)"),
        (np.array(["a", None] * (N // 2), dtype=object), "None"),
        (np.array(["a", np.nan] * (N // 2), dtype=object), "NaN"),
        (3, r"scalar|\(\)"),
    ],
    ids=["continuous", "NaN", "infinity", "two columns", "None", "NaN among strings", "scalar"],
)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_labels_that_will_not_do(cls, y, found, no_network):
    refused_fit(tiny(cls), make_ragged(n=N), y, (ValueError, TypeError), found)


@pytest.mark.parametrize("classes", [2, "ab", [[0, 1]], [None, 1], [np.nan, 0, 1], []], ids=str)
def test_classes_that_will_not_do(classes):
    with pytest.raises(ValueError, match=r"^classes "):
        tiny(LSTMClassifier).partial_fit(make_ragged(n=N), np.arange(N) % 2, classes=classes)


def test_a_target_at_each_step_needs_to_be_asked_for(no_network):
    X = make_ragged(n=N)
    labels = [np.arange(len(x)) % 2 for x in X]
    asked = r"\. For a target at each time step set return_sequences=True"
    refused_fit(tiny(LSTMClassifier), X, labels, ValueError, r"\by\b", asked)
    X = np.zeros((N, 6, 2))
    refused_fit(tiny(LSTMClassifier), X, np.arange(6 * N).reshape(N, 6) % 2, ValueError, r"\(12, 6\)", asked)
    refused_fit(tiny(LSTMRegressor), X, np.ones((N, 6, 2)), ValueError, r"\(12, 6, 2\)", asked)
    with pytest.raises(ValueError, match="continuous") as refused:
        tiny(LSTMClassifier).fit(X, np.linspace(0.0, 1.0, N))
    assert "return_sequences" not in str(refused.value)


def test_labels_of_one_kind(no_network):
    X = make_ragged(n=N)
    labels = [np.array(["a"] * len(x)) if i else np.zeros(len(x), int) for i, x in enumerate(X)]
    refused_fit(tiny(LSTMClassifier, return_sequences=True), X, labels, ValueError, "y mixes strings and numbers")
    refused_fit(tiny(LSTMClassifier, return_sequences=True), X, 3, ValueError, "y must be an array .*int")


def test_labels_that_are_arrays_or_fractions_are_named(no_network):
    X = make_ragged(n=N)
    arrays = np.empty(N, object)
    arrays[:] = [np.array([0, k % 2]) for k in range(N)]
    for y in (arrays, np.linspace(0.1, 0.9, N)):
        refused_fit(tiny(LSTMClassifier), X, y, ValueError, r"\by\b", "labels of classes", "Unknown label type")


def test_targets_whose_spread_overflows(no_network):
    X = make_ragged(n=N)
    refused_fit(tiny(LSTMRegressor), X, np.resize([1.7e308, -1.7e308], N), ValueError, r"\by\b", r"1\.7e\+308", "Scale")


@pytest.mark.parametrize(
    ("y", "found"),
    [
        ([np.nan] + [1.0] * (N - 1), "y contains NaN"),
        ([np.inf] + [1.0] * (N - 1), "y contains infinity"),
        (["high", "low"] * (N // 2), "'high'"),
        (np.zeros((N, 2, 2)), r"y must have shape .*\(12, 2, 2\)"),
        (np.zeros((N, 0)), r"\(12, 0\)"),
        (np.ones(N) * 1j, "Complex"),
        (3.0, "scalar"),
    ],
    ids=["NaN", "infinity", "strings", "3-D", "no outputs", "complex", "scalar"],
)
@pytest.mark.parametrize("cls", REGRESSORS)
def test_targets_that_will_not_do(cls, y, found, no_network):
    refused_fit(tiny(cls), make_ragged(n=N), y, (ValueError, TypeError), found)


# --- sample_weight ---------------------------------------------------------------------------------------------------


WEIGHTS = {
    "negative": (np.r_[np.ones(N - 1), -1.0], f"has -1, which is negative, for sequence {N - 1}.*0 or more"),
    "negative scalar": (-2, "has -2, which is negative, for sequence 0.*0 or more"),
    "all zero": (np.zeros(N), "is all zero.*positive"),
    "scalar zero": (0.0, "is all zero.*positive"),
    "NaN": (np.r_[np.ones(N - 1), np.nan], f"has NaN for sequence {N - 1}.*finite"),
    "scalar NaN": (np.nan, "has NaN for sequence 0.*finite"),
    "infinity": (np.r_[np.inf, np.ones(N - 1)], "has infinity for sequence 0.*finite"),
    "length": (np.ones(N - 1), r"has 11 weight\(s\), but X has 12 sequence\(s\).*one weight a sequence"),
    "none": ([], r"has 0 weight\(s\), but X has 12 sequence\(s\).*one weight a sequence"),
    "2-D": (np.ones((N, 2)), r"has shape \(12, 2\), but X has 12 sequence\(s\).*shape \(12,\)"),
    "column": (pd.DataFrame({"weight": np.ones(N)}), r"has shape \(12, 1\).*shape \(12,\)"),
    "strings": (["heavy"] * N, "must be 12 numbers, one a sequence, found 'heavy'"),
    "digits": (["1"] * N, "must be 12 numbers, one a sequence, found '1'"),
    "name": ("balanced", "must be 12 numbers, one a sequence, found 'balanced'"),
    "dates": (np.array(["2020-01-01"] * N, "M8[ns]"), "must be 12 numbers, one a sequence, found a"),
    "complex": (np.full(N, 1j), "must be 12 numbers, one a sequence, found 1j"),
    "None": ([1.0] * (N - 1) + [None], "must be 12 numbers, one a sequence, found None"),
    "dict": ({0: 1.0}, "must be 12 numbers, one a sequence, found a dict"),
    "ragged": ([[1.0, 2.0]] + [[1.0]] * (N - 1), "must be 12 numbers, one a sequence, found .*different lengths"),
    "far": (np.full(N, 1e308), "has 1e[+]308 .*Scale it"),
    "tiny": (np.full(N, 1e-310), "has 1e-310 .*Scale it"),
}


@pytest.mark.parametrize(("weights", "found"), WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("cls", CLASSES)
def test_sample_weight(cls, weights, found, no_network):
    X = make_ragged(n=N)
    refused_fit(tiny(cls), X, make_targets(cls, X), ValueError, f"^sample_weight {found}", sample_weight=weights)


@pytest.mark.parametrize("steps", [False, True], ids=["", "of steps"])
@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_sample_weight_of_a_score(cls, steps):
    """The same errors, with a target a sequence as with a target a time step."""
    X = make_ragged(n=N)
    y = [np.arange(len(x)) % 2 for x in X] if steps else np.arange(N) % 2
    estimator = tiny(cls, return_sequences=steps).fit(X, y)
    for weights, found in WEIGHTS.values():
        refused(lambda w=weights: estimator.score(X, y, w), ValueError, f"^sample_weight {found}")


@pytest.mark.parametrize(
    "weights", [2, np.array(2.0), [Decimal(2)] * N, pd.Series(np.full(N, 2)), np.full(N, True)], ids=str
)
def test_sample_weights_of_many_kinds(weights):
    X = make_ragged(n=N)
    y = np.arange(N) % 2
    given = tiny(LSTMClassifier, alpha=0.0).fit(X, y, sample_weight=weights)
    assert_same_weights(given, tiny(LSTMClassifier, alpha=0.0).fit(X, y))
    assert given.score(X, y, weights) == given.score(X, y)


@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_y_of_a_score(cls):
    X = make_ragged(n=N)
    estimator = tiny(cls).fit(X, np.arange(N) % 2)
    refused(lambda: estimator.score(X, None), ValueError, "^score needs y.*None")
    refused(lambda: estimator.score(X, np.arange(N - 1)), ValueError, r"^y cannot be held against .*11, 12")


# --- where y holds what it may not -----------------------------------------------------------------------------------


BAD_VALUES = {
    "NaN": (np.nan, "contains NaN", "Impute"),
    "infinity": (-np.inf, "contains infinity", "Clip"),
}


@pytest.mark.parametrize(("value", "found", "remedy"), BAD_VALUES.values(), ids=BAD_VALUES)
@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_the_place_of_a_bad_target(cls, value, found, remedy, no_network):
    X, y = make_ragged(n=N), np.arange(N) % 2.0
    y[[3, 7]] = value
    text = rf"^y {found}: sequence 3 \(and 1 more such values\)\. {remedy} the value, or leave the sequence out\.$"
    refused_fit(tiny(cls), X, y, ValueError, text)
    if cls is LSTMRegressor:
        y = np.ones((N, 2))
        y[4, 1] = value
        refused_fit(tiny(cls), X, y, ValueError, rf"^y {found}: sequence 4, output 1\. {remedy}")


@pytest.mark.parametrize(("value", "found", "remedy"), BAD_VALUES.values(), ids=BAD_VALUES)
@pytest.mark.parametrize("layout", ["ragged", "array"])
@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_the_place_of_a_bad_target_of_a_time_step(cls, layout, value, found, remedy, no_network):
    X = make_ragged(n=N) if layout == "ragged" else np.ones((N, 6, 2))
    y = [np.arange(len(x)) % 2.0 for x in X]
    last = len(y[5]) - 1
    y[5][last] = value
    y = y if layout == "ragged" else np.array(y)
    text = rf"^y {found}: sequence 5, step {last}\. {remedy} the value, or leave the time step out\.$"
    refused_fit(tiny(cls, return_sequences=True), X, y, ValueError, text)
    if cls is LSTMRegressor:
        y = [np.ones((len(x), 2)) for x in X]
        y[1][0, 1] = value
        text = rf"^y {found}: sequence 1, step 0, output 1\. {remedy}"
        refused_fit(tiny(cls, return_sequences=True), X, y, ValueError, text)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_the_place_of_a_missing_label(missing, no_network):
    y = np.array(["low", "high"] * (N // 2), object)
    y[8] = missing
    for given in (y, pd.Series(y)):
        refused_fit(
            tiny(LSTMClassifier), make_ragged(n=N), given, ValueError, "^y contains (None|NaN|<NA>): sequence 8"
        )


@pytest.mark.parametrize("steps", [False, True], ids=["", "of steps"])
@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_the_place_of_a_bad_target_of_a_score(cls, steps):
    X = make_ragged(n=N)
    y = [np.arange(len(x)) % 2.0 for x in X] if steps else np.arange(N) % 2.0
    estimator = tiny(cls, return_sequences=steps).fit(X, y)
    (y[2] if steps else y)[0 if steps else 2] = np.nan
    place = "sequence 2, step 0" if steps else "sequence 2"
    refused(lambda: estimator.score(X, y), ValueError, rf"y contains NaN: {place}\. Impute")


def test_assume_finite_skips_the_search():
    X, y = make_ragged(n=N), np.arange(N) % 2.0
    y[3] = np.nan
    with config_context(assume_finite=True), pytest.warns(ExplodingGradientWarning):
        assert tiny(LSTMRegressor).fit(X, y).n_iter_ == 0
