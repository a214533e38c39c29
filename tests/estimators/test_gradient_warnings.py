"""Warnings of gradients that vanish or explode: caught where planted, silent where a network learns."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastrecur import GRUClassifier, GRURegressor, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.datasets import load_digits_sequences, make_adding_problem
from fastrecur.estimators import gradient_warnings, training
from fastrecur.estimators.training import Epoch
from fastrecur.exceptions import ExplodingGradientWarning, VanishingGradientWarning
from fastrecur.inspection import gradient_flow
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network.gradient import Targets

ONLY = "ignore:The loss was still falling"


def gradient_warnings_of(model, X, y, **given):
    """Texts of the warnings of this module in a fit, by category."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **given)
    kinds = VanishingGradientWarning, ExplodingGradientWarning
    return [(w.category, str(w.message)) for w in caught if w.category in kinds]


def planted(**parameters):
    """A tanh RNN of small recurrent weights, for three epochs."""
    given = {"hidden_size": 16, "init": "pytorch", "max_iter": 3, "random_state": 0} | parameters
    return RNNRegressor(**given)


# --- vanishing -------------------------------------------------------------------------------------------------------


def test_small_recurrent_weights_are_caught():
    X, y = make_adding_problem(40, 300, random_state=0)
    model = planted()
    ((category, text),) = gradient_warnings_of(model, X, y)
    assert category is VanishingGradientWarning
    for part in ("through 300 time steps", "reach the first tenth", "an LSTM or a GRU", "irnn", "shorter sequences"):
        assert part in text
    hidden = gradient_flow(model, X, y, layer=0).hidden
    assert (hidden[:, :30].max(axis=1) < 1e-12 * hidden.max(axis=1)).all()


