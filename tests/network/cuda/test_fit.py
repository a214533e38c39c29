"""Estimators with ``device="cuda"`` in the simulator: whole fits that follow the CPU's, and what is left of them."""

import pickle

import numpy as np
import pytest

import fastrecur
from fastrecur.estimators import gradient_warnings
from fastrecur.exceptions import VanishingGradientWarning
from fastrecur.kernels.cuda import runtime

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # an epoch or two are no training
]

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in (3, 2, 4, 1, 3, 2)]
TOKENS = [RNG.integers(0, 5, len(x)) for x in X]
Y = np.array([0, 1, 0, 1, 2, 2])

FITS = {
    "last": ("RNNClassifier", X, Y, {}),
    "mean, stacked, dropout": (
        "GRUClassifier",
        X,
        Y,
        {"pooling": "mean", "num_layers": 2, "dropout": 0.25, "recurrent_dropout": 0.25, "max_iter": 1},
    ),
    "max, both directions": (
        "LSTMRegressor",
        X,
        Y,
        {"pooling": "max", "bidirectional": True, "solver": "sgd", "max_iter": 1},
    ),
    "tokens": ("RNNClassifier", TOKENS, Y, {"embedding_dim": 2, "solver": "adamw"}),
    "targets a step, truncated": (
        "LSTMRegressor",
        X,
        [x[:, 0] for x in X],
        {"return_sequences": True, "bptt_steps": 2},
    ),
    "truncated": ("GRURegressor", X, Y, {"bptt_steps": 2}),
    "lbfgs": ("RNNRegressor", X, Y, {"solver": "lbfgs", "nonlinearity": "relu"}),
}


def fitted(name, device, **options):
    estimator, data, y, of_fit = FITS[name]
    options = {"max_iter": 2, "batch_size": 3, "random_state": 0} | of_fit | options
    return getattr(fastrecur, estimator)(3, device=device, **options).fit(data, y), data


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
    np.testing.assert_allclose(outputs(device, data), outputs(host, data), rtol=0, atol=1e-4)


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
