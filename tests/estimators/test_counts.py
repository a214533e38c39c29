"""Parameters that count: NumPy's small integers are as good as Python's, True is no number."""

import re

import numpy as np
import pytest

from fastrecur import GRURegressor, LSTMClassifier, RNNClassifier
from tests.estimators.data import CLASSES, assert_same_bits, assert_same_weights, make_ragged, make_targets, outputs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COUNTS = ("hidden_size", "num_layers", "batch_size", "max_iter", "n_iter_no_change", "n_threads")

X = make_ragged(n=20)


def quick(cls, **parameters):
    return cls(**{"hidden_size": 4, "max_iter": 1, "random_state": 0, **parameters})


@pytest.mark.parametrize("value", [True, False, np.True_], ids=repr)
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("cls", CLASSES)
def test_true_and_false_are_refused(cls, name, value):
    text = f"'{name}' parameter of {cls.__name__} must be .*an int in the range.*Got {re.escape(repr(value))}"
    with pytest.raises(ValueError, match=text):
        quick(cls, **{name: value}).fit(X, make_targets(cls, X))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRURegressor])
def test_integers_of_numpy(cls, dtype):
    """100 units have 400 gates, which are no int8."""
    numbers = {"hidden_size": 100, "num_layers": 2, "batch_size": 7, "max_iter": 3, "n_iter_no_change": 2,
               "n_threads": 2}  # fmt: skip
    given = {name: dtype(number) for name, number in numbers.items()}
    y = make_targets(cls, X)
    estimator, expected = quick(cls, **given).fit(X, y), quick(cls, **numbers).fit(X, y)
    assert_same_weights(estimator, expected)
    assert_same_bits(outputs(estimator, X), outputs(expected, X))
    assert estimator.get_params() == expected.get_params()
    assert all(estimator.get_params()[name] is value for name, value in given.items())


def test_batches_of_more_sequences_than_an_int8_holds():
    X = make_ragged(n=300)
    y = make_targets(LSTMClassifier, X)
    small, python = (quick(LSTMClassifier, batch_size=size).fit(X, y) for size in (np.int8(100), 100))
    assert_same_weights(small, python)
