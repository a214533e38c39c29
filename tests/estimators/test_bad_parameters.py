"""Refused parameters: the error says what would do, before any work. Among them what asks for too much memory."""

import re

import numpy as np
import pytest

from fastrecur import GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.estimators import base, memory
from tests.estimators.data import CLASSES, CLASSIFIERS, REGRESSORS, make_ragged, make_targets, refused_fit, tiny

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 12  # sequences of the good data


# --- parameters ------------------------------------------------------------------------------------------------------

BAD_PARAMETERS = {
    "hidden_size": [0, -1, 2.5, "64", None, np.inf],
    "num_layers": [0, -2, 1.0, "2", None],
    "bidirectional": ["yes", None, 2, "forward"],
    "pooling": ["sum", None, 3],
    "return_sequences": ["yes", None, 2],
    "embedding_dim": [0, -1, 2.5, "64", True],
    "dropout": [-0.1, 1, 1.5, "some", None, np.nan],
    "recurrent_dropout": [-0.1, 1, 1.5, "some", None, np.nan],
    "init": ["glorot", None, 3],
    "learning_rate": ["invscaling", None, 0.1],
    "bptt_steps": [0, -1, 2.5, "64", True],
    "device": ["gpu", None, 0],
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
    assert BAD_PARAMETERS.keys() == GRURegressor().get_params().keys()
    assert BAD_PARAMETERS.keys() | {"class_weight", "forget_bias"} == LSTMClassifier().get_params().keys()
    assert BAD_PARAMETERS.keys() | {"nonlinearity"} == RNNRegressor().get_params().keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_PARAMETERS.items() for value in values]
)
@pytest.mark.parametrize("cls", CLASSES)
def test_parameters(cls, name, value, no_network):
    X = make_ragged(n=N)
    refused_fit(
        tiny(cls, **{name: value}), X, make_targets(cls, X), (ValueError, TypeError),
        f"'{name}' parameter of {cls.__name__} must be", re.escape(f"Got {value!r}"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("solver", "newton", "must be one of 'adam', 'adamw', 'sgd', 'rmsprop', 'lbfgs'. Got 'newton' instead."),
        ("batch_size", "all", "must be 'auto' or an int in the range"),
    ],
)
def test_choices_are_told_in_one_order(name, value, text, no_network):
    X = make_ragged(n=N)
    refused_fit(tiny(RNNRegressor, **{name: value}), X, np.ones(N), ValueError, re.escape(text))


@pytest.mark.parametrize("value", ["sigmoid", None, 1])
@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_nonlinearity(cls, value, no_network):
    X = make_ragged(n=N)
    parts = ("'nonlinearity' parameter", "'relu'", "'tanh'", re.escape(f"Got {value!r}"))
    refused_fit(tiny(cls, nonlinearity=value), X, make_targets(cls, X), (ValueError, TypeError), *parts)


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
    estimator = tiny(cls, early_stopping=True, validation_fraction=0.99)
    parts = ("early_stopping.*validation_fraction=0.99", rf"none of {N} sequence", "Lower validation_fraction")
    refused_fit(estimator, X, make_targets(cls, X), ValueError, *parts)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_early_stopping_on_one_sequence(cls, no_network):
    parts = ("early_stopping", "none of 1 sequence", "early_stopping=False")
    refused_fit(tiny(cls, early_stopping=True), make_ragged(n=1), [1.0], ValueError, *parts)


@pytest.mark.parametrize(
    ("n_a", "n_b"), [(11, 1), (4, 4)], ids=["one sequence of a class", "fewer to validate on than classes"]
)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_early_stopping_without_a_stratified_split(cls, n_a, n_b, no_network):
    y = ["a"] * n_a + ["b"] * n_b
    parts = ("early_stopping", f"2 classes in {len(y)} sequences", "validation_fraction.*early_stopping=False")
    refused_fit(tiny(cls, early_stopping=True), make_ragged(n=len(y)), y, ValueError, *parts)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_size", [10**6, 10**8, 10**10, 10**20], ids="{:.0e}".format)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_network_that_cannot_fit_in_memory(cls, hidden_size, no_network):
    X = make_ragged(n=N)
    parts = (f"hidden_size={hidden_size}", r"needs about \d[\d.]* GiB", r"this machine has \d+\.\d GiB", "Lower")
    refused_fit(tiny(cls, hidden_size=hidden_size), X, make_targets(cls, X), ValueError, *parts)


@pytest.mark.parametrize("cls", CLASSES)
def test_layers_that_cannot_fit_in_memory(cls, no_network):
    X = make_ragged(n=N)
    refused_fit(tiny(cls, num_layers=10**12), X, make_targets(cls, X), ValueError, "num_layers|hidden_size", "GiB")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_batch_that_cannot_fit_in_memory(cls, no_network, monkeypatch):
    """Of a machine with 1 GiB: 256 sequences of 1000 steps, which 16 at a time are no trouble."""
    monkeypatch.setattr(memory, "_physical_memory", lambda: 2**30)
    X = np.zeros((256, 1000, 1), dtype=np.float32)
    y = np.arange(256) % 2
    parts = ("batch_size=256", "1000 time steps", r"needs about \d+\.\d GiB", "has 1.0 GiB", "Lower batch_size")
    refused_fit(tiny(cls, hidden_size=640, batch_size=256), X, y, ValueError, *parts)


def test_a_part_of_lbfgs_that_cannot_fit_in_memory(no_network, monkeypatch):
    """L-BFGS takes all sequences, some tens of thousands of steps at a time, whatever ``batch_size`` says."""
    monkeypatch.setattr(memory, "_physical_memory", lambda: 2**30)
    X, y = np.zeros((256, 1000, 1), dtype=np.float32), np.arange(256.0)
    model = tiny(LSTMRegressor, hidden_size=2000, batch_size=1, solver="lbfgs")
    refused_fit(model, X, y, ValueError, "solver='lbfgs'", r"needs about \d+\.\d GiB", "Lower hidden_size")


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"hidden_size": 8}, {"X": np.zeros((256, 30, 1))}], ids=str)
def test_each_remedy_for_it_works(change, monkeypatch):
    """The remedies of the message; that the batch passes is seen by the network being made."""
    monkeypatch.setattr(memory, "_physical_memory", lambda: 2**30)

    class Made(Exception):
        pass

    def stop(*_, **options):
        raise Made

    monkeypatch.setattr(base, "make_model", stop)
    X = np.zeros((256, 1000, 1), dtype=np.float32)
    change = {"X": X, "hidden_size": 256, "batch_size": 256, **change}
    X = change.pop("X")
    with pytest.raises(Made):
        tiny(LSTMRegressor, **change).fit(X, np.arange(256.0))


def test_an_unknown_amount_of_memory_is_no_trouble(monkeypatch):
    monkeypatch.setattr(memory, "_physical_memory", lambda: None)
    X = make_ragged(n=N)
    assert len(tiny(LSTMClassifier).fit(X, make_targets(LSTMClassifier, X)).predict(X)) == N
