"""`fastrecur.layers` against ``torch.nn``: forward (inference) and training step, side by side in one process.

Both sides have the same weights, the same number of threads and the same memory for x and dy: time-major (T, B, F),
PyTorch's default layout, of which fastrecur gets the batch-first view (B, T, F). So neither side copies its input.

A training step is a forward pass with record, then dx and the gradients of all weights from a given dy, from
gradients of zero (fastrecur adds to its gradients, so that zeroing them is part of its step; PyTorch's
``autograd.grad`` hands out fresh ones).

No figure without its check: outputs and final states within 1e-6 of PyTorch's, each gradient within 1e-5 of the norm
of PyTorch's. Rounding errors of float32 grow with the number of terms in a sum (PyTorch itself is 1e-6 from the
float64 result of an Elman network at F = H = 512), so that above F + H = 200 the 1e-6 grow in proportion to F + H.
"""

import numpy as np
import pytest
import torch

from fastrecur import layers

CELLS = ("LSTM", "GRU", "RNN")

#: B, T, F, H.
SHAPES = (
    (1, 100, 16, 32),
    (32, 50, 8, 32),
    (32, 100, 16, 64),
    (64, 100, 32, 128),
    (128, 50, 64, 256),
    (64, 25, 512, 512),
)


class Pair:
    """One layer on both sides."""

    def __init__(self, cell, shape, threads):
        n_rows, n_steps, n_features, n_hidden = shape
        self.tolerance = 1e-6 * max(1.0, (n_features + n_hidden) / 200)
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.theirs = getattr(torch.nn, cell)(n_features, n_hidden)
        self.ours = getattr(layers, cell)(n_features, n_hidden, n_threads=threads)
        self.ours.load_parameters({name: p.numpy() for name, p in self.theirs.state_dict().items()})
        self.their_x = torch.randn(n_steps, n_rows, n_features, generator=generator)
        self.their_dy = torch.randn(n_steps, n_rows, n_hidden, generator=generator)
        self.x, self.dy = (array.numpy().transpose(1, 0, 2) for array in (self.their_x, self.their_dy))
        self._leaves = self.their_x.detach().requires_grad_(), *self.theirs.parameters()
        self._grads = self.ours.grads.values()
        self.forward()  # starts Numba's threads; where they are OpenMP's, that sets PyTorch's to all cores
        torch.set_num_threads(threads)

    def forward(self):
        return self.ours.forward(self.x)

    def their_forward(self):
        with torch.inference_mode():
            return self.theirs(self.their_x)

    def training_step(self):
        for gradient in self._grads:
            gradient.fill(0.0)
        self.ours.forward(self.x, training=True)
        dx, _ = self.ours.backward(self.dy)
        return dx

    def their_training_step(self):
        y, _ = self.theirs(self._leaves[0])
        return torch.autograd.grad(y, self._leaves, self.their_dy)

    def check_forward(self):
        """Largest difference from PyTorch's outputs and final states."""
        (y, state), (their_y, their_state) = self.forward(), self.their_forward()
        pairs = zip((y.transpose(1, 0, 2), *_parts(state)), (their_y, *_parts(their_state)), strict=True)
        error = np.max([np.abs(ours - theirs.numpy()).max() for ours, theirs in pairs])
        return _checked("outputs and states", error, self.tolerance)

    def check_training_step(self):
        """Largest difference of a gradient from PyTorch's, relative to its norm."""
        names = "x", *(name for name, _ in self.theirs.named_parameters())
        theirs = dict(zip(names, (g.numpy() for g in self.their_training_step()), strict=True))
        errors = [_distance(self.training_step().transpose(1, 0, 2), theirs["x"])]
        for name, gradient in self.ours.grads.items():
            # A single bias is the sum of PyTorch's two, which then have the same gradient.
            errors.append(_distance(gradient, theirs[name if name in theirs else name.replace("bias", "bias_ih")]))
        return _checked("gradients", np.max(errors), 1e-5)


def _parts(state):
    return state if isinstance(state, tuple) else (state,)


def _distance(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def _checked(what, error, tolerance):
    if not error <= tolerance:
        pytest.fail(f"{what} differ from PyTorch's by {error:.1e}, more than {tolerance:.1e}: no figure", pytrace=False)
    return float(error)


@pytest.fixture(params=SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def shape(request):
    return request.param


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


def test_forward(cell, shape, threads, side_by_side):
    pair = Pair(cell, shape, threads)
    error = pair.check_forward()
    side_by_side(cell, shape, threads, "forward", error, pair.forward, pair.their_forward)
    assert torch.get_num_threads() == threads


def test_training_step(cell, shape, threads, side_by_side):
    pair = Pair(cell, shape, threads)
    pair.check_forward()
    error = pair.check_training_step()
    side_by_side(cell, shape, threads, "training step", error, pair.training_step, pair.their_training_step)
    assert torch.get_num_threads() == threads
