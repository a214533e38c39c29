"""Gradients of a `Model`: of a minibatch, of a batch cut in time, of all sequences."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastrecur.kernels.cpu import batches
from fastrecur.network.head import check_targets
from fastrecur.network.model import PREDICT_STEPS, Batch, Model, make_batch, step_rows
from fastrecur.network.optimisers import make_optimiser
from fastrecur.network.parameters import TABLE, Parameters
from fastrecur.network.workspace import Workspace

#: Time steps of the pieces in which all sequences go through the network for one gradient.
FULL_STEPS = 2**15


class Targets(NamedTuple):
    """What the outputs are held against: one a sequence or, for a network without pooling, one a time step.

    ``values`` is int64 of shape (n,) for the loss "cross_entropy", (n, K) for "squared_error", or `QuantileTargets` for
    "pinball"; ``weights`` is float64 of shape (n,).
    """

    loss: str
    values: Any
    weights: Any


class Step(NamedTuple):
    """A gradient that is ready: the mean loss of ``size`` targets, and the tokens they used.

    The first rows of the table's gradient are those of ``tokens`` (R,), in this order.
    """

    loss: float
    size: int
    tokens: Any


def make_gradient(model: Model, targets: Targets, n_threads: int) -> Any:
    """`Gradient` of a model where it computes: on the CPU, or on a device."""
    if model.device == "cpu":
        return Gradient(model, targets, n_threads)
    from fastrecur.network.cuda.gradient import DeviceGradient  # which imports CUDA

    return DeviceGradient(model, targets)


class Gradient:
    """Computes gradients of a model.

    Parameters
    ----------
    model : Model
    targets : Targets
    n_threads : int
    """

    def __init__(self, model: Model, targets: Targets, n_threads: int):
        self.model, self._targets, self._n_threads = model, targets, n_threads
        check_targets(targets.loss, targets.values, model.n_outputs)
        self.grads: Parameters = model.parameters.zeros_like()
        self._workspace = Workspace(model.dtype)
        self._tokens, self._places = np.empty(0, np.int64), np.full(model.n_tokens, -1, np.int32)
        self.refresh = model.refresh  # what a step of the optimiser is to be followed by

    def make_optimiser(self, solver: str, rate: float, momentum: float) -> Any:
        """A solver of `fastrecur.network.optimisers.SOLVERS`, whose steps are along `grads`."""
        return make_optimiser(solver, self.model.parameters, rate, momentum)

    def fetched(self, taken: list[tuple]) -> list[tuple]:
        """Steps of an epoch as (loss, size, norm): here they are on the host already, as are the parameters."""
        return taken

    def steps(self, sequences: Any, rows: Any, n_steps: int | None = None, dropout: Any = None) -> Iterable[Step]:
        """Gradients of a minibatch, in `grads` as they come: one, or one for each piece of time.

        Parameters
        ----------
        sequences : Sequences
        rows : int64 array of shape (B,)
        n_steps : int, optional
            Truncation: no gradient flows further back than so many time steps. With a target each step the batch goes
            in pieces of ``n_steps``, each with a gradient of its own; the states are carried on.
        dropout : Dropout, optional
        """
        batch = make_batch(sequences, rows)
        longest = int(batch.lengths[0])
        n_steps = longest if n_steps is None else n_steps
        if self.model.pooling is None:
            return self._pieces(batch, n_steps, dropout)
        tokens = self._clear(batch, None)
        scale = 1.0 / len(rows)
        if longest <= n_steps:
            loss = self._whole(batch, scale, dropout)
        elif self.model.pooling == "last":
            loss = self._last_steps(batch, n_steps, scale, dropout)
        else:
            loss = self._in_pieces(batch, n_steps, scale, dropout)
        return (Step(loss, len(rows), tokens),)

    def _pieces(self, batch, n_steps, dropout):
        """Gradients of a batch with a target each time step, piece by piece."""
        for begin, piece, trace in self._walk(batch, n_steps, dropout):
            index = step_rows(piece, trace.packing)
            tokens = self._clear(piece, trace.packing)
            loss = self._step_targets(piece, trace, begin, index, 1.0 / len(index), dropout)
            yield Step(loss, len(index), tokens)

    def full(self, sequences, rows):
        """Mean loss over the given sequences; its gradient is assigned to `grads`. No more than a part is in memory."""
        self.grads.flat[:] = 0.0
        self._tokens = self._places[:] = np.arange(self.model.n_tokens)  # each has the row of the table that is its own
        parts, size = full_parts(self.model, sequences, rows)
        loss = 0.0
        for part in parts:
            batch = make_batch(sequences, part)
            if self.model.pooling is None:
                trace = self._run(batch)
                loss += self._step_targets(batch, trace, 0, step_rows(batch, trace.packing), 1.0 / size, None)
            else:
                loss += self._whole(batch, 1.0 / size, None)
        return loss

    # --- parts: each adds to grads and returns its share of the loss --------------------------------------------------

    def _walk(self, batch, n_steps, dropout, record=True):
        return self.model.walk(batch, n_steps, self._workspace, self._n_threads, record, dropout)

    def _run(self, batch, dropout=None, initial=None):
        return self.model.run(batch, self._workspace, self._n_threads, True, initial, dropout)

    def _step_targets(self, piece, trace, begin, index, scale, dropout):
        """A piece with a target each time step."""
        states, packing = trace.states[-1][trace.packing.n_rows :], trace.packing
        if dropout is None or dropout.rate == 0:
            loss, dy = self._head(states, index, scale)
        else:
            here = replace(dropout, step_offset=dropout.step_offset + begin)
            place = 0, self.model.stack.hidden_size, packing.steps(0)
            loss, dy = self._head(here.apply(states, *place, out=self._room(states)), index, scale)
            here.apply(dy, *place)
        self._backward(piece, trace, dy)
        return loss

    def _whole(self, batch, scale, dropout, initial=None):
        """A batch with a target each sequence, whole."""
        pool = self.model.pool(batch, in_pieces=False)
        trace = self._run(batch, dropout, initial)
        pool.add(trace, 0)
        loss, dpooled = self._pooled_targets(pool, batch, scale, dropout)
        self._backward(batch, trace, *pool.gradient(dpooled, batch.lengths, trace, 0, self._workspace))
        return loss

    def _last_steps(self, batch, n_steps, scale, dropout):
        """A batch of which the last ``n_steps`` of each sequence alone receive a gradient."""
        kept = np.minimum(batch.lengths, n_steps)
        before = Batch(batch.values, batch.rows, batch.starts, batch.lengths - kept).piece(0, int(batch.lengths[0]))
        stack = self.model.stack
        shape = len(stack.directions), len(batch.rows), stack.hidden_size
        initial = tuple(np.zeros(shape, stack.dtype) for _ in range(2 if stack.has_cell_state else 1))
        for _, piece, trace in self._walk(before, min(n_steps, PREDICT_STEPS), dropout, record=False):
            for whole, part in zip(initial, stack.final_states(trace), strict=True):
                whole[:, : len(piece.rows)] = part
        last = Batch(batch.values, batch.rows, batch.starts + batch.lengths - kept, kept)
        if dropout is not None:
            dropout = replace(dropout, step_offset=int(batch.lengths[0]))  # other masks than those before
        return self._whole(last, scale, dropout, initial)

    def _in_pieces(self, batch, n_steps, scale, dropout):
        """A batch whose pooled states hang on all steps: once through for them, once more for the gradient."""
        pool = self.model.pool(batch, in_pieces=True)
        initial: list[tuple | None] = [None]
        for begin, piece, trace in self._walk(batch, n_steps, dropout, record=False):
            pool.add(trace, begin)
            n_next = np.count_nonzero(piece.lengths == n_steps)
            initial.append(tuple(part[:, :n_next] for part in self.model.stack.final_states(trace)))
        loss, dpooled = self._pooled_targets(pool, batch, scale, dropout)
        for k, (begin, piece) in enumerate(batch.pieces(n_steps)):
            given = initial[k]
            given = given and tuple(part[:, : len(piece.rows)] for part in given)
            drops = dropout and replace(dropout, step_offset=dropout.step_offset + begin)
            trace = self._run(piece, drops, given)
            n_rows = len(piece.rows)
            gradient = pool.gradient(dpooled[:n_rows], batch.lengths[:n_rows], trace, begin, self._workspace)
            self._backward(piece, trace, *gradient)
        return loss

    def _pooled_targets(self, pool, batch, scale, dropout):
        pooled = pool.pooled(batch.lengths)
        if dropout is None or dropout.rate == 0:
            return self._head(pooled, batch.rows, scale)
        loss, dpooled = self._head(dropout.apply(pooled, 0, out=self._room(pooled)), batch.rows, scale)
        return loss, dropout.apply(dpooled, 0)

    def _head(self, inputs, index, scale):
        loss, values, weights = self._targets
        return self.model.head.gradient(
            loss, inputs, index, values, weights, scale, self.grads, self._workspace, self._n_threads
        )

    def _room(self, array):
        return self._workspace.take("dropped", *array.shape)

    def _backward(self, piece, trace, dy, dlast=None):
        model, stack, dx = self.model, self.model.stack, None
        if model.n_tokens:
            dx = self._workspace.take("dx of the embeddings", *stack.dx_shape(trace.packing))
        stack.backward(trace, self.grads, self._n_threads, dy, dx=dx, dlast=dlast)
        if dx is not None:
            index = step_rows(piece, trace.packing)
            batches.scatter_embeddings(piece.values.reshape(-1), index, self._places, dx, self.grads.arrays[TABLE])

    def _clear(self, batch, packing):
        """Set the gradient to zero; returns the tokens of the batch, which have the first rows of the table's."""
        grads = self.grads
        if not self.model.n_tokens:
            grads.flat.fill(0.0)
            return None
        index = step_rows(batch, packing or self._workspace.packing(batch.lengths))
        tokens = np.empty(len(index), np.int64)
        n_used = batches.place_tokens(batch.values.reshape(-1), index, self._places, self._tokens, tokens)
        self._tokens = tokens[:n_used]
        grads.flat[: grads.n_dense + n_used * grads.shapes[TABLE][1]] = 0.0
        return self._tokens


def full_parts(model: Model, sequences: Any, rows: Any) -> tuple[list, int]:
    """Parts of all sequences, of like length together and of about `FULL_STEPS` time steps; and how many targets."""
    by_length = rows[np.argsort(-sequences.lengths[rows], kind="stable")]
    lengths = sequences.lengths[by_length]
    size = int(lengths.sum()) if model.pooling is None else len(rows)
    return np.split(by_length, np.flatnonzero(np.diff(np.cumsum(lengths) // FULL_STEPS)) + 1), size
