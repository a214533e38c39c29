"""Masked values are refused, wherever they are; a masked array without any is an array."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from fastrecur import GRURegressor, LSTMClassifier
from fastrecur.masks import refuse_masked
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import assert_same_bits, make_array, make_targets, object_array

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = make_array(n=12)
Y = make_targets(LSTMClassifier, X)


def masked(array, n=1):
    mask = np.zeros(array.shape, bool)
    mask.flat[:n] = True
    return np.ma.masked_array(array, mask)


def quick(cls, **parameters):
    return cls(**{"hidden_size": 4, "max_iter": 1, "random_state": 0, **parameters})


FORMS = {
    "array": (masked(X, 3), r"X has 3 masked"),
    "table": (masked(X[:, :, 0]), r"X has 1 masked"),
    "sequence": ([*X[:11], masked(X[11], 2)], r"X\[11\] has 2 masked"),
    "sequence of one feature": ([masked(x[:, 0]) for x in X], r"X\[0\] has 1 masked"),
    "tuple": (tuple(map(masked, X)), r"X\[0\] has 1 masked"),
    "objects": (object_array([*X[:11], masked(X[11])]), r"X\[11\] has 1 masked"),
    "time step": ([[*x[:-1], masked(x[-1])] for x in X], r"X\[0\]\[7\] has 1 masked"),
    "value": ([[1.0, 2.0], [np.ma.masked, 3.0]] * 6, r"X\[1\]\[0\] has 1 masked"),
}


@pytest.mark.parametrize(("bad", "found"), FORMS.values(), ids=FORMS)
def test_x(bad, found):
    with pytest.raises(ValueError, match=rf"{found} value.*ma\.filled.*leave them out"):
        quick(LSTMClassifier).fit(bad, Y)


def test_x_of_a_prediction():
    estimator = quick(LSTMClassifier).fit(X, Y)
    with pytest.raises(ValueError, match="X has 1 masked"):
        estimator.predict(masked(X))


def test_x_of_preprocessing():
    with pytest.raises(ValueError, match=r"X\[1\] has 1 masked"):
        PerTimestep(StandardScaler()).fit([X[0], masked(X[1])])


def test_targets_and_weights():
    y = np.arange(12.0)
    with pytest.raises(ValueError, match="y has 1 masked"):
        quick(GRURegressor).fit(X, masked(y))
    with pytest.raises(ValueError, match="sample_weight has 1 masked"):
        quick(GRURegressor).fit(X, y, sample_weight=masked(y))


@pytest.mark.parametrize("form", [masked(X, 0), np.ma.masked_array(X), [masked(x, 0) for x in X]], ids=range(3))
def test_no_masked_value_is_no_mask(form):
    expected = quick(LSTMClassifier).fit(X, Y).predict_proba(X)
    probabilities = quick(LSTMClassifier).fit(form, Y).predict_proba(form)
    assert type(probabilities) is np.ndarray
    assert_same_bits(probabilities, expected)


@pytest.mark.parametrize("values", [None, 3.0, "text", ["text", "s"], np.array([None, 1.0]), [], [[]]], ids=str)
def test_others_pass(values):
    refuse_masked(values, "X")
