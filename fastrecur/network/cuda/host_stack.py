"""The recurrent layers of a `Model` on the GPU, its head, loss and solver on the CPU.

Of a minibatch its inputs go to the device and what the head reads comes back: the last states alone, or those of all
steps; then their gradient goes there and that of the parameters comes back. States between the layers, gates and
records stay on the device.
"""

import functools
from typing import Any

import numpy as np

from fastrecur.kernels.cuda import batches, layout, runtime
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.cuda.stack import CudaStack


class HostTrace:
    """A pass over a batch as `Model` reads it: host arrays, fetched when they are asked for."""

    def __init__(self, stack, trace, packing):
        self._stack, self.on_device, self.packing, self.record = stack, trace, packing, trace.record

    @functools.cached_property
    def states(self):
        """In a list, h of the last layer: (B + N, D, H), the rows of the initial states undefined."""
        stack, h = self._stack, self.on_device.states[-1]
        places, n_rows = self.on_device.places, self.packing.n_rows
        flat = h[n_rows:].reshape(self.packing.n_packed, stack.n_directions * stack.device.padded)
        out = runtime.empty((self.packing.n_packed, stack.n_directions * stack.hidden_size), stack.dtype)
        for d in range(stack.n_directions):
            firsts = d * stack.device.padded, d * stack.hidden_size
            batches.move(flat, places.packed, out, places.packed, stack.hidden_size, None, *firsts)
        host = np.empty((n_rows + self.packing.n_packed, stack.n_directions, stack.hidden_size), stack.dtype)
        runtime.to_host(out, host[n_rows:].reshape(out.shape))
        return [host]

    @functools.cached_property
    def final(self):
        """Final states, host arrays (L * D, B, H), in the caller's order of rows."""
        shape = len(self._stack.directions), self.packing.n_rows, self._stack.hidden_size
        return tuple(runtime.to_host(part).reshape(shape) for part in self._stack.device.final_states(self.on_device))


class HostStack:
    """Has the role of `fastrecur.network.recurrent.RecurrentStack` in a `Model`; arrays of the host in and out.

    Parameters
    ----------
    cell, parameters, hidden_size, num_layers, n_directions, relu
        See `RecurrentStack`.
    """

    def __init__(self, cell, parameters, hidden_size, num_layers=1, n_directions=1, relu=False):
        self.device = CudaStack(cell, parameters, hidden_size, num_layers, n_directions, relu)
        self.cell, self.parameters, self.hidden_size, self.padded = cell, parameters, hidden_size, hidden_size
        self.num_layers, self.n_directions, self.dtype = num_layers, n_directions, parameters.flat.dtype
        self.has_cell_state, self.directions = self.device.has_cell_state, self.device.directions
        self._relu = relu
        self._buffers = {record: Buffers(self.dtype) for record in (False, True)}
        self._gradient: Any = None

    def __reduce__(self):
        arguments = self.cell, self.parameters, self.hidden_size, self.num_layers, self.n_directions, self._relu
        return HostStack, arguments

    def refresh(self):
        """Read the parameters anew."""
        self.device.refresh()

    def dx_shape(self, packing):
        """Shape of the gradient of x: (N, 1, F)."""
        return packing.n_packed, 1, self.device.layers[0][0].features

    def forward(self, x, packing, workspace, n_threads=1, record=False, initial=None, dropout=None):
        """Run all layers over a packed batch: see `RecurrentStack.forward`."""
        buffers = self._buffers[record]
        places = buffers.places(packing)
        initial = initial and tuple(self._send_state(part) for part in initial)
        x = runtime.to_device(x.reshape(packing.n_packed, -1))
        masks = None if dropout is None else self._masks(dropout, packing)
        trace = self.device.forward(x, places, buffers, record, initial, *(masks or ()))
        return HostTrace(self, trace, packing)

    def _send_state(self, part):
        return runtime.to_device(np.ascontiguousarray(part, self.dtype).reshape(-1, self.hidden_size))

    def _masks(self, dropout, packing):
        """Masks of h by layer and direction, and those of what each layer reads, as device arrays."""
        recurrent, between = None, None
        width = layout.padded(self.hidden_size)
        if dropout.recurrent_rate > 0.0:
            drawn = np.empty((len(self.directions), packing.n_rows, width), self.dtype)
            dropout.recurrent_masks(self.hidden_size, drawn)
            recurrent = [runtime.to_device(mask) for mask in drawn]
        if dropout.rate > 0.0 and self.num_layers > 1:
            ones = np.ones((packing.n_packed, self.n_directions, width), self.dtype)
            shards, between = np.array([0, packing.n_rows]), [None]
            for k in range(1, self.num_layers):
                drawn = np.zeros_like(ones)
                dropout.between_layers(ones, k, self.hidden_size, packing.steps(0), drawn, shards)
                between.append(runtime.to_device(drawn.reshape(packing.n_packed, -1)))
        return recurrent, between

    def last_states(self, trace):
        """Final h of the last layer, (B, D * H), in the caller's order of rows."""
        return np.hstack(trace.final[0][-self.n_directions :])

    def final_states(self, trace):
        """Final h (and c, LSTM) of every layer and direction: (L * D, B, H), in the caller's order of rows."""
        return trace.final

    def backward(self, trace, grads, n_threads=1, dy=None, dstate=None, dx=None, dlast=None):
        """Backpropagation through time: see `RecurrentStack.backward`. The gradient of the initial states stays."""
        packing, places, buffers = trace.packing, trace.on_device.places, self._buffers[True]
        given = dstate and tuple(part if part is None else self._send_state(part) for part in dstate)
        if dlast is not None:
            whole = np.zeros((len(self.directions), packing.n_rows, self.hidden_size), self.dtype)
            whole[-self.n_directions :] = np.hsplit(dlast, self.n_directions)
            given = (self._send_state(whole), None) if self.has_cell_state else (self._send_state(whole),)
        if dy is not None:
            dy = self._send_gradient(dy, places, buffers)
        if self._gradient is None:
            self._gradient = runtime.empty(self.parameters.flat.shape, self.dtype)
        batches.fill(self._gradient, 0.0)
        below = None if dx is None else buffers.take("dx of x", packing.n_packed, dx.shape[2])
        self.device.backward(trace.on_device, self._gradient, buffers, dy, given, below)
        n_dense = self.parameters.n_dense  # rows of a table of embeddings that no token used may hold anything
        grads.flat[:n_dense] += runtime.to_host(self._gradient)[:n_dense]
        if dx is not None:
            dx[:, 0] = runtime.to_host(below)

    def _send_gradient(self, dy, places, buffers):
        """Gradient of the outputs (N, D, H), padded on the device."""
        n_packed, width = len(dy), self.device.padded
        given = runtime.to_device(dy.reshape(n_packed, -1))
        out = buffers.take("dy", n_packed, self.n_directions * width)
        for d in range(self.n_directions):
            firsts = d * self.hidden_size, d * width
            batches.move(given, places.packed, out, places.packed, self.hidden_size, width, *firsts)
        return out.reshape(n_packed, self.n_directions, width)

    def step(self, x, state):
        """One time step of all layers: see `RecurrentStack.step`."""
        given = state and tuple(self._send_state(part) for part in state)
        new = self.device.step(runtime.to_device(x[:, 0]), given, self._buffers[False])
        return tuple(runtime.to_host(part).reshape(self.num_layers, len(x), self.hidden_size) for part in new)
