"""scikit-learn's own suite of checks, over the six estimators."""

import pytest
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    estimator_checks_generator,
    parametrize_with_checks,
)

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor

CLASSES = (RNNClassifier, RNNRegressor, LSTMClassifier, LSTMRegressor, GRUClassifier, GRURegressor)

#: Only where a shuffled minibatch cannot hold it.
SHUFFLED = {
    name: "the minibatches of repeated sequences are not those of weighted ones"
    for name in ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
}


def quick(cls):
    return cls(hidden_size=16, max_iter=60, random_state=0)


@parametrize_with_checks([quick(cls) for cls in CLASSES], expected_failed_checks=lambda estimator: SHUFFLED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_are_repetitions_where_no_minibatch_is_drawn(cls):
    estimator = cls(hidden_size=8, max_iter=30, batch_size=1000, shuffle=False, dtype="float64", random_state=0)
    check_sample_weight_equivalence_on_dense_data(cls.__name__, estimator)


@pytest.mark.parametrize("options", [{"max_iter": 5}, {"max_iter": 2000, "alpha": 10.0, "tol": 1e-10}], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_are_repetitions_for_lbfgs(cls, options):
    """For some iterations, or to a minimum; on the way there the line search lets rounding errors grow."""
    estimator = cls(hidden_size=8, solver="lbfgs", dtype="float64", random_state=0, **options)
    check_sample_weight_equivalence_on_dense_data(cls.__name__, estimator)


@pytest.mark.parametrize("cls", CLASSES)
def test_number_of_checks(cls):
    """A tag that says too much silently drops nearly all checks."""
    names = [check.func.__name__ for _, check in estimator_checks_generator(quick(cls), legacy=True)]
    assert len(names) >= 50, names
