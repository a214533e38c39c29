"""The recurrent layers of a `Model` that predicts on the GPU, with its head on the CPU.

Of a batch its inputs go to the device and what the head reads comes back: the last states alone, or those of all steps.
Training stays on the device: see `fastrecur.network.cuda.gradient`.
"""

import functools

import numpy as np

from fastrecur.kernels.cuda import batches, runtime
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.cuda.stack import CudaStack


class HostTrace:
    """A pass over a batch as `Model` reads it: host arrays, fetched when they are asked for."""

    def __init__(self, stack, trace, packing):
        self._stack, self.on_device, self.packing = stack, trace, packing

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
        self._buffers = Buffers(self.dtype)

    def __reduce__(self):
        arguments = self.cell, self.parameters, self.hidden_size, self.num_layers, self.n_directions, self._relu
        return HostStack, arguments

    def refresh(self):
        """Read the parameters of the host anew."""
        self.device.refresh()

    def forward(self, x, packing, workspace, n_threads=1, record=False, initial=None, dropout=None):
        """Run all layers over a packed batch: see `RecurrentStack.forward`. Nothing is recorded or dropped here."""
        if record or dropout:
            raise ValueError("What is to be trained goes through DeviceGradient.")
        places = self._buffers.places(packing)
        initial = initial and tuple(self._send_state(part) for part in initial)
        x = runtime.to_device(x.reshape(packing.n_packed, -1))
        return HostTrace(self, self.device.forward(x, places, self._buffers, initial=initial), packing)

    def _send_state(self, part):
        return runtime.to_device(np.ascontiguousarray(part, self.dtype).reshape(-1, self.hidden_size))

    def last_states(self, trace):
        """Final h of the last layer, (B, D * H), in the caller's order of rows."""
        return np.hstack(trace.final[0][-self.n_directions :])

    def final_states(self, trace):
        """Final h (and c, LSTM) of every layer and direction: (L * D, B, H), in the caller's order of rows."""
        return trace.final

    def step(self, x, state):
        """One time step of all layers: see `RecurrentStack.step`."""
        given = state and tuple(self._send_state(part) for part in state)
        new = self.device.step(runtime.to_device(x[:, 0]), given, self._buffers)
        return tuple(runtime.to_host(part).reshape(self.num_layers, len(x), self.hidden_size) for part in new)
