"""`permutation_importance`: scikit-learn's own numbers on tables, what it finds, and all forms of X."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn.inspection
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from fastrecur import GRUClassifier, RNNClassifier
from fastrecur.inspection import permutation_importance
from fastrecur.inspection.importance import _Exchange, _partners
from fastrecur.preprocessing import PerTimestep, SequenceTokenizer
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import fitted

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("scoring", [None, "neg_log_loss", ["accuracy", "neg_log_loss"]])
def test_a_table_by_time_step_gives_the_numbers_of_scikit_learn(scoring):
    X = make_array(n=30)[:, :, 0]
    y = np.arange(30) % 2
    model, _ = fitted(GRUClassifier, X, y)
    given = {"scoring": scoring, "n_repeats": 3, "random_state": 5}
    found = permutation_importance(model, X, y, by="timestep", **given)
    expected = sklearn.inspection.permutation_importance(model, X, y, **given)
    for name in scoring if isinstance(scoring, list) else [None]:
        one, other = (found, expected) if name is None else (found[name], expected[name])
        assert one.importances.shape == (8, 3)
        for key in ("importances", "importances_mean", "importances_std"):
            np.testing.assert_allclose(one[key], other[key], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("ragged", [False, True])
def test_finds_what_the_target_hangs_on(ragged):
    X = make_array(n=200, n_steps=6)
    y = X[:, 4, 1] > 0
    if ragged:  # the time step is the last but one of every sequence
        X = [x[i % 3 :] for i, x in enumerate(X)]
    model, _ = fitted(GRUClassifier, X, y, max_iter=40)
    assert model.score(X, y) > 0.9
    by_feature = permutation_importance(model, X, y, random_state=0).importances_mean
    assert by_feature.shape == (3,)
    assert by_feature[1] > 0.3 > 5 * np.abs(by_feature[[0, 2]]).max()
    by_step = permutation_importance(model, X, y, by="timestep", align="end", random_state=0).importances_mean
    assert by_step.shape == (6,)
    assert by_step.argmax() == 1
    assert by_step[1] > 0.3


@pytest.mark.parametrize("by", ["feature", "timestep"])
@pytest.mark.parametrize("form", [make_array, make_ragged])
def test_exchanges_only_reorder_each_time_step(by, form):
    X = form(n=25)
    exchange = _Exchange(X, by, "start")
    which = 1
    for changed in exchange.repeats(which, 3, 0):
        assert isinstance(changed, list) == isinstance(X, list)
        assert [len(x) for x in changed] == [len(x) for x in X]
        n_moved = 0
        for t in range(9):
            before = np.array([x[t] for x in X if len(x) > t]).reshape(-1, 3)
            after = np.array([x[t] for x in changed if len(x) > t]).reshape(-1, 3)
            if by == "timestep":
                order = [(before == row).all(axis=1).argmax() for row in after]
                assert sorted(order) == list(range(len(before)))
                assert t == which or order == list(range(len(before)))
                n_moved += order != list(range(len(before)))
            else:
                np.testing.assert_array_equal(np.delete(before, which, axis=1), np.delete(after, which, axis=1))
                np.testing.assert_array_equal(np.sort(before[:, which]), np.sort(after[:, which]))
                n_moved += (before[:, which] != after[:, which]).any()
        assert n_moved > 0


def test_a_feature_is_exchanged_as_a_whole_course():
    X = make_array(n=10)
    (changed,) = _Exchange(X, "feature", "start").repeats(2, 1, 0)
    donors = [(X[:, 0, 2] == course[0]).argmax() for course in changed[:, :, 2]]
    np.testing.assert_array_equal(changed[:, :, 2], X[donors][:, :, 2])


def test_partners_follow_until_one_is_alive():
    order = np.array([1, 2, 3, 4, 0])
    np.testing.assert_array_equal(_partners(order, np.ones(5, bool)), order)
    alive = np.array([True, False, False, True, True])
    np.testing.assert_array_equal(_partners(order, alive)[alive], [3, 4, 0])


def test_steps_counted_from_the_end():
    X = [np.arange(3.0), np.arange(10.0, 12.0)]
    (changed,) = _Exchange(X, "timestep", "end").repeats(0, 1, 3)
    assert sorted(x[-1] for x in changed) == [2.0, 11.0]
    np.testing.assert_array_equal(changed[0][:2], [0.0, 1.0])
    assert changed[1][0] == 10.0


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_keep_their_names(frame):
    values = make_array(n=20)[:, :4, 0]
    X = frame(values, **({"columns": list("abcd")} if frame is pd.DataFrame else {"schema": list("abcd")}))
    y = np.arange(20) % 2
    model, _ = fitted(GRUClassifier, X, y)
    found = permutation_importance(model, X, y, by="timestep", random_state=0)
    model, _ = fitted(GRUClassifier, values, y)
    np.testing.assert_array_equal(
        found.importances, permutation_importance(model, values, y, by="timestep", random_state=0).importances
    )


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_lists_of_data_frames_keep_their_names(frame):
    """The model would warn of names that are lost; the numbers are those of arrays."""
    arrays = make_ragged(n=20)
    X, y = [frame(dict(zip("abc", x.T, strict=True))) for x in arrays], np.arange(20) % 2
    model, plain = (fitted(GRUClassifier, given, y)[0] for given in (X, arrays))
    found = permutation_importance(model, X, y, n_repeats=2, random_state=0).importances
    np.testing.assert_array_equal(
        found, permutation_importance(plain, arrays, y, n_repeats=2, random_state=0).importances
    )


def test_tokens_stay_integers():
    rng = np.random.default_rng(0)
    X = [rng.integers(5, size=length) for length in rng.integers(1, 6, size=30)]
    y = np.arange(30) % 2
    model, _ = fitted(RNNClassifier, X, y, embedding_dim=3)
    assert permutation_importance(model, X, y, by="timestep").importances.shape == (5, 5)


def test_a_pipeline_sees_nan():
    X = make_array(n=30)
    X[3, 2, 1] = np.nan
    y = np.arange(30) % 2
    pipeline = make_pipeline(PerTimestep(SimpleImputer()), RNNClassifier(5, max_iter=2, random_state=0)).fit(X, y)
    assert np.isfinite(permutation_importance(pipeline, X, y).importances).all()


def test_text_is_refused_with_what_to_pass():
    X, y = ["so good", "not so good"] * 8, np.arange(16) % 2
    pipeline = make_pipeline(SequenceTokenizer(), RNNClassifier(3, embedding_dim=2, max_iter=1)).fit(X, y)
    for text in (X, np.array(X), pd.Series(X)):
        with pytest.raises(TypeError, match=r"X is text.*pipeline\[:-1\].transform\(X\) for X and pipeline\[-1\]"):
            permutation_importance(pipeline, text, y)
    tokens = pipeline[:-1].transform(X)
    assert permutation_importance(pipeline[-1], tokens, y, by="timestep").importances.shape == (3, 5)


def test_jobs_and_seeds_do_not_matter():
    X = make_array(n=20)
    model, y = fitted(GRUClassifier, X)
    alone = permutation_importance(model, X, y, random_state=1).importances
    np.testing.assert_array_equal(alone, permutation_importance(model, X, y, random_state=1, n_jobs=2).importances)
    assert not np.array_equal(alone, permutation_importance(model, X, y, random_state=2).importances)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"by": "column"}, ValueError, "by must be one of 'feature', 'timestep', found 'column'"),
        ({"align": "middle"}, ValueError, "align must be one of 'start', 'end'"),
        ({"n_repeats": 0}, ValueError, "n_repeats must be at least 1"),
        ({"n_repeats": 1.5}, TypeError, "n_repeats must be an int"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be an int other than 0"),
        ({"scoring": "best"}, ValueError, "scoring"),
        (
            {"scoring": "neg_max_error", "sample_weight": np.ones(10)},
            ValueError,
            "scoring='neg_max_error' takes no sample_weight",
        ),
        ({"random_state": "x"}, ValueError, "seed"),
    ],
)
def test_bad_arguments(arguments, error, text):
    X = make_array(n=10)
    model, y = fitted(GRUClassifier, X)
    with pytest.raises(error, match=text):
        permutation_importance(model, X, y, **arguments)


def test_not_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        permutation_importance(GRUClassifier(), make_array(), np.ones(40))
