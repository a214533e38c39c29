"""What the estimators refuse: each error names the argument, what was found and what would do, before any work."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from fastrecur import LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.estimators import base
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    REGRESSORS,
    assert_same_bits,
    make_array,
    make_ragged,
    make_targets,
    object_array,
    outputs,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 12  # sequences of the good data


def quick(cls, **parameters):
    return cls(**{"hidden_size": 4, "max_iter": 1, "random_state": 0, **parameters})


@pytest.fixture(scope="module", params=CLASSES, ids=lambda cls: cls.__name__)
def fitted(request):
    """An estimator that was fitted on three features; no test may change it."""
    X = make_ragged(n=N)
    return quick(request.param).fit(X, make_targets(request.param, X))


@pytest.fixture
def no_network(monkeypatch):
    """An error comes before any work: no network is made."""

    def refuse(*_):
        pytest.fail("a network was made before the input was refused")

    monkeypatch.setattr(base, "Model", refuse)


def refused(call, error, *parts):
    """``call`` raises exactly a ValueError or TypeError whose message holds all parts, regular expressions."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert isinstance(caught.value, error), repr(caught.value)
    assert not isinstance(caught.value, NotFittedError)
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message), f"{part!r} is not in: {message}"


def refused_fit(estimator, X, y, error, *parts, **options):
    """`fit` refuses; what it leaves on the estimator is the affair of tests of their own."""
    refused(lambda: estimator.fit(X, y, **options), error, *parts)


# --- X ---------------------------------------------------------------------------------------------------------------


def with_value(value, dtype=float):
    X = make_array(n=N).astype(dtype)
    X[3, 5, 1] = value
    return X


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
    "complex": Bad(make_array(n=N) + 1j, "Complex data not supported", FORMS),
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
    estimator = quick(cls).fit(good, y)
    for X in (bad, pd.DataFrame(bad)):
        for call in (lambda X=X: clone(estimator).fit(X, y), lambda X=X: estimator.predict(X)):
            refused(call, ValueError, rf"\bX\b.*{found}: sequence 3, step 5, feature 0", remedy)


def test_objects_that_are_numbers_will_do():
    X = make_array(n=N).round(3)
    y = make_targets(LSTMClassifier, X)
    expected = quick(LSTMClassifier).fit(X, y).predict_proba(X)
    for form in (X.astype(object), object_array(list(X)), np.vectorize(lambda v: Decimal(str(v)), otypes="O")(X)):
        assert_same_bits(quick(LSTMClassifier).fit(form, y).predict_proba(form), expected)


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
    estimator = quick(cls).fit(X, make_targets(cls, X))
    parts = (f"X has {n_steps} features", "expecting 8 features", r"\(n, T, 1\).*list")
    refused(lambda: estimator.predict(np.ones((5, n_steps))), ValueError, *parts)
    assert len(estimator.predict(np.ones((5, n_steps, 1)))) == 5


# --- y ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, N - 1, N + 1])
@pytest.mark.parametrize("cls", CLASSES)
def test_y_of_another_length(cls, n, no_network):
    X = make_ragged(n=N)
    y = np.resize(make_targets(cls, X), n)
    refused_fit(quick(cls), X, y, ValueError, r"\by\b", rf"\b{n}\b", rf"\b{N}\b")


@pytest.mark.parametrize("cls", CLASSES)
def test_no_y(cls, no_network):
    refused_fit(quick(cls), make_ragged(n=N), None, ValueError, "requires y", "None")


@pytest.mark.parametrize("label", ["a", 7, True])
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_one_class_only(cls, label, no_network):
    parts = (r"\by\b", f"one class only.*{label}", "at least 2 classes")
    refused_fit(quick(cls), make_ragged(n=N), [label] * N, ValueError, *parts)


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
    refused_fit(quick(cls), make_ragged(n=N), y, (ValueError, TypeError), found)


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
    refused_fit(quick(cls), make_ragged(n=N), y, (ValueError, TypeError), found)


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
        (["heavy"] * N, "'heavy'"),
    ],
    ids=["negative", "all zero", "scalar zero", "NaN", "infinity", "length", "2-D", "strings"],
)
@pytest.mark.parametrize("cls", CLASSES)
def test_sample_weight(cls, weights, found, no_network):
    X = make_ragged(n=N)
    refused_fit(quick(cls), X, make_targets(cls, X), ValueError, found, sample_weight=weights)


@pytest.mark.parametrize("weights", [np.full(N, -1.0), np.zeros(N), np.full(N, np.nan)], ids=["<0", "0", "NaN"])
def test_sample_weight_is_named(weights):
    X = make_ragged(n=N)
    refused_fit(quick(LSTMClassifier), X, make_targets(LSTMClassifier, X), ValueError,
                "sample_weight|[Ss]ample weights", sample_weight=weights)  # fmt: skip


# --- parameters ------------------------------------------------------------------------------------------------------

