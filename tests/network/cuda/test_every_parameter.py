"""Every parameter of the estimators means the same with ``device="cuda"`` as on the CPU."""

import numpy as np
import pytest

import fastrecur

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 2)) for length in (5, 2, 4, 1, 3, 4, 3, 5)]
TOKENS = [RNG.integers(0, 5, len(x)) for x in X]
Y = np.array([0, 1, 0, 1, 1, 1, 0, 0])

DEFAULT = {"hidden_size": 3, "batch_size": 3, "max_iter": 2, "validation_fraction": 0.3, "random_state": 0}

#: What each is set to; with others beside it, without which it would change nothing or not be allowed.
CHANGES = {
    "hidden_size": {"hidden_size": 17},
    "num_layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "pooling": {"pooling": "mean"},
    "return_sequences": {"return_sequences": True},
    "embedding_dim": {"embedding_dim": 3},
    "dropout": {"dropout": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.3},
    "init": {"init": "pytorch"},
    "solver": {"solver": "adamw", "alpha": 0.3},
    "learning_rate_init": {"learning_rate_init": 0.1},
    "learning_rate": {"learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1, "max_iter": 6},
    "momentum": {"solver": "sgd", "momentum": 0.2},
    "alpha": {"alpha": 1.0},
    "batch_size": {"batch_size": 5},
    "max_iter": {"max_iter": 1},
    "tol": {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 6},
    "n_iter_no_change": {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 6},
    "early_stopping": {"early_stopping": True},
    "validation_fraction": {"early_stopping": True, "validation_fraction": 0.5},
    "max_grad_norm": {"max_grad_norm": 0.05, "solver": "sgd"},
    "bptt_steps": {"bptt_steps": 2},
    "shuffle": {"shuffle": False},
    "random_state": {"random_state": 1},
    "warm_start": {"warm_start": True},
    "dtype": {"dtype": "float64"},
    "nonlinearity": {"nonlinearity": "relu"},
    "forget_bias": {"forget_bias": -2.0},
    "class_weight": {"class_weight": {0: 3.0}},
}

#: Which processor, on how many threads, and whether a bar is shown.
OTHERS = {"device", "n_threads", "verbose"}


def fitted(device, **options):
    cell = "LSTM" if "forget_bias" in options else "RNN"
    options = DEFAULT | options
    model = getattr(fastrecur, f"{cell}Classifier")(device=device, **options)
    tokens = "embedding_dim" in options
    y = [row % 2 for row in TOKENS] if options.get("return_sequences") else Y
    for _ in range(2 if options.get("warm_start") else 1):
        model.fit(TOKENS if tokens else X, y)
    return model


@pytest.mark.parametrize("name", CHANGES)
def test_it_changes_what_it_changes_on_the_cpu(name):
    host, device = (fitted(device, **CHANGES[name]) for device in ("cpu", "cuda"))
    assert device.n_iter_ == host.n_iter_
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(device.grad_norm_curve_, host.grad_norm_curve_, rtol=1e-4)
    assert device.clip_fraction_ == host.clip_fraction_
    assert (device.validation_scores_ is None) == (host.validation_scores_ is None)
    without = {other: value for other, value in CHANGES[name].items() if other != name}
    if name == "forget_bias":
        without[name] = 1.0
    before = fitted("cuda", **without)
    assert (device.loss_curve_, device.n_iter_) != (before.loss_curve_, before.n_iter_)


def test_every_parameter_is_there():
    estimators = [getattr(fastrecur, name) for name in fastrecur.__all__ if name.endswith(("Classifier", "Regressor"))]
    assert len(estimators) == 6
    assert {name for estimator in estimators for name in estimator().get_params()} == CHANGES.keys() | OTHERS