def test_the_figure_is_the_one_of_gradient_flow(monkeypatch):
    X, y = make_adding_problem(40, 210, random_state=0)
    model = planted(init="default")
    monkeypatch.setattr(gradient_warnings, "VANISHED", 2.0)
    ((_, text),) = gradient_warnings_of(model, X, y)
    hidden = gradient_flow(model, X, y, layer=0).hidden[:16]
    share = (hidden[:, :21].max(axis=1) / hidden.max(axis=1)).max()
    assert 0 < share < 1
    assert f"more than {share:.1g} of its largest norm reach" in text


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}], ids=str)
def test_the_longest_sequences_are_measured_with_their_own_targets(options, monkeypatch):
    X, y = make_adding_problem(24, 223, random_state=0)
    X = [x[: 200 + i] for i, x in enumerate(X)]
    y = np.column_stack([y, np.linspace(-9, 9, 24)])  # of one target the size has no part in the share
    y = [np.outer(np.linspace(-9, 9, len(x)), [1, 2]) for x in X] if options else y
    monkeypatch.setattr(gradient_warnings, "VANISHED", 2.0)
    found = []
    monkeypatch.setattr(gradient_warnings, "_vanished_text", lambda training, one: found.append(one) or "")
    model = planted(init="default", max_iter=1, **options).fit(X, y)
    norms = gradient_flow(model, X, y, layer=0).hidden[8:]
    expected = max(one[: len(one) // 10].max() / one.max() for one in norms)
    np.testing.assert_allclose(found[0].share, expected, rtol=1e-4)


def test_targets_follow_the_sequences_that_are_taken():
    rows = np.array([5, 2])
    values, weights = np.arange(12.0).reshape(6, 2), np.full(6, 3.0)
    for given in (values, QuantileTargets(values, np.array([0.1, 0.9]))):
        whole = SimpleNamespace(targets=Targets("pinball", given, weights), model=SimpleNamespace(pooling="last"))
        found = gradient_warnings._targets_of(whole, rows)
        taken = found.values.values if isinstance(found.values, QuantileTargets) else found.values
        np.testing.assert_array_equal(taken, values[rows])
        np.testing.assert_array_equal(found.weights, [1.0, 1.0])
    steps = SimpleNamespace(targets=Targets("pinball", given, weights), model=SimpleNamespace(pooling=None))
    found = gradient_warnings._targets_of(steps, rows)
    assert found.values is given
    np.testing.assert_array_equal(found.weights, np.ones(6))


def test_steps_of_bptt_that_cut_nothing_do_not_silence():
    X, y = make_adding_problem(40, 300, random_state=0)
    assert len(gradient_warnings_of(planted(bptt_steps=300), X, y)) == 1
    assert gradient_warnings_of(planted(bptt_steps=299), X, y) == []


@pytest.mark.parametrize(
    ("cell", "options", "told"),
    [
        ("rnn", {}, 'try an LSTM or a GRU, or nonlinearity="relu" with init="irnn", or shorter sequences.'),
        ("rnn", {"init": "irnn", "nonlinearity": "relu"}, "try an LSTM or a GRU, or shorter sequences."),
        ("rnn", {"init": "pytorch", "nonlinearity": "relu"}, 'or init="irnn", or init="default" (orthogonal), or'),
        ("gru", {}, 'try init="chrono", or shorter sequences.'),
        ("gru", {"init": "chrono"}, "try shorter sequences."),
    ],
    ids=str,
)
def test_remedies_of_a_gradient_that_vanishes_are_none_that_are_taken_already(cell, options, told):
    estimator = {"rnn": RNNRegressor, "gru": GRURegressor}[cell](**options)
    training = SimpleNamespace(estimator=estimator, model=SimpleNamespace(cell=cell))
    text = gradient_warnings._vanished_text(training, gradient_warnings.Vanished(300, 1e-20))
    assert told in text


def test_nothing_at_all_is_told_in_words():
    training = SimpleNamespace(estimator=GRURegressor(), model=SimpleNamespace(cell="gru"))
    text = gradient_warnings._vanished_text(training, gradient_warnings.Vanished(300, 0.0))
    assert "in none of the longest sequences does any of it reach the first tenth, so" in text


def test_the_public_docstrings_state_the_bounds():
    vanishing, exploding = VanishingGradientWarning.__doc__, ExplodingGradientWarning.__doc__
    for part in (f"of {gradient_warnings.LONG} time steps", f"{gradient_warnings.SAMPLED} longest", "1e-12"):
        assert part in vanishing
    assert float("1e-12") == gradient_warnings.VANISHED
    for bound in (gradient_warnings.EXPLODED, gradient_warnings.GROWN):
        assert f"over {bound:g}".replace("e+0", "e") in exploding


def test_ragged_sequences_and_early_stopping(monkeypatch):
    X, y = make_adding_problem(60, 260, random_state=0)
    X = [x[: 260 - 2 * i] for i, x in enumerate(X)]
    model = planted(early_stopping=True)
    ((_, text),) = gradient_warnings_of(model, X, y)
    assert "through 2" in text


@pytest.mark.parametrize("cls", [LSTMRegressor, GRURegressor])
def test_gates_that_forget_are_caught(cls):
    X, y = make_adding_problem(32, 400, random_state=0)
    model = cls(16, init="pytorch", max_iter=2, random_state=0)
    ((category, text),) = gradient_warnings_of(model, X, y)
    assert category is VanishingGradientWarning
    assert 'init="chrono"' in text
    assert "an LSTM" not in text


def test_no_alarm_where_the_beginning_is_reached():
    X, y = make_adding_problem(32, 400, random_state=0)
    for model in (
        LSTMRegressor(16, init="chrono", max_iter=2, random_state=0),
        GRURegressor(16, init="chrono", max_iter=2, random_state=0),
        planted(bidirectional=True),
        planted(pooling="mean"),
        planted(bptt_steps=20),
    ):
        assert gradient_warnings_of(model, X, y) == []


def test_no_alarm_on_short_sequences():
    X, y = make_adding_problem(60, 199, random_state=0)
    assert gradient_warnings_of(planted(), X, y) == []
    X, y = load_digits_sequences()
    assert gradient_warnings_of(RNNClassifier(16, max_iter=3, random_state=0), X[:300], y[:300]) == []


def test_no_alarm_on_an_adding_problem_that_is_learned():
    X, y = make_adding_problem(1000, 200, random_state=0)
    model = GRURegressor(
        32, init="chrono", learning_rate_init=0.01, batch_size=32, max_iter=10, n_threads=1, random_state=0
    )
    assert gradient_warnings_of(model, X, y) == []
    assert model.score(X, y) > 0.9


def test_targets_of_time_steps_reach_their_own_steps():
    X, _ = make_adding_problem(20, 210, random_state=0)
    assert gradient_warnings_of(planted(return_sequences=True), X, X.sum(axis=2).cumsum(axis=1)) == []


def test_partial_fit_does_not_measure():
    X, y = make_adding_problem(30, 300, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planted().partial_fit(X, y).partial_fit(X, y)


def test_the_fit_is_the_same_with_and_without(monkeypatch):
    X, y = make_adding_problem(30, 300, random_state=0)
    model = planted()
    gradient_warnings_of(model, X, y)
    monkeypatch.setattr(gradient_warnings, "LONG", 1000)
    other = planted()
    assert gradient_warnings_of(other, X, y) == []
    for name, array in model.weights_.items():
        np.testing.assert_array_equal(array, other.weights_[name])


# --- exploding -------------------------------------------------------------------------------------------------------


def wild(**parameters):
    given = {"nonlinearity": "relu", "solver": "sgd", "learning_rate_init": 1e4, "max_grad_norm": None}
    return RNNRegressor(8, **{"random_state": 0, **given, **parameters})


def test_a_loss_that_is_not_finite_goes_back_to_the_last_good_weights():
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    model = wild()
    ((category, text),) = gradient_warnings_of(model, X, X[:, 0, 0])
    assert category is ExplodingGradientWarning
    assert "no longer finite in epoch" in text
    assert "Set max_grad_norm" in text
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.loss_curve_).all()


def test_a_first_epoch_that_diverges_keeps_what_the_fit_began_with():
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    ((_, text),) = gradient_warnings_of(wild(learning_rate_init=1e30), X, X[:, 0, 0])
    assert re.search(
        "in epoch 1, step 2 of 3, after gradients with norms of up to .* before clipping: the weights that", text
    )


def test_remedies_of_a_gradient_that_explodes_are_of_the_solver():
    def remedy(**options):
        model = SimpleNamespace(cell="gru")
        return gradient_warnings._remedy(SimpleNamespace(estimator=GRURegressor(**options), model=model, max_norm=1.0))

    assert "or set bptt_steps." in remedy()
    assert "or lower bptt_steps=50." in remedy(bptt_steps=50)
    assert not re.search("max_grad_norm|learning_rate_init|bptt_steps", remedy(solver="lbfgs"))


@pytest.mark.parametrize(
    ("infinite", "told"),
    [
        ((), "step 2 of 2, after gradients with norms of up to [0-9.]+ before clipping:"),
        ((5,), "step 1 of 2:"),  # an infinite gradient spoils the weights, and so the loss of the step after
    ],
)
def test_the_last_good_epoch_is_told(monkeypatch, infinite, told):
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    whole, calls = training._step, []

    def step(*given):
        calls.append(given)
        ((loss, size, norm),) = whole(*given)
        return [(loss if len(calls) < 6 else np.nan, size, np.inf if len(calls) in infinite else norm)]

    monkeypatch.setattr(training, "_step", step)
    model = GRUClassifier(4, max_iter=9, batch_size=10, random_state=0)
    ((_, text),) = gradient_warnings_of(model, X, np.arange(20) % 2)
    assert model.n_iter_ == 2
    assert re.search(f"in epoch 3, {told} the weights of the epoch before are kept", text)
    loss, norm = model.loss_curve_[1], model.grad_norm_curve_[1]
    assert f" Its loss was {loss:.3g}, its mean gradient norm {norm:.3g} before clipping." in text


@pytest.mark.filterwarnings(ONLY)
def test_a_norm_that_grows_past_the_bound(monkeypatch):
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    add = gradient_warnings.warn_of_gradients

    def with_norms(norms):
        def measure(training):
            record = training.record
            object.__setattr__(record, "epochs", tuple(Epoch(1.0, norm, 0.0, None) for norm in norms))
            add(training)

        monkeypatch.setattr("fastrecur.estimators.base.warn_of_gradients", measure)
        return gradient_warnings_of(GRUClassifier(4, max_iter=2, random_state=0), X, np.arange(20) % 2)

    assert with_norms([0.001, 900.0]) == []
    assert with_norms([50.0, 40000.0, 2.0]) == []
    ((category, text),) = with_norms([0.5, 1200.0, 2.0])
    assert category is ExplodingGradientWarning
    assert "was 1.2e+03 in epoch 2, and 0.5 in the first one" in text
    assert "Lower max_grad_norm=1" in text
    assert len(with_norms([2e6])) == 1
    assert with_norms([2e5, 300.0, 300.0]) == []
    ((_, text),) = with_norms([2e5, 3.0, 1.0, 1.0, 0.5])
    assert "was 2e+05 in epoch 1, and 1 in the median epoch" in text


@pytest.mark.filterwarnings(ONLY)
def test_a_gradient_that_explodes_in_the_first_epoch_and_is_clipped():
    X, y = make_adding_problem(100, 60, random_state=0)
    options = {"nonlinearity": "relu", "init": "irnn", "learning_rate_init": 0.03, "max_iter": 10, "random_state": 0}
    model = RNNRegressor(16, **options)
    ((category, text),) = gradient_warnings_of(model, X, y)
    assert category is ExplodingGradientWarning
    assert 1e3 < model.grad_norm_curve_[0] < 1e6
    assert max(model.grad_norm_curve_[1:]) < 100
    assert "in epoch 1, and" in text


def test_a_filter_for_convergence_warnings_holds():
    assert issubclass(ExplodingGradientWarning, ConvergenceWarning)
    assert issubclass(VanishingGradientWarning, ConvergenceWarning)
    X, y = make_adding_problem(30, 300, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        planted().fit(X, y)


@pytest.mark.filterwarnings(ONLY)
def test_warnings_point_at_the_call_of_fit():
    X, y = make_adding_problem(30, 300, random_state=0)
    with pytest.warns(VanishingGradientWarning) as caught:
        planted().fit(X, y)
    (found,) = [w for w in caught if w.category is VanishingGradientWarning]
    assert found.filename == __file__
