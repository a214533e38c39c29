"""An X that the estimators refuse: the error names it, what was found and what would do, before any work."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier

from fastrecur import LSTMClassifier
from tests.estimators.data import (
    CLASSES,
    assert_same_bits,
    make_array,
    make_ragged,
    make_targets,
    object_array,
    refused,
    refused_fit,
    tiny,
    with_value,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 12  # sequences of the good data


@pytest.fixture(scope="module", params=CLASSES, ids=lambda cls: cls.__name__)
def fitted(request):
    """An estimator that was fitted on three features; no test may change it."""
    X = make_ragged(n=N)
    return tiny(request.param).fit(X, make_targets(request.param, X))


def with_sequence(sequence):
    X = make_ragged(n=N)
    X[3] = sequence
    return X


@dataclass
class Bad:
    """An X that is refused, with what the message says of it and of what would do."""

    X: Any
    found: str
    remedy: str
    error: type = ValueError
    n: int = N


FORMS = r"\(n, T, F\).*\(n, T\).*list"
INSIDE = r"sequence 3, step 5, feature 1"

BAD_X = {
    "empty list": Bad([], r"empty: 0 sample", "at least one sequence", n=0),
    "empty array": Bad(np.empty((0, 8, 3)), r"empty: 0 sample.*\(0, 8, 3\)", "at least one sequence", n=0),
    "empty table": Bad(np.empty((0, 8)), r"empty: 0 sample.*\(0, 8\)", "at least one sequence", n=0),
    "sequences of length 0": Bad(np.empty((N, 0, 3)), r"\(12, 0, 3\).*length 0", "one time step or more"),
    "a sequence of length 0": Bad(with_sequence(np.empty((0, 3))), "Sequence 3.*length 0", "one time step or more"),
    "no features": Bad(np.empty((N, 8, 0)), r"0 feature.*\(12, 8, 0\)", "at least one feature"),
    "sequences of no features": Bad([np.empty((2, 0))] * N, r"0 feature.*\(2, 0\)", "at least one feature"),
    "NaN": Bad(with_value(np.nan), "NaN: " + INSIDE, "Impute"),
    "NaN in single precision": Bad(with_value(np.nan, np.float32), "NaN: " + INSIDE, "Impute"),
    "NaN in a list": Bad(with_sequence(np.array([[1, 2, 3], [4, np.nan, 6]])), "NaN: sequence 3, step 1, feature 1",
                         "Impute"),
    "None": Bad(with_value(None, object), "NaN: " + INSIDE, "Impute"),
    "infinity": Bad(with_value(np.inf), "infinity: " + INSIDE, "Clip"),
    "minus infinity": Bad(with_value(-np.inf), "infinity: " + INSIDE, "Clip"),
    "infinity in a list": Bad(with_sequence(np.full((2, 3), -np.inf)), "infinity: sequence 3, step 0, feature 0",
                              "Clip"),
    "other features in one sequence": Bad(with_sequence(np.ones((4, 2))), "sequence 3 has 2, sequence 0 has 3",
                                          "same features"),
    "1-D among 2-D": Bad(with_sequence(np.ones(3)), r"1-D and 2-D.*sequence 3 has shape \(3,\)", r"reshape\(-1, 1\)"),
    "ragged time steps": Bad(with_sequence([[1, 2, 3], [4, 5]]), "Sequence 3", r"\(T_i, F\)"),
    "1-D": Bad(np.ones(N), r"1D array of shape \(12,\)", r"reshape\(-1, 1\)"),
    "4-D": Bad(np.ones((N, 2, 2, 2)), r"4 dimensions.*\(12, 2, 2, 2\)", FORMS),
    "3-D in a list": Bad(with_sequence(np.ones((2, 2, 3))), "Sequence 3 .*3 dimensions", r"\(T_i, F\)"),
    "a number in a list": Bad(with_sequence(3.5), "Sequence 3 .*float", r"\(T_i, F\)", TypeError),
    "a scalar": Bad(3.5, r"scalar, 3\.5", FORMS),
    "nothing": Bad(None, "None", FORMS),
    "strings": Bad(np.full((N, 8, 3), "word"), "strings", "numbers"),
    "strings of digits": Bad(np.full((N, 8, 3), "3"), "strings", "numbers"),
    "texts": Bad(["some words"] * N, "strings", "numbers"),
    "strings in a list": Bad(with_sequence(np.full((2, 3), "word")), "Sequence 3 .*strings", "numbers"),
    "a string among objects": Bad(with_value("word", object), "'word' at " + INSIDE, "numbers"),
    "objects that are no numbers": Bad(with_value({}, object), r"\{\} at " + INSIDE, FORMS, TypeError),
    "objects in a list": Bad(with_sequence(np.full((2, 3), object())), "Sequence 3 .*object", FORMS, TypeError),
    "a dict": Bad({"a": 1}, "dict", FORMS, TypeError),
    "a set": Bad({1.0}, "set", FORMS, TypeError),
    "a generator": Bad((x for x in range(N)), "generator", FORMS, TypeError),
    "complex": Bad(make_array(n=N) + 1j, "Complex data not supported: X has dtype complex128", "two features"),
    "complex in a list": Bad(with_sequence(np.ones((2, 3)) + 1j), "Sequence 3.*complex128", "two features"),
    "dates": Bad(np.zeros((N, 8, 3), "datetime64[D]"), "datetime64", "float32 or float64", TypeError),
    "sparse": Bad(sparse.csr_array(np.eye(N)), "[Ss]parse", FORMS, TypeError),
    "a data frame of strings": Bad(pd.DataFrame({"a": ["x"] * N, "b": ["y"] * N}), "'x'|strings", "numbers"),
    "a data frame of no columns": Bad(pd.DataFrame(index=range(N)), "0 feature", "one time step or more"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_X.values(), ids=list(BAD_X))
def test_fit_refuses_x(bad, fitted, no_network):
    y = make_targets(type(fitted), make_ragged(n=N))[: bad.n]
    refused_fit(clone(fitted), bad.X, y, bad.error, r"\bX\b", bad.found, f"(?s){bad.remedy}")


@pytest.mark.parametrize("bad", BAD_X.values(), ids=list(BAD_X))
def test_prediction_refuses_x(bad, fitted, no_network):
    y = make_targets(type(fitted), make_ragged(n=N))[: bad.n]
    calls = [fitted.predict, lambda X: fitted.score(X, y)]
    if is_classifier(fitted):
        calls += [fitted.predict_proba, fitted.predict_log_proba]
    for call in calls:
        refused(lambda call=call: call(bad.X), bad.error, r"\bX\b", bad.found, f"(?s){bad.remedy}")


@pytest.mark.parametrize(("value", "found", "remedy"), [(np.nan, "NaN", "Impute"), (np.inf, "infinity", "Clip")])
@pytest.mark.parametrize("cls", CLASSES)
def test_tables(cls, value, found, remedy):
    good, bad = make_array(n=N)[:, :, 0], with_value(value)[:, :, 1]
    y = make_targets(cls, good)
    estimator = tiny(cls).fit(good, y)
    for X in (bad, pd.DataFrame(bad)):
        for call in (lambda X=X: clone(estimator).fit(X, y), lambda X=X: estimator.predict(X)):
            refused(call, ValueError, rf"\bX\b.*{found}: sequence 3, step 5, feature 0", remedy)


def test_objects_that_are_numbers_will_do():
    X = make_array(n=N).round(3)
    y = make_targets(LSTMClassifier, X)
    expected = tiny(LSTMClassifier).fit(X, y).predict_proba(X)
    for form in (X.astype(object), object_array(list(X)), np.vectorize(lambda v: Decimal(str(v)), otypes="O")(X)):
        assert_same_bits(tiny(LSTMClassifier).fit(form, y).predict_proba(form), expected)


@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_other_features_than_in_fit(n_features, fitted, no_network):
    name = type(fitted).__name__
    for X in (np.ones((5, 8, n_features)), [np.ones((k, n_features)) for k in (1, 2, 3)]):
        parts = (r"\bX\b", f"has {n_features} features", f"{name} is expecting 3 features", "features that fit saw")
        refused(lambda X=X: fitted.predict(X), ValueError, *parts)


@pytest.mark.parametrize("X", [np.ones((5, 8)), [np.ones(3), np.ones(2)]], ids=["table", "list"])
def test_one_feature_a_step_after_a_fit_on_three(X, fitted, no_network):
    refused(lambda: fitted.predict(X), ValueError, "X has 1 features", "expecting 3 features", "features that fit saw")


@pytest.mark.parametrize("n_steps", [7, 9])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_table_of_another_width_than_in_fit(cls, n_steps):
    X = make_array(n=N)[:, :, 0]
    estimator = tiny(cls).fit(X, make_targets(cls, X))
    parts = (f"X has {n_steps} features", "expecting 8 features", r"\(n, T, 1\).*list")
    refused(lambda: estimator.predict(np.ones((5, n_steps))), ValueError, *parts)
    assert len(estimator.predict(np.ones((5, n_steps, 1)))) == 5
