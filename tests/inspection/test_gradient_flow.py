"""`gradient_flow` and `input_gradients`: against central differences, by lag, and in all forms of networks and X."""

import re

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNClassifier
from fastrecur.estimators.quantiles import pinball_losses
from fastrecur.forecasting import GRUForecaster
from fastrecur.inspection import gradient_flow, input_gradients
from fastrecur.inspection.gradients import effective_memory
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import make_array, make_ragged, make_targets
from tests.helpers import central_differences
from tests.inspection.data import CELLS, CLASSIFIERS, FORMS, REGRESSORS, fitted, loss, step, step_targets

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def moved_loss(model, x, y, t, dh=0.0, dc=0.0):
    """E of a sequence x (T, F) whose h_t is moved by dh and whose c_t, which h_t is made of, by dc."""
    state = [np.zeros((1, model.hidden_size)) for _ in range(2 if model._cell == "lstm" else 1)]
    for s, x_s in enumerate(x):
        state = step(model, x_s, state)
        if s == t:
            if np.any(dc):
                output = state[0] / np.tanh(state[1])
                state[1] = state[1] + dc
                state[0] = output * np.tanh(state[1])
            state[0] = state[0] + dh
    return loss(model, state[0], y)


def norms_by_differences(model, x, y, place):
    """Norms of dE/dh_t or dE/dc_t, (T,), by central differences."""
    norms = []
    for t in range(len(x)):
        moved = np.zeros((1, model.hidden_size))
        gradient = central_differences(moved, lambda t=t, moved=moved: moved_loss(model, x, y, t, **{place: moved}))
        norms.append(np.linalg.norm(gradient))
    return np.array(norms)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [CLASSIFIERS, REGRESSORS], ids=["classifier", "regressor"])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_central_differences(cell, classes, form):
    X = FORMS[form](n=12)
    model, y = fitted(classes[cell], X)
    flow = gradient_flow(model, X, y)
    assert ("cell" in flow) == (cell == "lstm")
    for i in range(4):
        expected = norms_by_differences(model, X[i], y[i], "dh")
        np.testing.assert_allclose(flow.hidden[i], expected, rtol=1e-5, atol=1e-10)
        if cell == "lstm":
            np.testing.assert_allclose(
                flow.cell[i], norms_by_differences(model, X[i], y[i], "dc"), rtol=1e-5, atol=1e-10
            )


def test_relu_equals_central_differences():
    X = make_array(n=12)
    model, y = fitted(RNNClassifier, X, nonlinearity="relu", init="irnn")
    flow = gradient_flow(model, X, y)
    for i in range(4):
        np.testing.assert_allclose(flow.hidden[i], norms_by_differences(model, X[i], y[i], "dh"), rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_input_gradients_equal_central_differences(cell):
    X = make_ragged(n=12)
    model, y = fitted(CLASSIFIERS[cell], X)
    found = input_gradients(model, X, y)
    for i in range(4):
        x = X[i].copy()
        expected = central_differences(x, lambda x=x, i=i: moved_loss(model, x, y[i], -1))
        assert found[i].shape == x.shape
        np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_float32_comes_close_to_float64(cell):
    X = make_array(n=40, n_steps=30)
    model, y = fitted(CLASSIFIERS[cell], X, hidden_size=33)
    flow = gradient_flow(model, X, y).hidden
    model._architecture["dtype"] = "float32"
    single = gradient_flow(model, X, y).hidden
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, flow, rtol=2e-5)


def test_small_gradients_do_not_become_zero():
    X = make_array(n=20, n_steps=40)
    model, y = fitted(RNNClassifier, X, dtype="float32", hidden_size=16)
    model.weights_["weight_hh_l0"] *= 0.2  # the squares of 1e-25 are 0 in float32
    by_lag = gradient_flow(model, X, y).by_lag
    assert (by_lag > 0).all()
    assert by_lag[-1] < 1e-23
    assert np.abs(np.diff(np.log(by_lag), n=2)).max() < 2  # about the same factor each step


def test_threads_and_batches_do_not_matter(monkeypatch):
    X = make_ragged(n=70, longest=30)
    model, y = fitted(LSTMClassifier, X, dtype="float32", num_layers=2, bidirectional=True)
    expected = gradient_flow(model, X, y)
    model.n_threads = 2
    threads = gradient_flow(model, X, y)
    monkeypatch.setattr("fastrecur.network.flow.FLOW_ROWS", 5)
    monkeypatch.setattr("fastrecur.network.flow.FLOW_STEPS", 100)
    batches = gradient_flow(model, X, y)
    for flow in (threads, batches):
        for name in ("hidden", "cell", "hidden_reverse", "cell_reverse"):
            for one, other in zip(expected[name], flow[name], strict=True):
                np.testing.assert_array_equal(one, other)


# --- what is made of the norms ---------------------------------------------------------------------------------------


