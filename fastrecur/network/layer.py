"""What the three layers share: batch-first arrays in and out, around `fastrecur.network.recurrent.RecurrentStack`."""

import copy
import functools
import math
import sys
from typing import Any

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import batches, panels
from fastrecur.network import validation
from fastrecur.network.device import resolve_device
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, initialise, recurrent_shapes
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import KEPT_STEPS, Workspace


@functools.lru_cache(maxsize=64)
def _kept_packing(n_rows, n_steps):
    return Packing(np.full(n_rows, n_steps))


def _full_packing(n_rows, n_steps):
    """Packing of a batch without padding."""
    if n_steps > KEPT_STEPS:
        return Packing(np.full(n_rows, n_steps))
    return _kept_packing(n_rows, n_steps)


def _is_time_major(array):
    """Whether an array (B, T, W) lies in memory step after step, and may be written.

    A read-only array is of another type to Numba, for which it would compile all kernels anew.
    """
    flags = array.transpose(1, 0, 2).flags
    return flags.c_contiguous and flags.writeable


def _time_steps(array, packing):
    """Rows (S, W) of an array (B, T, W); the first of each sequence, and how far apart those of one lie."""
    n_rows, n_steps, width = array.shape
    if _is_time_major(array):
        return array.transpose(1, 0, 2).reshape(-1, width), packing.order, n_rows
    return np.ascontiguousarray(array).reshape(-1, width), packing.order * n_steps, 1


