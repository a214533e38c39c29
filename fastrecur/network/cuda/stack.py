"""Stacked, optionally bidirectional recurrent layers on the GPU: what `fastrecur.network.recurrent` is on the CPU."""

import functools
from typing import Any, NamedTuple

import numpy as np

from fastrecur.kernels.cuda import batches, elman, gru, layout, lstm, runtime
from fastrecur.kernels.cuda.steps import upload
from fastrecur.kernels.steps import step_table
from fastrecur.network.cuda.buffers import send_rows
from fastrecur.network.cuda.weights import Direction, Weights

#: Numbers of scratch with which blocks share long sums.
PARTS = 2**21


class Trace(NamedTuple):
    """What a batch leaves on its way forward, for the way back: device arrays.

    ``inputs`` (N, I) and ``states`` (B + N, D, padded H) by layer; ``cells``, ``gates`` and ``masks`` by layer and
    direction.
    """

    places: Any
    inputs: list
    states: list
    cells: list
    gates: list
    masks: list
    dropout: Any
    record: bool


class CudaStack:
    """Layers of one cell, stacked; every layer in one or two directions; arrays on the device.

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
    parameters : Parameters
        On the host. After a change of their values, call `refresh`.
    hidden_size, num_layers, n_directions : int
    relu : bool
        Of the Elman RNN.

    Raises
    ------
    RuntimeError
        If there is no GPU, with what is missing.
    """

    def __init__(self, cell, parameters, hidden_size, num_layers=1, n_directions=1, relu=False):
        runtime.require()
        self.cell, self.parameters, self.relu = cell, parameters, relu
        self.hidden_size, self.num_layers, self.n_directions = hidden_size, num_layers, n_directions
        self.dtype, self.padded = parameters.flat.dtype, layout.padded(hidden_size)
        self.has_cell_state = cell == "lstm"
        self.layers = [
            [Direction(cell, k, d, n_directions, hidden_size, parameters.shapes) for d in range(n_directions)]
            for k in range(num_layers)
        ]
        self.directions = [direction for layer in self.layers for direction in layer]
        self.weights = Weights(parameters, self.directions)
        self.refresh()

    def __reduce__(self):
        arguments = self.cell, self.parameters, self.hidden_size, self.num_layers, self.n_directions, self.relu
        return CudaStack, arguments

    def refresh(self):
        """Read the parameters anew."""
        self.weights.send(self.parameters)

    # --- forward -----------------------------------------------------------------------------------------------------

    def forward(self, x, places, buffers, record=False, initial=None, dropout=None):
        """Run all layers over a packed batch.

        Parameters
        ----------
        x : device array of shape (N, F)
        places : fastrecur.network.cuda.buffers.Places
        buffers : fastrecur.network.cuda.buffers.Buffers
            Owns what is returned, until its next use.
        record : bool
            Keep what `backward` needs.
        initial : tuple of device arrays of shape (L * D * B, H), optional
            Initial h (and c, LSTM), in the caller's order of rows. There may be more of these: the first are taken.
        dropout : fastrecur.network.cuda.dropout.DeviceDropout, optional

        Returns
        -------
        trace : Trace
        """
        n_rows, n_packed = places.packing.n_rows, places.packing.n_packed
        masks = dropout.recurrent_masks(n_rows, buffers) if dropout else [None] * len(self.directions)
        trace = Trace(places, [], [], [], [], masks, dropout, record)
        scratch = self._scratch(n_rows, n_packed, masks, buffers)
        kind = "kept" if record else "scratch"
        for k, layer in enumerate(self.layers):
            # Every layer has states of its own, without a record too: `final_states` reads those of all of them.
            h = buffers.take(("h", kind, k), n_rows + n_packed, self.n_directions, self.padded)
            if k > 0 and dropout and dropout.rate > 0:
                x = dropout.between_layers(x, k, places, buffers.take(("dropped", k), *x.shape))
            trace.inputs.append(x)
            trace.states.append(h)
            for direction in layer:
                key = direction.index
                self._begin(h.reshape(n_rows + n_packed, -1), direction, places, initial and initial[0], True)
                width = layout.RECORD[self.cell] * self.padded
                gates = None
                if self.cell != "rnn":
                    gates = buffers.take(("gates", key if record else 0), n_packed, width)
                c = None
                if self.has_cell_state:
                    c = buffers.take(("c", key), n_rows + n_packed if record else n_rows, self.padded)
                    self._begin(c, direction, places, initial and initial[1], False)
                trace.gates.append(gates)
                trace.cells.append(c)
                self._forward(direction, trace, scratch)
            x = h[n_rows:].reshape(n_packed, self.n_directions * self.padded)
        return trace

    def _begin(self, out, direction, places, given, in_directions):
        """Initial states into the first rows of a buffer."""
        first = direction.direction * self.padded if in_directions else 0
        if given is None:
            batches.move(out, places.no_rows, out, places.rows, 0, self.padded, out_first=first)
        else:
            rows = places.of_state(direction.index, given.shape[0] // len(self.directions))
            batches.move(given, rows, out, places.rows, self.hidden_size, self.padded, out_first=first)

    def _scratch(self, n_rows, n_packed, masks, buffers):
        size = layout.scratch(self.cell, self.padded, n_rows, n_packed, masks[0] is not None)
        return buffers.take("scratch", size)

    def _forward(self, direction, trace, scratch):
        key, k, d = direction.index, direction.layer, direction.direction
        w_ih, _, *biases = self.weights.arrays[key]
        given = w_ih, self.weights.transposed[key], *biases, trace.inputs[k], trace.places.steps(d), trace.states[k]
        options = {"direction": d, "mask": trace.masks[key]}
        if self.cell == "rnn":
            elman.rnn_forward(*given, scratch, relu=self.relu, **options)
        elif self.cell == "gru":
            gru.gru_forward(*given, trace.gates[key], scratch, keep=trace.record, **options)
        else:
            lstm.lstm_forward(*given, trace.cells[key], trace.gates[key], scratch, keep=trace.record, **options)

    def outputs(self, trace):
        """States of the last layer after each packed time step: a view (N, D * padded H)."""
        n_rows, n_packed = trace.places.packing.n_rows, trace.places.packing.n_packed
        return trace.states[-1][n_rows:].reshape(n_packed, self.n_directions * self.padded)

    def new_states(self, n_rows):
        """Device arrays for h (and c, LSTM) of every layer and direction: (L * D * B, H), undefined."""
        shape = len(self.directions) * n_rows, self.hidden_size
        return tuple(runtime.empty(shape, self.dtype) for _ in range(2 if self.has_cell_state else 1))

    def kept_states(self, n_rows, buffers, name):
        """The same in the memory of a name."""
        shape = len(self.directions) * n_rows, self.hidden_size
        return tuple(buffers.take((name, i), *shape) for i in range(2 if self.has_cell_state else 1))

    def final_states(self, trace, parts):
        """Final h (and c, LSTM) of every layer and direction, in the caller's order: returns ``parts``.

        These are device arrays (L * D * B, H). They may be those of a batch of which this one has the first rows: the
        others stay as they are.
        """
        places = trace.places
        for direction in self.directions:
            h = trace.states[direction.layer]
            self._finish(
                h.reshape(h.shape[0], -1), places.final(direction.direction), direction, places, parts[0], True
            )
        if self.has_cell_state:
            for direction, c in zip(self.directions, trace.cells, strict=True):
                rows = places.final(direction.direction) if trace.record else places.rows
                self._finish(c, rows, direction, places, parts[1], False)
        return parts

    def _finish(self, source, rows, direction, places, out, in_directions):
        first = direction.direction * self.padded if in_directions else 0
        out_rows = places.of_state(direction.index, out.shape[0] // len(self.directions))
        batches.move(source, rows, out, out_rows, self.hidden_size, source_first=first)

    # --- backward ----------------------------------------------------------------------------------------------------

    def backward(self, trace, buffers, dy=None, dstate=None, dx=None, dlast=None, dinitial=None):
        """Backpropagation through time, after `forward` with ``record``, which it uses up.

        The gradients of the weights are added to those of `weights`.

        Parameters
        ----------
        trace : Trace
        buffers : Buffers
        dy : device array of shape (N, D, padded H), optional
            Gradient of the last layer's outputs.
        dstate : tuple of device arrays of shape (L * D * B, H), optional
            Gradient of the final states, in the caller's order of rows; None in it means zero.
        dx : device array of shape (N, F), optional
            Receives the gradient of x.
        dlast : device array of shape (B, D * padded H), optional
            Gradient of the last layer's final h, by falling length of the rows, in the place of ``dstate``.
        dinitial : tuple of device arrays of shape (L * D * B, H), optional
            Receives the gradient of the initial states, in the caller's order of rows.
        """
        places, n_rows = trace.places, trace.places.packing.n_rows
        n_packed, width = places.packing.n_packed, self.n_directions * self.padded
        parts, scratch = buffers.take("parts", PARTS), self._scratch(n_rows, n_packed, trace.masks, buffers)
        for k in range(self.num_layers - 1, -1, -1):
            below = dx if k == 0 else buffers.take(("dx", k % 2), n_packed, width)
            for direction in self.layers[k]:
                carried = []
                for i in range(2 if self.has_cell_state else 1):
                    carried.append(buffers.take(("carried", i), n_rows, self.padded))
                    if dlast is not None and i == 0 and k == self.num_layers - 1:
                        first = direction.direction * self.padded
                        batches.move(dlast, places.rows, carried[0], places.rows, self.padded, source_first=first)
                    else:
                        self._begin(carried[i], direction, places, dstate and dstate[i], False)
                self._backward(direction, trace, buffers, dy, carried, below, (parts, scratch))
                for buffer, out in zip(carried, dinitial or (), strict=False):
                    self._finish(buffer, places.rows, direction, places, out, False)
            if k > 0 and trace.dropout and trace.dropout.rate > 0:
                trace.dropout.between_layers(below, k, places, below)
            dy = below if k == 0 else below.reshape(n_packed, self.n_directions, self.padded)

    def _backward(self, direction, trace, buffers, dy, carried, dx, scratch):
        key, k, d = direction.index, direction.layer, direction.direction
        w_ih, w_hh, *_ = self.weights.arrays[key]
        given = w_ih, w_hh, trace.inputs[k], trace.places.steps(d), trace.states[k]
        out = dx, *self.weights.gradients[key], *scratch
        options = {"direction": d, "mask": trace.masks[key], "add_dx": d > 0}
        if self.cell == "rnn":
            dgates = buffers.take("dgates", trace.inputs[k].shape[0], self.padded)
            elman.rnn_backward(*given, dgates, dy, *carried, *out, relu=self.relu, **options)
        elif self.cell == "gru":
            gru.gru_backward(*given, trace.gates[key], dy, *carried, *out, **options)
        else:
            lstm.lstm_backward(*given, trace.cells[key], trace.gates[key], dy, *carried, *out, **options)

    # --- streams -----------------------------------------------------------------------------------------------------

    def step(self, x, state, new, buffers):
        """One time step of all layers, which read in one direction: returns ``new``.

        Parameters
        ----------
        x : device array of shape (B, F)
        state : tuple of device arrays of shape (L * B, H), or None
        new : tuple of device arrays of shape (L * B, H)
            Receives the states after the step.
        buffers : Buffers
        """
        n_rows, hidden = x.shape[0], self.hidden_size
        rows, nothing, table = _one_step(n_rows, max(2, self.num_layers))
        for (direction,) in self.layers:
            key = direction.index
            h = buffers.take(("h of a step", key % 2), 2 * n_rows, 1, self.padded)
            flat, states, place = h.reshape(2 * n_rows, self.padded), [h], rows[key * n_rows : (key + 1) * n_rows]
            if self.has_cell_state:
                states.append(buffers.take("c of a step", n_rows, self.padded))
            for i, buffer in enumerate((flat, *states[1:])):
                source = (buffer, nothing, buffer, rows[:n_rows], 0) if state is None else None
                source = source or (state[i], place, buffer, rows[:n_rows], hidden)
                batches.move(*source, self.padded)
            self._step(direction, x, states, table, buffers)
            batches.move(flat, rows[n_rows : 2 * n_rows], new[0], place, hidden)
            if self.has_cell_state:
                batches.move(states[1], rows[:n_rows], new[1], place, hidden)
            x = flat[n_rows:]
        return new

    def _step(self, direction, x, states, table, buffers):
        w_ih, _, *biases = self.weights.arrays[direction.index]
        given = w_ih, self.weights.transposed[direction.index], *biases, x, *states
        gates = buffers.take("gates of a step", x.shape[0], layout.RECORD[self.cell] * self.padded)
        scratch = self._scratch(x.shape[0], x.shape[0], [None], buffers)
        if self.cell == "rnn":
            elman.rnn_step(*given, table, scratch, self.relu)
        elif self.cell == "gru":
            gru.gru_step(*given, gates, table, scratch)
        else:
            lstm.lstm_step(*given, gates, table, scratch)


@functools.lru_cache(maxsize=16)
def _one_step(n_rows, n_states):
    """Rows 0, 1, 2, ... of so many states, rows of nothing, and the table of one step of ``n_rows`` rows."""
    table = upload(step_table(np.ones(n_rows, np.int64)))
    return send_rows(np.arange(n_states * n_rows)), send_rows(np.full(n_rows, -1)), table
