"""The same losses and gradient norms as PyTorch, step by step."""

import copy

import numpy as np
import pytest
from sklearn.base import is_classifier

from tests.estimators.data import CLASSES, DEPTHS, full_batch, make_ragged, make_targets

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def torch_losses(torch, estimator, X, y, n_steps):
    """Losses and gradient norms of ``n_steps`` full-batch steps of PyTorch, from the estimator's weights."""
    cls = {"R": torch.nn.RNN, "L": torch.nn.LSTM, "G": torch.nn.GRU}[type(estimator).__name__[0]]
    network = cls(X[0].shape[1], estimator.hidden_size, estimator.num_layers, bidirectional=estimator.bidirectional)
    weights = {name: torch.tensor(array) for name, array in estimator.weights_.items()}
    head = torch.nn.Linear(*weights["head_weight"].shape[::-1])
    with torch.no_grad():
        network.double(), head.double()
        head.weight.copy_(weights["head_weight"])
        head.bias.copy_(weights["head_bias"])
        for name, parameter in network.named_parameters():
            single = name.replace("bias_ih", "bias")  # one bias here are two there, of which one stands still
            if name.startswith("bias_hh") and name not in weights:
                parameter.zero_()
                parameter.requires_grad_(False)
            else:
                parameter.copy_(weights[name if name in weights else single])
    parameters = [p for p in [*network.parameters(), *head.parameters()] if p.requires_grad]
    if estimator.solver == "adam":
        optimiser = torch.optim.Adam(parameters, lr=estimator.learning_rate_init)
    else:
        rate, momentum = estimator.learning_rate_init, estimator.momentum
        optimiser = torch.optim.SGD(parameters, lr=rate, momentum=momentum, nesterov=True)
    x = torch.nn.utils.rnn.pack_sequence([torch.tensor(x) for x in X], enforce_sorted=False)
    if is_classifier(estimator):
        criterion, target = torch.nn.CrossEntropyLoss(), torch.tensor(np.searchsorted(estimator.classes_, y))
    else:
        criterion, target = torch.nn.MSELoss(), torch.tensor((y - y.mean(axis=0)) / y.std(axis=0))
    losses, norms = [], []
    for _ in range(n_steps):
        _, state = network(x)
        last = (state[0] if isinstance(state, tuple) else state)[-2 if estimator.bidirectional else -1 :]
        out = head(last.transpose(0, 1).flatten(1))
        loss = criterion(out, target) * (1.0 if is_classifier(estimator) else 0.5)
        optimiser.zero_grad()
        loss.backward()
        limit = np.inf if estimator.max_grad_norm is None else estimator.max_grad_norm
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, limit).item())
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


#: Layers and directions: each alone and both.
LAYERS = {**DEPTHS, "two layers": {"num_layers": 2}, "two directions": {"bidirectional": True}}

#: Sequences, time steps of the longest, features, hidden units, and rates. Where faster ones make a loss jump, or bring
#: it down to 1e-4, float32 has few of its digits: PyTorch's is as far from PyTorch's float64 then as ours.
SIZES = {"small": (30, 9, 3, 8, {"adam": 0.01, "sgd": 0.03}), "large": (32, 20, 8, 32, {"adam": 0.002, "sgd": 0.03})}


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("cls", CLASSES)
def test_fifty_steps_are_those_of_pytorch(cls, size, solver, layers, dtype, torch):
    n, longest, n_features, hidden_size, rates = size
    X = make_ragged(n, longest, n_features)
    y = make_targets(cls, X)
    if not is_classifier(cls()):
        y = np.column_stack([y, np.sin(y)])
    options = {"solver": solver, "learning_rate_init": rates[solver], "max_grad_norm": None, "dtype": dtype, **layers}
    estimator = full_batch(cls, hidden_size=hidden_size, max_iter=1, warm_start=True, **options).fit(X, y)
    without = copy.deepcopy(estimator).set_params(max_iter=50).fit(X, y)
    estimator.set_params(max_iter=50, max_grad_norm=0.9 * max(without.grad_norm_curve_))
    losses, norms = torch_losses(torch, estimator, X, y, 50)
    estimator.fit(X, y)
    assert 0.0 < np.mean(estimator.clip_fraction_) < 1.0
    assert len(losses) == 50
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(estimator.loss_curve_, losses, rtol=tolerance)
    np.testing.assert_allclose(estimator.grad_norm_curve_, norms, rtol=10 * tolerance)
    assert losses[-1] < losses[0]
