"""Buffers that are kept from call to call, and where each step of a batch finds its own."""

import functools
import math
import weakref

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import panels
from fastrecur.kernels.cpu.target import TALL_2, TALL_3, TALL_4
from fastrecur.kernels.cpu.weight_gradient import scratch_size
from fastrecur.network.packing import Packing

#: Time steps of the longest batch whose tables are kept for the next one of the same lengths: longer ones are large,
#: and take little of the time.
KEPT_STEPS = 4096

TALL = {2: TALL_2, 3: TALL_3, 4: TALL_4}


class Workspace:
    """Buffers by name, kept from call to call: a fresh large array costs a page fault every 4 KB."""

    def __init__(self, dtype):
        self._dtype = dtype
        self._buffers = {}
        self._views = {}
        self._packings = {}
        self._traces = {}

    def __reduce__(self):
        return Workspace, (self._dtype,)

    def take(self, name, *shape):
        """Array of the given shape with undefined contents; the same memory for the same name."""
        view = self._views.get((name, shape))
        if view is None:
            size = math.prod(shape)
            buffer = self._buffers.get(name)
            if buffer is None or buffer.size < size:
                buffer = self._renew(name, size)
            elif len(self._views) > 1000:
                self._views.clear()
            view = self._views[name, shape] = buffer[:size].reshape(shape)
        return view

    def _renew(self, name, size):
        """A larger buffer, with some room where another was too small: batches of ragged sequences differ a little."""
        room = size // 8 if self._buffers.pop(name, None) is not None else 0
        self._views.clear()  # some are of the smaller buffer
        self._traces.clear()
        buffer = self._buffers[name] = panels.aligned_empty((size + room,), self._dtype)
        return buffer

    def packing(self, lengths):
        """`Packing` of a batch, the same one again for the same lengths."""
        key = lengths.tobytes()
        packing = self._packings.get(key)
        if packing is None:
            packing = Packing(lengths)
            if packing.n_steps <= KEPT_STEPS:
                _keep(self._packings, key, packing)
        return packing

    def trace(self, stack, packing, n_threads, record, between=False, recurrent=False, last_only=False):
        """`Trace` of a batch, the same one again for the same packing."""
        key = stack, packing, n_threads, record, between, recurrent, last_only
        trace = self._traces.get(key)
        if trace is None:
            trace = Trace(stack, packing, self, n_threads, record, between, recurrent, last_only)
            if packing.n_steps <= KEPT_STEPS:
                _keep(self._traces, key, trace)
        return trace


def _keep(kept, key, value):
    if len(kept) > 20:
        kept.clear()
    kept[key] = value


class Trace:
    """What a batch leaves on its way forward, for the way back; the buffers of a packing, laid out once.

    Attributes
    ----------
    packing : Packing
    record : bool
        Whether the gates and cell states of all steps are kept, as the way back needs them.
    between, recurrent : bool
        Whether numbers are dropped between the layers, and where h enters the recurrent product.
    alternating : bool
        Whether the last layer keeps h of two steps at a time: (3 B, D, padded H).
    dropout : Dropout or None
        Of the pass.
    steps : list of int64 arrays
        Tables of steps, by direction.
    shards : list of int64 arrays
        Rows of the batch for each thread, by layer.
    teams : list of int64 arrays or None
        By layer, of a batch that several threads take together: a share for each. Else None.
    inputs, states : list of arrays
        By layer: what it read (N, S, F) and its h (B + N, D, padded H), or as ``alternating`` says. The first input
        comes with each forward pass, and may bring the array for the last layer's h.
    masked : list of arrays
        By layer: h times the mask of the recurrent dropout, which the recurrent product reads; without, ``states``.
    all_masks : array of shape (L * D, B, padded H)
        Masks of the recurrent dropout; without, B is 0.
    masks : list of arrays
        The same by layer and direction.
    initial : list of arrays
        The rows of ``states``, then of ``cells``, that hold the initial states.
    cells, gates : list of arrays
        By layer and direction: c (LSTM alone), and the record of the gates or scratch in its place.
    """

    def __init__(self, stack, packing, workspace, n_threads, record, between=False, recurrent=False, last_only=False):
        n_rows, n_packed = packing.n_rows, packing.n_packed
        self.packing, self.record = packing, record
        # Which keeps traces: so its memory is free with its last user. The copy of a proxy is a workspace of its own.
        self._workspace = weakref.proxy(workspace)
        self.between, self.recurrent, self.dropout = between, recurrent, None
        self.steps = [packing.steps(d) for d in range(stack.n_directions)]
        self.shards = [threads.row_shards(packing.lengths, layer[0].w.size, n_threads) for layer in stack.layers]
        self.teams = _teams(stack, packing, 1 if recurrent else n_threads)
        self.alternating = last_only and not record and n_packed > 2 * n_rows and self.teams[-1] is None
        take, states_shape = workspace.take, stack.states_shape(packing)
        below = [take(("h", k), *states_shape) for k in range(stack.num_layers - 1)]
        self._outputs_shape = stack.states_shape(packing, self.alternating)
        self.states, self.initial = [*below, None], []
        outputs = [h[n_rows:] for h in below]
        if between:
            outputs = [take(("dropped", k), *h.shape) for k, h in enumerate(outputs)]
        self.inputs = [None, *outputs]
        self.masked = self.states
        if recurrent:
            self.masked = [take(("masked", k), *states_shape) for k in range(stack.num_layers)]
        self.all_masks = take(("masks", recurrent), len(stack.directions), n_rows if recurrent else 0, stack.padded)
        self.masks = list(self.all_masks)
        self.cells, self.gates = [], []
        for direction in stack.directions:
            if record and stack.cell != "rnn":
                name, shape = ("gates", direction.index), (direction.layout.n_panels, n_packed, direction.gate_columns)
            else:
                k = direction.layer
                shape = direction.scratch_shape(self.shards[k], self.teams[k] is not None)
                name = "scratch", shape
            self.gates.append(take(name, *shape))
            if stack.has_cell_state:
                n_states = n_rows + n_packed if record else n_rows
                self.cells.append(take(("c", direction.index), n_states, stack.padded))
        self._back = {}

    @functools.cached_property
    def _outputs(self):
        return self._workspace.take("outputs of the last layer", *self._outputs_shape)

    def begin(self, outputs):
        """A pass begins: ``outputs``, or an array of the workspace, is for the last layer's h."""
        outputs = self._outputs if outputs is None else outputs
        if outputs is not self.states[-1]:
            self.states[-1] = outputs
            self.initial = [state[: self.packing.n_rows] for state in (*self.states, *self.cells)]

    def final(self, layer, direction):
        """Rows of a layer's states that hold the final ones, and whose they are: see `Packing.final`."""
        return self.packing.final(direction, self.alternating and layer == len(self.states) - 1)

    def release(self):
        """The pass is over: its inputs and outputs, and the gradient of the inputs, are the caller's."""
        self.states[-1] = self.inputs[0] = None
        self.initial = []
        for back in self._back.values():
            back.dx[0] = None

    def back(self, stack, n_threads):
        """`BackwardTrace` of this batch on so many threads."""
        if n_threads not in self._back:
            self._back[n_threads] = BackwardTrace(stack, self, self._workspace, n_threads)
        return self._back[n_threads]


