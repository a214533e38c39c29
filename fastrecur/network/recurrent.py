"""Stacked, optionally bidirectional recurrent layers over packed batches: which kernel runs on which buffer."""

import math
from dataclasses import dataclass

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import batches, elman, gru, lstm, panels, products
from fastrecur.kernels.cpu.target import TALL_2, TALL_3, TALL_4
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import BIASES, Parameters, suffix

_TALL = {2: TALL_2, 3: TALL_3, 4: TALL_4}


class Workspace:
    """Buffers by name, kept from call to call: a fresh large array costs a page fault every 4 KB."""

    def __init__(self, dtype):
        self._dtype = dtype
        self._buffers = {}
        self._views = {}
        self._packings = {}

    def take(self, name, *shape):
        """Array of the given shape with undefined contents; the same memory for the same name."""
        views = self._views.get(name)
        if views is None:
            views = self._views[name] = {}
        view = views.get(shape)
        if view is None:
            size = math.prod(shape)
            buffer = self._buffers.get(name)
            if buffer is None or buffer.size < size:
                buffer = self._buffers[name] = panels.aligned_empty((size,), self._dtype)
                views.clear()
            elif len(views) > 100:
                views.clear()
            view = views[shape] = buffer[:size].reshape(shape)
        return view

    def release(self, name):
        """Leave a buffer to whoever holds it: the next `take` gets another one."""
        self._buffers.pop(name, None)
        self._views.pop(name, None)

    def packing(self, lengths):
        """`Packing` of a batch, the same one again for the same lengths."""
        key = lengths.tobytes()
        packing = self._packings.get(key)
        if packing is None:
            if len(self._packings) > 20:
                self._packings.clear()
            packing = self._packings[key] = Packing(lengths)
        return packing


class Fresh:
    """Stands in for a `Workspace` where the buffers are handed out: new memory at every call."""

    def __init__(self, dtype):
        self._dtype = dtype

    def take(self, name, *shape):
        """Array of the given shape with undefined contents."""
        return np.empty(shape, self._dtype)


@dataclass(slots=True)
class Trace:
    """What a forward call leaves for the backward call: inputs, states and gates of every layer and direction."""

    packing: object
    workspace: Workspace
    record: bool
    inputs: list
    states: list
    cells: list
    gates: list


class _Direction:
    """One direction of one layer: its parameters as panels."""

    def __init__(self, stack, layer, direction):
        self.index, self.layer, self.direction = layer * stack.n_directions + direction, layer, direction
        cell, self.n_hidden, dtype = stack.cell, stack.hidden_size, stack.dtype
        self.layout = panels.panel_layout(cell, self.n_hidden, dtype)
        end = suffix(layer, direction)
        self.names = [f"weight_ih{end}", f"weight_hh{end}", *(bias + end for bias in BIASES[cell])]
        self.segments = 1 if layer == 0 else stack.n_directions
        self.n_features = stack.parameters.arrays[self.names[0]].shape[1] // self.segments
        self.pair, self.hidden_width = 2 * panels.lanes(dtype), stack.padded
        few = layer == 0 and self.n_features <= panels.lanes(dtype)
        self.input_width = panels.lanes(dtype) if few else panels.padded(self.n_features, dtype)  # of a row of dx
        self.n_inputs = self.segments * self.n_features + self.n_hidden
        self.dtype = dtype
        layout = self.layout
        self._maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
        self._arrays: dict[Parameters, list] = {}
        p, width = self.layout.n_panels, panels.lanes(dtype)
        self.columns, self.gate_columns = self.layout.vectors * width, self.layout.gate_vectors * width
        self.scratch = max(_TALL[self.layout.vectors], 2) * self.gate_columns  # one tile, or a pair of panels
        self.w = panels.aligned_empty((p, self.n_inputs, self.columns), dtype)
        self.bias = panels.aligned_empty((p, self.gate_columns), dtype)

    def __getstate__(self):
        return self.__dict__ | {"_arrays": {}}

    def arrays(self, parameters):
        """w_ih, w_hh, bias_ih, bias_hh out of ``parameters`` (a cell with one bias has an empty bias_hh)."""
        found = self._arrays.get(parameters)
        if found is None:
            found = [parameters.arrays[name] for name in self.names]
            self._arrays[parameters] = found = found if len(found) == 4 else [*found, np.empty(0, self.dtype)]
        return found

    def pack(self, parameters):
        """Write ``parameters`` as panels."""
        panels.pack_layer(*self.arrays(parameters), *self._maps, self.w, self.bias)

    def unpack(self, dw, dbias, grads):
        """Add panels of gradients to ``grads``."""
        panels.unpack_layer(dw, dbias, *self._maps, *self.arrays(grads))

    def transposed(self, parameters, workspace, features):
        """W_hh or, with ``features``, W_ih, transposed in panels."""
        w_ih, w_hh = self.arrays(parameters)[:2]
        if features:
            weight, columns, segments, n = w_ih, self.layout.features, self.segments, self.input_width
        else:
            weight, columns, segments, n = w_hh, self.layout.hidden, 1, self.hidden_width
        pair = min(n, self.pair)
        n_panels = segments * n // pair
        out = workspace.take(("transposed", self.index, features), n_panels, columns.size, pair)
        panels.pack_transposed(weight, columns, segments, out)
        return out


