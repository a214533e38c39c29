"""Estimators with ``device="cuda"`` in the simulator: whole fits that follow the CPU's, and what is left of them."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import fastrecur
from fastrecur.estimators import gradient_warnings, training
from fastrecur.estimators.quantiles import SequenceQuantileRegressor
from fastrecur.exceptions import ExplodingGradientWarning, VanishingGradientWarning
from fastrecur.kernels.cuda import runtime
from fastrecur.network.cuda import log
from fastrecur.network.cuda.buffers import Buffers
from tests.estimators.test_resume import Stop
from tests.kernels.cuda.simulator import shuffle

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # an epoch or two are no training
]

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in (3, 2, 4, 1, 3, 2)]
TOKENS = [RNG.integers(0, 5, len(x)) for x in X]
Y = np.array([0, 1, 0, 1, 2, 2])

#: Estimator, X, y, parameters, sample weights: every cell, loss, pooling and solver.
FITS = {
    "last": ("RNNClassifier", X, Y, {}, None),
    "two classes, equal lengths, clipped": (
        "RNNClassifier",
        np.stack([x[[0, -1, 0]] for x in X]),
        Y > 0,
        {"solver": "rmsprop", "max_grad_norm": 0.1, "class_weight": {False: 2.0}, "alpha": 0.1},
        np.arange(1.0, 7.0),
    ),
    "mean, stacked, dropout": (
        "GRUClassifier",
        X,
        Y,
        {"pooling": "mean", "num_layers": 2, "dropout": 0.25, "recurrent_dropout": 0.25, "max_iter": 1},
        None,
    ),
    "max, both directions": (
        "LSTMRegressor",
        X,
        np.column_stack([Y, Y**2]),
        {"pooling": "max", "bidirectional": True, "solver": "sgd", "max_iter": 1},
        np.arange(1.0, 7.0),
    ),
    "tokens": ("RNNClassifier", TOKENS, Y, {"embedding_dim": 2, "solver": "adamw", "alpha": 0.1}, None),
    "tokens, labels a step, both directions, dropout": (
        "RNNClassifier",
        TOKENS,
        TOKENS,
        {"embedding_dim": 2, "return_sequences": True, "bidirectional": True, "dropout": 0.25, "max_iter": 1},
        None,
    ),
    "quantiles": ("Quantiles", X, Y, {"quantiles": [0.2, 0.5, 0.8], "dropout": 0.25}, None),
    "targets a step, truncated": (
        "LSTMRegressor",
        X,
        [x[:, 0] for x in X],
        {"return_sequences": True, "bptt_steps": 2, "dropout": 0.25, "max_iter": 1},
        None,
    ),
    "truncated": ("GRURegressor", X, Y, {"bptt_steps": 2, "recurrent_dropout": 0.25}, None),
    "tokens, mean, truncated": (
        "LSTMRegressor",
        TOKENS,
        Y,
        {"embedding_dim": 2, "bptt_steps": 2, "pooling": "mean", "max_iter": 1, "learning_rate": "cosine"},
        None,
    ),
    "max, truncated": ("RNNRegressor", X, Y, {"bptt_steps": 2, "pooling": "max", "max_iter": 1}, None),
    "lbfgs": ("RNNRegressor", X, Y, {"solver": "lbfgs", "nonlinearity": "relu"}, None),
    "lbfgs, tokens, labels a step": (
        "RNNClassifier",
        TOKENS,
        TOKENS,
        {"solver": "lbfgs", "embedding_dim": 2, "return_sequences": True, "max_iter": 1},
        None,
    ),
}


@dataclass(eq=False, repr=False, kw_only=True)
class Quantiles(SequenceQuantileRegressor):
    _cell: ClassVar[str] = "rnn"


def fitted(name, device, **options):
    estimator, data, y, of_fit, weights = FITS[name]
    options = {"max_iter": 2, "batch_size": 3, "random_state": 0} | of_fit | options
    cls = Quantiles if estimator == "Quantiles" else getattr(fastrecur, estimator)
    return cls(3, device=device, **options).fit(data, y, sample_weight=weights), data


def outputs(model, data):
    raw = model.predict_proba(data) if hasattr(model, "predict_proba") else model.predict(data)
    return np.concatenate(raw) if isinstance(raw, list) else raw


def test_a_gradient_that_vanishes_is_measured_on_the_cpu(monkeypatch):
    monkeypatch.setattr(gradient_warnings, "LONG", 10)
    monkeypatch.setattr(gradient_warnings, "VANISHED", 2.0)
    data, texts = RNG.normal(size=(3, 10, 2)), []
    for device in ("cpu", "cuda"):
        with pytest.warns(VanishingGradientWarning) as caught:
            fastrecur.RNNClassifier(3, device=device, max_iter=1, random_state=0).fit(data, [0, 1, 0])
        texts += [str(w.message) for w in caught if w.category is VanishingGradientWarning]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", FITS)
def test_a_fit_follows_the_loss_curve_of_the_cpu(name):
    host, data = fitted(name, "cpu")
    device, _ = fitted(name, "cuda")
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-5, atol=0)
    np.testing.assert_allclose(device.grad_norm_curve_, host.grad_norm_curve_, rtol=1e-4, atol=0)
    assert device.clip_fraction_ == host.clip_fraction_
    np.testing.assert_allclose(outputs(device, data), outputs(host, data), rtol=0, atol=1e-4)


def assert_same_bits(one, other):
    assert one.loss_curve_ == other.loss_curve_
    assert one.grad_norm_curve_ == other.grad_norm_curve_
    for name, array in one.weights_.items():
        np.testing.assert_array_equal(array, other.weights_[name], err_msg=name)


@pytest.mark.parametrize("name", ["two classes, equal lengths, clipped", "tokens", "tokens, mean, truncated"])
def test_a_fit_has_the_same_bits_in_any_order_of_threads(name, monkeypatch):
    """And however often its losses and norms are fetched."""
    first, _ = fitted(name, "cuda")
    shuffle(monkeypatch, seed=1)
    monkeypatch.setattr(log, "SIZE", 3)
    assert_same_bits(first, fitted(name, "cuda")[0])


def test_only_rows_cross_to_the_device_within_an_epoch(monkeypatch):
    """X, targets and weights go there once; of a minibatch of sequences of one length, rows and lengths alone."""
    monkeypatch.setattr(runtime, "upload", count(runtime.upload, uploads := []))
    monkeypatch.setattr(runtime, "to_device", count(runtime.to_device, copies := []))
    monkeypatch.setattr(runtime, "to_host", count(runtime.to_host, fetched := []))
    steps, of_epochs, send, sent = training._step, [], Buffers.send, []
    monkeypatch.setattr(Buffers, "send", lambda buffers, name, *given: sent.append(name) or send(buffers, name, *given))

    def step(*given):
        before = len(uploads), len(copies), len(fetched)
        result = steps(*given)
        of_epochs.append([len(uploads), len(copies), len(fetched)] - np.array(before))
        return result

    monkeypatch.setattr(training, "_step", step)
    fitted("two classes, equal lengths, clipped", "cuda")
    assert len(of_epochs) == 4
    assert {name for name in sent if isinstance(name, str)} == {"starts", "lengths", "rows of targets"}
    assert len(sent) - len({*sent}) == 3 * 3  # the rest, where the rows of such a batch lie, goes for the first alone
    assert not np.sum(of_epochs[1:], axis=0).any()
    assert [array.shape for array in uploads] == [(6,), (6,), (18, 2)]


def count(function, seen):
    def counted(array, *given, **options):
        seen.append(array)
        return function(array, *given, **options)

    return counted


@pytest.mark.parametrize("devices", [("cuda", "cuda"), ("cpu", "cuda"), ("cuda", "cpu")], ids="-".join)
def test_a_stopped_fit_goes_on_across_devices_from_a_pickle(devices):
    """With the solver's moments: on one device the bits are those of a fit that was never stopped."""
    _, data, y, _, _ = FITS["tokens"]
    options = {"embedding_dim": 2, "batch_size": 3, "random_state": 0, "max_iter": 2, "warm_start": True}
    whole = fastrecur.RNNClassifier(3, device=devices[1], **options).fit(data, y)
    parts = fastrecur.RNNClassifier(3, device=devices[0], **options).set_callbacks(Stop(1)).fit(data, y)
    assert all(type(v) in (int, float, np.ndarray) for v in parts._resume["optimiser"].values())
    assert parts.n_iter_ == 1
    parts = pickle.loads(pickle.dumps(parts)).set_params(device=devices[1]).set_callbacks().fit(data, y)
    assert parts.n_iter_ == 2
    if devices[0] == devices[1]:
        assert_same_bits(parts, whole)
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-5)


