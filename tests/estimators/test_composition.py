"""The estimators inside scikit-learn's tools, on arrays (n, T, F) and on lists of sequences of different lengths.

A list goes through the tools that choose sequences by their number; an object array does too. Tools that check X
themselves, such as BaggingClassifier, take neither these nor arrays of three axes.
"""

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.kernels import threads
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import (
    CLASSES,
    assert_same_bits,
    assert_same_weights,
    make_array,
    make_ragged,
    make_targets,
    object_array,
    outputs,
    quick,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FORMS = {
    "array": lambda: make_array(n=60),
    "list": lambda: make_ragged(n=60),
    "tuple": lambda: tuple(make_ragged(n=60)),
    "object array": lambda: object_array(make_ragged(n=60)),
    "list of scalars": lambda: [x[:, 0] for x in make_ragged(n=60)],
}


def scaled(cls, **parameters):
    return make_pipeline(PerTimestep(StandardScaler()), quick(cls, **parameters))


@pytest.fixture(params=FORMS)
def X(request):
    return FORMS[request.param]()


@pytest.fixture
def y(X):
    return make_targets(LSTMClassifier, X)


def chosen(X, indices):
    return [X[i] for i in indices] if isinstance(X, list | tuple) else X[indices]


# --- pipelines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_pipeline_is_its_steps_one_after_another(cls, X):
    y = make_targets(cls, X)
    pipeline = scaled(cls).fit(X, y)
    scaler = PerTimestep(StandardScaler()).fit(X)
    alone = quick(cls).fit(scaler.transform(X), y)
    assert_same_weights(pipeline[-1], alone)
    assert_same_bits(outputs(pipeline[-1], scaler.transform(X)), outputs(alone, scaler.transform(X)))
    assert_same_bits(pipeline.predict(X), alone.predict(scaler.transform(X)))
    metric = accuracy_score if hasattr(alone, "classes_") else r2_score
    assert pipeline.score(X, y) == metric(y, pipeline.predict(X))


def test_pipeline_makes_up_for_the_scale_of_features(X, y):
    """Without the scaler, other units are another model."""
    stretched = [1000.0 * np.asarray(x) + 77.0 for x in X] if not isinstance(X, np.ndarray) else 1000.0 * X + 77.0
    expected = scaled(GRUClassifier, dtype="float64").fit(X, y).predict_proba(X)
    found = scaled(GRUClassifier, dtype="float64").fit(stretched, y).predict_proba(stretched)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    bare = quick(GRUClassifier, dtype="float64")
    assert not np.allclose(clone(bare).fit(stretched, y).predict_proba(stretched), bare.fit(X, y).predict_proba(X))


def test_pipeline_passes_weights_on(X, y):
    weights = np.linspace(0.5, 1.5, len(y))
    pipeline = scaled(RNNClassifier).fit(X, y, rnnclassifier__sample_weight=weights)
    alone = quick(RNNClassifier).fit(PerTimestep(StandardScaler()).fit_transform(X), y, sample_weight=weights)
    assert_same_weights(pipeline[-1], alone)


def test_pipeline_keeps_single_precision():
    X = make_array().astype(np.float32)
    assert scaled(LSTMRegressor).fit(X, X.sum(axis=(1, 2))).predict(X).dtype == np.float32


# --- model selection -------------------------------------------------------------------------------------------------


def test_grid_search_in_two_processes(X, y):
    grid = {"lstmclassifier__hidden_size": [4, 8], "lstmclassifier__bidirectional": [False, True]}
    one, two = (
        GridSearchCV(scaled(LSTMClassifier), grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, y)
        for n_jobs in (1, 2)
    )
    assert_same_bits(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert len(set(one.cv_results_["mean_test_score"])) > 1
    assert one.best_params_ == two.best_params_
    assert_same_weights(one.best_estimator_[-1], two.best_estimator_[-1])
    assert_same_weights(one.best_estimator_[-1], scaled(LSTMClassifier).set_params(**one.best_params_).fit(X, y)[-1])
    assert_same_bits(two.predict_proba(X), one.best_estimator_.predict_proba(X))


def test_random_search_of_a_regressor(X):
    y = make_targets(GRURegressor, X)
    search = RandomizedSearchCV(
        scaled(GRURegressor), {"gruregressor__learning_rate_init": [1e-9, 0.02]}, n_iter=2, cv=2, error_score="raise"
    )
    assert search.fit(X, y).best_params_ == {"gruregressor__learning_rate_init": 0.02}


def test_cross_validation_is_a_loop_over_folds(X, y):
    estimator, folds = scaled(GRUClassifier), StratifiedKFold(3)
    expected = [
        clone(estimator).fit(chosen(X, train), y[train]).score(chosen(X, test), y[test])
        for train, test in folds.split(np.zeros(len(y)), y)
    ]
    assert_same_bits(cross_val_score(estimator, X, y, cv=folds, error_score="raise"), np.array(expected))
    predicted = cross_val_predict(estimator, X, y, cv=folds, method="predict_proba")
    for train, test in folds.split(np.zeros(len(y)), y):
        fitted = clone(estimator).fit(chosen(X, train), y[train])
        np.testing.assert_array_equal(predicted[test], fitted.predict_proba(chosen(X, test)))


def test_cross_validation_in_threads_of_python(X, y, monkeypatch):
    """Several Python threads at once, each of which wants threads of its own for its rows."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    estimator = scaled(LSTMClassifier, n_threads=2)
    expected = cross_val_score(estimator, X, y, cv=4, error_score="raise")
    with joblib.parallel_config(backend="threading", n_jobs=4):
        assert_same_bits(cross_val_score(estimator, X, y, cv=4, error_score="raise"), expected)


def test_train_test_split(X, y):
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    index_train, index_test = train_test_split(np.arange(len(y)), stratify=y, random_state=0)
    estimator = quick(RNNClassifier).fit(X_train, y_train)
    assert_same_weights(estimator, quick(RNNClassifier).fit(chosen(X, index_train), y[index_train]))
    assert estimator.score(X_test, y_test) == estimator.score(chosen(X, index_test), y[index_test])


# --- ensembles and wrappers ------------------------------------------------------------------------------------------


def members(*classes):
    return [(cls.__name__, scaled(cls)) for cls in classes]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_soft_vote_is_the_mean(X, y, n_jobs):
    vote = VotingClassifier(members(RNNClassifier, LSTMClassifier, GRUClassifier), voting="soft", n_jobs=n_jobs)
    vote.fit(X, y)
    fitted = [scaled(cls).fit(X, y) for cls in (RNNClassifier, LSTMClassifier, GRUClassifier)]
    expected = np.mean([member.predict_proba(X) for member in fitted], axis=0)
    np.testing.assert_allclose(vote.predict_proba(X), expected, rtol=1e-6)
    assert_same_bits(vote.predict(X), np.unique(y)[vote.predict_proba(X).argmax(axis=1)])
    assert 0.0 <= vote.score(X, y) <= 1.0


def test_hard_vote_is_the_majority(X, y):
    vote = VotingClassifier(members(RNNClassifier, LSTMClassifier, GRUClassifier)).fit(X, y)
    votes = np.array([member.predict(X) for member in vote.estimators_])  # numbers of labels
    majority = [np.bincount(column, minlength=3).argmax() for column in votes.T]
    assert_same_bits(vote.predict(X), np.unique(y)[majority])


def test_vote_of_regressors(X):
    y = make_targets(RNNRegressor, X)
    vote = VotingRegressor(members(RNNRegressor, LSTMRegressor, GRURegressor)).fit(X, y)
    expected = np.mean(
        [scaled(cls).fit(X, y).predict(X) for cls in (RNNRegressor, LSTMRegressor, GRURegressor)], axis=0
    )
    np.testing.assert_allclose(vote.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda estimator: StackingClassifier(
            [("a", estimator), ("b", clone(estimator).set_params(hidden_size=4))], cv=2
        ),
        lambda estimator: CalibratedClassifierCV(estimator, cv=2),
        OneVsRestClassifier,
    ],
    ids=["stacking", "calibrated", "one against the rest"],
)
def test_wrapped_classifiers(wrap, X, y):
    wrapped = wrap(quick(GRUClassifier, max_iter=30, learning_rate_init=0.05)).fit(X, y)
    probabilities = wrapped.predict_proba(X)
    assert probabilities.shape == (len(y), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    assert wrapped.score(X, y) > 0.5  # a third by chance


def test_wrapped_regressors(X):
    y = make_targets(GRURegressor, X)
    estimator = quick(GRURegressor, dtype="float64")
    alone = clone(estimator).fit(X, y).predict(X)
    transformed = TransformedTargetRegressor(clone(estimator), transformer=StandardScaler()).fit(X, y)
    np.testing.assert_allclose(transformed.predict(X), alone, rtol=1e-8)
    if isinstance(X, np.ndarray):  # it checks a list of sequences as if it were a table
        many = MultiOutputRegressor(clone(estimator)).fit(X, np.column_stack([y, -y]))
        np.testing.assert_allclose(many.predict(X)[:, 0], alone, rtol=1e-8)


def test_one_label_against_the_rest_is_a_binary_classifier(X, y):
    rest = OneVsRestClassifier(quick(LSTMClassifier)).fit(X, y)
    columns = LabelBinarizer().fit_transform(y)
    for k, estimator in enumerate(rest.estimators_):
        assert_same_weights(estimator, quick(LSTMClassifier).fit(X, columns[:, k]))


# --- data frames -----------------------------------------------------------------------------------------------------


def make_frame():
    columns = [f"day {t}" for t in range(8)]
    return pd.DataFrame(make_array(n=60)[:, :, 0], columns=columns, index=np.arange(60) * 3 + 7)


@pytest.mark.parametrize("cls", CLASSES)
def test_data_frame_is_the_table_with_names(cls):
    X = make_frame()
    y = pd.Series(make_targets(cls, X.to_numpy()), index=X.index)
    frame, table = quick(cls).fit(X, y), quick(cls).fit(X.to_numpy(), y.to_numpy())
    assert_same_weights(frame, table)
    assert_same_bits(outputs(frame, X), outputs(table, X.to_numpy()))
    assert list(frame.feature_names_in_) == list(X.columns)
    assert frame.n_features_in_ == 8
    assert not hasattr(table, "feature_names_in_")


def test_names_of_the_columns_are_checked():
    X = make_frame()
    estimator = quick(LSTMClassifier).fit(X, make_targets(LSTMClassifier, X.to_numpy()))
    with pytest.raises(ValueError, match=r"feature names should match[\s\S]*day 0"):
        estimator.predict(X.rename(columns={"day 0": "night 0"}))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        estimator.predict(X[X.columns[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names, but LSTMClassifier was fitted with"):
        estimator.predict(X.to_numpy())
    with warnings.catch_warnings(action="error"):
        estimator.predict(list(X.to_numpy()))  # a list has no columns


def test_fit_on_an_array_forgets_the_names():
    X = make_frame()
    y = make_targets(GRURegressor, X.to_numpy())
    estimator = quick(GRURegressor).fit(X, y)
    assert not hasattr(estimator.fit(make_array(n=60), y), "feature_names_in_")
    assert estimator.n_features_in_ == 3


def test_data_frame_through_pipeline_search_and_vote():
    X = make_frame()
    y = pd.Series(make_targets(LSTMClassifier, X.to_numpy()), index=X.index)
    table, labels = X.to_numpy(), y.to_numpy()
    pipeline = scaled(LSTMClassifier).fit(X, y)
    assert_same_bits(pipeline.predict_proba(X), scaled(LSTMClassifier).fit(table, labels).predict_proba(table))
    assert list(pipeline.feature_names_in_) == list(X.columns)
    named = scaled(LSTMClassifier).set_output(transform="pandas").fit(X, y)
    assert list(named[-1].feature_names_in_) == list(X.columns)
    assert_same_bits(named.predict_proba(X), pipeline.predict_proba(X))
    grid = {"lstmclassifier__hidden_size": [4, 8]}
    search = GridSearchCV(scaled(LSTMClassifier), grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    other = GridSearchCV(scaled(LSTMClassifier), grid, cv=2, error_score="raise").fit(table, labels)
    assert_same_bits(search.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
    vote = VotingClassifier(members(RNNClassifier, GRUClassifier), voting="soft").fit(X, y)
    assert list(vote.feature_names_in_) == list(X.columns)
    np.testing.assert_array_equal(
        vote.predict_proba(X),
        VotingClassifier(members(RNNClassifier, GRUClassifier), voting="soft").fit(table, labels).predict_proba(table),
    )


def test_polars_data_frame():
    polars = pytest.importorskip("polars")
    frame = make_frame()
    y = make_targets(LSTMRegressor, frame.to_numpy())
    estimator = quick(LSTMRegressor).fit(polars.DataFrame(frame.to_dict("list")), y)
    assert_same_weights(estimator, quick(LSTMRegressor).fit(frame, y))
    assert list(estimator.feature_names_in_) == list(frame.columns)
    assert_same_bits(estimator.predict(polars.DataFrame(frame.to_dict("list"))), estimator.predict(frame))