BAD_PARAMETERS = {
    "hidden_size": [0, -1, 2.5, "64", None, np.inf],
    "num_layers": [0, -2, 1.0, "2", None],
    "bidirectional": ["yes", None, 2, "forward"],
    "pooling": ["sum", None, 3],
    "solver": ["newton", "Adam", None],
    "learning_rate_init": [0, -0.1, "fast", None, np.inf, np.nan],
    "momentum": [-0.1, 1, 1.5, "some", None, np.nan],
    "alpha": [-1e-4, "none", None, np.inf, np.nan],
    "batch_size": [0, -1, 2.5, "all", None],
    "max_iter": [0, -1, 2.5, "many", None],
    "tol": [-1.0, "small", None, np.nan],
    "n_iter_no_change": [0, -1, 2.5, None],
    "early_stopping": ["yes", None, 2],
    "validation_fraction": [0, 1, -0.1, 1.5, "half", None, np.nan],
    "max_grad_norm": [0, -1.0, "some", np.nan],
    "shuffle": ["yes", None, 2],
    "random_state": ["seed", -1, 2.5],
    "warm_start": ["yes", None, 2],
    "verbose": ["yes", -1, None],
    "n_threads": [0, -1, 2.5, "all"],
    "dtype": ["float16", "double", None, 32],
}


def test_every_parameter_is_tried():
    assert BAD_PARAMETERS.keys() == LSTMClassifier().get_params().keys()
    assert BAD_PARAMETERS.keys() | {"nonlinearity"} == RNNClassifier().get_params().keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_PARAMETERS.items() for value in values]
)
@pytest.mark.parametrize("cls", CLASSES)
def test_parameters(cls, name, value, no_network):
    X = make_ragged(n=N)
    refused_fit(
        quick(cls, **{name: value}), X, make_targets(cls, X), (ValueError, TypeError),
        f"'{name}' parameter of {cls.__name__} must be", re.escape(f"Got {value!r}"),
    )  # fmt: skip


@pytest.mark.parametrize("value", ["sigmoid", None, 1])
@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_nonlinearity(cls, value, no_network):
    X = make_ragged(n=N)
    parts = ("'nonlinearity' parameter", "'relu'", "'tanh'", re.escape(f"Got {value!r}"))
    refused_fit(quick(cls, nonlinearity=value), X, make_targets(cls, X), (ValueError, TypeError), *parts)


@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_that_do_not_exist(cls):
    with pytest.raises(TypeError, match="hidden_layer_sizes"):
        cls(hidden_layer_sizes=(10,))
    with pytest.raises(TypeError, match="positional"):
        cls(64, 2)
    if not issubclass(cls, RNNClassifier | RNNRegressor):
        with pytest.raises(TypeError, match="nonlinearity"):
            cls(nonlinearity="tanh")


# --- early stopping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_early_stopping_leaves_nothing_to_train_on(cls, no_network):
    X = make_ragged(n=N)
    estimator = quick(cls, early_stopping=True, validation_fraction=0.99)
    parts = ("early_stopping.*validation_fraction=0.99", rf"none of {N} sequence", "Lower validation_fraction")
    refused_fit(estimator, X, make_targets(cls, X), ValueError, *parts)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_early_stopping_on_one_sequence(cls, no_network):
    parts = ("early_stopping", "none of 1 sequence", "early_stopping=False")
    refused_fit(quick(cls, early_stopping=True), make_ragged(n=1), [1.0], ValueError, *parts)


@pytest.mark.parametrize(
    ("n_a", "n_b"), [(11, 1), (4, 4)], ids=["one sequence of a class", "fewer to validate on than classes"]
)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_early_stopping_without_a_stratified_split(cls, n_a, n_b, no_network):
    y = ["a"] * n_a + ["b"] * n_b
    parts = ("early_stopping", f"2 classes in {len(y)} sequences", "validation_fraction.*early_stopping=False")
    refused_fit(quick(cls, early_stopping=True), make_ragged(n=len(y)), y, ValueError, *parts)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_size", [10**6, 10**8, 10**10, 10**20], ids="{:.0e}".format)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_network_that_cannot_fit_in_memory(cls, hidden_size, no_network):
    X = make_ragged(n=N)
    parts = (f"hidden_size={hidden_size}", r"needs about \d[\d.]* GiB", r"this machine has \d+\.\d GiB", "Lower")
    refused_fit(quick(cls, hidden_size=hidden_size), X, make_targets(cls, X), ValueError, *parts)