def test_lags_count_from_the_end_of_each_sequence():
    X = make_ragged(n=9, longest=6)
    model, y = fitted(LSTMClassifier, X, bidirectional=True)
    flow = gradient_flow(model, X, y)
    for name, by_lag in (("hidden", "by_lag"), ("cell", "cell_by_lag")):
        expected = [np.median([h[-1 - lag] for h in flow[name] if len(h) > lag]) for lag in range(6)]
        np.testing.assert_allclose(flow[by_lag], expected)
        expected = [np.median([h[lag] for h in flow[name + "_reverse"] if len(h) > lag]) for lag in range(6)]
        np.testing.assert_allclose(flow[by_lag + "_reverse"], expected)


def test_lags_of_an_array():
    X = make_array(n=10)
    model, y = fitted(GRUClassifier, X)
    flow = gradient_flow(model, X, y)
    assert flow.hidden.shape == (10, 8)
    np.testing.assert_allclose(flow.by_lag, np.median(flow.hidden, axis=0)[::-1])


def test_a_padded_table_gives_what_the_list_gives():
    X = make_array(n=10)[:, :, 0]
    model, y = fitted(GRUClassifier, X)
    as_list = gradient_flow(model, list(X), y).hidden
    assert isinstance(as_list, list)
    np.testing.assert_array_equal(gradient_flow(model, X, y).hidden, np.array(as_list))


def test_effective_memory():
    assert effective_memory(np.array([1.0, 0.1, 0.0011, 0.0009, 1.0])) == 3
    assert effective_memory(np.array([1.0, 1.0])) == 2
    assert effective_memory(np.zeros(4)) == 0


def test_spectral_radius():
    X = make_array(n=10)
    model, y = fitted(RNNClassifier, X)
    expected = np.abs(np.linalg.eigvals(model.weights_["weight_hh_l0"])).max()
    assert gradient_flow(model, X, y).spectral_radius == pytest.approx(expected)
    for cls, name in ((LSTMClassifier, "weight_hh_l0"), (GRUClassifier, "weight_hh_l0_reverse")):
        model, y = fitted(cls, X, num_layers=2, bidirectional=True)
        flow = gradient_flow(model, X, y, layer=0)
        candidate = np.abs(np.linalg.eigvals(model.weights_[name][14:21])).max()
        assert flow["spectral_radius" + name[12:]] == pytest.approx(candidate)


# --- forms of networks and X -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_poolings_reach_every_step_at_once(pooling):
    X = make_array(n=12)
    model, y = fitted(GRUClassifier, X, pooling=pooling, init="pytorch")
    model.weights_["weight_hh_l0"] *= 0.0
    model.weights_["bias_ih_l0"][7:14] = -50.0  # no update is kept: no gradient from later steps
    hidden = gradient_flow(model, X, y).hidden
    if pooling == "mean":
        np.testing.assert_allclose(hidden, hidden[:, :1].repeat(8, axis=1))
    else:
        assert (np.count_nonzero(hidden, axis=1) > 1).all()


@pytest.mark.parametrize("form", FORMS)
def test_targets_of_time_steps(form):
    """The mean over the steps is the sum of each step's own flow; "last" is the last step's."""
    X = FORMS[form](n=12)
    y = step_targets(LSTMRegressor, X)
    model, _ = fitted(LSTMRegressor, X, y, return_sequences=True)
    last = gradient_flow(model, X, y, targets="last")
    for i, x in enumerate(X[:4]):
        whole = input_gradients(model, [x], [y[i]])[0]
        parts = [input_gradients(model, [x[:t]], [y[i][:t]], targets="last")[0] for t in range(1, len(x) + 1)]
        total = np.zeros_like(x)
        for part in parts:
            total[: len(part)] += part
        np.testing.assert_allclose(whole, total / len(x), rtol=1e-9, atol=1e-15)
        alone = gradient_flow(model, [x], [y[i]], targets="last").hidden[0]
        np.testing.assert_allclose(last.hidden[i], alone)


def test_layers():
    X = make_array(n=12)
    model, y = fitted(GRUClassifier, X, num_layers=3)
    below, last = gradient_flow(model, X, y, layer=0), gradient_flow(model, X, y)
    np.testing.assert_array_equal(last.hidden, gradient_flow(model, X, y, layer=2).hidden)
    assert (below.hidden[:, -1] < 10 * last.hidden[:, -1]).all()
    assert np.abs(below.hidden - last.hidden).min() > 0


def test_tokens():
    X = [np.array([1, 2, 0, 3]), np.array([3, 1])] * 6
    model, y = fitted(LSTMClassifier, X, np.arange(12) % 2, embedding_dim=5)
    assert [len(h) for h in gradient_flow(model, X, y).hidden[:2]] == [4, 2]
    found = input_gradients(model, X, y)
    table = model.weights_["embedding"].astype(np.float64)
    for i in range(2):
        x = table[X[i]]
        expected = central_differences(x, lambda x=x, i=i: moved_loss(model, x, y[i], -1))
        np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-10)


