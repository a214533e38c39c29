"""What `fit` does: labels and targets, weights, solvers, when it ends, and what it leaves on the estimator."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.estimators import base, training
from tests.estimators.data import (
    CLASSES,
    CLASSIFIERS,
    DEPTHS,
    REGRESSORS,
    assert_same_bits,
    assert_same_weights,
    make_array,
    make_order,
    make_ragged,
    make_targets,
    outputs,
    rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def quick(cls, **parameters):
    return cls(**{"hidden_size": 8, "max_iter": 3, "random_state": 0, **parameters})


def full_batch(cls, **parameters):
    """Gradient descent without chance but in the initial weights, in double precision, and without an early end."""
    options = {"batch_size": 10_000, "shuffle": False, "dtype": "float64", "alpha": 0.0, "n_iter_no_change": 10_000}
    return quick(cls, **{**options, **parameters})


def make_problem(cls, n=60):
    X = make_ragged(n=n)
    return X, make_targets(cls, X)


def flat(estimator):
    return np.concatenate([array.ravel() for array in estimator.weights_.values()])


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["no", "yes"],
        ["low", "middle", "high"],
        [0, 1],
        [-3, 7, 11, 1000],
        [False, True],
        [1.0, 2.0, 5.0],
        np.array(["b", "a"], dtype=object),
        np.array([3, 250], dtype=np.uint8),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_labels(cls, names):
    """The labels' names are no matter: the fit is that on their numbers."""
    names = np.asarray(names)
    X = make_ragged(n=48)
    numbers = np.arange(48) % len(names)
    ordered = np.sort(names)
    estimator = quick(cls).fit(X, ordered[numbers])
    assert_same_bits(estimator.classes_, ordered)
    assert estimator.predict_proba(X).shape == (48, len(names))
    assert estimator.weights_["head_weight"].shape == (len(names), 8)
    assert estimator.n_outputs_ == len(names)
    by_number = quick(cls).fit(X, numbers)
    assert_same_weights(estimator, by_number)
    assert_same_bits(estimator.predict(X), ordered[by_number.predict(X)])
    assert estimator.score(X, ordered[numbers]) == accuracy_score(numbers, by_number.predict(X))
    assert_same_weights(quick(cls).fit(X, ordered[numbers].tolist()), estimator)


def test_labels_are_learnt_whatever_their_order():
    X, y = make_order(n=200, n_steps=4)
    names = np.array(["z", "a"])[y]
    estimator = quick(GRUClassifier, max_iter=60, learning_rate_init=0.05).fit(X, names)
    assert estimator.score(X, names) > 0.95


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_a_column_of_labels():
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier).fit(X, y[:, np.newaxis])
    assert_same_weights(estimator, quick(LSTMClassifier).fit(X, y))
    assert estimator.predict(X).shape == (60,)


def test_a_column_of_labels_warns():
    X, y = make_problem(LSTMClassifier)
    with pytest.warns(UserWarning, match="column-vector y"):
        quick(LSTMClassifier).fit(X, y[:, np.newaxis])


