"""A network with a head: packed batches of sequences in, outputs and gradients out."""

import math

import numpy as np

from fastrecur.kernels.cpu import batches, head, panels
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, initialise, recurrent_shapes
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace

#: What prediction holds in memory: sequences of one batch of `Model.outputs`, and time steps of one piece of it. Two
#: directions need all steps of a sequence at once: sequences times steps of their batches.
PREDICT_ROWS, PREDICT_STEPS, PREDICT_WHOLE = 256, 64, 2**17

LOSSES = {"cross_entropy": head.cross_entropy, "squared_error": head.squared_error}


def training_memory(cell, n_packed, n_features, hidden_size, n_outputs, num_layers, n_directions, relu, dtype):
    """About how many bytes a training step on ``n_packed`` time steps holds: see `Model` for the others.

    Of each time step, direction and layer the states, the gates and what the layer below gets back, all padded; of
    each weight itself, gradient, moments, the kept and the best, and the copies that the kernels read.
    """
    width, directions = panels.padded(hidden_size, dtype), num_layers * n_directions
    a_step = {"rnn": 2, "gru": 5, "lstm": 6}[cell] * width + width * (num_layers > 1)
    above = recurrent_shapes(cell, n_directions * hidden_size, hidden_size, 1, 1)
    first = recurrent_shapes(cell, n_features, hidden_size, 1, n_directions)
    n_parameters = sum(map(math.prod, first.values())) + (num_layers - 1) * n_directions * sum(
        map(math.prod, above.values())
    )
    numbers = n_packed * (a_step * directions + n_features) + 10 * (n_parameters + n_outputs * n_directions * width)
    return numbers * np.dtype(dtype).itemsize