def test_layout_of_input_gradients():
    for X, shape in ((make_array(n=10), (10, 8, 3)), (make_array(n=10)[:, :, 0], (10, 8))):
        model, y = fitted(LSTMClassifier, X)
        assert input_gradients(model, X, y).shape == shape
    X = [x[:, 0] for x in make_ragged(n=10)]
    model, y = fitted(LSTMClassifier, X)
    assert [g.shape for g in input_gradients(model, X, y)] == [x.shape for x in X]


def test_a_pipeline_transforms_x():
    X = make_array(n=20)
    y = make_targets(LSTMClassifier, X)
    model = LSTMClassifier(7, max_iter=2, random_state=0)
    pipeline = make_pipeline(PerTimestep(StandardScaler()), model).fit(X, y)
    scaled = pipeline[0].transform(X)
    np.testing.assert_array_equal(gradient_flow(pipeline, X, y).hidden, gradient_flow(model, scaled, y).hidden)
    np.testing.assert_array_equal(input_gradients(pipeline, X, y), input_gradients(model, scaled, y))


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.5, 0.9]])
def test_the_network_of_a_forecaster(quantiles):
    """E of quantiles is the mean of their pinball losses."""
    options = {"hidden_size": 4, "max_iter": 3, "random_state": 0, "dtype": "float64"}
    rng = np.random.default_rng(1)
    model = GRUForecaster(5, 2, quantiles=quantiles, **options).fit(rng.normal(size=60)).network_
    X, y = rng.normal(size=(4, 5, 1)), rng.normal(size=(4, 2))
    scaled = ((y - model._y_mean) / model._y_scale)[:, :, np.newaxis]

    def total(X):
        z = model.transform(X) @ model.weights_["head_weight"].T + model.weights_["head_bias"]
        errors = z.reshape(4, 2, -1) - scaled
        if quantiles is None:
            return 0.5 * np.mean(errors**2, axis=(1, 2)).sum()
        return pinball_losses(errors, np.array(quantiles)).mean(axis=(1, 2)).sum()

    moved = X.copy()
    expected = central_differences(moved, lambda: total(moved))
    np.testing.assert_allclose(input_gradients(model, X, y), expected, rtol=1e-5, atol=1e-9)
    assert gradient_flow(model, X, y).hidden.shape == (4, 5)
    with pytest.raises(ValueError, match=r"y has 6 target\(s\), but fit saw 2"):
        gradient_flow(model, X, np.ones((4, 6)))


def test_weights_of_classes_do_not_count():
    X = make_array(n=20)
    model, y = fitted(GRUClassifier, X, class_weight={"high": 5.0})
    weighted = gradient_flow(model, X, y).hidden
    model.class_weight = None
    np.testing.assert_array_equal(weighted, gradient_flow(model, X, y).hidden)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"layer": 1}, ValueError, "layer=1 is none of 1 layer(s)"),
        ({"layer": -2}, ValueError, "layer=-2 is none of 1 layer(s)"),
        ({"layer": True}, TypeError, "layer must be an int"),
        ({"layer": 0.0}, TypeError, "layer must be an int"),
        ({"targets": "first"}, ValueError, "targets must be one of 'all', 'last'"),
        ({"targets": "last"}, ValueError, "it needs return_sequences=True"),
    ],
)
def test_bad_arguments(arguments, error, text):
    X = make_array(n=10)
    model, y = fitted(GRUClassifier, X)
    with pytest.raises(error, match=re.escape(text)):
        gradient_flow(model, X, y, **arguments)


def test_bad_targets():
    X = make_array(n=10)
    model, y = fitted(GRUClassifier, X)
    for bad, text in ((None, "requires y"), (y[:3], "3 target"), (["new"] * 10, "'new'], which fit has not seen")):
        with pytest.raises(ValueError, match=text):
            gradient_flow(model, X, bad)
    model, y = fitted(LSTMRegressor, X)
    with pytest.raises(ValueError, match=r"2 target.s., but fit saw 1"):
        input_gradients(model, X, np.ones((10, 2)))


def test_bad_estimators():
    X = make_array(n=10)
    with pytest.raises(
        TypeError, match="must be one of fastrecur's, or a Pipeline that ends with one; found a Standard"
    ):
        gradient_flow(make_pipeline(StandardScaler()), X, np.ones(10))
    with pytest.raises(ValueError, match="not fitted"):
        gradient_flow(GRUClassifier(), X, np.ones(10))
    model, y = fitted(GRUClassifier, X)
    with pytest.raises(ValueError, match="X has 2 features"):
        gradient_flow(model, X[:, :, :2], y)