# --- numbers as targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", REGRESSORS)
def test_shapes_of_targets(cls):
    X, y = make_problem(cls)
    one, column, several = (quick(cls).fit(X, t) for t in (y, y[:, np.newaxis], np.column_stack([y, -y, y**2])))
    assert one.predict(X).shape == (60,)
    assert column.predict(X).shape == (60, 1)
    assert several.predict(X).shape == (60, 3)
    assert [estimator.n_outputs_ for estimator in (one, column, several)] == [1, 1, 3]
    assert_same_weights(one, column)
    assert_same_bits(column.predict(X)[:, 0], one.predict(X))
    assert one.score(X, y) == r2_score(y, one.predict(X))
    assert_same_weights(quick(cls).fit(X, y.tolist()), one)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_outputs_are_learnt_side_by_side(cls):
    X = make_array(n=150, n_steps=5, n_features=2)
    y = np.column_stack([X[:, -1, 0], 500.0 + 100.0 * X[:, -1, 1]])
    estimator = full_batch(cls, max_iter=150, learning_rate_init=0.02).fit(X, y)
    assert (r2_score(y, estimator.predict(X), multioutput="raw_values") > 0.9).all()


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("cls", REGRESSORS)
def test_targets_are_standardised_inside(cls, n_outputs):
    """Scale and origin of y, and of each of its columns, change nothing but the scale and origin of predictions."""
    X, y = make_problem(cls)
    y = np.column_stack([y, np.cos(y)])[:, :n_outputs]
    scale, origin = np.array([1000.0, 1e-3])[:n_outputs], np.array([-7e4, 0.5])[:n_outputs]
    plain, scaled = full_batch(cls, max_iter=10).fit(X, y), full_batch(cls, max_iter=10).fit(X, scale * y + origin)
    np.testing.assert_allclose(scaled.predict(X), scale * plain.predict(X) + origin, rtol=1e-8)
    np.testing.assert_allclose(scaled.loss_curve_, plain.loss_curve_, rtol=1e-8)
    for name, array in plain.weights_.items():
        np.testing.assert_allclose(scaled.weights_[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_constant_targets(value):
    X = make_ragged()
    estimator = quick(LSTMRegressor, max_iter=40, learning_rate_init=0.05).fit(X, np.full(40, value))
    assert np.abs(estimator.predict(X) - value).max() < 0.1
    assert np.isfinite(estimator.loss_curve_).all()


# --- weights of the sequences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_equal_weights_are_no_weights(cls):
    """Weights of 1 beside the penalty; any others without it (a weight of 2 is two sequences to the penalty)."""
    X, y = make_problem(cls)
    for alpha, weights in (
        (1e-4, np.ones(60)),
        (1e-4, [1] * 60),
        (0.0, np.full(60, 4.0, dtype=np.float32)),
        (0.0, 2.0),
    ):
        none = quick(cls, alpha=alpha).fit(X, y)
        other = quick(cls, alpha=alpha).fit(X, y, sample_weight=weights)
        assert_same_weights(other, none)
        assert other.loss_curve_ == none.loss_curve_


def without_influence(cls, X, y, **parameters):
    """Fits on X, and on X with strange sequences among them that weigh nothing; the second one's X and y."""
    strange = [5.0 + x for x in make_ragged(n=30, longest=20, seed=1)]
    strange_y = np.resize(np.unique(y)[:1], 30) if is_classifier(cls()) else np.full(30, 1e3)
    order = np.random.default_rng(0).permutation(len(X) + 30)
    mixed, mixed_y = rows([*X, *strange], order), np.concatenate([y, strange_y])[order]
    weights = np.concatenate([np.full(len(X), 3.0), np.zeros(30)])[order]
    fitted = full_batch(cls, max_iter=10, **parameters).fit(mixed, mixed_y, sample_weight=weights)
    return full_batch(cls, max_iter=10, **parameters).fit(X, y), fitted


@pytest.mark.parametrize("cls", CLASSES)
def test_zero_weight_is_absence(cls):
    X, y = make_problem(cls)
    absent, weightless = without_influence(cls, X, y)
    np.testing.assert_allclose(weightless.loss_curve_, absent.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(outputs(weightless, X), outputs(absent, X), rtol=1e-8)


@pytest.mark.parametrize("cls", CLASSES)
def test_whole_weights_are_repetitions(cls):
    X, y = make_problem(cls)
    weights = np.random.default_rng(0).integers(0, 4, size=60)
    repeated = np.repeat(np.arange(60), weights)
    weighted = full_batch(cls, max_iter=10).fit(X, y, sample_weight=weights)
    literal = full_batch(cls, max_iter=10).fit(rows(X, repeated), y[repeated])
    np.testing.assert_allclose(weighted.loss_curve_, literal.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(outputs(weighted, X), outputs(literal, X), rtol=1e-8)


def test_weights_move_the_fit():
    X = make_ragged()
    y = np.arange(40) % 2
    shares = [
        quick(GRUClassifier, max_iter=30)
        .fit(X, y, sample_weight=np.where(y, weight, 1.0))
        .predict_proba(X)[:, 1]
        .mean()
        for weight in (0.01, 1.0, 100.0)
    ]
    assert shares[0] < 0.3 < shares[1] < 0.7 < shares[2]


# --- early stopping --------------------------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """The `Training` of each fit, as it ended."""
    seen, train = [], base.train

    def noted(of_fit):
        seen.append(of_fit)
        train(of_fit)

    monkeypatch.setattr(base, "train", noted)
    return seen


@pytest.fixture
def scores(monkeypatch):
    """Validation scores that the test chooses, one an epoch."""
    chosen = []

    def scripted(of_fit):
        return chosen[len(of_fit.losses)]

    monkeypatch.setattr(training, "_score", scripted)
    return chosen


def split(of_fit, X, y):
    """Validation rows of a fit, checked to be those that it does not train on."""
    kept_out = np.setdiff1d(np.arange(len(y)), of_fit.rows)
    assert len(kept_out) + len(of_fit.rows) == len(y)
    assert sorted(of_fit.validation.sequences.starts) == sorted(of_fit.sequences.starts[kept_out])
    return rows(X, kept_out), y[kept_out]


@pytest.mark.parametrize("cls", CLASSES)
def test_best_validation_score_is_that_of_the_fitted_estimator(cls, fits):
    X, y = make_problem(cls, n=100)
    estimator = quick(cls, early_stopping=True, validation_fraction=0.25, max_iter=12, learning_rate_init=0.05)
    estimator.fit(X, y)
    X_out, y_out = split(fits[0], X, y)
    assert len(y_out) == 25
    assert len(estimator.validation_scores_) == estimator.n_iter_ == len(estimator.loss_curve_)
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.best_loss_ is None
    assert estimator.score(X_out, y_out) == pytest.approx(estimator.best_validation_score_, rel=1e-5)
    assert estimator.t_ == 75 * estimator.n_iter_


@pytest.mark.parametrize("cls", CLASSES)
def test_the_best_weights_are_restored(cls, scores):
    """Of the first best epoch, not of a later one as good."""
    X, y = make_problem(cls)
    scores += [0.1, 0.2, 0.8, 0.3, 0.8, 0.7]
    estimator = quick(cls, early_stopping=True, max_iter=6).fit(X, y)
    assert estimator.validation_scores_ == scores
    assert estimator.best_validation_score_ == 0.8
    assert_same_weights(estimator, quick(cls, early_stopping=True, max_iter=3).fit(X, y))
    assert estimator.n_iter_ == 6


def test_validation_rows_are_not_trained_on():
    """NaN among the targets that are kept out would spoil all weights."""
    X, y = make_problem(GRURegressor)
    expected = quick(GRURegressor, early_stopping=True, max_iter=1).fit(X, y)

    class Spoilt(GRURegressor):
        def _split_rows(self, *arguments):
            train, validation = super()._split_rows(*arguments)
            arguments[0][validation] = np.nan
            return train, validation

        def _validation_score(self, *_):
            return 0.0

    assert_same_weights(quick(Spoilt, early_stopping=True, max_iter=1).fit(X, y), expected)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_split_is_stratified(cls, fits):
    X = make_ragged(n=100)
    y = np.repeat(["common", "rare", "rarer"], [70, 20, 10])
    quick(cls, early_stopping=True, max_iter=1).fit(X, y)
    _, y_out = split(fits[0], X, y)
    assert dict(zip(*np.unique(y_out, return_counts=True), strict=True)) == {"common": 7, "rare": 2, "rarer": 1}


@pytest.mark.parametrize("cls", [LSTMClassifier, LSTMRegressor])
def test_the_split_is_drawn_by_random_state(cls, fits):
    X, y = make_problem(cls)
    for random_state in (0, 0, 1):
        quick(cls, early_stopping=True, max_iter=1, random_state=random_state).fit(X, y)
    first, again, other = (sorted(of_fit.rows) for of_fit in fits)
    assert first == again != other


@pytest.mark.parametrize("weight", [1.0, 0.5, 7.0])
def test_validation_scores_are_weighted(fits, weight):
    X, y = make_problem(RNNClassifier, n=100)
    weights = np.linspace(0.1, weight, 100)
    estimator = quick(RNNClassifier, early_stopping=True, validation_fraction=0.3, max_iter=1)
    estimator.fit(X, y, sample_weight=weights)
    kept_out = np.setdiff1d(np.arange(100), fits[0].rows)
    expected = estimator.score(rows(X, kept_out), y[kept_out], sample_weight=weights[kept_out])
    assert estimator.validation_scores_ == [pytest.approx(expected)]


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_that_leave_nothing_to_validate_on(cls, fits):
    """Refused before the first epoch, or no matter: not an error after it."""
    X, y = make_problem(cls)
    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 2}
    quick(cls, **options).fit(X, y)
    weights = np.zeros(60)
    weights[fits[0].rows] = 1.0
    estimator = quick(cls, **options)
    try:
        estimator.fit(X, y, sample_weight=weights)
    except ValueError as error:
        assert "sample_weight" in str(error)  # noqa: PT017
        assert len(fits) == 1
    else:
        assert np.isfinite(estimator.validation_scores_).all()


# --- when it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_iter_no_change", [1, 4])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_loss_that_stands_still_ends_the_fit(cls, n_iter_no_change):
    """The first epoch, as many without progress as are allowed, and, as in scikit-learn, one more."""
    X, y = make_problem(cls)
    estimator = quick(cls, learning_rate_init=1e-12, n_iter_no_change=n_iter_no_change, max_iter=50)
    with warnings.catch_warnings(action="error"):
        estimator.fit(X, y)
    assert estimator.n_iter_ == n_iter_no_change + 2


def test_small_progress_is_none():
    X, y = make_problem(LSTMRegressor)
    patient, hasty = (
        full_batch(LSTMRegressor, tol=tol, n_iter_no_change=2, max_iter=25).fit(X, y) for tol in (0.0, 100.0)
    )
    assert (np.diff(patient.loss_curve_) < 0).all()
    assert patient.n_iter_ == 25
    assert hasty.n_iter_ == 4
    assert hasty.loss_curve_ == patient.loss_curve_[:4]


def test_scores_that_stand_still_end_the_fit(scores):
    """With early stopping the scores count, not the losses, which go on falling here."""
    X, y = make_problem(GRUClassifier)
    scores += [0.5, 0.4, 0.6, 0.6, 0.60001, 0.6, 0.9]
    estimator = quick(GRUClassifier, early_stopping=True, n_iter_no_change=2, max_iter=50)
    with warnings.catch_warnings(action="error"):
        estimator.fit(X, y)
    assert estimator.validation_scores_ == scores[:6]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_the_last_epoch_warns(cls, early_stopping):
    X, y = make_problem(cls)
    estimator = quick(cls, max_iter=2, early_stopping=early_stopping)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 epochs.*Raise max_iter") as caught:
        estimator.fit(X, y)
    assert estimator.n_iter_ == 2
    assert len(caught) == 1
    assert caught[0].filename == __file__


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_goes_on(cls):
    X, y = make_problem(cls)
    estimator = full_batch(cls, warm_start=True, solver="sgd", learning_rate_init=0.05, max_iter=5)
    losses = [estimator.fit(X, y).loss_curve_ for _ in range(3)]
    assert [len(curve) for curve in losses] == [5, 5, 5]
    assert (np.diff(np.concatenate(losses)) < 0).all()
    cold = full_batch(cls, solver="sgd", learning_rate_init=0.05, max_iter=5).fit(X, y).fit(X, y)
    assert cold.loss_curve_ == losses[0]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_takes_exactly_the_old_weights(cls, depth):
    """Gradient descent without momentum has no memory: twice two epochs are four, bit for bit."""
    X, y = make_problem(cls)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, **DEPTHS[depth]}
    parts = full_batch(cls, warm_start=True, max_iter=2, **options).fit(X, y)
    first = parts.loss_curve_
    parts.fit(X, y)
    whole = full_batch(cls, max_iter=4, **options).fit(X, y)
    assert first + parts.loss_curve_ == whole.loss_curve_
    assert_same_weights(parts, whole)


def test_warm_start_takes_other_data_and_fewer_labels():
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier, warm_start=True).fit(X, y)
    estimator.fit(X[:10], ["high"] * 10)
    assert list(estimator.classes_) == ["high", "low", "middle"]
    assert estimator.predict_proba(X)[:, 0].mean() > 0.34


def test_warm_start_keeps_the_scale_of_targets():
    X, y = make_problem(GRURegressor)
    estimator = quick(GRURegressor, warm_start=True, max_iter=1, learning_rate_init=1e-9).fit(X, y)
    before = estimator.predict(X)
    np.testing.assert_allclose(estimator.fit(X, 100.0 * y).predict(X), before, rtol=1e-4, atol=1e-4)
    assert estimator.loss_ > 100.0


@pytest.mark.parametrize(
    "change", [{"hidden_size": 9}, {"hidden_size": 1}, {"num_layers": 2}, {"bidirectional": True}], ids=str
)
@pytest.mark.parametrize("cls", CLASSES)
def test_warm_start_refuses_another_network(cls, change):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = flat(estimator)
    with pytest.raises(ValueError, match=f"warm_start=True.*{next(iter(change))}.*warm_start=False"):
        estimator.set_params(**change).fit(X, y)
    assert_same_bits(flat(estimator), before)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_warm_start_refuses_a_new_label(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = estimator.predict_proba(X)
    with pytest.raises(ValueError, match=r"warm_start=True.*high.*'unheard'.*warm_start=False"):
        estimator.fit(X, ["unheard", *y[1:]])
    assert_same_bits(estimator.predict_proba(X), before)


@pytest.mark.parametrize("cls", REGRESSORS)
def test_warm_start_refuses_another_number_of_outputs(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, warm_start=True).fit(X, y)
    before = estimator.predict(X)
    with pytest.raises(ValueError, match=r"warm_start=True.*1 output.* 2\. .*warm_start=False"):
        estimator.fit(X, np.column_stack([y, y]))
    assert_same_bits(estimator.predict(X), before)


def test_warm_start_refuses_other_features():
    X, y = make_problem(LSTMRegressor)
    estimator = quick(LSTMRegressor, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 2 features.*expecting 3 features"):
        estimator.fit([x[:, :2] for x in X], y)
    assert estimator.set_params(warm_start=False).fit([x[:, :2] for x in X], y).n_features_in_ == 2


# --- minibatches -----------------------------------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch):
    """Rows of each minibatch that is trained on."""
    seen, step = [], training._step

    def noted(of_fit, batch):
        seen.append(list(batch))
        return step(of_fit, batch)

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


@pytest.mark.parametrize(("batch_size", "expected"), [("auto", [32, 28]), (1, [1] * 60), (60, [60]), (61, [60])])
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
        norms.append(result[1])
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


# --- the progress bar ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [True, 1])
def test_verbose_shows_a_bar(verbose, capsys):
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier, verbose=verbose, early_stopping=True, max_iter=4).fit(X, y)
    shown = capsys.readouterr().out
    assert "4/4" in shown
    assert f"loss {estimator.loss_:.4g}" in shown
    assert f"validation {estimator.validation_scores_[-1]:.4f}" in shown
    assert "sequences/s" in shown


def test_silence_is_the_default(capsys):
    X, y = make_problem(LSTMClassifier)
    quick(LSTMClassifier).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_changes_no_bit(capsys):
    X, y = make_problem(GRURegressor)
    assert_same_weights(quick(GRURegressor, verbose=True).fit(X, y), quick(GRURegressor).fit(X, y))


# --- interrupted -----------------------------------------------------------------------------------------------------


def interrupt(monkeypatch, n_steps):
    """Ctrl-C in the step after ``n_steps`` whole ones, when the weights have been changed already."""
    step, done = training._step, []

    def interrupted(*arguments):
        done.append(None)
        result = step(*arguments)
        if len(done) > n_steps:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(training, "_step", interrupted)


@contextmanager
def interruption(match):
    """The fit inside is interrupted, keeps that to itself and warns."""
    try:
        with pytest.warns(RuntimeWarning, match=match) as caught:
            yield caught
    except KeyboardInterrupt:  # which would end the run of the tests
        pytest.fail("fit let a KeyboardInterrupt through")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("cls", CLASSES)
def test_an_interrupted_fit_keeps_the_last_whole_epoch(cls, epoch, early_stopping, monkeypatch):
    X, y = make_problem(cls)
    options = {"batch_size": 10, "early_stopping": early_stopping}
    whole = quick(cls, max_iter=epoch - 1, **options).fit(X, y)
    steps_an_epoch = -(-(54 if early_stopping else 60) // 10)
    interrupt(monkeypatch, (epoch - 1) * steps_an_epoch + 2)
    estimator = quick(cls, max_iter=50, **options)
    with interruption(f"interrupted: the weights after epoch {epoch - 1}") as caught:
        estimator.fit(X, y)
    assert caught[0].filename == __file__
    assert estimator.n_iter_ == epoch - 1
    assert estimator.loss_curve_ == whole.loss_curve_
    assert estimator.validation_scores_ == whole.validation_scores_
    assert estimator.grad_norm_curve_ == whole.grad_norm_curve_
    assert_same_weights(estimator, whole)
    assert_same_bits(outputs(estimator, X), outputs(whole, X))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_interrupted_in_the_first_epoch(cls, early_stopping, monkeypatch):
    X, y = make_problem(cls)
    options = {"batch_size": 10, "early_stopping": early_stopping}
    still = quick(cls, max_iter=1, learning_rate_init=1e-300, alpha=0.0, **options).fit(X, y)
    interrupt(monkeypatch, 2)
    estimator = quick(cls, **options)
    with interruption("interrupted: the weights after epoch 0"):
        estimator.fit(X, y)
    assert (estimator.n_iter_, estimator.t_, estimator.loss_curve_) == (0, 0, [])
    assert_same_weights(estimator, still)  # the initial ones
    assert np.isfinite(outputs(estimator, X)).all()


def test_interrupted_and_gone_on_with(monkeypatch):
    X, y = make_problem(LSTMClassifier)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1}
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        estimator = full_batch(LSTMClassifier, warm_start=True, max_iter=50, **options)
        with interruption("after epoch 2"):
            estimator.fit(X, y)
    estimator.set_params(max_iter=3).fit(X, y)
    assert_same_weights(estimator, full_batch(LSTMClassifier, max_iter=5, **options).fit(X, y))


def test_an_interrupted_fit_puts_the_bar_away(monkeypatch, capsys):
    X, y = make_problem(LSTMClassifier)
    interrupt(monkeypatch, 3)
    for _ in range(2):  # a live bar that is left open refuses the next one
        with interruption("interrupted"):
            quick(LSTMClassifier, verbose=True, max_iter=9).fit(X, y)
    assert "1/9" in capsys.readouterr().out


# --- what is left on the estimator -----------------------------------------------------------------------------------

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (3, False), (1, True), (2, True)])
@pytest.mark.parametrize("cls", CLASSES)
def test_weights_have_the_names_and_shapes_of_pytorch(cls, num_layers, bidirectional):
    X, y = make_problem(cls)
    estimator = quick(cls, num_layers=num_layers, bidirectional=bidirectional).fit(X, y)
    cell, n_directions = (
        cls.__name__[: -len("Classifier" if is_classifier(estimator) else "Regressor")],
        1 + bidirectional,
    )
    n_gates = 8 * GATES[cell]
    n_outputs = 3 if is_classifier(estimator) else 1
    expected = {"head_weight": (n_outputs, 8 * n_directions), "head_bias": (n_outputs,)}
    for layer in range(num_layers):
        for end in [f"_l{layer}", f"_l{layer}_reverse"][:n_directions]:
            expected["weight_ih" + end] = (n_gates, 8 * n_directions if layer else 3)
            expected["weight_hh" + end] = (n_gates, 8)
            biases = ["bias_ih", "bias_hh"] if cell == "GRU" else ["bias"]
            expected |= {bias + end: (n_gates,) for bias in biases}
    assert {name: array.shape for name, array in estimator.weights_.items()} == expected
    assert {array.dtype for array in estimator.weights_.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("cls", CLASSES)
def test_fitted_attributes(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, max_iter=4).fit(X, y)
    assert hasattr(estimator, "classes_") == is_classifier(estimator)
    assert estimator.n_features_in_ == 3
    assert estimator.n_outputs_ == (3 if is_classifier(estimator) else 1)
    assert estimator.n_iter_ == 4
    assert estimator.t_ == 4 * 60
    curves = estimator.loss_curve_, estimator.grad_norm_curve_, estimator.clip_fraction_
    for curve in curves:
        assert type(curve) is list
        assert len(curve) == 4
        assert all(type(value) is float and value >= 0.0 for value in curve)
    assert estimator.loss_ == estimator.loss_curve_[-1]
    assert estimator.best_loss_ == min(estimator.loss_curve_)
    assert estimator.validation_scores_ is None
    assert estimator.best_validation_score_ is None


@pytest.mark.parametrize("cls", CLASSES)
def test_a_second_fit_is_a_first_one(cls):
    """Of other data, another network and without early stopping: nothing of the first is left."""
    X, y = make_problem(cls)
    estimator = quick(cls, early_stopping=True, num_layers=2).fit(X, y)
    other = make_array(n=30)[:, :, :2]
    targets = np.arange(30) % 2
    estimator.set_params(early_stopping=False, num_layers=1).fit(other, targets)
    fresh = quick(cls).fit(other, targets)
    assert vars(estimator).keys() == vars(fresh).keys()
    assert_same_weights(estimator, fresh)
    for name in ("n_features_in_", "n_outputs_", "validation_scores_", "loss_curve_", "t_", "best_loss_"):
        assert getattr(estimator, name) == getattr(fresh, name), name


@pytest.mark.parametrize("cls", CLASSES)
def test_initial_weights(cls):
    """Glorot's input weights, orthogonal recurrent ones gate by gate, zero biases but for the forget gate's."""
    X, y = make_problem(cls)
    weights = full_batch(cls, max_iter=1, learning_rate_init=1e-300, **DEPTHS["deep"]).fit(X, y).weights_
    for name, array in weights.items():
        gates = np.split(array, len(array) // 8 if name.startswith(("weight", "bias")) else 1)
        if "weight_hh" in name:
            for gate in gates:
                np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-12)
        elif "weight" in name:
            for gate in gates:
                limit = np.sqrt(6.0 / sum(gate.shape))
                assert 0.7 * limit < np.abs(gate).max() <= limit, name
        else:
            expected = [1.0 if len(gates) == 4 and k == 1 else 0.0 for k in range(len(gates))]
            np.testing.assert_allclose([gate.mean() for gate in gates], expected, atol=1e-290)


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LSTMClassifier, GRUClassifier])
def test_order_is_learnt(cls):
    """Which of two marks came first: sums and last steps do not tell."""
    X, y = make_order(n=400)
    X_new, y_new = make_order(n=200, seed=1)
    estimator = quick(cls, hidden_size=16, max_iter=80, learning_rate_init=0.02).fit(X, y)
    assert estimator.score(X_new, y_new) >= 0.95
    backwards = estimator.score(X_new[:, ::-1], y_new)
    assert backwards <= 0.05  # the other one came first


