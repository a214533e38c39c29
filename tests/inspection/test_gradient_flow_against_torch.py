"""`gradient_flow` and `input_gradients` equal PyTorch's autograd: retained gradients of an unrolled cell, to 1e-5."""

import copy

import numpy as np
import pytest
from sklearn.base import is_classifier

from fastrecur.inspection import gradient_flow, input_gradients
from tests.estimators.data import make_array, make_targets
from tests.inspection.data import CELLS, CLASSIFIERS, FORMS, REGRESSORS, fitted, step_targets

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]


def cell_step(torch, model, end, x, state):
    """New state (h,) or (h, c) of one sequence, and what of it the gradient is kept of."""
    w_ih, w_hh = (torch.from_numpy(model.weights_[f"weight_{part}{end}"]) for part in ("ih", "hh"))
    if model._cell == "gru":
        b_ih, b_hh = (torch.from_numpy(model.weights_[f"bias_{part}{end}"]) for part in ("ih", "hh"))
        (rx, zx, nx), (rh, zh, nh) = (w_ih @ x + b_ih).chunk(3), (w_hh @ state[0] + b_hh).chunk(3)
        r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
        return ((1 - z) * torch.tanh(nx + r * nh) + z * state[0],)
    total = w_ih @ x + w_hh @ state[0] + torch.from_numpy(model.weights_[f"bias{end}"])
    if model._cell == "rnn":
        return (torch.tanh(total) if model.nonlinearity == "tanh" else torch.relu(total),)
    i, f, g, o = total.chunk(4)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def unrolled(torch, model, x):
    """States of one sequence by layer, direction and time step, all retaining their gradients."""
    inputs, kept = list(x), {}
    for k in range(model.num_layers):
        for d in range(2 if model.bidirectional else 1):
            end = f"_l{k}" + ("_reverse" if d else "")
            zero = torch.zeros(model.hidden_size, dtype=x.dtype)
            state, states = (zero,) * (2 if model._cell == "lstm" else 1), [None] * len(x)
            for t in reversed(range(len(x))) if d else range(len(x)):
                state = states[t] = cell_step(torch, model, end, inputs[t], state)
                for part in state:
                    part.retain_grad()
            kept[k, d] = states
        directions = [kept[k, d] for d in range(2 if model.bidirectional else 1)]
        inputs = [torch.cat([states[t][0] for states in directions]) for t in range(len(x))]
    return inputs, kept


def read_by_head(torch, model, outputs):
    """What the head reads: (D * H,), or (T, D * H) with targets of time steps."""
    h, n = torch.stack(outputs), model.hidden_size
    if model.return_sequences:
        return h
    if model.pooling == "last":
        return torch.cat([h[-1, :n], h[0, n:]])
    return h.mean(dim=0) if model.pooling == "mean" else h.amax(dim=0)


def loss(torch, model, outputs, y, targets):
    """E of one sequence, with PyTorch's own losses."""
    weight, bias = (torch.from_numpy(model.weights_[f"head_{name}"]) for name in ("weight", "bias"))
    z = read_by_head(torch, model, outputs) @ weight.T + bias
    if targets == "last":
        z, y = z[-1:], y[-1:]
    if is_classifier(model):
        labels = torch.as_tensor(np.searchsorted(model.classes_, y))
        return torch.nn.functional.cross_entropy(z, labels)
    wanted = (np.reshape(y, tuple(z.shape)) - model._y_mean) / model._y_scale
    return 0.5 * torch.nn.functional.mse_loss(z, torch.as_tensor(wanted).to(z.dtype))


def autograd(torch, model, x, y, layer, targets):
    """Norms of the gradients of the states, by name, and the gradient of x."""
    x = np.asarray(x) if model.embedding_dim is None else model.weights_["embedding"][x]
    x = torch.tensor(x.astype(model.dtype), requires_grad=True)
    outputs, kept = unrolled(torch, model, x)
    loss(torch, model, outputs, y, targets).backward()
    norms = {}
    for d in range(2 if model.bidirectional else 1):
        for place, name in enumerate(("hidden", "cell") if model._cell == "lstm" else ("hidden",)):
            grads = [state[place].grad for state in kept[layer, d]]
            norms[name + "_reverse" * d] = [0.0 if g is None else float(g.double().norm()) for g in grads]
    return norms, x.grad.numpy()


