"""Stacked, optionally bidirectional recurrent layers over packed batches: which kernel runs on which buffer."""

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import batches, elman, gru, lstm, panels, products, recurrence, team
from fastrecur.kernels.cpu.weight_gradient import weight_gradient
from fastrecur.network.parameters import BIASES, Parameters, suffix
from fastrecur.network.workspace import TALL

#: Where the rows of a packed dy lie: see the kernels.
_PACKED = np.empty(0, np.int64), 0


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
        self.maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
        self._arrays: dict[Parameters, tuple] = {}
        p, width = self.layout.n_panels, panels.lanes(dtype)
        self.vectors = (0,) * layout.vectors
        self.columns, self.gate_columns = self.layout.vectors * width, self.layout.gate_vectors * width
        self.scratch = max(TALL[self.layout.vectors], 2) * self.gate_columns  # one tile, or a pair of panels
        self.w = panels.aligned_empty((p, self.n_inputs, self.columns), dtype)
        self.bias = panels.aligned_empty((p, self.gate_columns), dtype)
        self._transposed_hidden = self._transposed_inputs = np.empty((0, 0, 0), dtype)  # no prediction needs them

    def __getstate__(self):
        return self.__dict__ | {"_arrays": {}}

    def arrays(self, parameters):
        """w_ih, w_hh, bias_ih, bias_hh out of ``parameters`` (a cell with one bias has an empty bias_hh)."""
        found = self._arrays.get(parameters)
        if found is None:
            found = tuple(parameters.arrays[name] for name in self.names)
            self._arrays[parameters] = found = found if len(found) == 4 else (*found, np.empty(0, self.dtype))
        return found

    def pack(self, parameters):
        """Write ``parameters`` as panels."""
        panels.pack_layer(*self.arrays(parameters), *self.maps, self.w, self.bias, self._transposed_hidden)
        if self._transposed_inputs.size > 0:
            self._transpose_inputs(parameters)

    def scratch_shape(self, shards, together):
        """Shape of the gates where none are recorded; ``together``: several threads take all rows together."""
        if together or recurrence.goes_ahead.py_func(shards, self.w):
            n_rows = int(shards[-1])
            n_packed = max(recurrence.AHEAD_ROWS, n_rows * recurrence.steps_ahead.py_func(n_rows))
            return self.layout.n_panels, n_packed, self.gate_columns
        return len(shards) - 1, 1, self.scratch

    def transposed_hidden(self, parameters):
        """W_hh, transposed in panels: from the first call on, `pack` writes it too."""
        if self._transposed_hidden.size == 0:
            shape = self.hidden_width // self.pair, self.layout.hidden.size, self.pair
            self._transposed_hidden = panels.aligned_empty(shape, self.dtype)
            self.pack(parameters)
        return self._transposed_hidden

    def transposed_inputs(self, parameters):
        """The same of W_ih, for dx."""
        if self._transposed_inputs.size == 0:
            pair = min(self.input_width, self.pair)
            shape = self.segments * self.input_width // pair, self.layout.features.size, pair
            self._transposed_inputs = panels.aligned_empty(shape, self.dtype)
            self._transpose_inputs(parameters)
        return self._transposed_inputs

    def _transpose_inputs(self, parameters):
        panels.pack_transposed(self.arrays(parameters)[0], self.layout.features, self.segments, self._transposed_inputs)


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
        self.directions = [direction for layer in self.layers for direction in layer]
        self.refresh()

    def refresh(self):
        """Read the parameters anew."""
        for direction in self.directions:
            direction.pack(self.parameters)

    def states_shape(self, packing, alternating=False):
        """Shape of a layer's h: (B + N, D, padded H), or (3 B, D, padded H) of one that keeps two steps at a time."""
        n_rows = 3 * packing.n_rows if alternating else packing.n_rows + packing.n_packed
        return n_rows, self.n_directions, self.padded

    def dx_shape(self, packing, k=0):
        """Shape of the gradient of what layer ``k`` reads: (N, S, padded F)."""
        return packing.n_packed, self.layers[k][0].segments, self.layers[k][0].input_width

    def forward(
        self, x, packing, workspace, n_threads=1, record=False, initial=None, outputs=None, dropout=None,
        last_only=False,
    ):  # fmt: skip
        """Run all layers over a packed batch.

        Parameters
        ----------
        x : array of shape (N, 1, F)
        packing : Packing
        workspace : Workspace
            Owns the buffers of what is returned, until its next use for the same packing; `backward` needs it too.
        n_threads : int
        record : bool
            Keep what `backward` needs.
        initial : tuple of arrays of shape (L * D, B, H), optional
            Initial h (and c, LSTM), in the caller's order of rows.
        outputs : array of shape (B + N, D, padded H), optional
            Receives the last layer's h, which the caller then keeps. A buffer of the workspace by default.
        dropout : Dropout, optional
            Drop numbers between the layers, and of h in the recurrent products.
        last_only : bool
            Nobody needs more than the final states. Without ``record`` and ``outputs``.

        Returns
        -------
        trace : Trace
            ``trace.states[-1]`` holds the outputs of the last layer, from row B on, unless it is ``alternating``.
        """
        n_rows = packing.n_rows
        between = dropout is not None and dropout.rate > 0.0 and self.num_layers > 1
        recurrent = dropout is not None and dropout.recurrent_rate > 0.0
        with threads.team(n_threads) as n_threads:
            trace = workspace.trace(self, packing, n_threads, record, between, recurrent, last_only)
            trace.inputs[0], trace.dropout = x, dropout
            if recurrent:
                dropout.recurrent_masks(self.hidden_size, trace.all_masks)
            trace.begin(outputs)
            if initial is None:
                for state in trace.initial:
                    state.fill(0.0)
            else:
                self._begin_from(initial, trace)
            for k, layer in enumerate(self.layers):
                if between and k > 0:
                    self._drop(trace, k, trace.states[k - 1][n_rows:], trace.inputs[k], trace.shards[k])
                for direction in layer:
                    self._forward(direction, trace)
        return trace

    def _drop(self, trace, k, values, out, shards):
        """Dropout of what layer ``k`` reads, or of the gradient of it."""
        trace.dropout.between_layers(values, k, self.hidden_size, trace.packing.steps(0), out, shards)

    def _begin_from(self, initial, trace):
        order, n_rows = trace.packing.order, trace.packing.n_rows
        for direction in self.directions:
            key, h = direction.index, trace.states[direction.layer]
            batches.copy_padded(initial[0][key], order, h[:n_rows, direction.direction])
            if self.has_cell_state:
                batches.copy_padded(initial[1][key], order, trace.cells[key][:n_rows])

    def _forward(self, direction, trace):
        k, d, key = direction.layer, direction.direction, direction.index
        if trace.teams[k] is not None:
            self._forward_together(direction, trace)
            return
        common = direction.w, direction.bias, trace.inputs[k], direction.n_features, trace.steps[d], trace.states[k], d
        shards = trace.shards[k]
        gates, rest = trace.gates[key], (trace.masked[k], trace.masks[key], shards)
        if self.cell == "rnn":
            elman.rnn_forward.of(shards)(*common, gates, self.relu, *rest)
        elif self.cell == "gru":
            gru.gru_forward.of(shards)(*common, gates, trace.record, *rest)
        else:
            lstm.lstm_forward.of(shards)(*common, trace.cells[key], gates, trace.record, *rest)

    def _forward_together(self, direction, trace):
        k, d, key = direction.layer, direction.direction, direction.index
        common = direction.w, direction.bias, trace.inputs[k], direction.n_features, trace.steps[d], trace.states[k], d
        shares = trace.teams[k]
        gates, rest = trace.gates[key], (team.new_meeting(len(shares) - 1, trace.packing.n_rows), shares)
        if self.cell == "rnn":
            elman.rnn_forward_together(*common, gates, self.relu, *rest)
        elif self.cell == "gru":
            gru.gru_forward_together(*common, gates, trace.record, *rest)
        else:
            lstm.lstm_forward_together(*common, trace.cells[key], gates, trace.record, *rest)

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
        """Final h of the last layer, (B, D * H), in the caller's order of rows; of the states where it can be."""
        n_rows, n_hidden, states = trace.packing.n_rows, self.hidden_size, trace.states[-1]
        if self.n_directions == 1 and trace.packing.equal and n_hidden == self.padded:
            return states[trace.final(self.num_layers - 1, 0)[0], 0]
        h = np.empty((n_rows, self.n_directions * n_hidden), self.dtype)
        for d in range(self.n_directions):
            rows, places = trace.final(self.num_layers - 1, d)
            h[places, d * n_hidden : (d + 1) * n_hidden] = states[rows, d, :n_hidden]
        return h

    def final_states(self, trace):
        """Final h (and c, LSTM) of every layer and direction: (L * D, B, H), in the caller's order of rows."""
        shape = len(self.directions), trace.packing.n_rows, self.hidden_size
        parts = tuple(np.empty(shape, self.dtype) for _ in range(2 if self.has_cell_state else 1))
        for key, direction in enumerate(self.directions):
            d, k = direction.direction, direction.layer
            rows, places = trace.final(k, d)
            parts[0][key, places] = trace.states[k][rows, d, : self.hidden_size]
            if self.has_cell_state:
                cells = trace.cells[key][:, : self.hidden_size]
                parts[1][key, places] = cells[rows] if trace.record else cells
        return parts

    def backward(self, trace, grads, n_threads=1, dy=None, dstate=None, dx=None, dlast=None, places=None):
        """Backpropagation through time, after `forward` with ``record``.

        Parameters
        ----------
        trace : Trace
            Used up: its gates are overwritten.
        grads : Parameters
            Added to.
        n_threads : int
        dy : array of shape (S, D, H or padded H), optional
            Gradient of the last layer's outputs: packed, or with ``places``.
        dstate : tuple of arrays of shape (L * D, B, H), optional
            Gradient of the final states, in the caller's order of rows; None in it means zero.
        dx : array of shape `dx_shape`, optional
            Receives the gradient of x.
        dlast : array of shape (B, D * H), optional
            Gradient of the last layer's final h alone: of `last_states`.
        places : tuple of int64 array of shape (B,) and int, optional
            Row of ``dy`` of each sequence's first time step, and rows from one time step of a sequence to its next.

        Returns
        -------
        dinitial : tuple of arrays of shape (L * D, B, padded H)
            Gradient of the initial states, in the order of the packed batch.
        """
        with threads.team(n_threads) as n_threads:
            back = trace.back(self, n_threads)
            back.dx[0] = dx
            self._pad_state_gradient(trace.packing, dstate[0] if dstate else self._by_direction(dlast), back.dh)
            if self.has_cell_state:
                self._pad_state_gradient(trace.packing, dstate[1] if dstate else None, back.dc)
            above = self.above(dy, places)
            for k in range(self.num_layers - 1, -1, -1):
                for direction in self.layers[k]:
                    self._gate_gradient(direction, trace, back, above)
                    self._weight_gradient(direction, trace, back, grads)
                    if back.dx[k] is not None:
                        self._input_gradient(direction, back)
                above = self.above(back.dx[k])
                if trace.between and k > 0:
                    self._drop(trace, k, back.dx[k], back.dx[k], back.row_shards[self.layers[k][0].index])
        return (back.dh, back.dc) if self.has_cell_state else (back.dh,)

    def above(self, dy, places=None):
        """What comes from above as the kernels take it: dy, and where its rows lie."""
        return (self._nothing if dy is None else dy, *(places or _PACKED))

    def _by_direction(self, dlast):
        """(B, D * H) as (D, B, H); of one direction as it is."""
        if dlast is None or self.n_directions == 1:
            return dlast
        return dlast.reshape(len(dlast), self.n_directions, -1).transpose(1, 0, 2)

    def _pad_state_gradient(self, packing, given, out):
        """Gradient of the final states, of all layers or of the last one, in the order of the packed batch."""
        if given is not None and packing.equal and given.size == out.size:
            np.copyto(out, given)
            return
        out.fill(0.0)
        if given is not None:
            given = given.reshape(-1, packing.n_rows, self.hidden_size)
            out[-len(given) :, :, : self.hidden_size] = given if packing.equal else given[:, packing.order]

    def _gate_gradient(self, direction, trace, back, above):
        """The recurrence, backwards: gradients of the pre-activations, over the gates; ``dh``, ``dc`` in place."""
        key, d, k = direction.index, direction.direction, direction.layer
        if back.teams[k] is not None:
            self._gate_gradient_together(direction, trace, back, above)
            return
        common = back.hidden[key], trace.steps[d], trace.states[k], d
        shards = back.row_shards[key]
        gates, dh, rest = back.gates[key], back.dh[key], (trace.masks[key], shards)
        if self.cell == "rnn":
            elman.rnn_backward.of(shards)(*common, gates, *above, dh, self.relu, *rest)
        elif self.cell == "gru":
            gru.gru_backward.of(shards)(*common, gates, *above, dh, dh if back.kept is None else back.kept, *rest)
        else:
            lstm.lstm_backward.of(shards)(*common, trace.cells[key], gates, *above, dh, back.dc[key], *rest)

    def _gate_gradient_together(self, direction, trace, back, above):
        key, d, k = direction.index, direction.direction, direction.layer
        common = back.hidden[key], trace.steps[d], trace.states[k], d
        gates, dh, rest = back.gates[key], back.dh[key], (team.new_meeting(len(back.teams[k]) - 1), back.teams[k])
        if self.cell == "rnn":
            elman.rnn_backward_together(*common, gates, *above, dh, self.relu, *rest)
        elif self.cell == "gru":
            gru.gru_backward_together(*common, gates, *above, dh, *rest)
        else:
            lstm.lstm_backward_together(*common, trace.cells[key], gates, *above, dh, back.dc[key], *rest)

    def _weight_gradient(self, direction, trace, back, grads):
        key, k, d = direction.index, direction.layer, direction.direction
        shards = back.weight_shards[key]
        weight_gradient.of(shards)(
            back.gates[key], trace.inputs[k], direction.n_features, trace.masked[k], d, back.segments[d],
            back.dw[key], back.dbias[key], direction.vectors, direction.layout.first_hidden, back.scratch[key],
            direction.maps, direction.arrays(grads), shards,
        )  # fmt: skip

    def _input_gradient(self, direction, back):
        key, dx = direction.index, back.dx[direction.layer]
        w, out = direction.transposed_inputs(self.parameters), dx.reshape(len(dx), -1)
        products.input_gradient(back.gates[key], w, 0, direction.direction > 0, out, back.packed_shards[key])