@pytest.mark.parametrize("cls", CLASSES)
def test_layers_that_cannot_fit_in_memory(cls, no_network):
    X = make_ragged(n=N)
    refused_fit(quick(cls, num_layers=10**12), X, make_targets(cls, X), ValueError, "num_layers|hidden_size", "GiB")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_batch_that_cannot_fit_in_memory(cls, no_network, monkeypatch):
    """Of a machine with 1 GiB: 256 sequences of 1000 steps, which 16 at a time are no trouble."""
    monkeypatch.setattr(base, "_physical_memory", lambda: 2**30)
    X = np.zeros((256, 1000, 1), dtype=np.float32)
    y = np.arange(256) % 2
    parts = ("batch_size=256", "1000 time steps", r"needs about \d+\.\d GiB", "has 1.0 GiB", "Lower batch_size")
    refused_fit(quick(cls, hidden_size=256, batch_size=256), X, y, ValueError, *parts)


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"hidden_size": 8}, {"X": np.zeros((256, 30, 1))}], ids=str)
def test_each_remedy_for_it_works(change, monkeypatch):
    """The remedies of the message; that the batch passes is seen by the network being made."""
    monkeypatch.setattr(base, "_physical_memory", lambda: 2**30)

    class Made(Exception):
        pass

    def stop(*_, **options):
        raise Made

    monkeypatch.setattr(base, "Model", stop)
    X = np.zeros((256, 1000, 1), dtype=np.float32)
    change = {"X": X, "hidden_size": 256, "batch_size": 256, **change}
    X = change.pop("X")
    with pytest.raises(Made):
        quick(LSTMRegressor, **change).fit(X, np.arange(256.0))


def test_an_unknown_amount_of_memory_is_no_trouble(monkeypatch):
    monkeypatch.setattr(base, "_physical_memory", lambda: None)
    X = make_ragged(n=N)
    assert len(quick(LSTMClassifier).fit(X, make_targets(LSTMClassifier, X)).predict(X)) == N


# --- before and after a fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "score"])
@pytest.mark.parametrize("cls", CLASSES)
def test_prediction_before_fit(cls, method, no_network):
    if method not in ("predict", "score") and cls in REGRESSORS:
        assert not hasattr(cls(), method)
        return
    X = make_ragged(n=N)
    arguments = (X, make_targets(cls, X)) if method == "score" else (X,)
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
        getattr(cls(), method)(*arguments)


#: One fit for each check, all of which but the first bring other features, labels or targets than a good one.
REFUSED = {
    "X": lambda cls: (with_value(np.nan), make_targets(cls, make_ragged(n=N)), {}),
    "fewer y": lambda cls: (make_array(n=N, n_features=2), make_targets(cls, make_ragged(n=N))[:-1], {}),
    "y": lambda cls: (make_array(n=N)[:, :, 0], np.full(N, np.nan), {}),
    "sample_weight": lambda cls: (
        make_array(n=N, n_features=2),
        make_array(n=N)[:, 0, 0] > 0 if cls in CLASSIFIERS else 1e3 * np.arange(N).reshape(-1, 2).repeat(2, axis=0),
        {"sample_weight": np.zeros(N)},
    ),
    "early_stopping": lambda cls: (
        make_array(n=N, n_features=2),
        np.arange(N) if cls in CLASSIFIERS else 1e3 * np.arange(N),
        {"early_stopping": True, "validation_fraction": 0.99},
    ),
    "hidden_size": lambda cls: (make_array(n=N, n_features=2), np.arange(N) % 4, {"hidden_size": 10**6}),
    "solver": lambda cls: (make_array(n=N, n_features=2), np.arange(N) % 4, {"solver": "newton"}),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_refused_fit_leaves_nothing(cls, what):
    X, y, options = REFUSED[what](cls)
    weights = options.pop("sample_weight", None)
    estimator = quick(cls, **options)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(X, y, sample_weight=weights)
    assert vars(estimator) == estimator.get_params()
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_refused_refit_changes_nothing(cls, what):
    """The fitted attributes, and predictions once the parameters are set back."""
    X = make_ragged(n=N)
    estimator = quick(cls).fit(X, make_targets(cls, X))
    parameters, before = estimator.get_params(), vars(estimator).copy()
    expected, labels = outputs(estimator, X), estimator.predict(X)
    bad_X, bad_y, options = REFUSED[what](cls)
    weights = options.pop("sample_weight", None)
    with pytest.raises((ValueError, TypeError)):
        estimator.set_params(**options).fit(bad_X, bad_y, sample_weight=weights)
    estimator.set_params(**parameters)
    assert vars(estimator).keys() == before.keys()
    assert_same_bits(outputs(estimator, X), expected)
    assert_same_bits(estimator.predict(X), labels)


@pytest.mark.parametrize(
    "change", [{"num_layers": 1}, {"num_layers": 3}, {"hidden_size": 5}, {"bidirectional": False}], ids=str
)
@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_set_after_fit_wait_for_the_next_one(cls, change):
    """As everywhere in scikit-learn: a prediction is that of the network that was fitted."""
    X = make_ragged(n=N)
    estimator = quick(cls, num_layers=2, bidirectional=True).fit(X, make_targets(cls, X))
    expected = outputs(estimator, X)
    assert_same_bits(outputs(estimator.set_params(**change), X), expected)


@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_nonlinearity_set_after_fit_waits_for_the_next_one(cls):
    X = make_ragged(n=N)
    estimator = quick(cls).fit(X, make_targets(cls, X))
    expected = outputs(estimator, X)
    assert_same_bits(outputs(estimator.set_params(nonlinearity="relu"), X), expected)
