"""Inside a network: gradients of the states and of the inputs for the loss of each sequence, gates and states.

Dropout is off throughout: the network is the one that predicts.
"""

from typing import Any, NamedTuple

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import flow
from fastrecur.network.gradient import Gradient, Targets
from fastrecur.network.model import Model, make_batch, step_rows
from fastrecur.network.workspace import Workspace

#: A batch has so many sequences at least, for the kernels' sake, and more while they have no more time steps than this
#: in all, to stay near the processor.
FLOW_STEPS, FLOW_ROWS = 2**13, 32

#: Gates of a record by name: their places among the vectors of a panel.
RECORDED = {
    "rnn": {},
    "lstm": {"input": 0, "forget": 1, "candidate": 2, "output": 3},
    "gru": {"candidate": 0, "reset": 1, "update": 2},
}


class StateGradients(NamedTuple):
    """Norms of the gradients of a layer's states, float64 of shape (D, S), by direction and row of the stack.

    ``cell`` is the LSTM's, None of other cells.
    """

    hidden: Any
    cell: Any


class _StateFlow(Gradient):
    """Goes back through the layers down to one of them without gradients of weights, which it does not need."""

    def __init__(self, model, targets, n_threads, layer, n_rows):
        super().__init__(model, targets, n_threads)
        self._layer = layer
        shape = model.stack.n_directions, n_rows
        cell = np.empty(shape) if model.stack.has_cell_state else None
        self.norms = StateGradients(np.empty(shape), cell)

    def run(self, sequences):
        """All sequences, each with a loss of its own."""
        for batch in _batches(sequences):
            if self.model.pooling is None:
                trace = self._run(batch)
                self._step_targets(batch, trace, 0, step_rows(batch, trace.packing), 1.0, None)
            else:
                self._whole(batch, 1.0, None)

    def _head(self, inputs, index, scale):
        """What the head reads receives the gradient with all its digits: see `flow.squared_error_flow`."""
        loss, values, weights = self._targets
        if loss != "squared_error":
            return super()._head(inputs, index, scale)
        return 0.0, self.model.head.squared_error_flow(inputs, index, values, weights, self._workspace)

    def _backward(self, piece, trace, dy, dlast=None):
        stack, packing = self.model.stack, trace.packing
        with threads.team(self._n_threads) as n_threads:
            back = trace.back(stack, n_threads)
            stack._pad_state_gradient(packing, stack._by_direction(dlast), back.dh)
            if stack.has_cell_state:
                stack._pad_state_gradient(packing, None, back.dc)
            above = stack.above(dy)
            for k in range(stack.num_layers - 1, self._layer, -1):
                for direction in stack.layers[k]:
                    stack._gate_gradient(direction, trace, back, above)
                    stack._input_gradient(direction, back)
                above = stack.above(back.dx[k])
            for direction in stack.layers[self._layer]:
                self._state_gradient(direction, piece, trace, back, above)

    def _state_gradient(self, direction, piece, trace, back, above):
        stack, n_rows = self.model.stack, trace.packing.n_rows
        key, d, k = direction.index, direction.direction, direction.layer
        common, gates, dh = (back.hidden[key], trace.steps[d], trace.states[k], d), back.gates[key], back.dh[key]
        shape = n_rows + trace.packing.n_packed, stack.padded
        found = [self._workspace.take("dh of all steps", *shape)]
        mask, shards = trace.masks[key], back.row_shards[key]
        if stack.cell == "rnn":
            flow.rnn_flow(*common, gates, *above, dh, stack.relu, mask, *found, shards)
        elif stack.cell == "gru":
            flow.gru_flow(*common, gates, *above, dh, dh, mask, *found, shards)
        else:
            found.append(self._workspace.take("dc of all steps", *shape))
            flow.lstm_flow(*common, trace.cells[key], gates, *above, dh, back.dc[key], mask, *found, shards)
        rows = step_rows(piece, trace.packing)
        for gradients, norms in zip(found, self.norms, strict=False):
            flow.row_norms(gradients, n_rows, rows, stack.hidden_size, norms[d])


class _InputFlow(_StateFlow):
    """Goes back through all layers, to what the first one reads."""

    def __init__(self, model, targets, n_threads, n_rows):
        super().__init__(model, targets, n_threads, 0, 0)
        self.dx = np.empty((n_rows, model.n_features), model.dtype)

    def _state_gradient(self, direction, piece, trace, back, above):
        stack = self.model.stack
        if direction.direction == 0:
            back.dx[0] = self._workspace.take("dx of the first layer", *stack.dx_shape(trace.packing))
        stack._gate_gradient(direction, trace, back, above)
        stack._input_gradient(direction, back)
        if direction.direction == stack.n_directions - 1:
            self.dx[step_rows(piece, trace.packing)] = back.dx[0][:, 0, : self.model.n_features]


def state_gradients(model: Model, sequences: Any, targets: Targets, n_threads: int, layer: int) -> StateGradients:
    """Norms of dE/dh_t, and of dE/dc_t, of one layer, E being the loss of the sequence.

    Parameters
    ----------
    model : Model
    sequences : Sequences
        With S rows of values.
    targets : Targets
        The loss of a sequence is the weighted one of its target or, without pooling, the sum over its time steps.
    n_threads : int
    layer : int
        From 0 to L - 1.
    """
    gradient = _StateFlow(model, targets, n_threads, layer, len(sequences.values))
    gradient.run(sequences)
    return gradient.norms


def input_gradients(model: Model, sequences: Any, targets: Targets, n_threads: int) -> np.ndarray:
    """Return dE/dx_t, (S, F), or of tokens the gradient of their embeddings, (S, E): see `state_gradients`."""
    gradient = _InputFlow(model, targets, n_threads, len(sequences.values))
    gradient.run(sequences)
    return gradient.dx


def layer_activations(model: Model, sequences: Any, n_threads: int, layer: int, direction: int) -> dict[str, Any]:
    """Gates, cell and hidden states of one layer in one direction: arrays (S, H) by name.

    Parameters
    ----------
    model : Model
    sequences : Sequences
        With S rows of values.
    n_threads : int
    layer : int
        From 0 to L - 1.
    direction : {0, 1}
    """
    stack, workspace = model.stack, Workspace(model.dtype)
    places = RECORDED[model.cell]
    names = [*places, *(["cell"] if stack.has_cell_state else []), "hidden"]
    found = {name: np.empty((len(sequences.values), stack.hidden_size), model.dtype) for name in names}
    key = stack.layers[layer][direction].index
    for batch in _batches(sequences):
        trace = model.run(batch, workspace, n_threads, record=True)
        rows, first = step_rows(batch, trace.packing), trace.packing.n_rows
        for name, place in places.items():
            flow.scatter_gate(trace.gates[key], place, rows, found[name])
        found["hidden"][rows] = trace.states[layer][first:, direction, : stack.hidden_size]
        if stack.has_cell_state:
            found["cell"][rows] = trace.cells[key][first:, : stack.hidden_size]
    return found


def _batches(sequences):
    """Sequences of like length together."""
    by_length = np.argsort(-sequences.lengths, kind="stable")
    begin = 0
    while begin < len(by_length):
        n_rows = max(FLOW_ROWS, FLOW_STEPS // int(sequences.lengths[by_length[begin]]))
        yield make_batch(sequences, by_length[begin : begin + n_rows])
        begin += n_rows
