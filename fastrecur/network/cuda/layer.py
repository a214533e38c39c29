"""The layers' calls on the GPU: arrays of the host or of the device in, arrays of the same place out."""

import functools
import threading
from typing import Any

import numpy as np

from fastrecur.kernels.cuda import batches, runtime
from fastrecur.network import validation
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.cuda.stack import CudaStack
from fastrecur.network.workspace import Workspace


def _contiguous(array):
    return array.flags["C_CONTIGUOUS"]


class LayerOnDevice:
    """What a layer with ``device="cuda"`` does with `forward`, `backward` and `step`.

    An array with ``__cuda_array_interface__`` or of DLPack's CUDA device is used where it lies, and the results are
    device arrays then (with that interface); for NumPy arrays they are NumPy arrays. All kernels run on the default
    stream: see `fastrecur.kernels.cuda.runtime.as_device_array`.
    """

    def __init__(self, layer):
        self._layer, self._lock = layer, threading.RLock()
        self._trace: Any = None

    def __getstate__(self):
        return {"_layer": self._layer}

    def __setstate__(self, state):
        self._layer, self._lock, self._trace = state["_layer"], threading.RLock(), None

    @functools.cached_property
    def stack(self):
        """`CudaStack` of the layer's parameters."""
        p = self._layer
        return CudaStack(p._cell, p._parameters, p.hidden_size, p.num_layers, p.n_directions, p._relu)

    @functools.cached_property
    def _buffers(self):
        return {training: Buffers(self._layer.dtype) for training in (False, True)}

    @functools.cached_property
    def _workspace(self):
        return Workspace(self._layer.dtype)  # for its packings

    @functools.cached_property
    def _gradient(self):
        return runtime.empty(self._layer._parameters.flat.shape, self._layer.dtype)

    def refresh(self):
        """Read the parameters anew."""
        if "stack" in self.__dict__:
            self.stack.refresh()

    # --- the calls ---------------------------------------------------------------------------------------------------

    def forward(self, x, state, lengths, training):
        """See the layer's `forward`."""
        runtime.require()  # a pickle may have been loaded where there is no GPU
        with self._lock:
            x, on_device = self._take_batch("x", x)
            n_rows, n_steps, _ = x.shape
            if lengths is not None:
                lengths = validation.check_lengths(lengths, n_rows, n_steps)
            buffers = self._buffers[bool(training)]
            initial = self._take_state("state", state, n_rows, buffers)
            self._layer._read_parameters()
            packing = self._workspace.packing(np.full(n_rows, n_steps) if lengths is None else lengths)
            places = buffers.places(packing)
            if training:
                self._trace = None
            packed = self._pack(x, places, n_steps, buffers)
            trace = self.stack.forward(packed, places, buffers, training, initial)
            y = self._outputs(trace, n_steps, self._out("y", on_device, buffers))
            final = self.stack.final_states(trace, self._states("final states", n_rows, on_device, buffers))
            if training:
                self._trace = trace, x.shape, on_device
            return (y if on_device else runtime.to_host(y)), self._state(final, on_device)

    def backward(self, dy, dstate, need_dx):
        """See the layer's `backward`."""
        with self._lock:
            if self._trace is None:
                raise RuntimeError("backward() needs forward(training=True) before it, once for each call.")
            trace, (n_rows, n_steps, n_features), on_device = self._trace
            buffers, places = self._buffers[True], trace.places
            dstate = self._take_state("dstate", dstate, n_rows, buffers)
            if dy is not None:
                shape = n_rows, n_steps, self.stack.n_directions * self.stack.hidden_size
                dy = self._pack_gradient(self._take_gradient(dy, shape, buffers), places, n_steps, buffers)
            self._trace = None
            dx = buffers.take("dx of x", places.packing.n_packed, n_features) if need_dx else None
            dinitial = self._states("dinitial", n_rows, on_device, buffers)
            self.stack.weights.clear_gradient()
            self.stack.backward(trace, buffers, dy, dstate, dx, dinitial=dinitial)
            self.stack.weights.unpack_gradient(self._gradient)
            self._layer._grads.flat += runtime.to_host(self._gradient)
            if dx is not None:
                _, to_packed, _, lines = places.padded(n_steps)
                padded = self._out("padded dx", on_device, buffers)(n_rows * n_steps, n_features)
                batches.move(dx, to_packed, padded, lines, n_features)
                dx = padded.reshape(n_rows, n_steps, n_features)
                dx = dx if on_device else runtime.to_host(dx)
            return dx, self._state(dinitial, on_device)

    def step(self, x, state):
        """See the layer's `step`."""
        runtime.require()
        with self._lock:
            x, on_device = self._take("x_t", x, 2)
            if x.shape[1] != self._layer.input_size or 0 in x.shape:
                wanted = f"(B, {self._layer.input_size}) with B of at least 1"
                raise ValueError(f"x_t must have shape {wanted}, found {tuple(x.shape)}.")
            n_rows, buffers = x.shape[0], self._buffers[False]
            state = self._take_state("state", state, n_rows, buffers)
            self._layer._read_parameters()
            x = x if on_device else buffers.upload("x_t from the host", x)
            new = self._states("states after a step", n_rows, on_device, buffers)
            self.stack.step(x, state, new, buffers)
            last = (self.stack.num_layers - 1) * n_rows
            y = self._out("y_t", on_device, buffers)(n_rows, self.stack.hidden_size)
            rows = buffers.count(last + n_rows)
            batches.move(new[0], rows[last:], y, rows[:n_rows], self.stack.hidden_size)
            return (y if on_device else runtime.to_host(y)), self._state(new, on_device)

    # --- in ----------------------------------------------------------------------------------------------------------

    def _take(self, name, value, ndim):
        """Array of the layer's dtype where it lies, and whether that is the device."""
        dtype = self._layer.dtype
        if not runtime.is_device_array(value):
            value = validation.as_array(name, value)
            if value.ndim != ndim:
                raise ValueError(f"{name} must have {ndim} axes, found shape {value.shape}.")
            validation.check_real(name, value)
            return value.astype(dtype, copy=False), False
        value = runtime.as_device_array(value)
        if value.ndim != ndim:
            raise ValueError(f"{name} must have {ndim} axes, found shape {tuple(value.shape)}.")
        if value.dtype != dtype:
            raise ValueError(f"{name} on the device must be of the layer's dtype {dtype}, found {value.dtype}.")
        return value, True

    def _take_batch(self, name, value):
        x, on_device = self._take(name, value, 3)
        if x.shape[2] != self._layer.input_size or 0 in x.shape:
            wanted = f"(B, T, {self._layer.input_size})"
            raise ValueError(f"{name} must have shape {wanted} without empty axes, found {tuple(x.shape)}.")
        self._check_contiguous(name, x, on_device)
        return x, on_device

    def _take_gradient(self, dy, shape, buffers):
        dy, on_device = self._take("dy", dy, 3)
        if tuple(dy.shape) != shape:
            raise ValueError(f"dy must have shape {shape}, found {tuple(dy.shape)}.")
        self._check_contiguous("dy", dy, on_device)
        return dy if on_device else buffers.upload("dy from the host", dy)

    def _check_contiguous(self, name, array, on_device):
        if on_device and not _contiguous(array):
            raise ValueError(
                f"{name} on the device must be C-contiguous (B, T, F), found strides {array.strides}. Copy it first."
            )

    def _take_state(self, name, state, n_rows, buffers):
        """Each part of a state as a device array (L * D * B, H)."""
        if state is None:
            return None
        wanted = ("h", "c") if self.stack.has_cell_state else ("h",)
        parts = state if self.stack.has_cell_state else (state,)
        if not isinstance(parts, tuple | list) or len(parts) != len(wanted):
            found = f"{len(parts)} elements" if isinstance(parts, tuple | list) else f"a {type(parts).__name__}"
            raise ValueError(f"{name} must be a tuple (h, c), found {found}.")
        shape = len(self.stack.directions), n_rows, self.stack.hidden_size
        taken: list[Any] = []
        for letter, part in zip(wanted, parts, strict=True):
            if part is None and name == "dstate":
                taken.append(None)
                continue
            part, on_device = self._take(f"{name} {letter}", part, 3)
            if tuple(part.shape) != shape:
                raise ValueError(f"{name} {letter} must have shape {shape}, found {tuple(part.shape)}.")
            self._check_contiguous(f"{name} {letter}", part, on_device)
            part = part if on_device else buffers.upload((name, letter), part)
            taken.append(part.reshape(shape[0] * n_rows, shape[2]))
        return tuple(taken)

    def _pack(self, x, places, n_steps, buffers):
        """Packed rows (N, F): a view of time-major memory without padding, else gathered on the device."""
        n_rows, n_features = x.shape[0], x.shape[2]
        if isinstance(x, np.ndarray):
            time_major = x.transpose(1, 0, 2)
            if places.packing.fills(n_steps) and _contiguous(time_major):
                return buffers.upload("x", time_major.reshape(n_steps * n_rows, n_features))
            x = buffers.upload("x from the host", x)
        packed = buffers.take("x", places.packing.n_packed, n_features)
        flat = x.reshape(n_rows * n_steps, n_features)
        batches.move(flat, places.padded(n_steps)[0], packed, places.packed, n_features)
        return packed

    def _pack_gradient(self, dy, places, n_steps, buffers):
        """Gradient of y (B, T, D * H) as packed and padded rows (N, D, padded H)."""
        stack, n_packed = self.stack, places.packing.n_packed
        flat = dy.reshape(dy.shape[0] * n_steps, dy.shape[2])
        out = buffers.take("dy", n_packed, stack.n_directions * stack.padded)
        for d in range(stack.n_directions):
            firsts = d * stack.hidden_size, d * stack.padded
            rows = places.padded(n_steps)[0]
            batches.move(flat, rows, out, places.packed, stack.hidden_size, stack.padded, *firsts)
        return out.reshape(n_packed, stack.n_directions, stack.padded)

    # --- out ---------------------------------------------------------------------------------------------------------

    def _out(self, name, on_device, buffers):
        """What gives a device array of a shape for results: a new one where the caller keeps it."""
        return functools.partial(buffers.take, name) if not on_device else self._new

    def _new(self, *shape):
        return runtime.empty(shape, self._layer.dtype)

    def _states(self, name, n_rows, on_device, buffers):
        return self.stack.new_states(n_rows) if on_device else self.stack.kept_states(n_rows, buffers, name)

    def _outputs(self, trace, n_steps, make):
        """Y (B, T, D * H), zero in the padding, in an array that ``make`` makes of a shape."""
        stack, h = self.stack, trace.states[-1]
        n_rows = trace.places.packing.n_rows
        flat = h.reshape(h.shape[0], stack.n_directions * stack.padded)
        y = make(n_rows * n_steps, stack.n_directions * stack.hidden_size)
        _, _, to_states, lines = trace.places.padded(n_steps)
        for d in range(stack.n_directions):
            firsts = d * stack.padded, d * stack.hidden_size
            batches.move(flat, to_states, y, lines, stack.hidden_size, None, *firsts)
        return y.reshape(n_rows, n_steps, y.shape[1])

    def _state(self, parts, on_device):
        """The parts as (L * D, B, H), h alone where the cell has no c."""
        n_directions = len(self.stack.directions)
        shaped = [part.reshape(n_directions, part.shape[0] // n_directions, part.shape[1]) for part in parts]
        results = tuple(part if on_device else runtime.to_host(part) for part in shaped)
        return results if self.stack.has_cell_state else results[0]