class Layer:
    """Base of `fastrecur.layers.RNN`, `LSTM` and `GRU`, which name the cell."""

    _cell = ""
    _relu = False
    _on_device: Any
    _stack: Any

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bidirectional=False,
        dtype="float32",
        device="cpu",
        n_threads=None,
        random_state=None,
    ):
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            validation.check_count(name, value)
        if n_threads is not None:
            validation.check_count("n_threads", n_threads)
        self.dtype = validation.check_dtype(dtype)
        validation.check_flag("bidirectional", bidirectional)
        self._wanted_device, self.device = device, resolve_device(device)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.n_directions = bool(bidirectional), 2 if bidirectional else 1
        self.n_threads = n_threads
        shapes = recurrent_shapes(self._cell, input_size, hidden_size, num_layers, self.n_directions)
        self._parameters = Parameters(shapes, self.dtype)
        self._grads = self._parameters.zeros_like()
        initialise(self._parameters, self._cell, validation.check_random_state(random_state))
        self._build()
        self._workspace = Workspace(self.dtype)
        self._idle = []  # workspaces of inference: calls may come from several Python threads at once
        self._trace = None
        self._handed_out, self._references = False, 0

    def _build(self):
        """What computes: the stack of the CPU, or the calls of the GPU."""
        self._on_device = self._stack = None
        if self.device == "cuda":
            from fastrecur.network.cuda.layer import LayerOnDevice

            self._on_device = LayerOnDevice(self)
        else:
            shape = self.hidden_size, self.num_layers, self.n_directions
            self._stack = RecurrentStack(self._cell, self._parameters, *shape, self._relu)

    @property
    def parameters(self):
        """Parameters by PyTorch's names: the arrays themselves. What is written to them counts at the next call."""
        if not self._handed_out:
            self._handed_out, self._references = True, sys.getrefcount(self._parameters.flat)
        return {name: array.view() for name, array in self._parameters.arrays.items()}

    @property
    def grads(self):
        """Gradients by PyTorch's names, summed over all calls of `backward` until they are set to zero."""
        return dict(self._grads.arrays)

    def load_parameters(self, parameters):
        """Set the parameters.

        Parameters
        ----------
        parameters : dict of str to array
            Names and shapes of `parameters`. A state dict of ``torch.nn.RNN`` or ``LSTM`` is taken too: its two
            biases a layer are added up.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape is not the expected one. Nothing is changed then.
        """
        given = validation.join_biases(parameters, self._parameters.shapes)
        validation.check_arrays("parameters", given, self._parameters.shapes)
        for name, array in self._parameters.arrays.items():
            array[...] = given[name]
        self._refresh()

    def forward(self, x, state=None, lengths=None, training=False):
        """Run the layers over a batch of sequences.

        Parameters
        ----------
        x : array of shape (B, T, F)
            With ``training`` neither x, a view of time-major memory of which is not copied, nor the parameters may be
            changed before `backward`.
        state : tuple or array, optional
            Initial h, or (h, c) for the LSTM, each of shape (L * D, B, H). Zeros by default.
        lengths : array of int, shape (B,), optional
            Valid time steps of each sequence, 1 to T. All T by default.
        training : bool
            Keep what `backward` needs.

        Returns
        -------
        y : array of shape (B, T, D * H)
            h_t of the last layer; 0 beyond a sequence's length. Read-only with ``training``: `backward` needs it.
        state : tuple or array
            Final h, or (h, c), each of shape (L * D, B, H).

        Raises
        ------
        ValueError
            If a shape or a length does not fit.
        """
        if self._on_device is not None:
            return self._on_device.forward(x, state, lengths, training)
        x, lengths = self._check_input(x, lengths)
        initial = self._check_state("state", state, len(x))
        self._read_parameters()
        workspace = self._workspace if training else self._idle_workspace()
        packing = _full_packing(*x.shape[:2]) if lengths is None else workspace.packing(lengths)
        h = self._room(self._stack.states_shape(packing))  # the caller keeps it, as y
        n_threads = threads.resolve_threads(self.n_threads)
        packed = self._pack(x, packing, n_threads)
        if training:
            self._trace = None  # its buffers are about to be used again
        trace = self._stack.forward(packed, packing, workspace, n_threads, training, initial, outputs=h)
        y, final = self._outputs(h, packing, x.shape, n_threads), self._state(self._stack.final_states(trace))
        if training:
            self._trace = trace, x.shape
            y.flags.writeable = False
        else:
            trace.release()
            self._idle.append(workspace)
        return y, final

    def backward(self, dy, dstate=None, need_dx=True):
        """Backpropagation through time of the last ``forward(training=True)``; adds to `grads`.

        Parameters
        ----------
        dy : array of shape (B, T, D * H) or None
            Gradient of y; what lies beyond a sequence's length is ignored. None: zero.
        dstate : tuple or array, optional
            Gradient of the final h, or (h, c), each of shape (L * D, B, H).
        need_dx : bool
            Whether to compute dx.

        Returns
        -------
        dx : array of shape (B, T, F), or None without ``need_dx``
        dstate : tuple or array
            Gradient of the initial h, or (h, c), each of shape (L * D, B, H).

        Raises
        ------
        RuntimeError
            Without a ``forward(training=True)`` before it: one forward call serves one backward call.
        ValueError
            If a shape does not fit.
        """
        if self._on_device is not None:
            return self._on_device.backward(dy, dstate, need_dx)
        if self._trace is None:
            raise RuntimeError("backward() needs forward(training=True) before it, once for each call.")
        trace, (n_rows, n_steps, n_features) = self._trace
        packing, width = trace.packing, self.n_directions * self.hidden_size
        dstate, n_threads = self._check_state("dstate", dstate, n_rows), threads.resolve_threads(self.n_threads)
        places = None
        if dy is not None:
            dy, places = self._gradient_rows(dy, packing, (n_rows, n_steps, width))
        self._trace = None
        packed_dx = self._room(self._stack.dx_shape(packing)) if need_dx else None
        padded = self._stack.backward(trace, self._grads, n_threads, dy, dstate, packed_dx, places=places)
        trace.release()
        dinitial = tuple(packing.unsorted(gradient)[:, :, : self.hidden_size].copy() for gradient in padded)
        if packed_dx is None:
            return None, self._state(dinitial)
        if packing.fills(n_steps):
            dx = packed_dx[:, 0, :n_features].reshape(n_steps, n_rows, n_features).transpose(1, 0, 2)
            return dx, self._state(dinitial)
        dx = self._unpack(packed_dx, 0, packing, n_features, (n_rows, n_steps, n_features), n_threads)
        return dx, self._state(dinitial)

    def step(self, x_t, state=None):
        """One time step of `forward`, with the same bits: for streams.

        Parameters
        ----------
        x_t : array of shape (B, F)
        state : tuple or array, optional
            h, or (h, c), as `forward` and `step` return them.

        Returns
        -------
        y_t : array of shape (B, D * H)
        state : tuple or array

        Raises
        ------
        ValueError
            If a shape does not fit, or the layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError("step() needs a layer of one direction: bidirectional=True reads a sequence from its end.")
        if self._on_device is not None:
            return self._on_device.step(x_t, state)
        x_t = validation.as_array("x_t", x_t)
        if x_t.ndim != 2 or x_t.shape[1] != self.input_size or 0 in x_t.shape:
            raise ValueError(f"x_t must have shape (B, {self.input_size}) with B of at least 1, found {x_t.shape}.")
        validation.check_real("x_t", x_t)
        self._read_parameters()
        x_t = np.ascontiguousarray(x_t, dtype=self.dtype)
        state = self._stack.step(x_t[:, np.newaxis], self._check_state("state", state, len(x_t)))
        return state[0][-1].copy(), self._state(state)

    def __copy__(self):
        """A layer of its own: two on the same parameters and buffers would spoil each other's passes."""
        return copy.deepcopy(self)

    def __getstate__(self):
        return self.__dict__ | {"_handed_out": False, "_idle": []}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self._wanted_device == "auto" and self.device != resolve_device("auto"):  # another machine
            self.device, self._trace = resolve_device("auto"), None
            self._build()

    def _idle_workspace(self):
        try:
            return self._idle.pop()
        except IndexError:
            return Workspace(self.dtype)

    def _read_parameters(self):
        """Read the parameters anew if a caller may have written to them: as long as he holds a view of their memory."""
        if self._handed_out:
            self._handed_out = sys.getrefcount(self._parameters.flat) > self._references
            self._refresh()

    def _refresh(self):
        (self._on_device or self._stack).refresh()

    def _room(self, shape):
        """Array for the caller. To align a small one costs more than it brings."""
        return panels.aligned_empty(shape, self.dtype) if math.prod(shape) > 100_000 else np.empty(shape, self.dtype)

    def _check_input(self, x, lengths):
        x = validation.as_array("x", x)
        if x.ndim != 3 or x.shape[2] != self.input_size or x.size == 0:
            raise ValueError(f"x must have shape (B, T, {self.input_size}) without empty axes, found {x.shape}.")
        if x.dtype != self.dtype:
            validation.check_real("x", x)
            if x.dtype not in (np.float32, np.float64):
                x = x.astype(self.dtype)
        return x, lengths if lengths is None else validation.check_lengths(lengths, *x.shape[:2])

    def _check_state(self, name, state, n_rows):
        if state is None:
            return None
        wanted = ("h", "c") if self._cell == "lstm" else ("h",)
        parts = state if self._cell == "lstm" else (state,)
        if not isinstance(parts, tuple | list) or len(parts) != len(wanted):
            found = f"{len(parts)} elements" if isinstance(parts, tuple | list) else f"a {type(parts).__name__}"
            raise ValueError(f"{name} must be a tuple (h, c), found {found}.")
        shape = (self.num_layers * self.n_directions, n_rows, self.hidden_size)
        return tuple(
            None
            if part is None and name == "dstate"
            else np.ascontiguousarray(validation.check_array_shape(f"{name} {w}", part, shape, self.dtype))
            for w, part in zip(wanted, parts, strict=True)
        )

    def _state(self, parts):
        return parts if self._cell == "lstm" else parts[0]

    def _pack(self, x, packing, n_threads):
        """Packed rows (N, 1, F): a view of x where its memory allows."""
        n_features = x.shape[2]
        if self._is_packed(x, packing):
            return x.transpose(1, 0, 2).reshape(-1, 1, n_features)
        packed = np.empty((packing.n_packed, 1, n_features), self.dtype)
        with threads.shares(packing.shards(n_features, n_threads)) as shards:
            batches.gather_steps(*_time_steps(x, packing), packing.steps(0), packed, shards)
        return packed

    def _unpack(self, packed, first, packing, n_valid, shape, n_threads):
        """Rows of D pieces from row ``first`` on, ``n_valid`` numbers of each piece, as (B, T, D * n_valid)."""
        out = np.empty(shape, self.dtype)
        with threads.shares(packing.shards(shape[2], n_threads)) as shards:
            starts, rows = packing.order * shape[1], out.reshape(-1, shape[2])
            given = packed, first, starts, packing.steps(0), n_valid, rows
            batches.scatter_steps(*given, packing.lengths, shape[1], shards)
        return out

    def _is_packed(self, array, packing):
        """Whether an array (B, T, F) lies in memory as the packed batch does: time-major and without padding."""
        return packing.fills(array.shape[1]) and array.dtype == self.dtype and _is_time_major(array)

    def _gradient_rows(self, dy, packing, shape):
        """Gradient of y (B, T, D * H) as rows (S, D, H), copied only if need be, and where those of a sequence lie."""
        dy = validation.check_array_shape("dy", dy, shape, self.dtype)
        if np.may_share_memory(dy, self._grads.flat):  # which are written to while dy is read
            dy = dy.copy()
        if not _is_time_major(dy):
            dy = np.require(dy, requirements=["C", "W"])
        rows, starts, apart = _time_steps(dy, packing)
        return rows.reshape(-1, self.n_directions, self.hidden_size), (starts, apart)

    def _outputs(self, h, packing, shape, n_threads):
        """(B, T, D * H): a view of the states ``h`` where their layout allows it."""
        n_rows, n_steps, _ = shape
        width = self.n_directions * self.hidden_size
        if packing.fills(n_steps) and (self.n_directions == 1 or self.hidden_size == self._stack.padded):
            return h[n_rows:].reshape(n_steps, n_rows, -1)[:, :, :width].transpose(1, 0, 2)
        return self._unpack(h, n_rows, packing, self.hidden_size, (n_rows, n_steps, width), n_threads)
