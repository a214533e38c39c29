"""The same layers on both sides: `fastrecur.layers` and ``torch.nn``, and their results compared.

Both sides have the same weights, the same number of threads and the same memory for x and dy: time-major (T, B, F),
PyTorch's default layout, of which fastrecur gets the batch-first view (B, T, F). So neither side copies its input.
Ragged batches are padded arrays for fastrecur, which packs and unpacks them inside its call; PyTorch gets a
``PackedSequence`` made beforehand and returns one: its packing is not timed.

A training step is a forward pass with record, then dx and the gradients of all weights from a given dy, from
gradients of zero (fastrecur adds to its gradients, so that zeroing them is part of its step; PyTorch's
``autograd.grad`` hands out fresh ones).

No figure without its check: outputs and final states within 1e-6 of PyTorch's, each gradient within 1e-5 of the norm
of PyTorch's. Rounding errors of float32 grow with the number of terms in a sum (PyTorch itself is 1e-6 from the
float64 result of an Elman network at F = H = 512), so that above F + H = 200 the 1e-6 grow in proportion to F + H.
"""

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from bench.report import checked
from fastrecur import layers


class Pair:
    """Layers of one shape of the grid on both sides."""

    def __init__(self, cell, shape, threads):
        self.shape, self.threads, self.lengths = shape, threads, shape.lengths()
        self.tolerance = 1e-6 * max(1.0, (shape.features + shape.hidden) / 200)
        torch.manual_seed(0)
        options = {"num_layers": shape.layers, "bidirectional": shape.bidirectional}
        self.theirs = getattr(torch.nn, cell)(shape.features, shape.hidden, **options)
        self.ours = getattr(layers, cell)(shape.features, shape.hidden, n_threads=threads, **options)
        self.ours.load_parameters({name: p.numpy() for name, p in self.theirs.state_dict().items()})
        self.padded_x = self._padded(torch.randn(shape.steps, shape.rows, shape.features))
        self.padded_dy = self._padded(torch.randn(shape.steps, shape.rows, shape.directions * shape.hidden))
        self.x, self.dy = (array.numpy().transpose(1, 0, 2) for array in (self.padded_x, self.padded_dy))
        self._their_x, self._their_dy = self._packed(self.padded_x), _numbers(self._packed(self.padded_dy))
        leaf = _numbers(self._their_x).detach().requires_grad_()
        self._leaves = leaf, *self.theirs.parameters()
        self._leaf_x = leaf if self.lengths is None else self._their_x._replace(data=leaf)
        self._grads = self.ours.grads.values()
        self.forward()  # starts Numba's threads; where they are OpenMP's, that may set PyTorch's to all cores
        torch.set_num_threads(threads)

    def _padded(self, array):
        """Zeros beyond each sequence's length."""
        if self.lengths is not None:
            array *= (torch.arange(len(array))[:, None] < torch.from_numpy(self.lengths))[:, :, None]
        return array

    def _packed(self, array):
        if self.lengths is None:
            return array
        return pack_padded_sequence(array, torch.from_numpy(self.lengths), enforce_sorted=False)

    def _unpacked(self, result):
        """Array (T, B, ...) of a tensor or a packed sequence."""
        if self.lengths is None:
            return result.detach().numpy()
        return pad_packed_sequence(result)[0].detach().numpy()

    def forward(self):
        return self.ours.forward(self.x, lengths=self.lengths)

    def their_forward(self):
        with torch.inference_mode():
            return self.theirs(self._their_x)

    def training_step(self):
        for gradient in self._grads:
            gradient.fill(0.0)
        self.ours.forward(self.x, lengths=self.lengths, training=True)
        dx, _ = self.ours.backward(self.dy)
        return dx

    def their_training_step(self):
        y, _ = self.theirs(self._leaf_x)
        return torch.autograd.grad(_numbers(y), self._leaves, self._their_dy)

    def their_outputs(self):
        """PyTorch's outputs (T, B, D * H) and final states, as arrays."""
        y, state = self.their_forward()
        return self._unpacked(y), *(part.numpy() for part in _parts(state))

    def check_forward(self):
        """Largest difference from PyTorch's outputs and final states."""
        y, state = self.forward()
        return self.check_outputs((y.transpose(1, 0, 2), *_parts(state)))

    def check_outputs(self, results, whose="fastrecur's"):
        """The same for arrays (T, B, D * H) and (L * D, B, H) of another library."""
        pairs = zip(results, self.their_outputs(), strict=True)
        error = np.max([np.abs(mine - theirs).max() for mine, theirs in pairs])
        return checked(f"{whose} outputs and states and PyTorch's", error, self.tolerance)

    def check_training_step(self):
        """Largest difference of a gradient from PyTorch's, relative to its norm."""
        dx, *gradients = self.their_training_step()
        dx = dx if self.lengths is None else self._their_x._replace(data=dx)
        names = [name for name, _ in self.theirs.named_parameters()]
        theirs = dict(zip(names, (gradient.numpy() for gradient in gradients), strict=True))
        errors = [_distance(self.training_step().transpose(1, 0, 2), self._unpacked(dx))]
        for name, gradient in self.ours.grads.items():
            # A single bias is the sum of PyTorch's two, which then have the same gradient.
            errors.append(_distance(gradient, theirs[name if name in theirs else name.replace("bias", "bias_ih")]))
        return checked("gradients and PyTorch's", np.max(errors), 1e-5)


def _numbers(sequence):
    """The tensor of a packed sequence, or the tensor itself."""
    return sequence.data if isinstance(sequence, PackedSequence) else sequence


def _parts(state):
    return state if isinstance(state, tuple) else (state,)


def _distance(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
