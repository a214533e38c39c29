"""scikit-learn's properties, lifted to 3-D arrays and ragged lists: copies, and what must not change a fit.

Nearly all of it bit for bit: neither the run nor the number of threads changes a weight.
"""

import copy
import pickle

import joblib
import numba
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.kernels import threads
from tests.estimators.data import (
    CLASSES,
    assert_same_bits,
    assert_same_weights,
    make_array,
    make_estimator,
    make_ragged,
    make_targets,
    outputs,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def shared_work(monkeypatch):
    """Threads take shares of however little work; the numbers of shares of rows are noted."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    row_shards, seen = threads.row_shards, []

    def noted(*arguments):
        shards = row_shards(*arguments)
        seen.append(len(shards) - 1)
        return shards

    monkeypatch.setattr(threads, "row_shards", noted)
    return seen


# --- parameters and copies -------------------------------------------------------------------------------------------


def test_clone_has_the_parameters_and_nothing_fitted(case):
    copied = clone(case.estimator)
    assert copied.get_params() == case.estimator.get_params()
    assert vars(copied) == copied.get_params()


@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_are_set_and_got(cls):
    given = {"hidden_size": 5, "num_layers": 3, "solver": "sgd", "max_grad_norm": None, "dtype": "float64"}
    assert given.items() <= cls(**given).get_params().items()
    estimator = cls()
    assert estimator.set_params(**given) is estimator
    assert estimator.get_params() == cls(**given).get_params()
    assert ("nonlinearity" in estimator.get_params()) == (cls in (RNNClassifier, RNNRegressor))
    with pytest.raises(ValueError, match="hidden_sizes"):
        estimator.set_params(hidden_sizes=5)


def test_fit_leaves_the_parameters_alone(case):
    estimator = case.again()
    before = copy.deepcopy(estimator.get_params())
    assert estimator.fit(case.X, case.y) is estimator
    assert estimator.get_params() == before


def test_pickle_keeps_the_bits(case):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copied = pickle.loads(pickle.dumps(case.estimator, protocol))
        assert_same_bits(outputs(copied, case.X), outputs(case.estimator, case.X))
        assert_same_bits(copied.predict(case.X), case.estimator.predict(case.X))


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_keeps_the_bits(case, mmap_mode, tmp_path):
    joblib.dump(case.estimator, tmp_path / "estimator")
    copied = joblib.load(tmp_path / "estimator", mmap_mode=mmap_mode)
    assert_same_bits(outputs(copied, case.X), outputs(case.estimator, case.X))


def strange_parts(value, path="self"):
    """Paths of all that is neither an array of numbers or strings nor plain Python."""
    if type(value) is dict:
        return [part for key, v in value.items() for part in strange_parts(key) + strange_parts(v, f"{path}[{key!r}]")]
    if type(value) in (list, tuple):
        return [part for i, v in enumerate(value) for part in strange_parts(v, f"{path}[{i}]")]
    if type(value) is np.ndarray and value.dtype != object and value.base is None:
        return []
    return [] if value is None or type(value) in (bool, int, float, str) else [f"{path}: {type(value)}"]


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True, "validation_fraction": 0.3}], ids=["", "early"])
def test_only_arrays_and_plain_python_inside(case, parameters):
    assert strange_parts(vars(case.again(**parameters).fit(case.X, case.y))) == []


def test_feature_names_are_a_plain_array():
    X = pd.DataFrame(make_array()[:, :, 0], columns=list("abcdefgh"))
    estimator = make_estimator(LSTMRegressor).fit(X, make_targets(LSTMRegressor, X.to_numpy()))
    assert list(estimator.feature_names_in_) == list("abcdefgh")
    assert type(estimator.feature_names_in_) is np.ndarray


# --- the same fit ----------------------------------------------------------------------------------------------------


def test_fit_twice_gives_the_same_weights(case):
    estimator = case.again().fit(case.X, case.y)
    assert_same_weights(estimator, case.estimator)
    assert estimator.loss_curve_ == case.estimator.loss_curve_
    assert_same_weights(estimator.fit(case.X, case.y), case.estimator)


def test_another_seed_gives_other_weights(case):
    other = case.again(random_state=1).fit(case.X, case.y)
    for name, array in other.weights_.items():
        assert not np.array_equal(array, case.estimator.weights_[name]), name


def test_a_random_state_is_used_up():
    X = make_array()
    y = make_targets(GRUClassifier, X)
    first, second = (make_estimator(GRUClassifier, random_state=np.random.RandomState(0)) for _ in range(2))
    assert_same_weights(first.fit(X, y), second.fit(X, y))
    first.fit(X, y)
    assert not np.array_equal(first.weights_["weight_hh_l0"], second.weights_["weight_hh_l0"])


def test_inputs_are_not_written_to(case):
    X, y = copy.deepcopy(case.X), case.y.copy()
    weights = np.linspace(0.0, 2.0, len(y))
    outputs(case.again().fit(X, y, sample_weight=weights), X)
    assert all(np.array_equal(a, b) for a, b in zip(X, case.X, strict=True))
    assert np.array_equal(y, case.y)
    assert np.array_equal(weights, np.linspace(0.0, 2.0, len(y)))


def test_threads_change_no_bit(case, shared_work):
    one, two = (case.again(n_threads=n).fit(case.X, case.y) for n in (1, 2))
    assert max(shared_work) == min(2, numba.config.NUMBA_NUM_THREADS)
    assert_same_weights(one, two)
    assert_same_weights(one, case.estimator)
    assert one.loss_curve_ == two.loss_curve_
    assert one.grad_norm_curve_ == two.grad_norm_curve_
    shared_work.clear()
    assert_same_bits(outputs(one, case.X), outputs(two, case.X))
    assert_same_bits(outputs(one, case.X), outputs(case.estimator, case.X))
    assert max(shared_work) == min(2, numba.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit_of_a_wide_network(dtype, shared_work):
    """The weight gradients are shared by whole tiles, of which a narrow network has one."""
    X = make_ragged(n=24)
    y = make_targets(LSTMClassifier, X)
    one, two = (
        make_estimator(LSTMClassifier, "deep", hidden_size=70, dtype=dtype, n_threads=n).fit(X, y) for n in (1, 2)
    )
    assert_same_weights(one, two)
    assert_same_bits(one.predict_proba(X), two.predict_proba(X))
