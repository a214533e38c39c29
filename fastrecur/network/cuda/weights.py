"""Parameters as the GPU's kernels read them: gates and segments of inputs padded with zeros to the kernels' H."""

import numpy as np

from fastrecur.kernels.cuda import batches, layout, runtime
from fastrecur.network.parameters import BIASES, GATES, Parameters, suffix


class Direction:
    """One direction of one layer: its weights and their gradients as parts of two vectors on the device."""

    def __init__(self, cell, layer, direction, n_directions, hidden_size, shapes):
        self.layer, self.direction, self.index = layer, direction, layer * n_directions + direction
        end = suffix(layer, direction)
        self.names = [f"weight_ih{end}", f"weight_hh{end}", *(bias + end for bias in BIASES[cell])]
        self.n_gates, self.hidden_size, self.width = GATES[cell], hidden_size, layout.padded(hidden_size)
        segments = 1 if layer == 0 else n_directions
        features = shapes[self.names[0]][1] // segments
        self.segments, self.features, self.padded_features = segments, features, features if layer == 0 else self.width

    def places(self, index):
        """Place among the parameters, or -1, of each number of w_ih, w_hh and the biases; then of w_hh transposed."""
        gates, hidden, width = self.n_gates, self.hidden_size, self.width
        w_ih = np.full((gates, width, self.segments, self.padded_features), -1)
        given = index[self.names[0]].reshape(gates, hidden, self.segments, self.features)
        w_ih[:, :hidden, :, : self.features] = given
        w_hh = np.full((gates, width, width), -1)
        w_hh[:, :hidden, :hidden] = index[self.names[1]].reshape(gates, hidden, hidden)
        biases = np.full((len(self.names) - 2, gates, width), -1)
        for bias, name in zip(biases, self.names[2:], strict=True):
            bias[:, :hidden] = index[name].reshape(gates, hidden)
        w_ih = w_ih.reshape(gates * width, -1)
        w_hh = w_hh.reshape(gates * width, width)
        return [w_ih, w_hh, *(bias.reshape(1, -1) for bias in biases)], w_hh.T


def _head_places(index, n_directions, hidden_size):
    """Place among the parameters, or -1, of the head's weights and biases, which read the padded states of a layer."""
    weight, bias = index["head_weight"], index["head_bias"]
    padded = np.full((len(weight), n_directions, layout.padded(hidden_size)), -1)
    padded[:, :, :hidden_size] = weight.reshape(len(weight), n_directions, hidden_size)
    return [padded.reshape(len(weight), -1), bias.reshape(1, -1)]


class Weights:
    """All weights in one padded vector on the device, packed by one launch, and their gradients in another.

    Parameters
    ----------
    parameters : Parameters
        Of the network; `send` copies their values to the device.
    directions : list of Direction

    Attributes
    ----------
    flat : device array shaped as the flat vector of the parameters
    arrays, gradients : lists of lists of device arrays
        Weights and biases by direction and, where the parameters have a head, those of the head last.
    transposed : list of device arrays
        W_hh transposed, by direction.
    """

    def __init__(self, parameters, directions):
        self._dtype = parameters.flat.dtype
        index = Parameters(parameters.shapes, np.int64)
        index.flat[:] = np.arange(index.flat.size)
        pairs = [direction.places(index.arrays) for direction in directions]
        with_gradient, transposed = [list(part) for part in zip(*pairs, strict=True)]
        if "head_weight" in index.arrays:
            n_directions = 1 + max(direction.direction for direction in directions)
            with_gradient.append(_head_places(index.arrays, n_directions, directions[0].hidden_size))
        pieces = [piece for group in with_gradient for piece in group]
        places = np.concatenate([piece.ravel() for piece in (*pieces, *transposed)])
        n_gradient = sum(piece.size for piece in pieces)
        self._places = runtime.to_device(places.astype(np.int32))
        self.flat = runtime.empty(parameters.flat.shape, self._dtype)
        self._padded = runtime.empty(places.shape, self._dtype)
        self._gradient = runtime.empty((n_gradient,), self._dtype)
        self.arrays, self.gradients, at = [], [], 0
        for group in with_gradient:
            shapes = [piece.shape for piece in group]
            self.arrays.append(_views(self._padded, at, shapes))
            self.gradients.append(_views(self._gradient, at, shapes))
            at += sum(piece.size for piece in group)
        self.transposed = _views(self._padded, at, [piece.shape for piece in transposed])

    def send(self, parameters):
        """Copy the parameters to the device and pack them."""
        self.flat.copy_to_device(parameters.flat)
        self.pack()

    def pack(self):
        """Pack the parameters that lie on the device in ``flat``."""
        batches.pack(self.flat, self._places, self._padded)

    def clear_gradient(self):
        """Set the gradients of the padded weights to zero."""
        batches.fill(self._gradient, 0.0)

    def unpack_gradient(self, flat):
        """Write the gradients to those of the dense parameters, the first numbers of a device array."""
        batches.unpack(self._gradient, self._places, flat)


def _views(flat, at, shapes):
    views = []
    for shape in shapes:
        size = int(np.prod(shape))
        views.append(flat[at : at + size].reshape(*shape))
        at += size
    return views