class Model:
    """Recurrent layers, the last state of each sequence, a dense layer.

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
    n_features, hidden_size, n_outputs : int
    num_layers, n_directions : int
    relu : bool
    dtype : dtype
    """

    def __init__(self, cell, n_features, hidden_size, n_outputs, num_layers, n_directions, relu, dtype):
        shapes = recurrent_shapes(cell, n_features, hidden_size, num_layers, n_directions)
        width = n_directions * hidden_size
        shapes |= {"head_weight": (n_outputs, width), "head_bias": (n_outputs,)}
        self.cell, self.n_features, self.n_outputs = cell, n_features, n_outputs
        self.dtype, self._width = np.dtype(dtype), width
        self.parameters = Parameters(shapes, self.dtype)
        self.stack = RecurrentStack(cell, self.parameters, hidden_size, num_layers, n_directions, relu)

    def initialise(self, random_state):
        """Draw all parameters anew."""
        initialise(self.parameters, self.cell, random_state)
        self.stack.refresh()

    def load(self, weights):
        """Take over ``weights``, a dict of arrays by name."""
        for name, array in self.parameters.arrays.items():
            array[...] = weights[name]
        self.stack.refresh()

    # --- training ----------------------------------------------------------------------------------------------------

    def gradient(self, sequences, rows, loss, targets, weights, grads, workspace, n_threads):
        """Loss of a batch; its gradient is assigned to ``grads``.

        Parameters
        ----------
        sequences : Sequences
        rows : int64 array of shape (B,)
            The sequences of the batch.
        loss : {"cross_entropy", "squared_error"}
        targets : int64 array of shape (n,), or array of shape (n, K)
        weights : float64 array of shape (n,)
        grads : Parameters
        workspace : Workspace
            Kept by the caller from batch to batch.
        n_threads : int

        Returns
        -------
        loss : float
        """
        grads.flat[:] = 0.0
        packing, x = self._pack(sequences, rows, workspace)
        trace = self.stack.forward(x, packing, workspace, n_threads, record=True)
        pooled = self._pooled(trace)
        outputs = workspace.take("outputs", len(rows), self.n_outputs)
        doutputs = workspace.take("doutputs", len(rows), self.n_outputs)
        dpooled = workspace.take("dpooled", len(rows), self._width)
        value = LOSSES[loss](
            pooled, *self._head_arrays(), rows, targets, weights, outputs, doutputs,
            grads.arrays["head_weight"], grads.arrays["head_bias"], dpooled,
        )  # fmt: skip
        dlast = dpooled.reshape(len(rows), self.stack.n_directions, -1).transpose(1, 0, 2)
        self.stack.backward(trace, grads, n_threads, dlast=dlast)
        return value

    def _pack(self, sequences, rows, workspace):
        packing = workspace.packing(sequences.lengths[rows])
        x = workspace.take("x", packing.n_packed, 1, self.n_features)
        starts = sequences.starts[rows if packing.equal else rows[packing.order]]
        batches.gather_steps(sequences.values, starts, packing.steps(0), x)
        return packing, x

    def _pooled(self, trace):
        """Last state of each sequence in each direction: (B, D * H), in the caller's order."""
        last = self.stack.last_states(trace)
        return last[0] if len(last) == 1 else last.transpose(1, 0, 2).reshape(-1, self._width)

    def _head_arrays(self):
        """Weights (K, D * H), their transpose as an array of its own, and biases (K,)."""
        weight = self.parameters.arrays["head_weight"]
        return weight, np.ascontiguousarray(weight.T), self.parameters.arrays["head_bias"]

    # --- prediction --------------------------------------------------------------------------------------------------

    def outputs(self, sequences, n_threads):
        """Outputs of the head for each sequence, (n, K), without a record.

        Sequences of like length go together, a few hundred at a time and, in one direction, a few time steps at a
        time with the states carried on: beside the outputs, the memory does not grow with n or T. In two directions
        it grows with T alone, and only where one sequence has more than `PREDICT_WHOLE` steps.
        """
        out = np.empty((len(sequences), self.n_outputs), self.dtype)
        workspace = Workspace(self.dtype)
        _, weight_t, bias = self._head_arrays()
        by_length = np.argsort(-sequences.lengths, kind="stable")
        start = 0
        while start < len(by_length):
            rows = by_length[start : start + self._batch_size(sequences.lengths[by_length[start]])]
            pooled = self._pooled_without_record(sequences, rows, workspace, n_threads)
            outputs = workspace.take("outputs", len(rows), self.n_outputs)
            head.head_forward(pooled, weight_t, bias, outputs)
            out[rows] = outputs
            start += len(rows)
        return out

    def _batch_size(self, longest):
        """Sequences of a batch of prediction, the longest of which has ``longest`` time steps."""
        if self.stack.n_directions == 1:
            return PREDICT_ROWS
        return max(1, min(PREDICT_ROWS, PREDICT_WHOLE // longest))

    def _pooled_without_record(self, sequences, rows, workspace, n_threads):
        starts, lengths = sequences.starts[rows], sequences.lengths[rows]
        n_steps = int(lengths[0])
        if self.stack.n_directions == 2 or n_steps <= PREDICT_STEPS:
            packing, x = self._pack(sequences, rows, workspace)
            return self._pooled(self.stack.forward(x, packing, workspace, n_threads))
        pooled = np.empty((len(rows), self._width), self.dtype)
        state: tuple | None = None
        for t in range(0, n_steps, PREDICT_STEPS):
            n_alive = np.count_nonzero(lengths > t)  # the first ones: lengths never rise
            packing = Packing(np.minimum(lengths[:n_alive] - t, PREDICT_STEPS))
            x = workspace.take("x", packing.n_packed, 1, self.n_features)
            batches.gather_steps(sequences.values, starts[:n_alive] + t, packing.steps(0), x)
            initial = state and tuple(part[:, :n_alive] for part in state)
            state = self.stack.final_states(self.stack.forward(x, packing, workspace, n_threads, initial=initial))
            pooled[:n_alive] = state[0][-1]
        return pooled