def test_order_is_learnt_from_ragged_sequences_with_early_stopping():
    X, y = make_order(n=400)
    rng = np.random.default_rng(0)

    def pad(sequences):
        return [np.pad(x, ((rng.integers(6), rng.integers(6)), (0, 0))) for x in sequences]

    X_new, y_new = make_order(n=200, seed=1)
    estimator = quick(LSTMClassifier, hidden_size=16, max_iter=100, learning_rate_init=0.02, early_stopping=True)
    assert estimator.fit(pad(X), y).score(pad(X_new), y_new) >= 0.95


@pytest.mark.parametrize("cls", [LSTMRegressor, GRURegressor])
def test_a_sum_over_marked_steps_is_learnt(cls):
    """Hochreiter and Schmidhuber's adding problem, short: the two values beside which a mark stands."""
    rng = np.random.default_rng(0)
    values, marks = rng.uniform(size=(600, 6)), np.zeros((600, 6))
    for row in marks:
        row[rng.choice(6, size=2, replace=False)] = 1.0
    X, y = np.stack([values, marks], axis=2), (values * marks).sum(axis=1)
    estimator = quick(cls, hidden_size=16, max_iter=60, learning_rate_init=0.02).fit(X[:400], y[:400])
    assert estimator.score(X[400:], y[400:]) > 0.9


