"""The training loop: minibatches, the loss, clipping, penalty, solvers."""

import numpy as np
import pytest

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.estimators import training
from tests.estimators.data import CLASSES, DEPTHS, assert_same_weights, flat, full_batch, make_problem, outputs, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- minibatches -----------------------------------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch):
    """Rows of each minibatch that is trained on."""
    seen, step = [], training._step

    def noted(of_fit, batch, rng):
        seen.append(list(batch))
        return step(of_fit, batch, rng)

    monkeypatch.setattr(training, "_step", noted)
    return seen


def test_batches_without_shuffling(batches):
    X, y = make_problem(LSTMClassifier)
    quick(LSTMClassifier, shuffle=False, batch_size=25, max_iter=2).fit(X, y)
    once = [list(range(25)), list(range(25, 50)), list(range(50, 60))]
    assert batches == once + once


def test_shuffled_batches(batches):
    X, y = make_problem(LSTMClassifier)
    quick(LSTMClassifier, batch_size=25, max_iter=2).fit(X, y)
    first, second = ([row for batch in epoch for row in batch] for epoch in (batches[:3], batches[3:]))
    assert [len(batch) for batch in batches] == [25, 25, 10] * 2
    assert sorted(first) == sorted(second) == list(range(60))
    assert list(range(60)) != first != second


@pytest.mark.parametrize(("n", "largest"), [(5, 5), (100, 8), (330, 20), (700, 32)])
def test_automatic_batch_sizes(n, largest, batches):
    X = np.random.default_rng(0).normal(size=(n, 3, 1))
    quick(RNNRegressor, max_iter=1).fit(X, X[:, 0, 0])
    assert max(map(len, batches)) == largest
    assert sum(map(len, batches)) == n


@pytest.mark.parametrize(("batch_size", "expected"), [("auto", [8] * 7 + [4]), (1, [1] * 60), (60, [60]), (61, [60])])
def test_batch_sizes(batch_size, expected, batches):
    X, y = make_problem(GRURegressor)
    quick(GRURegressor, batch_size=batch_size, max_iter=1).fit(X, y)
    assert [len(batch) for batch in batches] == expected


def test_the_loss_of_an_epoch_is_the_mean_over_sequences():
    """Also where the last minibatch is smaller; with a step size of nothing it is the loss of a full batch."""
    X, y = make_problem(LSTMClassifier)
    still = {"learning_rate_init": 1e-300, "max_iter": 1}
    small, whole = (full_batch(LSTMClassifier, batch_size=size, **still).fit(X, y) for size in (25, 60))
    assert small.loss_ == pytest.approx(whole.loss_, rel=1e-12)
    picked = whole.predict_proba(X)[np.arange(60), np.searchsorted(whole.classes_, y)]
    assert whole.loss_ == pytest.approx(-np.log(picked).mean(), rel=1e-12)


def test_the_loss_of_a_regressor_is_half_the_standardised_squared_error():
    X, y = make_problem(LSTMRegressor)
    Y = np.column_stack([y, 50.0 + y**3])
    still = full_batch(LSTMRegressor, learning_rate_init=1e-300, max_iter=1).fit(X, Y)
    assert still.loss_ == pytest.approx(0.5 * np.mean(((still.predict(X) - Y) / Y.std(axis=0)) ** 2), rel=1e-12)


# --- clipping, penalty, solvers --------------------------------------------------------------------------------------


def steps_apart(cls, **parameters):
    """Weights before and after a step of gradient descent, and the estimator after it."""
    X, y = make_problem(cls)
    options = {"solver": "sgd", "momentum": 0.0, "warm_start": True, "max_iter": 1, **parameters}
    estimator = full_batch(cls, **options).fit(X, y)
    before = flat(estimator)
    return before, flat(estimator.fit(X, y)), estimator


@pytest.mark.parametrize("cls", CLASSES)
def test_without_clipping_a_step_has_the_length_of_the_gradient(cls):
    before, after, estimator = steps_apart(cls, max_grad_norm=None, learning_rate_init=0.01)
    assert np.linalg.norm(after - before) == pytest.approx(0.01 * estimator.grad_norm_curve_[0], rel=1e-9)
    assert estimator.clip_fraction_ == [0.0]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_with_clipping_it_has_the_length_of_the_limit(cls, depth):
    limit = 1e-3
    before, after, estimator = steps_apart(cls, max_grad_norm=limit, learning_rate_init=0.01, **DEPTHS[depth])
    assert estimator.grad_norm_curve_[0] > 10 * limit
    assert np.linalg.norm(after - before) == pytest.approx(0.01 * limit, rel=1e-3)
    assert estimator.clip_fraction_ == [1.0]
    free_before, free_after, _ = steps_apart(cls, max_grad_norm=limit, learning_rate_init=0.02, **DEPTHS[depth])
    np.testing.assert_allclose(free_after - free_before, 2 * (after - before), rtol=0.05, atol=1e-7)


