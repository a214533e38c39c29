"""Gradients of a `Model` on the device, where training stays: what `fastrecur.network.gradient` is on the CPU.

X, targets and weights go to the device before the first step, parameters and moments lie there. Of a minibatch the
places of its sequences go there, and nothing comes back: losses and norms are kept in a log until the epoch is over.
Arrays of a batch lie by falling length of its sequences, as `make_batch` orders them.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fastrecur.kernels.cuda import batches, embeddings, products, runtime
from fastrecur.network.cuda.log import Log
from fastrecur.network.cuda.optimiser import DeviceOptimiser
from fastrecur.network.cuda.stack import PARTS
from fastrecur.network.cuda.targets import DeviceTargets
from fastrecur.network.cuda.tokens import BatchTokens
from fastrecur.network.gradient import Step, full_parts
from fastrecur.network.model import PREDICT_STEPS, Batch, make_batch
from fastrecur.network.optimisers import make_optimiser


class DeviceGradient:
    """Has the role of `fastrecur.network.gradient.Gradient`; of a `Step` its loss is a place in the log.

    Parameters
    ----------
    model : Model
        On "cuda". Its parameters on the host are those of the last `fetched` or `Model.refresh`.
    targets : Targets

    Attributes
    ----------
    grads : device array of one axis, or Parameters
        While `steps` are taken, the vector that `DeviceOptimiser.step` takes; after `full`, on the host.
    """

    grads: Any

    def __init__(self, model, targets):
        self.model, self.stack = model, model.stack
        self.log = Log()
        self._weights = self.stack.weights
        self._buffers = model.buffers
        self._targets = DeviceTargets(targets, model.dtype, self.log, self._buffers)
        self._sequences = self._values = None
        self._tokens: Any = None

    def make_optimiser(self, solver, rate, momentum):
        """A solver of `fastrecur.network.optimisers.SOLVERS` that steps on the device."""
        on_host = make_optimiser(solver, self.model.parameters, rate, momentum)
        return DeviceOptimiser(on_host, self._weights.flat, self.log)

    def refresh(self):
        """Let the layers read the parameters that lie on the device, after a step."""
        self._weights.pack()

    def fetched(self, taken):
        """Losses and norms of (loss, size, norm), places in the log, as numbers; the parameters, for the host."""
        numbers = self.log.fetch()
        runtime.to_host(self._weights.flat, self.model.parameters.flat)
        return [(numbers[loss], size, numbers[norm]) for loss, size, norm in taken]

    def steps(self, sequences, rows, n_steps=None, dropout=None):
        """Gradients of a minibatch: see `Gradient.steps`; in `grads` when they are yielded."""
        self._send(sequences)
        batch = make_batch(sequences, rows)
        longest = int(batch.lengths[0])
        n_steps = longest if n_steps is None else n_steps
        if self.model.pooling is None:
            for begin, piece, trace in self._traces(batch, n_steps, dropout):
                tokens = self._begin(piece)
                size = trace.places.packing.n_packed
                loss = self._step_targets(piece, trace, begin, 1.0 / size, dropout)
                yield Step(loss, size, self._finish(tokens))
            return
        tokens, scale = self._begin(batch), 1.0 / len(rows)
        if longest <= n_steps:
            loss = self._whole(batch, scale, dropout)
        elif self.model.pooling == "last":
            loss = self._last_steps(batch, n_steps, scale, dropout)
        else:
            loss = self._in_pieces(batch, n_steps, scale, dropout)
        yield Step(loss, len(rows), self._finish(tokens))

    def full(self, sequences, rows):
        """Mean loss over the given sequences; its gradient, in `grads`, and the loss are on the host then."""
        self._send(sequences)
        tokens = self._begin(None)
        parts, size = full_parts(self.model, sequences, rows)
        for part in parts:
            batch = make_batch(sequences, part)
            if self.model.pooling is None:
                for begin, piece, trace in self._traces(batch, int(batch.lengths[0]), None):
                    self._step_targets(piece, trace, begin, 1.0 / size, None)
            else:
                self._whole(batch, 1.0 / size, None)
        self._finish(tokens)
        grads = self.model.parameters.zeros_like()
        runtime.to_host(self.grads, grads.flat)
        self.grads = grads
        return float(sum(self.log.fetch()))

    # --- a step ------------------------------------------------------------------------------------------------------

    def _send(self, sequences):
        """X to the device, once."""
        if self._sequences is sequences:
            return
        values = sequences.values
        if len(values) >= 2**31:
            raise ValueError(f"X has {len(values)} time steps in all; device='cuda' counts up to {2**31 - 1}.")
        if self.model.n_tokens:
            self._values = runtime.upload(values[:, 0], np.int32)
        else:
            self._values = runtime.upload(values, self.model.dtype)
        self._sequences = sequences

    def _begin(self, batch):
        """Set the gradient to zero; returns the `BatchTokens` of a batch, or of all sequences."""
        model, n_dense = self.model, self.model.parameters.n_dense
        self._weights.clear_gradient()
        self._tokens = tokens = BatchTokens(batch, model.n_tokens, self._buffers) if model.n_tokens else None
        n_table = tokens.n_used * model.n_features if tokens else 0
        self.grads = self._buffers.take("gradient", n_dense + n_table)
        if tokens:
            batches.fill(self.grads[n_dense:], 0.0)
        return tokens

    def _finish(self, tokens):
        """The gradient in one vector: of the dense parameters, then of the rows of the table; returns those rows."""
        self._weights.unpack_gradient(self.grads)
        return tokens and tokens.used

    # --- parts: each adds to the gradient and returns the place of its loss -------------------------------------------

    def _traces(self, batch, n_steps, dropout, record=True, **states):
        return self.model.traces(batch, n_steps, self._inputs, record, dropout, **states)

    def _inputs(self, piece, places):
        """What the first layer reads: (N, F). Their rows among all time steps stay in the buffer "rows"."""
        model, n_packed = self.model, places.packing.n_packed
        starts = self._buffers.send("starts", piece.starts)
        rows = self._buffers.take("rows", n_packed, dtype=np.int32)
        batches.packed_rows(starts, places.steps(0).device, rows)
        x = self._buffers.take("x", n_packed, model.n_features)
        if model.n_tokens:
            model.embed(self._values, rows, x)
        else:
            batches.move(self._values, rows, x, places.packed, model.n_features)
        return x

    def _step_targets(self, piece, trace, begin, scale, dropout):
        """A piece with a target each time step."""
        places, stack, n_packed = trace.places, self.stack, trace.places.packing.n_packed
        rows = self._buffers.take("rows", n_packed, dtype=np.int32)
        drops = dropout and self.model.masks(dropout, begin)
        loss, dy = self._head(stack.outputs(trace), rows, scale, drops, places.steps(0).device)
        self._backward(piece, trace, dy.reshape(n_packed, stack.n_directions, stack.padded))
        return loss

    def _whole(self, batch, scale, dropout, initial=None):
        """A batch with a target each sequence, whole."""
        pool = self.model.pool_on_device(batch)
        ((begin, piece, trace),) = self._traces(batch, int(batch.lengths[0]), dropout, initial=initial)
        pool.add(trace, begin)
        loss, dpooled = self._pooled_targets(pool, batch, scale, dropout)
        self._backward(piece, trace, *pool.gradient(dpooled, trace, begin))
        return loss

    def _last_steps(self, batch, n_steps, scale, dropout):
        """A batch of which the last ``n_steps`` of each sequence alone receive a gradient."""
        kept = np.minimum(batch.lengths, n_steps)
        before = Batch(batch.values, batch.rows, batch.starts, batch.lengths - kept).piece(0, int(batch.lengths[0]))
        initial = self.stack.kept_states(len(batch.rows), self._buffers, "initial states")
        for part in initial:
            batches.fill(part.reshape(part.size), 0.0)
        for _, _, trace in self._traces(before, min(n_steps, PREDICT_STEPS), dropout, record=False):
            self.stack.final_states(trace, initial)
        last = Batch(batch.values, batch.rows, batch.starts + batch.lengths - kept, kept)
        if dropout is not None:
            dropout = replace(dropout, step_offset=int(batch.lengths[0]))  # other masks than those before
        return self._whole(last, scale, dropout, initial)

    def _in_pieces(self, batch, n_steps, scale, dropout):
        """A batch whose pooled states hang on all steps: once through for them, once more for the gradient."""
        pool, initial = self.model.pool_on_device(batch), [None]
        for begin, _, trace in self._traces(batch, n_steps, dropout, record=False, kept=initial):
            pool.add(trace, begin)
        loss, dpooled = self._pooled_targets(pool, batch, scale, dropout)
        for k, (begin, piece) in enumerate(batch.pieces(n_steps)):
            drops = dropout and replace(dropout, step_offset=dropout.step_offset + begin)
            ((_, _, trace),) = self._traces(piece, n_steps, drops, initial=initial[k])
            self._backward(piece, trace, *pool.gradient(dpooled, trace, begin))
        return loss

    def _pooled_targets(self, pool, batch, scale, dropout):
        rows, drops = self._buffers.send("rows of targets", batch.rows), dropout and self.model.masks(dropout)
        one_step = drops and self._buffers.send("one step", [0, len(batch.rows), 0, 0]).reshape(1, 4)
        return self._head(pool.pooled, rows, scale, drops, one_step)

    def _head(self, inputs, rows, scale, drops, steps):
        """Place of the loss of inputs (M, D * padded H), and their gradient; adds that of the head."""
        n_rows, width = inputs.shape
        n_outputs, take = self.model.n_outputs, self._buffers.take
        weight, _ = self._weights.arrays[-1]
        dweight, dbias = self._weights.gradients[-1]
        if drops and drops.rate > 0:
            inputs = drops.outputs(inputs, steps, take("dropped outputs", n_rows, width))
        z, parts = self.model.head_on_device(inputs), take("parts", PARTS)
        loss = self._targets.gradient(z, rows, scale)
        products.multiply(z, inputs, dweight, n_outputs, width, n_rows, transpose_a=True, add=True, parts=parts)
        products.add_column_sums(z, dbias, n_rows, n_outputs, parts)
        dinputs = take("dinputs of the head", n_rows, width)
        products.multiply(z, weight, dinputs, n_rows, width, n_outputs)
        if drops and drops.rate > 0:
            drops.outputs(dinputs, steps, dinputs)
        return loss, dinputs

    def _backward(self, piece, trace, dy, dlast=None):
        if not self.model.n_tokens:
            self.stack.backward(trace, self._buffers, dy=dy, dlast=dlast)
            return
        packing, width = trace.places.packing, self.model.n_features
        dx = self._buffers.take("dx of the embeddings", packing.n_packed, width)
        self.stack.backward(trace, self._buffers, dx=dx, dy=dy, dlast=dlast)
        dtable = self.grads[self.model.parameters.n_dense :].reshape(self._tokens.n_used, width)
        embeddings.add_rows(dx, *self._tokens.sorted(piece, packing), dtable)
