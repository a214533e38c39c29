"""scikit-learn's properties, lifted to 3-D arrays and ragged lists: what must not change a fit or a prediction.

Nearly all of it bit for bit: a prediction depends neither on the batch it came in, nor on the threads, nor on the
memory that X lies in.
"""

import copy
import itertools
import pickle
from dataclasses import dataclass
from typing import Any

import joblib
import numba
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.kernels import threads
from fastrecur.kernels.cpu import head
from fastrecur.layers import GRU, LSTM, RNN
from fastrecur.network.model import PREDICT_ROWS, PREDICT_STEPS
from tests.estimators.data import (
    CLASSES,
    DEPTHS,
    assert_same_bits,
    assert_same_weights,
    make_array,
    make_ragged,
    make_targets,
    object_array,
    outputs,
    rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAYOUTS = {
    "array": make_array,
    "ragged": make_ragged,
    "scalars": lambda: [x[:, 0] for x in make_ragged()],
    "table": lambda: make_array()[:, :, 0],
}


def make_estimator(cls, depth="plain", **parameters):
    return cls(**{"hidden_size": 9, "batch_size": 16, "max_iter": 2, "random_state": 0, **DEPTHS[depth], **parameters})


@dataclass
class Case:
    """A fitted estimator, which no test may change, and what it was fitted on."""

    estimator: Any
    X: Any
    y: Any

    def again(self, **parameters):
        """The same estimator, not fitted."""
        return clone(self.estimator).set_params(**parameters)


@pytest.fixture(
    scope="module",
    params=[
        (cls, layout, depth)
        for cls, layout, depth in itertools.product(CLASSES, LAYOUTS, DEPTHS)
        if depth == "plain" or layout in ("array", "ragged")
    ],
    ids=lambda param: f"{param[0].__name__}-{param[1]}-{param[2]}",
)
def case(request):
    cls, layout, depth = request.param
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    return Case(make_estimator(cls, depth).fit(X, y), X, y)


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


# --- the same prediction ---------------------------------------------------------------------------------------------


def test_a_sequence_alone_and_in_company(case):
    whole = outputs(case.estimator, case.X)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole)) > len(case.X) // 2  # a constant would be invariant to anything
    for i in range(len(case.X)):
        assert_same_bits(outputs(case.estimator, case.X[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize("n_batches", [2, 3, 7])
def test_batches_change_no_bit(case, n_batches):
    parts = np.array_split(np.arange(len(case.X)), n_batches)
    split = [outputs(case.estimator, rows(case.X, part)) for part in parts]
    assert_same_bits(np.concatenate(split), outputs(case.estimator, case.X))


def test_permuted_and_repeated_sequences(case):
    order = np.random.default_rng(0).integers(len(case.X), size=2 * len(case.X))
    assert_same_bits(outputs(case.estimator, rows(case.X, order)), outputs(case.estimator, case.X)[order])
    assert_same_bits(case.estimator.predict(rows(case.X, order)), case.estimator.predict(case.X)[order])


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMRegressor, GRUClassifier])
@pytest.mark.parametrize("depth", DEPTHS)
def test_more_sequences_than_one_batch_of_prediction(cls, depth):
    """Prediction goes by falling length, a batch of sequences and a piece of time at a time."""
    X = make_ragged(n=PREDICT_ROWS + 40, longest=2 * PREDICT_STEPS + 20)
    estimator = make_estimator(cls, depth).fit(X[:40], make_targets(cls, X[:40]))
    whole = outputs(estimator, X)
    for indices in ([0], [1], range(3, 17), range(PREDICT_ROWS - 5, PREDICT_ROWS + 5)):
        assert_same_bits(outputs(estimator, rows(X, indices)), whole[list(indices)])


# --- the memory that X lies in ---------------------------------------------------------------------------------------


def assert_same_model(case, X, y=None):
    """A fit and a prediction on ``X`` have the bits of those on ``case.X``."""
    estimator = case.again().fit(X, case.y if y is None else y)
    assert_same_weights(estimator, case.estimator)
    expected = outputs(case.estimator, case.X)
    assert_same_bits(outputs(estimator, X), expected)
    assert_same_bits(outputs(case.estimator, X), expected)


def every_sequence(case, change):
    """X changed as a whole where it is an array, sequence by sequence where it is a list."""
    return [change(x) for x in case.X] if isinstance(case.X, list) else change(case.X)


def test_read_only_memory_maps(case, tmp_path):
    joblib.dump((case.X, case.y), tmp_path / "data")
    X, y = joblib.load(tmp_path / "data", mmap_mode="r")
    one = X[0] if isinstance(X, list) else X
    assert isinstance(one, np.memmap)
    assert not one.flags.writeable
    assert_same_model(case, X, y)


def test_read_only_arrays(case):
    def lock(x):
        x = x.copy()
        x.flags.writeable = False
        return x

    assert_same_model(case, every_sequence(case, lock), lock(case.y))


def test_fortran_order(case):
    assert_same_model(case, every_sequence(case, np.asfortranarray))


def test_views_with_gaps_and_backwards(case):
    def spread(x):
        wide = np.full(tuple(2 * n + 1 for n in x.shape), np.nan)
        view = wide[tuple(slice(-2, None, -2) for _ in x.shape)]
        view[...] = x
        assert not view.flags.c_contiguous or view.size <= 1
        return view

    assert_same_model(case, every_sequence(case, spread), np.repeat(case.y, 2)[::2])


def test_the_axes_in_another_order_in_memory():
    X = make_array()
    y = make_targets(GRUClassifier, X)
    time_major = np.ascontiguousarray(X.transpose(1, 0, 2)).transpose(1, 0, 2)
    channels_first = np.ascontiguousarray(X.transpose(0, 2, 1)).transpose(0, 2, 1)
    expected = make_estimator(GRUClassifier).fit(X, y)
    for other in (time_major, channels_first):
        assert not other.flags.c_contiguous
        assert_same_weights(make_estimator(GRUClassifier).fit(other, y), expected)
        assert_same_bits(expected.predict_proba(other), expected.predict_proba(X))


def test_the_other_byte_order(case):
    assert_same_model(case, every_sequence(case, lambda x: x.astype(x.dtype.newbyteorder())))


# --- the same sequences in another container -------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["ragged", "scalars"])
@pytest.mark.parametrize("cls", CLASSES)
def test_containers_of_ragged_sequences(cls, layout):
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    estimator = make_estimator(cls).fit(X, y)
    expected = outputs(estimator, X)
    containers = {
        "tuple": tuple(X),
        "object array": object_array(X),
        "series": pd.Series(X),
        "nested lists": [x.tolist() for x in X],
        "arrays of objects": [x.astype(object) for x in X],
        "data frames": [pd.DataFrame(x) if x.ndim == 2 else pd.Series(x) for x in X],
    }
    for name, container in containers.items():
        other = make_estimator(cls).fit(container, list(y))
        assert_same_weights(other, estimator)
        np.testing.assert_array_equal(outputs(estimator, container), expected, strict=True, err_msg=name)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_list_of_equal_lengths_is_the_array(cls, depth):
    X = make_array()
    y = make_targets(cls, X)
    array = make_estimator(cls, depth).fit(X, y)
    for container in (list(X), tuple(X), object_array(X), X.tolist(), X.astype(object)):
        other = make_estimator(cls, depth).fit(container, y)
        assert_same_weights(other, array)
        assert other.n_features_in_ == array.n_features_in_ == 3
        assert_same_bits(outputs(array, container), outputs(array, X))
        assert_same_bits(outputs(other, X), outputs(array, X))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_table_is_the_array_of_one_feature(cls, depth):
    X = make_array()[:, :, 0]
    y = make_targets(cls, X)
    table, array = make_estimator(cls, depth).fit(X, y), make_estimator(cls, depth).fit(X[:, :, np.newaxis], y)
    assert_same_weights(table, array)
    assert (table.n_features_in_, array.n_features_in_) == (8, 1)
    expected = outputs(table, X)
    for estimator, form in itertools.product((table, array), (X, X[:, :, np.newaxis], list(X), pd.DataFrame(X))):
        assert_same_bits(outputs(estimator, form), expected)


def test_a_sequence_does_not_see_the_padding_that_others_need():
    """Shorter and longer company, not only more of it."""
    X = make_ragged()
    estimator = make_estimator(LSTMClassifier, "deep").fit(X, make_targets(LSTMClassifier, X))
    longer = [*X[:5], np.full((3 * PREDICT_STEPS, 3), 1e30), np.full((1, 3), -1e30)]
    assert_same_bits(estimator.predict_proba(longer)[:5], estimator.predict_proba(X)[:5])


# --- numbers of other types ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["array", "ragged", "table"])
@pytest.mark.parametrize("cls", CLASSES)
def test_dtypes(cls, layout, dtype):
    """What the network computes in is ``dtype``'s affair; a regressor answers in the dtype of X."""
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    X = [x.astype(np.float32) for x in X] if isinstance(X, list) else X.astype(np.float32)
    X_64 = [x.astype(np.float64) for x in X] if isinstance(X, list) else X.astype(np.float64)
    estimator = make_estimator(cls, dtype=dtype).fit(X, y)
    assert {array.dtype for array in estimator.weights_.values()} == {np.dtype(dtype)}
    assert_same_weights(make_estimator(cls, dtype=dtype).fit(X_64, y), estimator)
    narrow, wide = outputs(estimator, X), outputs(estimator, X_64)
    if is_classifier(estimator):
        assert narrow.dtype == dtype
        assert_same_bits(narrow, wide)
    else:
        assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        assert_same_bits(narrow, wide.astype(np.float32))


@pytest.mark.parametrize("cls", [LSTMClassifier, GRURegressor])
def test_whole_numbers_and_booleans(cls):
    X = np.random.default_rng(0).integers(0, 2, size=(40, 8, 3))
    y = make_targets(cls, X)
    estimator = make_estimator(cls).fit(X.astype(np.float64), y)
    for dtype in (np.int64, np.uint8, bool):
        assert_same_weights(make_estimator(cls).fit(X.astype(dtype), y), estimator)
        assert_same_bits(outputs(estimator, X.astype(dtype)), outputs(estimator, X.astype(np.float64)))
    assert_same_weights(make_estimator(cls).fit(X.astype(np.float16), y), estimator)


@pytest.mark.parametrize("cls", CLASSES)
def test_double_precision_is_close_to_single_and_is_not_it(cls):
    X = make_array()
    y = make_targets(cls, X)
    single, double = (
        outputs(make_estimator(cls, "deep", dtype=dtype).fit(X, y), X) for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)
    assert not np.array_equal(single, double)


# --- long sequences --------------------------------------------------------------------------------------------------

LAYERS = {RNNClassifier: RNN, LSTMClassifier: LSTM, GRUClassifier: GRU,
          RNNRegressor: RNN, LSTMRegressor: LSTM, GRURegressor: GRU}  # fmt: skip


def head_outputs(estimator, X):
    """Outputs of the head, from one forward of whole sequences through `fastrecur.layers`."""
    lengths = np.array([len(x) for x in X])
    padded = np.zeros((len(X), lengths.max(), X[0].shape[1]))
    for row, x in zip(padded, X, strict=True):
        row[: len(x)] = x
    weights = dict(estimator.weights_)
    head_weight, head_bias = weights.pop("head_weight"), weights.pop("head_bias")
    options = {"num_layers": estimator.num_layers, "bidirectional": estimator.bidirectional, "dtype": estimator.dtype}
    layer = LAYERS[type(estimator)](X[0].shape[1], estimator.hidden_size, **options)
    layer.load_parameters(weights)
    y, _ = layer.forward(padded, lengths=lengths)
    n_hidden = estimator.hidden_size
    last = y[np.arange(len(X)), lengths - 1, :n_hidden]
    pooled = np.ascontiguousarray(np.concatenate([last, y[:, 0, n_hidden:]], axis=1))
    out = np.empty((len(X), len(head_bias)), estimator.dtype)
    head.head_forward(pooled, np.ascontiguousarray(head_weight.T), head_bias, out)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [{}, {"num_layers": 2}, {"bidirectional": True}, DEPTHS["deep"]], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_prediction_in_pieces_of_time_is_one_forward(cls, layers, dtype):
    """Bit for bit: the pieces hand on the states, of every layer, of sequences that end in different pieces."""
    n_steps = 300
    assert n_steps > 4 * PREDICT_STEPS
    X = make_array(n=7, n_steps=n_steps)
    y = make_targets(cls, X)
    estimator = make_estimator(cls, max_iter=1, dtype=dtype, **layers).fit(X, y)
    ragged = [x[:length] for x, length in zip(X, [300, 1, 64, 65, 128, 299, 17], strict=True)]
    for sequences in (X, ragged):
        expected = head_outputs(estimator, sequences)
        if is_classifier(estimator):
            probabilities = np.empty_like(expected)
            head.softmax(expected, probabilities)
            assert_same_bits(estimator.predict_proba(sequences), probabilities)
            assert_same_bits(estimator.predict(sequences), estimator.classes_[expected.argmax(axis=1)])
        else:
            np.testing.assert_allclose(estimator.predict(sequences), expected[:, 0] * y.std() + y.mean(), rtol=1e-12)


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
def test_probabilities(cls):
    X = make_ragged()
    estimator = make_estimator(cls).fit(X, make_targets(cls, X))
    probabilities = estimator.predict_proba(X)
    assert probabilities.shape == (40, 3)
    assert (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(X)), probabilities, rtol=1e-6)
    assert_same_bits(estimator.predict(X), estimator.classes_[probabilities.argmax(axis=1)])