def test_share_of_clipped_steps():
    X, y = make_problem(LSTMClassifier)
    options = {"batch_size": 15, "max_iter": 4}
    norms, step = [], training._step

    def noted(*arguments):
        result = step(*arguments)
        norms.extend(norm for _, _, norm in result)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_step", noted)
        free = quick(LSTMClassifier, max_grad_norm=None, **options).fit(X, y)
        assert free.clip_fraction_ == [0.0] * 4
        np.testing.assert_allclose(free.grad_norm_curve_, np.reshape(norms, (4, 4)).mean(axis=1), rtol=1e-12)
        limit = float(np.median(norms))
        norms.clear()
        clipped = quick(LSTMClassifier, max_grad_norm=limit, **options).fit(X, y)
    np.testing.assert_allclose(clipped.grad_norm_curve_, np.reshape(norms, (4, 4)).mean(axis=1), rtol=1e-12)
    assert clipped.clip_fraction_ == (np.reshape(norms, (4, 4)) > limit).mean(axis=1).tolist()
    assert 0.0 < sum(clipped.clip_fraction_) < 4.0


def test_a_limit_that_is_never_reached_changes_no_bit():
    X, y = make_problem(GRUClassifier)
    free, limited = (quick(GRUClassifier, max_grad_norm=limit).fit(X, y) for limit in (None, 1e6))
    assert_same_weights(free, limited)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("cls", CLASSES)
def test_alpha_shrinks_the_weights(cls, solver):
    X, y = make_problem(cls)
    free, strict = (quick(cls, alpha=alpha, solver=solver, max_iter=20).fit(X, y) for alpha in (0.0, 30.0))
    for name in ("weight_ih_l0", "weight_hh_l0", "head_weight"):
        assert np.linalg.norm(strict.weights_[name]) < 0.9 * np.linalg.norm(free.weights_[name]), name


def test_alpha_is_a_penalty_of_the_weights_and_not_of_the_biases():
    _, _, estimator = steps_apart(LSTMRegressor, learning_rate_init=0.01, max_grad_norm=None)
    X, y = make_problem(LSTMRegressor)
    start = {name: array.copy() for name, array in estimator.weights_.items()}
    ends = {}
    for alpha in (0.0, 6.0):
        estimator.weights_ = {name: array.copy() for name, array in start.items()}
        estimator.set_params(alpha=alpha).fit(X, y)
        ends[alpha] = estimator.weights_
    for name, array in start.items():
        penalty = np.zeros_like(array) if "bias" in name else 0.01 * 6.0 / 60 * array
        np.testing.assert_allclose(ends[0.0][name] - ends[6.0][name], penalty, rtol=1e-9, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("cls", CLASSES)
def test_solvers_find_the_way_down(cls, solver):
    X, y = make_problem(cls)
    estimator = full_batch(cls, solver=solver, learning_rate_init={"adam": 0.02, "sgd": 0.1}[solver], max_iter=60)
    estimator.fit(X, y)
    assert estimator.loss_ < 0.8 * estimator.loss_curve_[0]
    other = full_batch(cls, solver={"adam": "sgd", "sgd": "adam"}[solver], learning_rate_init=0.02).fit(X, y)
    assert other.loss_curve_[0] == estimator.loss_curve_[0]
    assert other.loss_curve_[1] != estimator.loss_curve_[1]


def test_momentum_is_for_descent_alone():
    X, y = make_problem(GRUClassifier)
    for solver, equal in (("adam", True), ("sgd", False)):
        a, b = (quick(GRUClassifier, solver=solver, momentum=momentum).fit(X, y) for momentum in (0.0, 0.9))
        assert (a.loss_curve_ == b.loss_curve_) is equal


@pytest.mark.parametrize("cls", [RNNClassifier, RNNRegressor])
def test_nonlinearity(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, nonlinearity="relu").fit(X, y)
    assert estimator.loss_curve_ != quick(cls).fit(X, y).loss_curve_
    far = [1e6 * x for x in X]
    assert np.isfinite(outputs(estimator, X)).all()
    if cls is RNNRegressor:
        assert np.abs(estimator.predict(far)).max() > 1e4  # tanh would have saturated
