"""`gate_activations` and `saturation`: against the reference cells, and in all forms of networks and X."""

import re

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier
from fastrecur.forecasting import GRUForecaster
from fastrecur.inspection import gate_activations, saturation
from fastrecur.kernels import reference
from fastrecur.kernels.steps import step_table
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import CELLS, CLASSIFIERS, FORMS, fitted, recurrent_weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: Names of the reference's record, in its order.
RECORDS = {"lstm": ("input", "forget", "candidate", "output"), "gru": ("reset", "update", "candidate")}


def reference_activations(model, x, layer, reverse):
    """Gates and states of one sequence x (T, F), each (T, H)."""
    n_steps, n_hidden = len(x), model.hidden_size
    weights = recurrent_weights(model, layer, "_reverse" if reverse else "")
    steps = step_table([n_steps], reverse)
    h, c = np.zeros((2, n_steps + 1, n_hidden))
    gates = np.empty((n_steps, 4 * n_hidden))
    if model._cell == "rnn":
        reference.rnn_forward(*weights, x, steps, h)
        return {"hidden": h[1:]}
    if model._cell == "gru":
        reference.gru_forward(*weights, x, steps, h, gates)
        found = {"hidden": h[1:]}
    else:
        reference.lstm_forward(*weights, x, steps, h, c, gates)
        found = {"hidden": h[1:], "cell": c[1:]}
    return found | dict(zip(RECORDS[model._cell], np.split(gates, 4, axis=1), strict=False))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("hidden_size", [7, 33])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_the_reference(cell, hidden_size, form):
    X = FORMS[form](n=20)
    model, _ = fitted(CLASSIFIERS[cell], X, hidden_size=hidden_size, num_layers=2, bidirectional=True)
    for direction in ("forward", "reverse"):
        below = gate_activations(model, X, layer=0, direction=direction)
        above = gate_activations(model, X, direction=direction)
        both = [gate_activations(model, X, layer=0, direction=d)["hidden"] for d in ("forward", "reverse")]
        for i in range(5):
            inputs = np.concatenate([part[i] for part in both], axis=1)
            for found, x, layer in ((below, X[i], 0), (above, inputs, 1)):
                expected = reference_activations(model, x, layer, direction == "reverse")
                assert found.keys() == expected.keys()
                for name, values in expected.items():
                    np.testing.assert_allclose(found[name][i], values, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_forms(cell):
    X = make_array(n=10)
    model, _ = fitted(CLASSIFIERS[cell], X, dtype="float32")
    for values in gate_activations(model, X).values():
        assert values.shape == (10, 8, 7)
        assert values.dtype == np.float32
    ragged = make_ragged(n=10)
    for values in gate_activations(model, ragged).values():
        assert [part.shape for part in values] == [(len(x), 7) for x in ragged]
    np.testing.assert_array_equal(gate_activations(model, X)["hidden"], model.hidden_states(X))


def test_names():
    X = make_array(n=10)
    names = {cls: list(gate_activations(fitted(cls, X)[0], X)) for cls in CLASSIFIERS.values()}
    assert names[RNNClassifier] == ["hidden"]
    assert names[GRUClassifier] == ["reset", "update", "candidate", "hidden"]
    assert names[LSTMClassifier] == ["forget", "input", "candidate", "output", "cell", "hidden"]


def test_batches_do_not_matter(monkeypatch):
    X = make_ragged(n=50, longest=30)
    model, _ = fitted(LSTMClassifier, X, dtype="float32")
    expected = gate_activations(model, X)
    monkeypatch.setattr("fastrecur.network.flow.FLOW_ROWS", 3)
    monkeypatch.setattr("fastrecur.network.flow.FLOW_STEPS", 50)
    for name, values in gate_activations(model, X).items():
        np.testing.assert_array_equal(np.concatenate(values), np.concatenate(expected[name]))


def test_saturation_counts():
    X = make_ragged(n=30)
    for cls, names in ((LSTMClassifier, ["forget", "input", "output"]), (GRUClassifier, ["reset", "update"])):
        model, _ = fitted(cls, X)
        for bias in [name for name in model.weights_ if name.startswith("bias")]:
            model.weights_[bias] += np.linspace(-3, 3, len(model.weights_[bias]))
        shares, gates = saturation(model, X), gate_activations(model, X)
        assert list(shares) == names
        for name, share in shares.items():
            values = np.concatenate(gates[name])
            np.testing.assert_allclose(share.below_by_unit, (values < 0.1).mean(axis=0))
            np.testing.assert_allclose(share.above_by_unit, (values > 0.9).mean(axis=0))
            assert share.below == pytest.approx((values < 0.1).mean())
            assert share.above == pytest.approx((values > 0.9).mean())
        assert any(share.below > 0 for share in shares.values())
        assert any(share.above > 0 for share in shares.values())


def test_a_pipeline_transforms_x():
    X = make_array(n=20)
    model = GRUClassifier(7, max_iter=2, random_state=0)
    pipeline = make_pipeline(PerTimestep(StandardScaler()), model).fit(X, np.arange(20) % 2)
    expected = gate_activations(model, pipeline[0].transform(X))
    np.testing.assert_array_equal(gate_activations(pipeline, X)["update"], expected["update"])
    assert saturation(pipeline, X).keys() == {"reset", "update"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"direction": "backward"}, "direction must be one of 'forward', 'reverse', found 'backward'"),
        ({"direction": "reverse"}, "direction='reverse' needs a network with bidirectional=True"),
        ({"layer": 2}, "layer=2 is none of 1 layer(s)"),
    ],
)
@pytest.mark.parametrize("function", [gate_activations, saturation])
def test_bad_arguments(function, arguments, text):
    X = make_array(n=10)
    model, _ = fitted(GRUClassifier, X)
    with pytest.raises(ValueError, match=re.escape(text)):
        function(model, X, **arguments)


def test_an_rnn_has_no_gates():
    X = make_array(n=10)
    model, _ = fitted(RNNClassifier, X)
    with pytest.raises(ValueError, match="RNNClassifier has no gates"):
        saturation(model, X)


def test_a_forecaster_is_told_what_to_pass():
    forecaster = GRUForecaster(6, hidden_size=4, max_iter=1, random_state=0).fit(np.sin(np.arange(40.0)))
    with pytest.raises(TypeError, match=r"found the forecaster GRUForecaster\. Pass its network_, with windows"):
        gate_activations(forecaster, make_array(n=3))
    windows = np.sin(np.add.outer(np.arange(5.0), np.arange(6)))[:, :, np.newaxis]
    assert gate_activations(forecaster.network_, windows)["hidden"].shape == (5, 6, 4)


def test_bad_estimator():
    with pytest.raises(TypeError, match="found a StandardScaler"):
        gate_activations(StandardScaler(), make_array(n=3))
