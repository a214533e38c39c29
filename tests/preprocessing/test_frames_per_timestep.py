"""`PerTimestep` on lists of data frames: names in, names out, columns in another order."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

from fastrecur import LSTMClassifier
from fastrecur.preprocessing import PerTimestep

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ARRAYS = [np.random.default_rng(n).normal([5, -1], [1, 3], size=(n, 2)) for n in (4, 2, 5, 3)]


def pandas_list():
    return [pd.DataFrame(x, columns=["u", "v"], index=range(i, i + len(x))) for i, x in enumerate(ARRAYS)]


def polars_list():
    return [pl.DataFrame(x, schema=["u", "v"]) for x in ARRAYS]


@pytest.fixture(params=[pandas_list, polars_list])
def frames(request):
    """Four sequences of two features with names."""
    return request.param()


def test_the_numbers_are_those_of_arrays(frames):
    expected = PerTimestep(StandardScaler()).fit_transform(ARRAYS)
    per_step = PerTimestep(StandardScaler()).fit(frames)
    for found in (per_step.transform(frames), PerTimestep(StandardScaler()).fit_transform(frames)):
        for part, array in zip(found, expected, strict=True):
            assert isinstance(part, np.ndarray)
            np.testing.assert_allclose(part, array, rtol=1e-12)
    for part, array in zip(per_step.inverse_transform(expected), ARRAYS, strict=True):
        np.testing.assert_allclose(part, array)


def test_names(frames):
    per_step = PerTimestep(StandardScaler()).fit(frames)
    assert per_step.n_features_in_ == 2
    assert per_step.feature_names_in_.tolist() == ["u", "v"]
    assert per_step.get_feature_names_out().tolist() == ["u", "v"]
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        per_step.get_feature_names_out(["v", "u"])
    assert PerTimestep(PolynomialFeatures(2)).fit(frames).get_feature_names_out()[3:].tolist() == ["u^2", "u v", "v^2"]
    assert PerTimestep(PCA(1)).fit(frames).get_feature_names_out().tolist() == ["pca0"]
    assert not hasattr(per_step.fit(ARRAYS), "feature_names_in_")
    assert not hasattr(per_step.transformer_, "feature_names_in_")


def test_other_columns(frames):
    per_step = PerTimestep(StandardScaler()).fit(frames)
    with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
        per_step.transform([frame[["v", "u"]] for frame in frames])
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- v"):
        per_step.transform([frame[["u"]] for frame in frames])
    with pytest.raises(ValueError, match="names of sequence 2 of X should match those of sequence 0, in its order"):
        per_step.fit([*frames[:2], frames[2][["v", "u"]]])
    with pytest.raises(ValueError, match="names of sequence 2 of X should match those of sequence 1, in its order"):
        per_step.fit([ARRAYS[0], frames[1], frames[2][["v", "u"]]])


def test_lost_names_are_warned_of_once(frames):
    per_step = PerTimestep(StandardScaler()).fit(frames)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but PerTimestep") as caught:
        found = per_step.transform(ARRAYS)
    assert len(caught) == 1
    np.testing.assert_array_equal(found[1], per_step.transform(frames)[1])


def test_numbers_for_names_are_no_names():
    frames = [pd.DataFrame(x) for x in ARRAYS]
    per_step = PerTimestep(StandardScaler()).fit(frames)
    assert not hasattr(per_step, "feature_names_in_")
    per_step.transform(ARRAYS)


def test_the_transformer_sees_the_names(frames):
    choice = ColumnTransformer([("scaled", StandardScaler(), ["v"])], remainder="passthrough")
    per_step = PerTimestep(choice).fit(frames)
    assert per_step.get_feature_names_out().tolist() == ["scaled__v", "remainder__u"]
    found = np.concatenate(per_step.transform(frames))
    rows = np.concatenate(ARRAYS)
    np.testing.assert_allclose(found[:, 0], (rows[:, 1] - rows[:, 1].mean()) / rows[:, 1].std())
    np.testing.assert_array_equal(found[:, 1], rows[:, 0])
    again = pickle.loads(pickle.dumps(per_step)).transform(frames)
    np.testing.assert_array_equal(np.concatenate(again), found)


@pytest.mark.parametrize("context", [{}, {"transform_output": "pandas"}])
def test_frames_out_of_pandas(context):
    frames = pandas_list()
    per_step = PerTimestep(PolynomialFeatures(2))
    if not context:
        per_step.set_output(transform="pandas")
    with config_context(**context):
        for found in (per_step.fit_transform(frames), clone(per_step).fit(frames).transform(frames)):
            for part, given in zip(found, frames, strict=True):
                assert isinstance(part, pd.DataFrame)
                assert part.columns.tolist() == ["1", "u", "v", "u^2", "u v", "v^2"]
                pd.testing.assert_index_equal(part.index, given.index)
                np.testing.assert_allclose(part["u v"], given["u"] * given["v"])


def test_frames_of_another_library():
    into_polars = PerTimestep(StandardScaler()).set_output(transform="polars").fit_transform(pandas_list())
    assert [type(part) for part in into_polars] == [pl.DataFrame] * 4
    into_pandas = PerTimestep(StandardScaler()).set_output(transform="pandas").fit_transform(polars_list())
    assert [type(part) for part in into_pandas] == [pd.DataFrame] * 4
    assert into_pandas[1].columns.tolist() == into_polars[1].columns == ["u", "v"]


def test_no_frames_without_names_out(frames):
    per_step = PerTimestep(FunctionTransformer(np.abs)).set_output(transform="pandas")
    assert isinstance(per_step.fit_transform(frames)[0], np.ndarray)
    with pytest.warns(UserWarning, match="valid feature names"):
        scaled = PerTimestep(StandardScaler()).set_output(transform="pandas").fit(frames).transform(ARRAYS)
    assert isinstance(scaled[0], np.ndarray)


def test_estimators_keep_the_names(frames):
    """Directly, and behind a transformer that gives frames."""
    y = [0, 1, 0, 1]
    model = LSTMClassifier(4, max_iter=1, random_state=0, n_threads=1).fit(frames, y)
    assert model.feature_names_in_.tolist() == ["u", "v"]
    with pytest.raises(ValueError, match="same order as they were in fit"):
        model.predict([frame[["v", "u"]] for frame in frames])
    pipeline = make_pipeline(PerTimestep(StandardScaler()), clone(model)).set_output(transform="pandas").fit(frames, y)
    assert pipeline[-1].feature_names_in_.tolist() == ["u", "v"]
    plain = make_pipeline(PerTimestep(StandardScaler()), clone(model)).fit(ARRAYS, y)
    np.testing.assert_array_equal(pipeline.predict_proba(frames), plain.predict_proba(ARRAYS))
