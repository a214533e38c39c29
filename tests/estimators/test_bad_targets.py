"""Refused y and sample_weight: the error names the argument and what was found, before any work."""

import numpy as np
import pytest

from fastrecur import LSTMClassifier, LSTMRegressor
from tests.estimators.data import CLASSES, CLASSIFIERS, REGRESSORS, make_ragged, make_targets, refused_fit, tiny

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


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (np.r_[np.ones(N - 1), -1.0], "[Nn]egative"),
        (np.zeros(N), "zero"),
        (0.0, "zero"),
        (np.r_[np.ones(N - 1), np.nan], "NaN"),
        (np.r_[np.ones(N - 1), np.inf], "infinity"),
        (np.ones(N - 1), r"\(11,\).*\(12,\)"),
        (np.ones((N, 2)), "2D"),
        (["heavy"] * N, "sample_weight must be 12 numbers.*'heavy'"),
        ([[1.0, 2.0]] + [[1.0]] * (N - 1), "sample_weight must be 12 numbers"),
        (np.full(N, 1e308), "sample_weight has 1e[+]308"),
        (np.full(N, 1e-310), "sample_weight has 1e-310"),
    ],
    ids=["negative", "all zero", "scalar zero", "NaN", "infinity", "length", "2-D", "strings", "ragged", "far", "tiny"],
)
@pytest.mark.parametrize("cls", CLASSES)
def test_sample_weight(cls, weights, found, no_network):
    X = make_ragged(n=N)
    refused_fit(tiny(cls), X, make_targets(cls, X), ValueError, found, sample_weight=weights)


@pytest.mark.parametrize("weights", [np.full(N, -1.0), np.zeros(N), np.full(N, np.nan)], ids=["<0", "0", "NaN"])
def test_sample_weight_is_named(weights):
    X = make_ragged(n=N)
    refused_fit(tiny(LSTMClassifier), X, make_targets(LSTMClassifier, X), ValueError,
                "sample_weight|[Ss]ample weights", sample_weight=weights)  # fmt: skip
