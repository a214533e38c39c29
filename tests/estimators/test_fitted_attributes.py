"""What a fit leaves on the estimator."""

import numpy as np
import pytest
from sklearn.base import is_classifier

from tests.estimators.data import CLASSES, DEPTHS, assert_same_weights, full_batch, make_array, make_problem, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (3, False), (1, True), (2, True)])
@pytest.mark.parametrize("cls", CLASSES)
def test_weights_have_the_names_and_shapes_of_pytorch(cls, num_layers, bidirectional):
    X, y = make_problem(cls)
    estimator = quick(cls, num_layers=num_layers, bidirectional=bidirectional).fit(X, y)
    cell, n_directions = (
        cls.__name__[: -len("Classifier" if is_classifier(estimator) else "Regressor")],
        1 + bidirectional,
    )
    n_gates = 8 * GATES[cell]
    n_outputs = 3 if is_classifier(estimator) else 1
    expected = {"head_weight": (n_outputs, 8 * n_directions), "head_bias": (n_outputs,)}
    for layer in range(num_layers):
        for end in [f"_l{layer}", f"_l{layer}_reverse"][:n_directions]:
            expected["weight_ih" + end] = (n_gates, 8 * n_directions if layer else 3)
            expected["weight_hh" + end] = (n_gates, 8)
            biases = ["bias_ih", "bias_hh"] if cell == "GRU" else ["bias"]
            expected |= {bias + end: (n_gates,) for bias in biases}
    assert {name: array.shape for name, array in estimator.weights_.items()} == expected
    assert {array.dtype for array in estimator.weights_.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("cls", CLASSES)
def test_fitted_attributes(cls):
    X, y = make_problem(cls)
    estimator = quick(cls, max_iter=4).fit(X, y)
    assert hasattr(estimator, "classes_") == is_classifier(estimator)
    assert estimator.n_features_in_ == 3
    assert estimator.n_outputs_ == (3 if is_classifier(estimator) else 1)
    assert estimator.n_iter_ == 4
    assert estimator.t_ == 4 * 60
    curves = estimator.loss_curve_, estimator.grad_norm_curve_, estimator.clip_fraction_
    for curve in curves:
        assert type(curve) is list
        assert len(curve) == 4
        assert all(type(value) is float and value >= 0.0 for value in curve)
    assert estimator.loss_ == estimator.loss_curve_[-1]
    assert estimator.best_loss_ == min(estimator.loss_curve_)
    assert estimator.validation_scores_ is None
    assert estimator.best_validation_score_ is None


@pytest.mark.parametrize("cls", CLASSES)
def test_a_second_fit_is_a_first_one(cls):
    """Of other data, another network and without early stopping: nothing of the first is left."""
    X, y = make_problem(cls)
    estimator = quick(cls, early_stopping=True, num_layers=2).fit(X, y)
    other = make_array(n=30)[:, :, :2]
    targets = np.arange(30) % 2
    estimator.set_params(early_stopping=False, num_layers=1).fit(other, targets)
    fresh = quick(cls).fit(other, targets)
    assert vars(estimator).keys() == vars(fresh).keys()
    assert_same_weights(estimator, fresh)
    for name in ("n_features_in_", "n_outputs_", "validation_scores_", "loss_curve_", "t_", "best_loss_"):
        assert getattr(estimator, name) == getattr(fresh, name), name


@pytest.mark.parametrize("cls", CLASSES)
def test_initial_weights(cls):
    """Glorot's input weights, orthogonal recurrent ones gate by gate, zero biases but for the forget gate's."""
    X, y = make_problem(cls)
    weights = full_batch(cls, max_iter=1, learning_rate_init=1e-300, **DEPTHS["deep"]).fit(X, y).weights_
    for name, array in weights.items():
        gates = np.split(array, len(array) // 8 if name.startswith(("weight", "bias")) else 1)
        if "weight_hh" in name:
            for gate in gates:
                np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-12)
        elif "weight" in name:
            for gate in gates:
                limit = np.sqrt(6.0 / sum(gate.shape))
                assert 0.7 * limit < np.abs(gate).max() <= limit, name
        else:
            expected = [1.0 if len(gates) == 4 and k == 1 else 0.0 for k in range(len(gates))]
            np.testing.assert_allclose([gate.mean() for gate in gates], expected, atol=1e-290)
