"""Scorers of scikit-learn in `permutation_importance` where each time step has a target: as on the steps in a row."""

import functools
import pickle

import numpy as np
import pytest
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer_names, make_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur import GRUClassifier, GRURegressor
from fastrecur.inspection import permutation_importance
from fastrecur.inspection.scoring import make_scores
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import fitted

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 30


def totals(X):
    return [np.cumsum(x.sum(axis=1)) for x in X]


def three_labels(X):
    return [np.digitize(total, [-1.0, 1.0]) for total in totals(X)]


#: Targets of X, a list with an array (T_i,) or (T_i, 2) a sequence.
TARGETS = {
    "binary": lambda X: [(total > 0).astype(int) for total in totals(X)],
    "labels": three_labels,
    "names": lambda X: [np.array(["low", "middle", "top"])[labels] for labels in three_labels(X)],
    "numbers": totals,
    "positive": lambda X: [np.exp(total / 8) for total in totals(X)],
    "several": lambda X: [np.stack([total, x[:, 0]], axis=1) for total, x in zip(totals(X), X, strict=True)],
}


def model_of(kind, X, **options):
    """A fitted network, and its targets."""
    cls = GRURegressor if kind in ("numbers", "positive", "several") else GRUClassifier
    return fitted(cls, X, TARGETS[kind](X), return_sequences=True, max_iter=20, **options)


def in_a_row(model, X, y, method="predict"):
    """Targets and predictions of all time steps."""
    return np.concatenate(y), np.concatenate(getattr(model, method)(X))


def binary_of(metric):
    return lambda y, proba: metric(y, proba[:, 1])


#: Targets, scorer, method, the metric itself and its sign.
BY_HAND = [
    ("binary", "accuracy", "predict", metrics.accuracy_score, 1),
    ("names", "balanced_accuracy", "predict", metrics.balanced_accuracy_score, 1),
    ("labels", "f1_macro", "predict", lambda y, p: metrics.f1_score(y, p, average="macro"), 1),
    ("names", "mutual_info_score", "predict", metrics.mutual_info_score, 1),
    ("binary", "roc_auc", "predict_proba", binary_of(metrics.roc_auc_score), 1),
    ("binary", "average_precision", "predict_proba", binary_of(metrics.average_precision_score), 1),
    ("binary", "neg_brier_score", "predict_proba", binary_of(metrics.brier_score_loss), -1),
    ("names", "neg_log_loss", "predict_proba", metrics.log_loss, -1),
    ("names", "roc_auc_ovr", "predict_proba", lambda y, p: metrics.roc_auc_score(y, p, multi_class="ovr"), 1),
    ("labels", "top_k_accuracy", "predict_proba", metrics.top_k_accuracy_score, 1),
    ("numbers", "neg_mean_absolute_error", "predict", metrics.mean_absolute_error, -1),
    ("numbers", "neg_max_error", "predict", metrics.max_error, -1),
    ("positive", "neg_mean_gamma_deviance", "predict", metrics.mean_gamma_deviance, -1),
    ("several", "r2", "predict", metrics.r2_score, 1),
    ("several", "neg_mean_squared_error", "predict", metrics.mean_squared_error, -1),
]


@pytest.mark.parametrize("layout", ["ragged", "array"])
@pytest.mark.parametrize(("kind", "scoring", "method", "metric", "sign"), BY_HAND, ids=[case[1] for case in BY_HAND])
def test_a_name_is_the_metric_of_the_steps_in_a_row(kind, scoring, method, metric, sign, layout):
    X = make_ragged(n=N) if layout == "ragged" else list(make_array(n=N))
    model, y = model_of(kind, X)
    given = (X, y) if layout == "ragged" else (np.array(X), np.array(y))
    expected = sign * metric(*in_a_row(model, X, y, method))
    assert make_scores(model, scoring, *given, None)(given[0]) == pytest.approx(expected, rel=1e-12)
    found = permutation_importance(model, *given, scoring=scoring, n_repeats=2, random_state=0).importances
    exchanged = permutation_importance(
        model, X, y, n_repeats=2, random_state=0, scoring=lambda m, X, y: sign * metric(*in_a_row(m, X, y, method))
    ).importances
    np.testing.assert_allclose(found, exchanged, rtol=1e-9, atol=1e-12)
    assert np.abs(found).max() > 0


class Rows(BaseEstimator):
    """An estimator of rows that predicts what a network predicts of time steps."""

    def __init__(self, model, X):
        self.classes_ = getattr(model, "classes_", None)
        self._predicted = np.concatenate(model.predict(X))
        if self.classes_ is not None:
            self._probabilities = np.concatenate(model.predict_proba(X))

    def predict(self, rows):
        return self._predicted


class Numbers(RegressorMixin, Rows):
    pass


class Labels(ClassifierMixin, Rows):
    def predict_proba(self, rows):
        return self._probabilities


@pytest.mark.parametrize(("kind", "n_fitting"), [("binary", 45), ("labels", 40), ("positive", 12)])
def test_every_scorer_that_fits_the_task_works(kind, n_fitting):
    """Those that take predictions of rows: all but a few of classifiers, those of regression and of clusters."""
    X = make_ragged(n=N)
    model, y = model_of(kind, X)
    rows, flat = (Numbers if kind == "positive" else Labels)(model, X), np.concatenate(y)
    found = 0
    for scoring in get_scorer_names():
        try:
            expected = metrics.get_scorer(scoring)(rows, None, flat)
        except (ValueError, TypeError, AttributeError, Warning):
            continue
        assert make_scores(model, scoring, X, y, None)(X) == pytest.approx(expected, rel=1e-12), scoring
        found += 1
    assert found >= n_fitting


