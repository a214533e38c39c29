"""Class weights, L-BFGS, initial weights, learning rates, and options that do not go together."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_sample_weight_equivalence_on_dense_data

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    assert_same_weights,
    make_array,
    make_problem,
    make_targets,
    quick,
    tiny,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# --- options that do not go together ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (LSTMClassifier, {"bptt_steps": 5, "bidirectional": True}, r"bptt_steps=5.*bidirectional=True"),
        (LSTMClassifier, {"return_sequences": True, "pooling": "mean"}, r"return_sequences=True.*pooling='mean'"),
        (RNNClassifier, {"init": "chrono"}, r"init='chrono'.*Elman"),
        (LSTMClassifier, {"solver": "lbfgs", "dropout": 0.1}, r"lbfgs.*dropout=0.1"),
        (LSTMClassifier, {"solver": "lbfgs", "recurrent_dropout": 0.1}, r"lbfgs.*recurrent_dropout=0.1"),
        (LSTMClassifier, {"solver": "lbfgs", "bptt_steps": 3}, r"lbfgs.*bptt_steps=3"),
        (LSTMClassifier, {"class_weight": {"high": 1.0, "nobody": 2.0}}, r"class_weight.*'nobody'.*'high'.*Leave"),
        (LSTMClassifier, {"class_weight": {"high": -1.0}}, r"class_weight of 'high'.*-1"),
        (LSTMClassifier, {"class_weight": {"high": 0, "low": 0, "middle": 0}}, r"class_weight.*positive"),
    ],
)
def test_contradictions(cls, options, message):
    X, y = make_problem(cls)
    estimator = tiny(cls, **options)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)
    assert not hasattr(estimator, "weights_")


def test_an_unknown_parameter_is_refused_by_the_class():
    with pytest.raises(TypeError, match=r"LSTMClassifier.*'units'"):
        LSTMClassifier(units=3)


# --- weights of classes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_weights_of_classes_are_weights_of_their_sequences(cls):
    X, y = make_problem(cls)
    weights = {"high": 3.0, "low": 0.5}
    by_class = quick(cls, class_weight=weights).fit(X, y)
    by_sequence = quick(cls).fit(X, y, sample_weight=[weights.get(label, 1.0) for label in y])
    np.testing.assert_allclose(by_class.loss_curve_, by_sequence.loss_curve_, rtol=1e-12)
    assert_same_weights(by_class, by_sequence)


def test_balanced_weights():
    X = make_array(n=40)
    y = np.repeat([0, 1], [30, 10])
    balanced = quick(GRUClassifier, class_weight="balanced").fit(X, y)
    assert_same_weights(balanced, quick(GRUClassifier, class_weight={0: 40 / 60, 1: 2.0}).fit(X, y))


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_of_one_are_none(cls):
    X, y = make_problem(cls)
    assert_same_weights(quick(cls).fit(X, y, sample_weight=np.ones(len(y))), quick(cls).fit(X, y))


# --- L-BFGS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_lbfgs_falls_to_a_minimum(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, solver="lbfgs", max_iter=60, dtype="float64").fit(X, y)
    assert estimator.loss_ < 0.6 * estimator.loss_curve_[0]
    assert (np.diff(estimator.loss_curve_) < 1e-3).all()
    assert len(estimator.grad_norm_curve_) == estimator.n_iter_ <= 60
    again = quick(cls, solver="lbfgs", max_iter=60, dtype="float64", n_threads=2).fit(X, y)
    assert_same_weights(estimator, again)


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMRegressor])
def test_lbfgs_passes_scikit_learns_check_of_weights(cls):
    estimator = cls(hidden_size=4, solver="lbfgs", max_iter=8, dtype="float64", random_state=0, alpha=0.1)
    check_sample_weight_equivalence_on_dense_data(cls.__name__, estimator)


def test_lbfgs_stops_early():
    X, y = make_problem(GRUClassifier)
    estimator = quick(GRUClassifier, solver="lbfgs", early_stopping=True, n_iter_no_change=2, max_iter=80).fit(X, y)
    assert len(estimator.validation_scores_) == estimator.n_iter_ < 80


# --- initial weights and learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["default", "irnn", "chrono", "pytorch"])
@pytest.mark.parametrize("cls", [LSTMRegressor, GRUClassifier])
def test_initial_weights(cls, init):
    X, y = make_problem(cls)
    drawn = quick(cls, init=init, learning_rate_init=1e-30, max_iter=1, dtype="float64").fit(X, y).weights_
    hidden = drawn["weight_hh_l0"]
    if init == "irnn":
        np.testing.assert_allclose(hidden, np.tile(np.eye(8), (len(hidden) // 8, 1)), atol=1e-20)
    elif init == "pytorch":
        assert np.abs(hidden).max() <= 1 / np.sqrt(8)
    else:
        np.testing.assert_allclose(hidden[:8] @ hidden[:8].T, np.eye(8), atol=1e-12)
    if cls is LSTMRegressor and init == "chrono":
        np.testing.assert_array_equal(drawn["bias_l0"][8:16], -drawn["bias_l0"][:8])
        assert (drawn["bias_l0"][8:16] > 0).any()


def test_forget_bias():
    X, y = make_problem(LSTMRegressor)
    drawn = quick(LSTMRegressor, forget_bias=2.5, learning_rate_init=1e-30, max_iter=1).fit(X, y).weights_
    np.testing.assert_allclose(drawn["bias_l0"][8:16], 2.5)


def test_adaptive_goes_on_where_constant_ends():
    X, y = make_problem(RNNRegressor)
    options = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 60}
    assert quick(RNNRegressor, **options).fit(X, y).n_iter_ == 3
    assert 10 < quick(RNNRegressor, learning_rate="adaptive", **options).fit(X, y).n_iter_ < 60


def test_a_cosine_ends_with_small_steps():
    X, y = make_problem(RNNRegressor)
    whole = quick(RNNRegressor, learning_rate="cosine", max_iter=20).fit(X, y)
    constant = quick(RNNRegressor, max_iter=20).fit(X, y)
    assert abs(whole.loss_curve_[-1] - whole.loss_curve_[-2]) < abs(constant.loss_curve_[-1] - constant.loss_curve_[-2])


@pytest.mark.parametrize("cls", CLASSES)
def test_dropout_is_for_training_alone_and_drawn_by_random_state(cls):
    X = make_array(n=40)
    y = make_targets(cls, X)
    options = {"dropout": 0.4, "recurrent_dropout": 0.3, "num_layers": 2}
    first, second = quick(cls, **options).fit(X, y), quick(cls, n_threads=2, **options).fit(X, y)
    assert_same_weights(first, second)
    np.testing.assert_array_equal(first.predict(X), first.predict(X))
    assert first.loss_curve_ != quick(cls, num_layers=2).fit(X, y).loss_curve_