def _final_rows(states, column, packing, direction, out):
    """Copy the final states of each row from a buffer (B + N, D, padded H) to ``out`` (B, H), in the caller's order."""
    if packing.equal:
        first = packing.n_rows if direction else len(states) - packing.n_rows
        out[:] = states[first : first + packing.n_rows, column, : out.shape[1]]
    else:
        batches.take_states(states, column, packing.final_rows(direction), packing.order, out)


class RecurrentStack:
    """Layers of one cell, stacked; every layer in one or two directions.

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
    parameters : Parameters
        With the names and shapes of `fastrecur.network.parameters.recurrent_shapes`. After a change of their
        values, call `refresh`.
    hidden_size, num_layers, n_directions : int
    relu : bool
        Of the Elman RNN: max(0, z) instead of tanh(z).
    """

    def __init__(self, cell, parameters, hidden_size, num_layers=1, n_directions=1, relu=False):
        self.cell, self.parameters, self.relu = cell, parameters, relu
        self.hidden_size, self.num_layers, self.n_directions = hidden_size, num_layers, n_directions
        self.dtype = parameters.flat.dtype
        self.padded = panels.padded(hidden_size, self.dtype)
        self.has_cell_state = cell == "lstm"
        self._nothing = np.empty((0, n_directions, self.padded), self.dtype)
        self.layers = [[_Direction(self, k, d) for d in range(n_directions)] for k in range(num_layers)]
        self.refresh()

    def refresh(self):
        """Read the parameters anew."""
        for layer in self.layers:
            for direction in layer:
                direction.pack(self.parameters)

    def forward(self, x, packing, workspace, n_threads=1, record=False, initial=None):
        """Run all layers over a packed batch.

        Parameters
        ----------
        x : array of shape (N, 1, F)
        packing : Packing
        workspace : Workspace
            Owns what is returned, until its next use.
        n_threads : int
        record : bool
            Keep what `backward` needs.
        initial : tuple of arrays of shape (L * D, B, H), optional
            Initial h (and c, LSTM), in the caller's order of rows.

        Returns
        -------
        trace : Trace
            ``trace.states[-1]`` (B + N, D, padded H) holds the outputs of the last layer, from row B on.
        """
        trace = Trace(packing, workspace, record, [], [], [], [])
        n_rows, n_packed = packing.n_rows, packing.n_packed
        with threads.team(n_threads) as n_threads:
            for k, layer in enumerate(self.layers):
                h = workspace.take(("h", k), n_rows + n_packed, self.n_directions, self.padded)
                h[:n_rows] = 0.0
                shards = threads.row_shards(packing.lengths, layer[0].w.size, n_threads)
                trace.inputs.append(x)
                trace.states.append(h)
                for direction in layer:
                    self._forward(direction, trace, shards, initial)
                x = h[n_rows:]
        return trace

    def _forward(self, direction, trace, shards, initial):
        packing, workspace, record = trace.packing, trace.workspace, trace.record
        h, x, d = trace.states[-1], trace.inputs[-1], direction.direction
        n_rows, n_packed, key = packing.n_rows, packing.n_packed, direction.index
        steps = packing.steps(d)
        if initial is not None:
            batches.copy_padded(initial[0][key], packing.order, h[:n_rows, d])
        if record and self.cell != "rnn":
            gates = workspace.take(("gates", key), direction.layout.n_panels, n_packed, direction.gate_columns)
        else:
            gates = workspace.take("scratch", len(shards) - 1, 1, direction.scratch)
        common = (direction.w, direction.bias, x, direction.n_features, steps, h, d)
        if self.cell == "rnn":
            elman.rnn_forward(*common, gates, self.relu, shards)
        elif self.cell == "gru":
            gru.gru_forward(*common, gates, record, shards)
        else:
            c = workspace.take(("c", key), n_rows + n_packed if record else n_rows, self.padded)
            c[:n_rows] = 0.0
            if initial is not None:
                batches.copy_padded(initial[1][key], packing.order, c[:n_rows])
            trace.cells.append(c)
            lstm.lstm_forward(*common, c, gates, record, shards)
        trace.gates.append(gates)

    def step(self, x, state):
        """One time step of all layers, which read in one direction.

        Parameters
        ----------
        x : array of shape (B, 1, F)
        state : tuple of arrays of shape (L, B, H), or None
            h, or (h, c). None: zeros.

        Returns
        -------
        state : tuple of arrays of shape (L, B, H)
            The last layer's h is the output.
        """
        n_rows = len(x)
        parts = 2 if self.has_cell_state else 1
        new = tuple(np.empty((self.num_layers, n_rows, self.hidden_size), self.dtype) for _ in range(parts))
        for k, (layer,) in enumerate(self.layers):
            h = np.zeros((2 * n_rows, 1, self.padded), self.dtype)
            c = np.zeros((n_rows, self.padded), self.dtype)
            for buffer, given in zip((h[:n_rows, 0], c), state or (), strict=False):
                buffer[:, : self.hidden_size] = given[k]
            scratch = np.empty((1, 1, layer.scratch), self.dtype)
            common = (layer.w, layer.bias, x, layer.n_features, h)
            if self.cell == "rnn":
                elman.rnn_step(*common, scratch, self.relu)
            elif self.cell == "gru":
                gru.gru_step(*common, scratch)
            else:
                lstm.lstm_step(*common, c, scratch)
            x = h[:n_rows]
            for out, buffer in zip(new, (h[:n_rows, 0], c), strict=False):
                out[k] = buffer[:, : self.hidden_size]
        return new

    def last_states(self, trace):
        """Final h of the last layer, (D, B, H), in the caller's order of rows."""
        h = np.empty((self.n_directions, trace.packing.n_rows, self.hidden_size), self.dtype)
        for d in range(self.n_directions):
            _final_rows(trace.states[-1], d, trace.packing, d, h[d])
        return h

    def final_states(self, trace):
        """Final h (and c, LSTM) of every layer and direction: (L * D, B, H), in the caller's order of rows."""
        packing = trace.packing
        h = np.empty((self.num_layers * self.n_directions, packing.n_rows, self.hidden_size), self.dtype)
        c = np.empty_like(h) if self.has_cell_state else None
        for layer in self.layers:
            for direction in layer:
                key, d = direction.index, direction.direction
                _final_rows(trace.states[direction.layer], d, packing, d, h[key])
                if c is not None and trace.record:
                    _final_rows(trace.cells[key][:, np.newaxis], 0, packing, d, c[key])
                elif c is not None:
                    c[key][packing.order] = trace.cells[key][:, : self.hidden_size]
        return (h,) if c is None else (h, c)

    def backward(self, trace, grads, n_threads=1, dy=None, dstate=None, need_dx=True, dlast=None):
        """Backpropagation through time, after `forward` with ``record``.

        Parameters
        ----------
        trace : Trace
            Used up: its gates are overwritten.
        grads : Parameters
            Added to.
        n_threads : int
        dy : array of shape (N, D, padded H), optional
            Gradient of the last layer's outputs.
        dstate : tuple of arrays of shape (L * D, B, H), optional
            Gradient of the final states, in the caller's order of rows; None in it means zero.
        need_dx : bool
        dlast : array of shape (D, B, H), optional
            Gradient of the last layer's final h alone.

        Returns
        -------
        dx : array of shape (N, 1, padded F) or None
        dinitial : tuple of arrays of shape (L * D, B, padded H)
            Gradient of the initial states, in the order of the packed batch.
        """
        dh = self._state_gradient("dh", trace, dstate[0] if dstate else dlast)
        dc = self._state_gradient("dc", trace, dstate[1] if dstate else None) if self.has_cell_state else None
        with threads.team(n_threads) as n_threads:
            for k in range(self.num_layers - 1, -1, -1):
                dy = self._layer_gradient(k, trace, grads, n_threads, dy, dh, dc, need_dx or k > 0)
        return dy, ((dh, dc) if self.has_cell_state else (dh,))

    def _state_gradient(self, name, trace, given):
        """Padded copy (L * D, B, padded H) of the gradient of the final states, in the order of the packed batch."""
        packing, n_states = trace.packing, self.num_layers * self.n_directions
        out = trace.workspace.take(name, n_states, packing.n_rows, self.padded)
        if given is None or len(given) < n_states or self.hidden_size < self.padded:
            out[:] = 0.0
        if given is not None:  # of all layers, or of the last one
            first = n_states - len(given)
            out[first:, :, : self.hidden_size] = given if packing.equal else given[:, packing.order]
        return out

    def _layer_gradient(self, k, trace, grads, n_threads, dy, dh, dc, need_dx):
        """All directions of one layer; returns dx, padded as the layer below pads its states."""
        packing, workspace = trace.packing, trace.workspace
        first = self.layers[k][0]
        dy = self._nothing if dy is None else dy
        dx = workspace.take(("dx", k), packing.n_packed, first.segments, first.input_width) if need_dx else None
        for direction in self.layers[k]:
            key = direction.index
            gates = self._gate_gradient(direction, trace, n_threads, dy, dh[key], dc[key] if dc is not None else None)
            self._weight_gradient(direction, trace, gates, grads, n_threads)
            if dx is not None:
                w = direction.transposed(self.parameters, workspace, features=True)
                shards = threads.even_shards(packing.n_packed, w.size, n_threads, multiple=TALL_2)
                out = dx.reshape(packing.n_packed, -1)
                products.input_gradient(gates, w, 0, direction.direction > 0, out, shards)
        return dx

    def _gate_gradient(self, direction, trace, n_threads, dy, dh, dc):
        """The recurrence, backwards: gradients of the pre-activations, over the gates; ``dh``, ``dc`` in place."""
        k, d = direction.layer, direction.direction
        h, gates = trace.states[k], trace.gates[direction.index]
        shards = threads.row_shards(trace.packing.lengths, direction.w.size, n_threads)
        w = direction.transposed(self.parameters, trace.workspace, features=False)
        steps = trace.packing.steps(d)
        if self.cell == "rnn":
            shape = direction.layout.n_panels, trace.packing.n_packed, direction.gate_columns
            gates = trace.workspace.take(("gates", direction.index), *shape)
            elman.rnn_backward(w, steps, h, d, gates, dy, dh, self.relu, shards)
        elif self.cell == "gru":
            gru.gru_backward(w, steps, h, d, gates, dy, dh, shards)
        else:
            lstm.lstm_backward(w, steps, h, d, trace.cells[direction.index], gates, dy, dh, dc, shards)
        return gates

    def _weight_gradient(self, direction, trace, gates, grads, n_threads):
        workspace, layout, d = trace.workspace, direction.layout, direction.direction
        dw = workspace.take(("dw", direction.index), *direction.w.shape)
        dbias = workspace.take(("dbias", direction.index), *direction.bias.shape)
        n_packed = trace.packing.n_packed
        n_lines = layout.n_panels * direction.n_inputs
        shards = threads.even_shards(n_lines, n_packed * direction.columns, n_threads, multiple=_TALL[layout.vectors])
        h = trace.states[direction.layer]
        scratch = workspace.take("previous", len(shards) - 1, products.SUM_BLOCK * h.shape[1] * h.shape[2])
        products.weight_gradient(
            gates, trace.inputs[direction.layer], direction.n_features, h, d, trace.packing.segments(d), dw, dbias,
            layout.vectors, layout.first_hidden, scratch, shards,
        )  # fmt: skip
        direction.unpack(dw, dbias, grads)
