"""A network with a head: batches of sequences in, outputs out. Its gradients are in `fastrecur.network.gradient`."""

import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import batches, panels
from fastrecur.kernels.cpu.head_gradient import BLOCK
from fastrecur.network.head import Head
from fastrecur.network.parameters import TABLE, Parameters, initialise, network_shapes, recurrent_shapes
from fastrecur.network.pooling import POOLINGS
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import Workspace

#: What prediction holds in memory: sequences of one batch, and time steps of one piece of so many. Two directions
#: need all steps of a sequence at once: sequences times steps of their batches.
PREDICT_ROWS, PREDICT_STEPS, PREDICT_WHOLE = 256, 64, 2**17

#: Numbers of a piece for each thread, inputs, states and outputs, up to which a batch has more than `PREDICT_ROWS`:
#: larger ones leave the caches. With F 12, H 64 and 29 time steps that is 542 rows, with F 16, H 64 and 100 it is 256.
PREDICT_NUMBERS = 5 * 2**16


class Batch(NamedTuple):
    """Sequences that go through the network together, by falling length.

    ``rows`` are their places among all sequences, ``starts`` and ``lengths`` where their time steps lie in ``values``.
    """

    values: Any
    rows: Any
    starts: Any
    lengths: Any

    def pieces(self, n_steps, steps_of=None):
        """Pieces of ``n_steps`` time steps, behind the step at which each begins.

        ``steps_of``: time steps of the pieces behind the first, by the number of sequences that are so long.
        """
        longest, begin = int(self.lengths[0]), 0
        while begin < longest:
            if steps_of is not None and begin > 0:
                n_steps = steps_of(int(np.count_nonzero(self.lengths > begin)))
            yield begin, self if begin == 0 and n_steps >= longest else self.piece(begin, n_steps)
            begin += n_steps

    def piece(self, begin, n_steps):
        """The steps from ``begin`` on, ``n_steps`` at most, of the sequences that are so long."""
        n_alive = int(np.count_nonzero(self.lengths > begin))
        lengths = np.minimum(self.lengths[:n_alive] - begin, n_steps)
        return Batch(self.values, self.rows[:n_alive], self.starts[:n_alive] + begin, lengths)


def make_batch(sequences, rows):
    """`Batch` of the given sequences."""
    if sequences.layout == "ragged":
        lengths = sequences.lengths[rows]
        order = np.argsort(-lengths, kind="stable")
        rows, lengths = rows[order], lengths[order]
    else:
        lengths = sequences.lengths[: len(rows)]  # all are equal
    return Batch(sequences.values, rows, sequences.starts[rows], lengths)


def training_memory(
    cell, n_packed, n_features, hidden_size, n_outputs, num_layers, n_directions, relu, dtype, pooling, n_tokens,
    n_dropped=0,
):  # fmt: skip
    """About how many bytes a training step on ``n_packed`` time steps holds: see `Model`.

    Of each time step, direction and layer the states (``n_dropped`` times more with numbers dropped), the gates (the
    RNN's of one direction at a time) and what the layer below gets back, all padded; of each weight itself, gradient,
    moments, the kept and the best, and the copies that the kernels read.
    """
    width, directions = panels.padded(hidden_size, dtype), num_layers * n_directions
    a_step = {"rnn": 1, "gru": 5, "lstm": 6}[cell] * width + width * ((num_layers > 1) + n_dropped)
    once_a_step = n_features * (2 if n_tokens else 1) + (width if cell == "rnn" else 0)
    above = recurrent_shapes(cell, n_directions * hidden_size, hidden_size, 1, 1)
    first = recurrent_shapes(cell, n_features, hidden_size, 1, n_directions)
    n_parameters = n_tokens * n_features + sum(map(math.prod, first.values()))
    n_parameters += (num_layers - 1) * n_directions * sum(map(math.prod, above.values()))
    numbers = n_packed * (a_step * directions + once_a_step) + 10 * (n_parameters + n_outputs * n_directions * width)
    numbers += n_outputs * BLOCK
    if pooling != "last":
        numbers += n_packed * n_directions * width
    return numbers * np.dtype(dtype).itemsize


def make_model(cell: str, device: str, **architecture: Any) -> Any:
    """`Model` that computes on a device, "cpu" or "cuda"."""
    if device == "cpu":
        return Model(cell, **architecture)
    from fastrecur.network.cuda.model import DeviceModel  # which imports CUDA

    return DeviceModel(cell, **architecture)


