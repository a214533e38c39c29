"""How exact the gradient flow is in float32: ``python -m bench.flow_accuracy``.

Norms of dE/dh_t and dE/dc_t of fitted networks, by `gradient_flow` and by PyTorch's autograd (the retained gradients of
unrolled cells), both in float32, against autograd in float64 with the same weights. Figures are |error| over the
largest norm of the sequence. The networks: each cell, H 8 to 64, sequences of T, T / 2 and T / 3 steps for T 10, 30 and
100, one layer, two, and two in both directions, the head at the last state, at their mean and at each step, two inits,
five epochs of training; labels or one target.

A gradient is no more exact than the prediction: where a target is met to within e of its standard deviations, what
float32 rounds off the prediction is 1e-7 / e of the gradient. The last column has the worst figure times min(1, e); of
labels e is the norm of softmax minus label.
"""

import argparse
import itertools
import warnings

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from bench import machine
from bench.grid import CELLS
from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.inspection import gradient_flow
from fastrecur.interop import to_torch

CLASSES = {
    "labels": dict(zip(CELLS, (LSTMClassifier, GRUClassifier, RNNClassifier), strict=True)),
    "targets": dict(zip(CELLS, (LSTMRegressor, GRURegressor, RNNRegressor), strict=True)),
}
DEPTHS = {"one layer": {}, "two": {"num_layers": 2}, "two, both directions": {"num_layers": 2, "bidirectional": True}}
HEADS = {"last": {}, "mean": {"pooling": "mean"}, "each step": {"return_sequences": True}}

#: Sequences of each length.
COUNT = 6


def networks(share):
    """Fitted networks with their data, sequences of one length together: about a share of the grid."""
    grid = itertools.product(CLASSES, CELLS, (8, 16, 32, 64), (10, 30, 100), DEPTHS, HEADS, ("default", "pytorch"))
    for number, (kind, cell, n_hidden, longest, depth, head, init) in enumerate(grid):
        rng = np.random.default_rng(number)
        if rng.random() >= share:
            continue
        X = [rng.normal(size=(n, 4)).astype(np.float32) for n in (longest, longest // 2, longest // 3)] * COUNT
        X = sorted((x + rng.normal(size=4).astype(np.float32) / 4 for x in X), key=len)
        y = [np.cumsum(x.sum(axis=1)) for x in X]
        y = y if head == "each step" else np.array([total[-1] for total in y])
        if kind == "labels":
            y = [total > 0 for total in y] if head == "each step" else y > np.median(y)
        options = {**DEPTHS[depth], **HEADS[head], "init": init, "max_iter": 5, "n_threads": 1, "random_state": 0}
        yield CLASSES[kind][cell](n_hidden, **options).fit(X, y), X, y


def unrolled(model, x):
    """States [layer][direction][time step] of cells of PyTorch's for x (T, n, F), all retaining their gradients."""
    weights, inputs, kept = to_torch(model, as_tensors=True), list(x), []
    for k in range(model.num_layers):
        kept.append([])
        for end in [f"_l{k}", f"_l{k}_reverse"][: 1 + model.bidirectional]:
            module = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "rnn": torch.nn.RNNCell}[model._cell]
            cell = module(inputs[0].shape[1], model.hidden_size)
            cell.load_state_dict({name.removesuffix(end): w for name, w in weights.items() if name.endswith(end)})
            cell.to(x.dtype)
            state, states = None, []
            for x_t in inputs[::-1] if end.endswith("reverse") else inputs:
                state = cell(x_t, state)
                states.append(state if isinstance(state, tuple) else (state,))
                for part in states[-1]:
                    part.retain_grad()
            kept[-1].append(states[::-1] if end.endswith("reverse") else states)
        inputs = [torch.cat([part[0] for part in step], dim=1) for step in zip(*kept[-1], strict=True)]
    return inputs, kept


def read(model, outputs):
    """What the head reads."""
    if model.return_sequences or model.pooling == "mean":
        steps = torch.stack(outputs, dim=1)
        return steps if model.return_sequences else steps.mean(dim=1)
    return torch.cat([outputs[-1][:, : model.hidden_size], outputs[0][:, model.hidden_size :]], dim=1)


def autograd(model, x, y, dtype):
    """Norms (n, T) of the gradients of the last layer's states by name, and e (n, 1); x (n, T, F)."""
    outputs, kept = unrolled(model, torch.tensor(x, dtype=dtype).transpose(0, 1))
    weight, bias = (torch.from_numpy(model.weights_[f"head_{name}"]).to(dtype) for name in ("weight", "bias"))
    z = read(model, outputs) @ weight.T + bias
    z.retain_grad()
    if is_classifier(model):
        labels = torch.tensor(y, dtype=torch.int64)
        losses = torch.nn.functional.cross_entropy(z.movedim(-1, 1), labels, reduction="none")
    else:
        losses = 0.5 * (z[..., 0] - torch.tensor((y - model._y_mean) / model._y_scale, dtype=dtype)) ** 2
    losses.reshape(len(x), -1).mean(dim=1).sum().backward()
    norms = {}
    for d, name in itertools.product(range(1 + model.bidirectional), ("hidden", "cell")[: len(kept[-1][0][0])]):
        grads = [step[name == "cell"].grad for step in kept[-1][d]]
        grads = [torch.zeros(len(x), 1) if grad is None else grad for grad in grads]  # the last dE/dc of a later head
        norms[name + "_reverse" * d] = torch.stack([grad.double().norm(dim=1) for grad in grads], dim=1).numpy()
    e = z.grad.double().reshape(len(x), -1).norm(dim=1).numpy() * (len(outputs) ** 0.5 if z.ndim == 3 else 1)
    return norms, e[:, None]


def errors(model, X, y):
    """Of ours and of PyTorch's, |error| over the largest norm of the sequence, and min(1, e): arrays of one length."""
    flow = gradient_flow(model, X, y)
    for begin in range(0, len(X), COUNT):
        rows = slice(begin, begin + COUNT)
        x, targets = np.stack(X[rows]), np.stack(y[rows])
        (single, _), (double, e) = (autograd(model, x, targets, dtype) for dtype in (torch.float32, torch.float64))
        for name, truth in double.items():
            largest = truth.max(axis=1, keepdims=True)
            found = [np.abs(norms - truth) / largest for norms in (np.stack(flow[name][rows]), single[name])]
            yield *(array.ravel() for array in found), np.broadcast_to(np.minimum(1, e), truth.shape).ravel()


def main():
    parser = argparse.ArgumentParser(description="Accuracy of the gradient flow in float32.")
    parser.add_argument("--share", type=float, default=1.0, help="of the networks (default: all)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    found = {kind: [] for kind in CLASSES}
    for model, X, y in networks(options.share):
        found["labels" if is_classifier(model) else "targets"].extend(errors(model, X, y))
    print("| E of | norms by | median | 99% | worst | over 1e-5 | worst times min(1, e) |\n" + "| --- " * 7 + "|")
    for kind, parts in found.items():
        *both, e = (np.concatenate(part) for part in zip(*parts, strict=True))
        for who, error in zip(("gradient_flow", "PyTorch"), both, strict=True):
            figures = np.median(error), np.quantile(error, 0.99), error.max()
            more = f"{np.mean(error > 1e-5):.2%} | {(error * e).max():.1e}"
            print(f"| {kind} | {who} | {' | '.join(f'{figure:.1e}' for figure in figures)} | {more} |")
        print(f"{len(e):,} norms", flush=True)
    print(*machine.describe(), sep="\n")


if __name__ == "__main__":
    main()