def test_weights_of_sequences_are_those_of_their_steps():
    X = make_ragged(n=N)
    model, y = model_of("binary", X)
    weights = np.arange(N) % 3
    spread = np.repeat(weights, [len(x) for x in X])
    for scoring, method, metric in (
        ("accuracy", "predict", metrics.accuracy_score),
        ("neg_log_loss", "predict_proba", lambda *a, **k: -metrics.log_loss(*a, **k)),
    ):
        expected = metric(*in_a_row(model, X, y, method), sample_weight=spread)
        assert make_scores(model, scoring, X, y, weights)(X) == pytest.approx(expected)
        assert expected != pytest.approx(metric(*in_a_row(model, X, y, method)))
    own, named = (
        permutation_importance(model, X, y, scoring=s, sample_weight=weights, random_state=0)
        for s in (None, "accuracy")
    )
    np.testing.assert_allclose(named.importances, own.importances)


def test_several_scorers_at_once():
    """A callable has the estimator and y as they are; weights go to those that take them."""
    X = make_ragged(n=N)
    model, y = model_of("numbers", X)
    calls = []

    def worst(estimator, X, y, sample_weight=None):
        calls.append((estimator, y, sample_weight))
        return -max(np.abs(a - b).max() for a, b in zip(y, estimator.predict(X), strict=True))

    scoring = {"r2": "r2", "worst": "neg_max_error", "made": make_scorer(metrics.r2_score), "own": worst}
    weights = np.linspace(1, 2, N)
    found = make_scores(model, scoring, X, y, weights)(X)
    assert found["own"] == pytest.approx(found["worst"])
    assert found["made"] == found["r2"] == pytest.approx(model.score(X, y, weights))
    assert calls == [(model, y, weights)]
    found = permutation_importance(model, X, y, scoring=("r2", "neg_max_error"), n_repeats=2)
    assert [found[name].importances.shape for name in ("r2", "neg_max_error")] == [(3, 2)] * 2


def test_scores_of_one_x_are_of_one_prediction(monkeypatch):
    X = make_ragged(n=N)
    model, y = model_of("labels", X)
    scores = make_scores(model, ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"], X, y, None)
    calls = []
    for name in ("predict", "predict_proba"):
        method = getattr(type(model), name)
        counted = functools.wraps(method)(lambda self, X, m=method: calls.append(m.__name__) or m(self, X))
        monkeypatch.setattr(type(model), name, counted)
    scores(X)
    assert sorted(calls) == ["predict", "predict_proba"]


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: make_pipeline(p), lambda p: GridSearchCV(p, {}, cv=KFold(2))])
def test_pipelines_and_searches(wrap):
    X = make_ragged(n=N)
    y = TARGETS["binary"](X)
    model = GRUClassifier(5, max_iter=2, random_state=0, return_sequences=True)
    model = wrap(make_pipeline(PerTimestep(StandardScaler()), model)).fit(X, y)
    found = permutation_importance(model, X, y, scoring="roc_auc", n_repeats=2, n_jobs=2, random_state=0)
    assert found.importances.shape == (3, 2)
    scores = make_scores(model, "roc_auc", X, y, None)
    assert scores(X) == pytest.approx(binary_of(metrics.roc_auc_score)(*in_a_row(model, X, y, "predict_proba")))
    assert pickle.loads(pickle.dumps(scores))(X) == scores(X)


def test_targets_of_sequences_are_scored_as_ever():
    X = make_array(n=N)
    y = np.stack([X[:, -1, 0], X[:, 0, 1]], axis=1)
    model, _ = fitted(GRURegressor, X, y)
    found = permutation_importance(model, list(X), list(y), scoring="r2", random_state=0).importances
    np.testing.assert_array_equal(found, permutation_importance(model, X, y, scoring="r2", random_state=0).importances)
    other = LinearRegression().fit(X[:, :, 0], y)
    assert permutation_importance(other, X[:, :, 0], y, by="timestep", scoring="r2").importances.shape == (8, 5)


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("binary", {"y": lambda y: y[:-1]}, r"y has 29 sequence\(s\) of targets, but X has 30"),
        ("binary", {"y": lambda y: [y[0][:-1], *y[1:]]}, r"y\[0\] has \d+ target\(s\), but sequence 0 of X has"),
        ("numbers", {"y": lambda y: [y[0], np.full_like(y[1], np.nan), *y[2:]]}, "y contains NaN: sequence 1, step 0"),
        ("binary", {"sample_weight": np.ones(3)}, r"sample_weight has 3 weight\(s\), but X has 30 sequence"),
        ("numbers", {"scoring": "roc_auc"}, "GRURegressor has none of the following attributes: .*predict_proba"),
        ("numbers", {"scoring": "accuracy"}, "continuous is not supported"),
        ("labels", {"scoring": "f1"}, "multiclass but average='binary'"),
    ],
)
def test_what_does_not_fit_is_refused(kind, change, text):
    X = make_ragged(n=N)
    model, y = model_of(kind, X)
    given = {"scoring": "accuracy" if kind == "binary" else "r2", "y": y, **change}
    given["y"] = given["y"](y) if callable(given["y"]) else given["y"]
    with pytest.raises((ValueError, AttributeError), match=text):
        permutation_importance(model, X, **given)