class Model:
    """Recurrent layers, what a head reads of their states, a dense layer.

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
    n_features, hidden_size, n_outputs : int
        With ``n_tokens`` the width of an embedding is ``n_features``.
    num_layers, n_directions : int
    relu : bool
    dtype : dtype
    pooling : {"last", "mean", "max"} or None
        None: the head reads every time step.
    n_tokens : int
        V, rows of the table of embeddings; 0 where sequences hold features.
    """

    device = "cpu"

    def __init__(
        self, cell, n_features, hidden_size, n_outputs, num_layers, n_directions, relu, dtype, pooling="last",
        n_tokens=0,
    ):  # fmt: skip
        shapes = network_shapes(cell, n_features, hidden_size, n_outputs, num_layers, n_directions, n_tokens)
        width = n_directions * hidden_size
        self.cell, self.n_features, self.n_outputs, self.n_tokens = cell, n_features, n_outputs, n_tokens
        self.dtype, self.width, self.pooling = np.dtype(dtype), width, pooling
        self.parameters = Parameters(shapes, self.dtype)
        self._make_layers(cell, self.parameters, hidden_size, num_layers, n_directions, relu)

    def _make_layers(self, *architecture):
        self.stack: Any = RecurrentStack(*architecture)
        self.head = Head(self.parameters, self.width, self.n_outputs)

    def initialise(self, random_state, **options):
        """Draw all parameters anew: see `fastrecur.network.parameters.initialise`."""
        initialise(self.parameters, self.cell, random_state, **options)
        self.refresh()

    def load(self, weights):
        """Take over ``weights``, a dict of arrays by name."""
        for name, array in self.parameters.arrays.items():
            array[...] = weights[name]
        self.refresh()

    def refresh(self):
        """Read the parameters anew."""
        self.stack.refresh()
        self.head.refresh()

    # --- through time ------------------------------------------------------------------------------------------------

    def inputs(self, batch, packing, workspace, n_threads):
        """What the first layer reads of a batch: (N, 1, F)."""
        x = workspace.take("x", packing.n_packed, 1, self.n_features)
        if self.n_tokens:
            rows = step_rows(batch, packing)
            batches.gather_embeddings(batch.values.reshape(-1), rows, self.parameters.arrays[TABLE], x)
        else:
            with threads.shares(packing.shards(self.n_features, n_threads)) as shards:
                batches.gather_steps(batch.values, batch.starts, 1, packing.steps(0), x, shards)
        return x

    def run(self, batch, workspace, n_threads, record=False, initial=None, dropout=None, last_only=False):
        """Run the layers over a batch: its `Trace`, valid until the next run."""
        packing = workspace.packing(batch.lengths)
        gathers = 1 if record else n_threads  # a fit's batches gain nothing by several (32 to 256 rows)
        x = self.inputs(batch, packing, workspace, gathers)
        return self.stack.forward(
            x, packing, workspace, n_threads, record, initial, dropout=dropout, last_only=last_only
        )

    def walk(
        self, batch, n_steps, workspace, n_threads, record=False, dropout=None, last_only=False, steps_of=None
    ):  # fmt: skip
        """`run` over a batch in `Batch.pieces`, the states carried from piece to piece.

        Yields
        ------
        begin : int
            The time step at which the piece begins.
        piece : Batch
            The steps of it, of the first rows of the batch.
        trace : Trace
            Valid until the next piece.
        """
        longest, state = int(batch.lengths[0]), None
        for begin, piece in batch.pieces(n_steps, steps_of):
            if state is not None:
                state = tuple(part[:, : len(piece.rows)] for part in state)
            drops = dropout and replace(dropout, step_offset=dropout.step_offset + begin)
            trace = self.run(piece, workspace, n_threads, record, state, drops, last_only)
            if begin + int(piece.lengths[0]) < longest:
                state = self.stack.final_states(trace)
            yield begin, piece, trace

    def pool(self, batch, in_pieces):
        """What gathers the states of a batch for the head."""
        return POOLINGS[self.pooling](self.stack, len(batch.rows), in_pieces)

    # --- prediction --------------------------------------------------------------------------------------------------

    def _batches(self, sequences, n_threads=1, last_only=True):
        """Sequences of like length together (of one length: as they come), and the time steps of their first piece.

        ``last_only``: nobody needs more of the last layer than its final states.

        Beside the outputs, the memory of a prediction does not grow with n or T, but with the threads, by
        `PREDICT_NUMBERS` each. In two directions it grows with T alone, and only where one sequence has more than
        `PREDICT_WHOLE` steps.
        """
        n, start, by_length = len(sequences), 0, None
        if sequences.layout == "ragged":
            by_length = np.argsort(-sequences.lengths, kind="stable")
        while start < n:
            longest = int(sequences.lengths[start if by_length is None else by_length[start]])
            end = min(n, start + self._batch_size(longest, n_threads, last_only))
            rows = np.arange(start, end) if by_length is None else by_length[start:end]
            n_steps = longest if self.stack.n_directions == 2 else self._piece_steps(n_threads, last_only, len(rows))
            yield Batch(sequences.values, rows, sequences.starts[rows], sequences.lengths[rows]), n_steps
            start = end

    def _batch_size(self, longest, n_threads=1, last_only=True):
        """Sequences of a batch of prediction, the longest of which has ``longest`` time steps."""
        if self.stack.n_directions == 2:
            return max(1, min(PREDICT_ROWS, PREDICT_WHOLE // longest))
        a_step, a_row = self._held(last_only)
        return max(PREDICT_ROWS, n_threads * PREDICT_NUMBERS // (min(longest, PREDICT_STEPS) * a_step + a_row))

    def _piece_steps(self, n_threads, last_only, n_rows):
        """Time steps of a piece of so many sequences: of few ones more, up to the same number of numbers."""
        if last_only and threads.may_go_together(n_rows, self.stack.layers[-1][0].w, n_threads):
            last_only = False  # then the states of all steps are kept
        a_step, a_row = self._held(last_only)
        left = n_threads * PREDICT_NUMBERS - n_rows * a_row
        return max(PREDICT_STEPS, left // (n_rows * a_step + 8))  # 8: of the table of steps

    def _held(self, last_only):
        """Numbers that a piece holds of each time step of a sequence, and of each sequence."""
        padded = self.stack.padded
        a_step = self.n_features + padded * (self.stack.num_layers - last_only)
        if self.pooling is None:
            a_step += self.n_outputs
        return a_step, 4 * padded  # h of three steps, c

    def pooled(self, sequences, n_threads):
        """What the head reads of each sequence: (n, D * H). Without ``pooling``, the last states."""
        out = np.empty((len(sequences), self.width), self.dtype)
        for rows, pooled in self._pooled(sequences, n_threads):
            out[rows] = pooled
        return out

    def _pooled(self, sequences, n_threads):
        """The same batch by batch, with the places of its sequences."""
        workspace, pooling = Workspace(self.dtype), self.pooling or "last"
        last_only = pooling == "last"
        steps_of = partial(self._piece_steps, n_threads, last_only)
        for batch, n_steps in self._batches(sequences, n_threads, last_only):
            pool = POOLINGS[pooling](self.stack, len(batch.rows), n_steps < batch.lengths[0])
            walk = self.walk(batch, n_steps, workspace, n_threads, last_only=last_only, steps_of=steps_of)
            for begin, _, trace in walk:
                pool.add(trace, begin)
            yield batch.rows, pool.pooled(batch.lengths)

    def outputs(self, sequences, n_threads):
        """Outputs of the head, (n, K) or, without ``pooling``, (S, K): one row a time step, sequence after sequence."""
        if self.pooling is not None:
            out = np.empty((len(sequences), self.n_outputs), self.dtype)
            for rows, pooled in self._pooled(sequences, n_threads):
                out[rows] = self.head_outputs(pooled, n_threads)
            return out
        out = np.empty((int(sequences.lengths.sum()), self.n_outputs), self.dtype)
        for piece, trace, workspace in self._pieces(sequences, n_threads):
            states = trace.states[-1][trace.packing.n_rows :]
            packed = workspace.take("outputs", len(states), self.n_outputs)
            self.head.outputs(states, packed, n_threads)
            out[step_rows(piece, trace.packing)] = packed
        return out

    def head_outputs(self, pooled, n_threads=1):
        """Outputs (B, K) of the head, which reads ``pooled`` (B, D * H)."""
        return self.head.outputs(pooled, np.empty((len(pooled), self.n_outputs), self.dtype), n_threads)

    def hidden_states(self, sequences, n_threads):
        """States of the last layer after each time step: (S, D * H), sequence after sequence."""
        out = np.empty((int(sequences.lengths.sum()), self.width), self.dtype)
        for piece, trace, _ in self._pieces(sequences, n_threads):
            packing = trace.packing
            first, n_hidden = packing.n_rows, self.stack.hidden_size
            given = trace.states[-1], first, piece.starts, packing.steps(0), n_hidden, out
            batches.scatter_steps(*given, packing.lengths[:0], 0, packing.one_share)
        return out

    def _pieces(self, sequences, n_threads):
        """Every piece, with ``starts`` in a stack of these sequences alone, and its trace."""
        workspace = Workspace(self.dtype)
        offsets = np.cumsum(sequences.lengths) - sequences.lengths
        steps_of = partial(self._piece_steps, n_threads, False)
        for batch, n_steps in self._batches(sequences, n_threads, last_only=False):
            for begin, piece, trace in self.walk(batch, n_steps, workspace, n_threads, steps_of=steps_of):
                yield piece._replace(starts=offsets[piece.rows] + begin), trace, workspace

    # --- streams -----------------------------------------------------------------------------------------------------

    def step(self, x, state):
        """One time step: x (B, F), or tokens (B, 1), and the state of `RecurrentStack.step` or None."""
        if self.n_tokens:
            x = self.parameters.arrays[TABLE][x[:, 0]]
        return self._step(np.ascontiguousarray(x, self.dtype), state)

    def _step(self, x, state):
        return self.stack.step(x[:, np.newaxis], state)


def step_rows(batch, packing):
    """Place of each packed time step in the stack of all."""
    rows = np.empty(packing.n_packed, np.int64)
    batches.packed_rows(batch.starts, packing.steps(0), rows)
    return rows