# --- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    """PyTorch on one thread: the work is too small for more."""
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(n_threads)


def torch_losses(torch, estimator, X, y, n_steps):
    """Losses and gradient norms of ``n_steps`` full-batch steps of PyTorch, from the estimator's weights."""
    cls = {"R": torch.nn.RNN, "L": torch.nn.LSTM, "G": torch.nn.GRU}[type(estimator).__name__[0]]
    network = cls(X[0].shape[1], estimator.hidden_size, estimator.num_layers, bidirectional=estimator.bidirectional)
    weights = {name: torch.tensor(array) for name, array in estimator.weights_.items()}
    head = torch.nn.Linear(*weights["head_weight"].shape[::-1])
    with torch.no_grad():
        network.double(), head.double()
        head.weight.copy_(weights["head_weight"])
        head.bias.copy_(weights["head_bias"])
        for name, parameter in network.named_parameters():
            single = name.replace("bias_ih", "bias")  # one bias here are two there, of which one stands still
            if name.startswith("bias_hh") and name not in weights:
                parameter.zero_()
                parameter.requires_grad_(False)
            else:
                parameter.copy_(weights[name if name in weights else single])
    parameters = [p for p in [*network.parameters(), *head.parameters()] if p.requires_grad]
    if estimator.solver == "adam":
        optimiser = torch.optim.Adam(parameters, lr=estimator.learning_rate_init)
    else:
        rate, momentum = estimator.learning_rate_init, estimator.momentum
        optimiser = torch.optim.SGD(parameters, lr=rate, momentum=momentum, nesterov=True)
    x = torch.nn.utils.rnn.pack_sequence([torch.tensor(x) for x in X], enforce_sorted=False)
    if is_classifier(estimator):
        criterion, target = torch.nn.CrossEntropyLoss(), torch.tensor(np.searchsorted(estimator.classes_, y))
    else:
        criterion, target = torch.nn.MSELoss(), torch.tensor((y - y.mean(axis=0)) / y.std(axis=0))
    losses, norms = [], []
    for _ in range(n_steps):
        _, state = network(x)
        last = (state[0] if isinstance(state, tuple) else state)[-2 if estimator.bidirectional else -1 :]
        out = head(last.transpose(0, 1).flatten(1))
        loss = criterion(out, target) * (1.0 if is_classifier(estimator) else 0.5)
        optimiser.zero_grad()
        loss.backward()
        limit = np.inf if estimator.max_grad_norm is None else estimator.max_grad_norm
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit).item())
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