def test_partial_fit_goes_on(monkeypatch):
    models = [fastrecur.RNNClassifier(3, device=device, batch_size=3, random_state=0) for device in ("cpu", "cuda")]
    for _ in range(2):
        for model in models:
            model.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-5)


def test_an_interrupted_fit_keeps_the_last_whole_epoch(monkeypatch):
    whole, _ = fitted("last", "cuda", max_iter=1)
    step, n_steps = training._step, []

    def interrupted(*given):
        n_steps.append(None)
        if len(n_steps) == 4:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(training, "_step", interrupted)
    with pytest.warns(RuntimeWarning, match="interrupted"):
        model, _ = fitted("last", "cuda")
    assert_same_bits(model, whole)


def test_scores_of_an_epoch_are_those_of_its_weights():
    options = {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": 5}
    host, device = (fitted("max, truncated", d, max_iter=2, **options)[0] for d in ("cpu", "cuda"))
    np.testing.assert_allclose(device.validation_scores_, host.validation_scores_, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, with which the simulator computes
def test_a_fit_that_diverges_ends_as_on_the_cpu():
    with pytest.warns(ExplodingGradientWarning):
        model, _ = fitted("max, truncated", "cuda", solver="sgd", learning_rate_init=1e30, max_iter=5)
    assert model.n_iter_ < 5
    assert all(np.isfinite(array).all() for array in model.weights_.values())


def test_it_is_the_same_fit_in_double_precision():
    host, data = fitted("last", "cpu", dtype="float64")
    device, _ = fitted("last", "cuda", dtype="float64")
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-12, atol=0)
    np.testing.assert_allclose(device.transform(data), host.transform(data), rtol=0, atol=1e-12)
    for a, b in zip(device.hidden_states(data), host.hidden_states(data), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_stream_gives_what_predict_gives():
    model, _ = fitted("last", "cuda", dtype="float64")
    x = np.stack([X[2], X[2][::-1]])
    state = model.initial_state(2)
    for t in range(x.shape[1]):
        _, state = model.predict_step(x[:, t], state)
    np.testing.assert_allclose(state.hidden[-1], model.transform(x), rtol=0, atol=1e-12)


def test_a_pickle_loads_and_computes_where_there_is_no_gpu(monkeypatch):
    model, data = fitted("last", "cuda")
    expected, kept = model.predict_proba(data), pickle.dumps(model)
    monkeypatch.setattr(runtime, "SIMULATED", False)
    monkeypatch.setattr(runtime, "_why_no_device", lambda: "no NVIDIA driver was found")
    loaded = pickle.loads(kept)
    with pytest.raises(RuntimeError, match=r"device='cuda' is not available: no NVIDIA driver.*device='cpu'"):
        loaded.predict(data)
    for device in ("cpu", "auto"):
        np.testing.assert_allclose(loaded.set_params(device=device).predict_proba(data), expected, rtol=0, atol=1e-6)


def test_a_fit_without_a_gpu_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(runtime, "SIMULATED", False)
    monkeypatch.setattr(runtime, "_why_no_device", lambda: "the driver finds no NVIDIA GPU")
    model = fastrecur.LSTMClassifier(3, device="cuda")
    with pytest.raises(RuntimeError, match="the driver finds no NVIDIA GPU"):
        model.fit(X, Y)
    assert not hasattr(model, "weights_")