def assert_equal(torch, model, X, y, layer=-1, targets="all", rtol=1e-5):
    flow = gradient_flow(model, X, y, layer=layer, targets=targets)
    dx = input_gradients(model, X, y, targets=targets)
    for i in range(0, len(X), 3):
        norms, expected = autograd(torch, model, X[i], y[i], layer % model.num_layers, targets)
        for name, values in norms.items():
            np.testing.assert_allclose(flow[name][i], values, rtol=rtol, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(dx[i], expected, rtol=rtol, atol=1e-2 * rtol * np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [CLASSIFIERS, REGRESSORS], ids=["classifier", "regressor"])
@pytest.mark.parametrize("cell", CELLS)
def test_plain(torch, cell, classes, form):
    X = FORMS[form](n=16)
    model, y = fitted(classes[cell], X)
    assert_equal(torch, model, X, y)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("cell", CELLS)
def test_deep(torch, cell, pooling, layer):
    X = FORMS["ragged"](n=16)
    model, y = fitted(CLASSIFIERS[cell], X, num_layers=2, bidirectional=True, pooling=pooling)
    assert_equal(torch, model, X, y, layer)


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("classes", [CLASSIFIERS, REGRESSORS], ids=["classifier", "regressor"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_targets_of_time_steps(torch, cell, bidirectional, classes, targets):
    X = FORMS["ragged"](n=16)
    y = step_targets(classes[cell], X)
    model, _ = fitted(classes[cell], X, y, return_sequences=True, num_layers=2, bidirectional=bidirectional)
    for layer in (0, 1):
        assert_equal(torch, model, X, y, layer, targets)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_several_targets(torch, cell, steps):
    """E is the mean over the K targets."""
    X = FORMS["ragged"](n=16)
    totals = [np.cumsum(x[:, :2] * [1, 5], axis=0) for x in X]
    y = totals if steps else np.array([total[-1] for total in totals])
    model, _ = fitted(REGRESSORS[cell], X, y, return_sequences=steps, num_layers=2, bidirectional=True)
    assert model.n_outputs_ == 2
    assert_equal(torch, model, X, y)


@pytest.mark.parametrize("cell", CELLS)
def test_tokens(torch, cell):
    X = [(np.abs(x[:, 0]) * 5).astype(int) for x in FORMS["ragged"](n=16)]
    model, y = fitted(CLASSIFIERS[cell], X, np.arange(16) % 3, embedding_dim=4, bidirectional=True)
    assert_equal(torch, model, X, y)


def test_relu(torch):
    X = make_array(n=16)
    model, y = fitted(CLASSIFIERS["rnn"], X, nonlinearity="relu", init="irnn")
    assert_equal(torch, model, X, y)


@pytest.mark.parametrize("cell", CELLS)
def test_float32_over_fifty_steps(torch, cell):
    """float32 against float32: both round, one step after the other."""
    X = make_array(n=16, n_steps=50)
    model, y = fitted(CLASSIFIERS[cell], X, make_targets(CLASSIFIERS[cell], X), dtype="float32", hidden_size=32)
    assert_equal(torch, model, X, y, rtol=5e-5)


def in_float64(model):
    """The same network with the same numbers."""
    double = copy.copy(model)
    double.weights_ = {name: array.astype(np.float64) for name, array in model.weights_.items()}
    double.dtype = "float64"
    return double


def error_of_prediction(model, x, y):
    """The size of dE/dz, from 0 to 1, as targets are standardised: of time steps the root of the mean square."""
    if is_classifier(model):
        return 1.0
    errors = (model.predict([x])[0] - y) / model._y_scale
    return min(1.0, np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize(("n_hidden", "n_steps"), [(8, 100), (32, 50), (64, 30)])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"return_sequences": True}], ids=str)
@pytest.mark.parametrize("classes", [CLASSIFIERS, REGRESSORS], ids=["classifier", "regressor"])
@pytest.mark.parametrize("cell", CELLS)
def test_float32_beside_autograd_in_float64(torch, cell, classes, options, n_hidden, n_steps):
    """To 1e-5 of the largest norm of the sequence: where targets are nearly met, of what it is where they are not."""
    X = make_array(n=16, n_steps=n_steps).astype(np.float32)
    y = step_targets(classes[cell], X) if options.get("return_sequences") else make_targets(classes[cell], X)
    model, _ = fitted(classes[cell], X, y, dtype="float32", hidden_size=n_hidden, **options)
    flow = gradient_flow(model, X, y)
    for i in range(0, 16, 3):
        norms, _ = autograd(torch, in_float64(model), X[i], y[i], model.num_layers - 1, "all")
        for name, truth in norms.items():
            bound = 1e-5 * max(truth) / error_of_prediction(model, X[i], y[i])
            np.testing.assert_allclose(flow[name][i], truth, rtol=0, atol=bound, err_msg=name)