def _teams(stack, packing, n_threads):
    return [threads.team_shards(packing.lengths, layer[0].w, n_threads) for layer in stack.layers]


class BackwardTrace:
    """Buffers of the backward pass of a `Trace`, and how its work is shared out.

    Attributes
    ----------
    dh, dc : array of shape (L * D, B, padded H)
        Gradients of the final states, then of the initial ones; dc of the LSTM alone.
    kept : array of shape (B, padded H) or None
        Scratch of the GRU's recurrent dropout.
    dx : list of arrays
        By layer: gradient of what it read. The first comes with each pass, or is None.
    gates, dw, dbias, scratch, hidden : list of arrays
        By layer and direction. ``hidden`` is W_hh, transposed in panels. The others take the same memory for all, one
        after another, but for gates that are a record.
    segments : list of int64 arrays
        Where the previous states lie, by direction.
    teams : list of int64 arrays or None
        As in `Trace`, of single sequences alone.
    row_shards, weight_shards, packed_shards : list of int64 arrays
        By layer and direction: rows of the batch, of dW, and packed rows for each thread.
    """

    def __init__(self, stack, trace, workspace, n_threads):
        packing, take = trace.packing, workspace.take
        shape = len(stack.directions), packing.n_rows, stack.padded
        self.dh = take("dh", *shape)
        self.dc = take("dc", *shape) if stack.has_cell_state else None
        self.kept = take("kept", *shape[1:]) if trace.recurrent and stack.cell == "gru" else None
        self.dx = [None, *(take(("dx", k), *stack.dx_shape(packing, k)) for k in range(1, stack.num_layers))]
        self.gates, self.dw, self.dbias, self.scratch = [], [], [], []
        self.hidden = [direction.transposed_hidden(stack.parameters) for direction in stack.directions]
        self.segments = [packing.segments(d) for d in range(stack.n_directions)]
        self.teams = _teams(stack, packing, 1 if trace.recurrent or packing.n_rows > 1 else n_threads)
        self.row_shards, self.weight_shards, self.packed_shards = [], [], []
        dw = take("dw", max(direction.w.size for direction in stack.directions))
        for direction in stack.directions:
            key, layout = direction.index, direction.layout
            gates = trace.gates[key]
            if stack.cell == "rnn":
                gates = take("gates", layout.n_panels, packing.n_packed, direction.gate_columns)
            self.gates.append(gates)
            self.dw.append(dw[: direction.w.size].reshape(direction.w.shape))
            self.dbias.append(take("dbias", *direction.bias.shape))
            self.row_shards.append(threads.row_shards(packing.lengths, direction.w.size, n_threads))
            n_lines, line = layout.n_panels * direction.n_inputs, packing.n_packed * direction.columns
            tall, panel = TALL[layout.vectors], direction.n_inputs
            shards = threads.even_shards(n_lines, line, n_threads, multiple=tall, row=panel)
            self.weight_shards.append(shards)
            a_row = direction.segments * direction.input_width * layout.features.size
            awake = len(shards) > 2
            packed = threads.even_shards(packing.n_packed, a_row, n_threads, multiple=TALL_2, awake=awake)
            self.packed_shards.append(packed)
            before, n_features = self.segments[direction.direction], direction.segments * direction.n_features
            size = scratch_size(self.dw[-1], layout.vectors, n_features, packing.n_packed, before)
            self.scratch.append(take("inputs of a block", len(shards) - 1, size))
