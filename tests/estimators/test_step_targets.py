"""`return_sequences`: a target each time step, in the layout of X, whatever the padding."""

import numpy as np
import pytest
from sklearn.callback import ScoringMonitor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import CLASSES, CLASSIFIERS, REGRESSORS, assert_same_bits, tiny

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LENGTHS = (7, 3, 9, 1, 5, 9, 4, 8, 6, 2)


def make(cls, dtype=np.float64, n_targets=None, lengths=LENGTHS):
    """Ragged X, and whether (or how far) the sum of the first feature is positive at each step."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, 2)).astype(dtype) for length in lengths]
    sums = [np.cumsum(x[:, 0]) for x in X]
    if cls in CLASSIFIERS:
        return X, [np.where(s > 0, "up", "down") for s in sums]
    return X, sums if n_targets is None else [np.column_stack([s] * n_targets) for s in sums]


def model(cls, **options):
    return tiny(cls, return_sequences=True, random_state=0, **options)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bptt_steps": 4}], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_it_learns_and_predicts_in_the_layout_of_x(cls, options):
    X, y = make(cls)
    estimator = model(cls, max_iter=80, learning_rate_init=0.02, hidden_size=8, **options).fit(X, y)
    predicted = estimator.predict(X)
    assert [p.shape for p in predicted] == [t.shape for t in y]
    assert estimator.score(X, y) > (0.85 if cls in CLASSIFIERS else 0.6)
    metric = accuracy_score if cls in CLASSIFIERS else r2_score
    assert estimator.score(X, y) == pytest.approx(metric(np.concatenate(y), np.concatenate(predicted)))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_prediction_depends_on_no_other_sequence(cls):
    X, y = make(cls)
    estimator = model(cls, max_iter=2).fit(X, y)
    whole = estimator.predict(X)
    for i in (0, 3, 5):
        (alone,) = estimator.predict([X[i]])
        np.testing.assert_array_equal(alone, whole[i])
    stacked = estimator.predict(np.stack([X[2], X[5]]))
    assert stacked.shape[:2] == (2, 9)
    np.testing.assert_array_equal(stacked[1], whole[5])


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_probabilities_of_each_step(cls):
    X, y = make(cls)
    estimator = model(cls, max_iter=2).fit(X, y)
    probabilities, logarithms = estimator.predict_proba(X), estimator.predict_log_proba(X)
    for p, q, labels in zip(probabilities, logarithms, estimator.predict(X), strict=True):
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_array_equal(estimator.classes_[p.argmax(axis=1)], labels)
        np.testing.assert_array_equal(q, np.log(p))


@pytest.mark.parametrize("cls", REGRESSORS)
def test_several_targets_a_step_and_arrays(cls):
    X, y = make(cls, n_targets=3)
    estimator = model(cls, max_iter=2).fit(X, y)
    assert [p.shape for p in estimator.predict(X)] == [t.shape for t in y]
    stack = np.stack([X[2], X[5]]), np.stack([y[2], y[5]])
    assert model(cls, max_iter=2).fit(*stack).predict(stack[0]).shape == (2, 9, 3)
    single = stack[0], stack[1][:, :, 0]
    assert model(cls, max_iter=2).fit(*single).predict(stack[0].astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("cls", CLASSES)
def test_a_score_names_what_is_wrong_with_y(cls):
    X, y = make(cls)
    estimator = model(cls, max_iter=1).fit(X, y)
    wrong = [[np.full(len(x), np.nan) for x in X]]
    wrong += [[np.arange(len(x)) for x in X]] if cls in CLASSIFIERS else [[np.array(["a"] * len(x)) for x in X]]
    for given in wrong:
        with pytest.raises(ValueError, match=r"y contains NaN|^y cannot be held against"):
            estimator.score(X, given)


def of_steps(metric):
    """The scorer that the README recommends."""
    return lambda model, X, y: metric(np.concatenate(y), np.concatenate(model.predict(X)))


@pytest.mark.parametrize("layout", ["ragged", "array"])
@pytest.mark.parametrize("cls", CLASSES)
def test_scores_of_steps_are_monitored_and_searched(cls, layout):
    X, y = make(cls) if layout == "ragged" else map(np.stack, make(cls, lengths=[5] * 10))
    scorer = of_steps(accuracy_score if cls in CLASSIFIERS else r2_score)
    monitor = ScoringMonitor(scoring={"own": cls.score, "metric": scorer})
    estimator = model(cls, max_iter=3).set_callbacks(monitor)
    make_pipeline(PerTimestep(StandardScaler()), estimator).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert [row["own"] for row in epochs] == pytest.approx([row["metric"] for row in epochs])
    assert np.isfinite([row["own"] for row in epochs]).all()
    searches = [GridSearchCV(model(cls), {"alpha": [0.0, 0.1]}, cv=2, scoring=s, error_score="raise").fit(X, y)
                for s in (None, scorer)]  # fmt: skip
    own, metric = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_allclose(own, metric)


@pytest.mark.parametrize("cls", CLASSES)
def test_weights_of_sequences_count_at_each_step(cls):
    """Twice a sequence is a weight of two."""
    X, y = make(cls)
    options = {"shuffle": False, "batch_size": 100, "dtype": "float64", "max_iter": 3}
    weighted = model(cls, **options).fit(X, y, sample_weight=[2, *[1] * 9])
    repeated = model(cls, **options).fit([*X, X[0]], [*y, y[0]])
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    assert weighted.score(X, y, sample_weight=np.ones(10)) == pytest.approx(weighted.score(X, y))


@pytest.mark.parametrize("cls", CLASSES)
def test_early_stopping_scores_the_steps_of_sequences_kept_out(cls):
    X, y = make(cls)
    estimator = model(cls, early_stopping=True, validation_fraction=0.3, max_iter=3).fit(X, y)
    assert len(estimator.validation_scores_) == 3


@pytest.mark.parametrize("cls", CLASSES)
def test_targets_that_do_not_fit(cls):
    X, y = make(cls)
    estimator = model(cls, max_iter=1).fit(X, y)
    before = estimator.weights_["head_weight"].copy()
    for wrong, message in (
        (y[:-1], r"y has 9 sequence\(s\) of targets, but X has 10"),
        ([*y[:-1], y[-1][:1]], r"y\[9\] has 1 target\(s\), but sequence 9 of X has 2 time step"),
        ([t[0] for t in y], "y"),
        (None, "y"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, wrong)
    assert_same_bits(estimator.weights_["head_weight"], before)