@pytest.mark.torch
@pytest.mark.parametrize("layers", [{}, {"bidirectional": True}, DEPTHS["deep"]], ids=str)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("cls", CLASSES)
def test_twenty_steps_are_those_of_pytorch(cls, solver, layers, torch):
    X = make_ragged(n=30)
    y = make_targets(cls, X)
    if not is_classifier(cls()):
        y = np.column_stack([y, np.sin(y)])
    rate = {"adam": 0.01, "sgd": 0.1}[solver]
    options = {"solver": solver, "learning_rate_init": rate, "max_grad_norm": None, **layers}
    estimator = full_batch(cls, max_iter=1, warm_start=True, **options).fit(X, y)
    _, norms = torch_losses(torch, estimator, X, y, 20)
    estimator.set_params(max_iter=20, max_grad_norm=float(np.median(norms)))
    losses, norms = torch_losses(torch, estimator, X, y, 20)
    estimator.fit(X, y)
    assert 0.0 < np.mean(estimator.clip_fraction_) < 1.0
    assert len(losses) == 20
    np.testing.assert_allclose(estimator.loss_curve_, losses, rtol=1e-9)
    np.testing.assert_allclose(estimator.grad_norm_curve_, norms, rtol=1e-8)
    assert losses[-1] < losses[0]


def test_a_fit_that_diverges_keeps_finite_weights_and_warns():
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    wild = {"nonlinearity": "relu", "solver": "sgd", "learning_rate_init": 1e4, "max_grad_norm": None}
    with pytest.warns(ConvergenceWarning, match="no longer finite in epoch"):
        estimator = RNNRegressor(8, random_state=0, **wild).fit(X, X[:, 0, 0])
    assert np.isfinite(estimator.predict(X)).all()


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_targets_of_any_size(factor):
    X = np.random.default_rng(0).normal(size=(20, 6, 3))
    ordinary, sized = (
        LSTMRegressor(4, max_iter=40, tol=1e-3, random_state=0).fit(X, X[:, 0, 0] * f).predict(X) for f in (1.0, factor)
    )
    np.testing.assert_allclose(sized / factor, ordinary, rtol=1e-3, atol=1e-3)
