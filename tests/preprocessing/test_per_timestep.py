"""PerTimestep against the transformer on the stacked rows, in every layout, and scikit-learn's checks on it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fastrecur.preprocessing import PerTimestep
from tests.helpers import MeanTarget, objects

rng = np.random.default_rng(0)
ARRAY = rng.normal(3, 2, size=(6, 5, 4))
RAGGED = [rng.normal(3, 2, size=(length, 4)) for length in (3, 1, 7, 2)]
SCALARS = [rng.normal(3, 2, size=length) for length in (3, 1, 7, 2)]
TABLE = rng.normal(3, 2, size=(6, 5))


class Recorder(TransformerMixin, BaseEstimator):
    """Keep what fit was given; `requires` is its tag for y."""

    def __init__(self, requires=False):
        self.requires = requires

    def fit(self, X, y=None):
        self.X_, self.y_ = X, y
        return self

    def transform(self, X):
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.requires
        return tags


each_transformer = pytest.mark.parametrize(
    "transformer", [StandardScaler(), PCA(2), PolynomialFeatures(2)], ids=lambda transformer: type(transformer).__name__
)

# The transformer on the rows of all time steps, in the layout that came in


@each_transformer
def test_array(transformer):
    expected = transformer.fit_transform(ARRAY.reshape(-1, 4)).reshape(6, 5, -1)
    per_step = PerTimestep(transformer)
    np.testing.assert_array_equal(per_step.fit_transform(ARRAY), expected)
    np.testing.assert_allclose(per_step.fit(ARRAY).transform(ARRAY), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("container", [list, tuple, lambda x: objects(*x)], ids=["list", "tuple", "object array"])
@each_transformer
def test_ragged(container, transformer):
    expected = transformer.fit_transform(np.concatenate(RAGGED))
    transformed = PerTimestep(transformer).fit_transform(container(RAGGED))
    assert isinstance(transformed, list)
    assert [len(part) for part in transformed] == [3, 1, 7, 2]
    np.testing.assert_array_equal(np.concatenate(transformed), expected)


def test_table():
    per_step = PerTimestep(StandardScaler())
    transformed = per_step.fit_transform(TABLE)
    assert per_step.n_features_in_ == 5
    assert per_step.transformer_.n_features_in_ == 1
    np.testing.assert_allclose(transformed, (TABLE - TABLE.mean()) / TABLE.std(), rtol=1e-12)
    np.testing.assert_array_equal(per_step.transform(pd.DataFrame(TABLE)), transformed)


def test_table_with_many_features_a_step():
    per_step = PerTimestep(PolynomialFeatures(2))
    transformed = per_step.fit_transform(TABLE)
    np.testing.assert_allclose(transformed, np.stack([np.ones_like(TABLE), TABLE, TABLE**2], axis=2))
    np.testing.assert_array_equal(per_step.get_feature_names_out(), ["1", "x0", "x0^2"])


def test_list_of_scalars():
    transformed = PerTimestep(StandardScaler()).fit_transform(SCALARS)
    assert [part.shape for part in transformed] == [(3,), (1,), (7,), (2,)]
    np.testing.assert_allclose(np.concatenate(transformed).mean(), 0, atol=1e-14)


def test_sparse_results_are_made_dense():
    transformed = PerTimestep(OneHotEncoder()).fit_transform([[0, 2, 0], [1]])
    np.testing.assert_array_equal(transformed[0], [[1, 0, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(transformed[1], [[0, 1, 0]])


def test_another_layout_than_fit():
    per_step = PerTimestep(StandardScaler()).fit(TABLE)
    expected = per_step.transform(TABLE)
    assert per_step.transform(TABLE[:, :2, np.newaxis]).shape == (6, 2, 1)
    for part, row in zip(per_step.transform(list(TABLE)), expected, strict=True):
        np.testing.assert_array_equal(part, row)
    np.testing.assert_array_equal(PerTimestep(StandardScaler()).fit(TABLE[:, :, np.newaxis]).transform(TABLE), expected)
    np.testing.assert_array_equal(PerTimestep(StandardScaler()).fit(list(TABLE)).transform(TABLE), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_type_is_kept(dtype):
    for X in (ARRAY.astype(dtype), TABLE.astype(dtype), [x.astype(dtype) for x in RAGGED]):
        per_step = PerTimestep(StandardScaler())
        for transformed in (per_step.fit_transform(X), per_step.transform(X)):
            assert transformed[0].dtype == dtype
    assert PerTimestep(StandardScaler()).fit_transform(np.arange(6).reshape(2, 3)).dtype == "float64"


def test_input_stays_untouched(tmp_path):
    np.save(tmp_path / "X.npy", ARRAY)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    per_step = PerTimestep(StandardScaler())
    transformed = per_step.fit_transform(X)
    np.testing.assert_array_equal(X, ARRAY)
    np.testing.assert_array_equal(per_step.transform(np.asfortranarray(ARRAY)), transformed)
    read_only = [x.copy() for x in RAGGED]
    for x in read_only:
        x.flags.writeable = False
    np.testing.assert_array_equal(per_step.transform(read_only)[2], per_step.transform(RAGGED)[2])


# inverse_transform


@pytest.mark.parametrize("X", [ARRAY, RAGGED, TABLE, SCALARS], ids=["array", "ragged", "table", "scalars"])
@pytest.mark.parametrize("transformer", [StandardScaler(), PCA()], ids=lambda t: type(t).__name__)
def test_inverse_transform(X, transformer):
    per_step = PerTimestep(transformer)
    restored = per_step.inverse_transform(per_step.fit_transform(X))
    assert type(restored) is type(X)
    for part, original in zip(restored, X, strict=True):
        np.testing.assert_allclose(part, original, rtol=1e-12)


def test_inverse_transform_of_a_widened_table():
    per_step = PerTimestep(KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"))
    widened = per_step.fit_transform(TABLE)
    assert widened.shape == (6, 5, 4)
    assert per_step.inverse_transform(widened).shape == (6, 5)


def test_inverse_transform_keeps_the_axis_it_was_given():
    per_step = PerTimestep(StandardScaler()).fit(TABLE)
    assert per_step.inverse_transform(np.zeros((6, 2, 1))).shape == (6, 2, 1)
    assert per_step.inverse_transform(np.zeros((6, 2))).shape == (6, 2)


def test_no_inverse_transform_without_the_transformers():
    assert hasattr(PerTimestep(StandardScaler()), "inverse_transform")
    assert not hasattr(PerTimestep(PolynomialFeatures()), "inverse_transform")


# Targets


def test_a_target_a_sequence_is_repeated():
    y = np.array([0, 1, 0, 1])
    recorder = PerTimestep(Recorder()).fit(RAGGED, y).transformer_
    np.testing.assert_array_equal(recorder.y_, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    recorder = PerTimestep(Recorder()).fit(RAGGED, ["b", "a", "b", "a"]).transformer_
    np.testing.assert_array_equal(recorder.y_, ["b"] * 3 + ["a"] + ["b"] * 7 + ["a"] * 2)
    assert PerTimestep(Recorder()).fit(RAGGED, y[:, np.newaxis]).transformer_.y_.shape == (13, 1)
    assert PerTimestep(Recorder()).fit(RAGGED).transformer_.y_ is None


def test_supervised_transformers():
    y = np.array([0, 1, 0, 1, 0, 1])
    X = ARRAY.copy()
    X[:, :, 2] += 5 * y[:, np.newaxis]
    per_step = PerTimestep(SelectKBest(k=1)).fit(X, y)
    np.testing.assert_array_equal(per_step.transform(X), X[:, :, 2:3])
    assert PerTimestep(LinearDiscriminantAnalysis()).fit_transform(X, y).shape == (6, 5, 1)
    assert get_tags(PerTimestep(LinearDiscriminantAnalysis())).target_tags.required
    assert not get_tags(PerTimestep(StandardScaler())).target_tags.required


@pytest.mark.parametrize("requires", [False, True])
def test_many_targets_a_sequence_only_where_required(requires):
    y = np.arange(8.0).reshape(4, 2)
    for targets in (y, y.tolist(), list(y)):
        recorded = PerTimestep(Recorder(requires)).fit(RAGGED, targets).transformer_.y_
        if requires:
            np.testing.assert_array_equal(recorded, np.repeat(y, [3, 1, 7, 2], axis=0))
        else:
            assert recorded is None


@pytest.mark.parametrize("requires", [False, True])
def test_a_target_a_step(requires):
    per_step = PerTimestep(Recorder(requires))
    y = [np.arange(3), np.arange(1), np.arange(7), np.arange(2)]
    for targets in (y, objects(*y), [part.tolist() for part in y]):
        np.testing.assert_array_equal(per_step.fit(RAGGED, targets).transformer_.y_, np.concatenate(y))
    two = [np.ones((len(part), 2)) for part in y]
    assert per_step.fit(RAGGED, two).transformer_.y_.shape == (13, 2)
    for targets in (np.arange(30).reshape(6, 5), list(np.arange(30).reshape(6, 5))):
        np.testing.assert_array_equal(per_step.fit(ARRAY, targets).transformer_.y_, np.arange(30))
    assert per_step.fit(ARRAY, np.ones((6, 5, 2))).transformer_.y_.shape == (30, 2)


# Names and containers


def test_names():
    per_step = PerTimestep(StandardScaler()).fit(ARRAY)
    np.testing.assert_array_equal(per_step.get_feature_names_out(), ["x0", "x1", "x2", "x3"])
    np.testing.assert_array_equal(per_step.get_feature_names_out(list("abcd")), list("abcd"))
    with pytest.raises(ValueError, match="input_features should have length equal to number of features"):
        per_step.get_feature_names_out(list("abc"))
    np.testing.assert_array_equal(PerTimestep(PCA(2)).fit(RAGGED).get_feature_names_out(), ["pca0", "pca1"])


def test_names_of_a_table():
    frame = pd.DataFrame(TABLE, columns=list("abcde"))
    per_step = PerTimestep(StandardScaler()).fit(frame)
    np.testing.assert_array_equal(per_step.feature_names_in_, list("abcde"))
    np.testing.assert_array_equal(per_step.get_feature_names_out(), list("abcde"))
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        per_step.get_feature_names_out(list("vwxyz"))
    names = PerTimestep(PCA(1)).fit(frame).get_feature_names_out()
    np.testing.assert_array_equal(names, ["a_pca0", "b_pca0", "c_pca0", "d_pca0", "e_pca0"])
    np.testing.assert_array_equal(
        PerTimestep(StandardScaler()).fit(TABLE).get_feature_names_out(), ["x0", "x1", "x2", "x3", "x4"]
    )


def test_no_names_without_the_transformers():
    assert not hasattr(PerTimestep(FunctionTransformer()).fit(TABLE), "get_feature_names_out")
    with config_context(transform_output="pandas"):
        assert isinstance(PerTimestep(FunctionTransformer()).fit_transform(TABLE), np.ndarray)


@pytest.mark.parametrize("inner", [StandardScaler(), StandardScaler().set_output(transform="pandas")])
@pytest.mark.parametrize("context", [{}, {"transform_output": "pandas"}])
def test_frames_for_tables_alone(inner, context):
    per_step = PerTimestep(inner)
    if not context:
        per_step.set_output(transform="pandas")
    frame = pd.DataFrame(TABLE, columns=list("abcde"), index=list("uvwxyz"))
    with config_context(**context):
        transformed = clone(per_step).fit_transform(frame)
        assert isinstance(transformed, pd.DataFrame)
        assert transformed.columns.tolist() == list("abcde")
        assert transformed.index.tolist() == list("uvwxyz")
        assert isinstance(clone(per_step).fit_transform(ARRAY), np.ndarray)
        assert isinstance(clone(per_step).fit(RAGGED).transform(RAGGED)[0], np.ndarray)
        assert isinstance(clone(per_step).fit(SCALARS).transform(frame), np.ndarray)
    assert isinstance(per_step.set_output(transform="default").fit_transform(frame), np.ndarray)


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(TABLE, schema=list("abcde"))
    transformed = PerTimestep(StandardScaler()).set_output(transform="polars").fit_transform(frame)
    assert isinstance(transformed, polars.DataFrame)
    assert transformed.columns == list("abcde")


def test_set_output_refuses_other_containers():
    per_step = PerTimestep(StandardScaler())
    assert per_step.set_output(transform=None) is per_step
    with pytest.raises(ValueError, match="transform must be one of 'default', 'pandas', 'polars', found 'arrow'"):
        per_step.set_output(transform="arrow")


# In company


def test_pipeline_and_grid_search():
    y = np.arange(6.0)
    for X in (ARRAY, list(ARRAY), TABLE):
        pipeline = make_pipeline(PerTimestep(StandardScaler()), PerTimestep(FunctionTransformer()), MeanTarget())
        search = GridSearchCV(pipeline, {"pertimestep-1__transformer__with_mean": [True, False]}, cv=2)
        assert search.fit(X, y).predict(X).shape == (6,)


def test_pipeline_inside():
    per_step = PerTimestep(make_pipeline(StandardScaler(), PCA(2)))
    assert [part.shape for part in per_step.fit_transform(RAGGED)] == [(3, 2), (1, 2), (7, 2), (2, 2)]
    assert per_step.inverse_transform(per_step.transform(RAGGED))[2].shape == (7, 4)


def test_clone_and_pickle():
    per_step = PerTimestep(StandardScaler()).fit(RAGGED)
    copy = pickle.loads(pickle.dumps(per_step))
    np.testing.assert_array_equal(copy.transform(RAGGED)[2], per_step.transform(RAGGED)[2])
    assert not hasattr(clone(per_step), "transformer_")
    assert clone(per_step).transformer is not per_step.transformer
    assert not hasattr(per_step.transformer, "mean_")


def test_missing_values_are_the_transformers_business():
    X = [np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([[np.nan, 6.0]])]
    assert get_tags(PerTimestep(SimpleImputer())).input_tags.allow_nan
    imputed = PerTimestep(SimpleImputer()).fit_transform(X)
    np.testing.assert_array_equal(imputed[0], [[1, 5], [3, 4]])
    np.testing.assert_array_equal(imputed[1], [[2, 6]])
    assert np.isnan(PerTimestep(StandardScaler()).fit(X).transform(X)[1][0, 0])
    with pytest.raises(ValueError, match="X contains NaN: sequence 0, step 0, feature 1"):
        PerTimestep(PCA(1)).fit(X)


# Refusals


@pytest.mark.parametrize("transformer", [None, "passthrough", StandardScaler, MeanTarget()])
def test_refuses_what_is_no_transformer(transformer):
    for fit in (PerTimestep(transformer).fit, PerTimestep(transformer).fit_transform):
        with pytest.raises(TypeError, match="transformer must be a transformer instance with fit and transform, got"):
            fit(TABLE)


def test_refuses_targets_of_another_length():
    for y in ([0, 1], np.zeros((2, 3)), [[0], [1, 2]]):
        with pytest.raises(ValueError, match="y must have one target a sequence: X has 4 sequences, y has 2 targets"):
            PerTimestep(StandardScaler()).fit(RAGGED, y)
    with pytest.raises(ValueError, match="y must have one target a sequence: X has 4 sequences, y has 0 targets"):
        PerTimestep(StandardScaler()).fit(RAGGED, 3)
    with pytest.raises(ValueError, match="y is a list of arrays whose lengths are neither those of the sequences"):
        PerTimestep(Recorder(True)).fit(RAGGED, [[0], [1, 2], [3], [4]])


def test_refuses_other_features_than_fit():
    per_step = PerTimestep(StandardScaler()).fit(ARRAY)
    with pytest.raises(ValueError, match="X has 3 features a time step, but PerTimestep is expecting 4 features"):
        per_step.transform(ARRAY[:, :, :3])
    with pytest.raises(ValueError, match="X has 4 features, but PerTimestep is expecting 5 features as input"):
        PerTimestep(StandardScaler()).fit(TABLE).transform(TABLE[:, :4])


def test_refuses_a_transformer_that_changes_the_rows():
    halved = FunctionTransformer(lambda rows: rows[::2])
    with pytest.raises(ValueError, match=r"made an array of shape \(15, 4\) of 30 time steps. It must give one row"):
        PerTimestep(halved).fit_transform(ARRAY)


def test_refuses_to_transform_before_fit():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(PerTimestep(StandardScaler()), method)(TABLE)
    with pytest.raises(NotFittedError):
        PerTimestep(StandardScaler()).get_feature_names_out()


# scikit-learn's own suite

TRANSFORMERS = [StandardScaler(), MinMaxScaler(), PCA(n_components=1), SelectKBest(k=1)]


@parametrize_with_checks([PerTimestep(transformer) for transformer in TRANSFORMERS])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda t: type(t).__name__)
def test_scikit_learn_collects_its_checks(transformer):
    # A tag that says "three dimensions only" would drop them all but one.
    assert len(list(estimator_checks_generator(PerTimestep(transformer)))) >= 46


@pytest.mark.filterwarnings("ignore:X .* feature names:UserWarning")  # the checks mix frames and arrays
@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_dataframe_column_names_consistency,
        estimator_checks.check_transformer_get_feature_names_out,
        estimator_checks.check_transformer_get_feature_names_out_pandas,
        estimator_checks.check_set_output_transform,
        estimator_checks.check_set_output_transform_pandas,
        estimator_checks.check_global_output_transform_pandas,
        estimator_checks.check_set_output_transform_polars,
        estimator_checks.check_global_set_output_transform_polars,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learn_on_names_and_containers(transformer, check):
    check("PerTimestep", PerTimestep(transformer))
