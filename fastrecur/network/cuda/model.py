"""A `Model` on the GPU: what it predicts there, and the pass over a batch that its gradients take too.

Of a batch its time steps go to the device, as features or as tokens, and what was asked for comes back: outputs of the
head, or the states that it reads. Arrays of a batch lie by falling length of its sequences.
"""

import threading
from dataclasses import replace

import numpy as np

from fastrecur.kernels.cpu import batches as on_host
from fastrecur.kernels.cuda import batches, embeddings, products, runtime
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.cuda.dropout import DeviceDropout
from fastrecur.network.cuda.pooling import POOLINGS
from fastrecur.network.cuda.stack import CudaStack
from fastrecur.network.model import PREDICT_ROWS, Model, step_rows
from fastrecur.network.workspace import Workspace


class DeviceModel(Model):
    """See `Model`. Its parameters lie on the host and, from the last `refresh` on, on the device.

    Attributes
    ----------
    buffers : Buffers
        Of whatever goes through the network: one pass at a time.
    """

    device = "cuda"

    def _make_layers(self, *architecture):
        self.stack = CudaStack(*architecture)
        self.buffers = Buffers(self.dtype)
        self._on_host = Workspace(self.dtype)
        self._sender, self._lock = runtime.Sender(2), threading.Lock()

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("_sender", "_lock")}

    def __setstate__(self, state):
        self.__dict__ = state | {"_sender": runtime.Sender(2), "_lock": threading.Lock()}

    def refresh(self):
        """Read the parameters of the host anew."""
        self.stack.refresh()

    # --- a pass ------------------------------------------------------------------------------------------------------

    def traces(self, batch, n_steps, inputs, record=False, dropout=None, initial=None, kept=None):
        """As `Model.walk`, on the device.

        Parameters
        ----------
        inputs : function
            Of a piece of the batch and its `Places`: what the first layer reads, a device array (N, F).
        initial : tuple of device arrays of shape (L * D * B, H), optional
        kept : list, optional
            Receives the states after each piece but the last, in memory of their own.

        Yields
        ------
        begin, piece, trace
            As there; the trace is one of `CudaStack.forward`.
        """
        longest, state = int(batch.lengths[0]), initial
        for begin, piece in batch.pieces(n_steps):
            places = self.buffers.places(self._on_host.packing(piece.lengths))
            drops = dropout and self.masks(dropout, begin)
            trace = self.stack.forward(inputs(piece, places), places, self.buffers, record, state, drops)
            if begin + n_steps < longest:
                name = "states", 0 if kept is None else begin
                state = self.stack.final_states(trace, self.stack.kept_states(len(piece.rows), self.buffers, name))
                if kept is not None:
                    kept.append(state)
            yield begin, piece, trace

    def masks(self, dropout, begin=0):
        """`DeviceDropout` of a piece that begins at time step ``begin``."""
        return DeviceDropout(replace(dropout, step_offset=dropout.step_offset + begin), self.stack)

    def pool_on_device(self, batch):
        """What gathers the states of a batch for the head: see `fastrecur.network.cuda.pooling`."""
        lengths = self.buffers.send("lengths", batch.lengths)
        return POOLINGS[self.pooling or "last"](self.stack, self.buffers, lengths)

    def embed(self, tokens, rows, out):
        """Rows of the table for ``tokens[rows]``, int32 device arrays, to ``out`` (N, E)."""
        table = self.stack.weights.flat[self.parameters.n_dense :].reshape(self.n_tokens, self.n_features)
        embeddings.gather(tokens, rows, table, out)

    def head_on_device(self, inputs):
        """Outputs (M, K) of the head, which reads device arrays (M, D * padded H)."""
        (n_rows, width), n_outputs = inputs.shape, self.n_outputs
        weight, bias = self.stack.weights.arrays[-1]
        z = self.buffers.take("outputs of the head", n_rows, n_outputs)
        products.multiply(inputs, weight, z, n_rows, n_outputs, width, False, True, bias=bias)
        return z

    # --- prediction --------------------------------------------------------------------------------------------------

    def pooled(self, sequences, n_threads):
        """See `Model.pooled`."""
        out = np.empty((len(sequences), self.width), self.dtype)
        for rows, pooled in self._pooled(sequences, n_threads):
            out[rows] = runtime.to_host(self._without_padding(pooled))
        return out

    def _batch_size(self, longest, n_threads=1, last_only=True):
        """See `Model._batch_size`: `PREDICT_ROWS` at most, for what more fill there are a CPU's caches."""
        return min(PREDICT_ROWS, super()._batch_size(longest, n_threads, last_only))

    def _pooled(self, sequences, n_threads):
        """What the head reads of each batch, a device array (B, D * padded H), with the places of its sequences."""
        for batch, n_steps in self._batches(sequences, last_only=False):
            pool = self.pool_on_device(batch)
            for begin, _, trace in self.traces(batch, n_steps, self._inputs):
                pool.add(trace, begin)
            yield batch.rows, pool.pooled

    def outputs(self, sequences, n_threads):
        """See `Model.outputs`."""
        if self.pooling is None:
            return self._of_steps(sequences, self.n_outputs, self.head_on_device)
        out = np.empty((len(sequences), self.n_outputs), self.dtype)
        for rows, pooled in self._pooled(sequences, n_threads):
            out[rows] = runtime.to_host(self.head_on_device(pooled))
        return out

    def hidden_states(self, sequences, n_threads):
        """See `Model.hidden_states`."""
        return self._of_steps(sequences, self.width, self._without_padding)

    def _of_steps(self, sequences, width, of_states):
        """What ``of_states`` makes of the states (N, D * padded H) of each piece: (S, width), sequence by sequence."""
        out = np.empty((int(sequences.lengths.sum()), width), self.dtype)
        offsets = np.cumsum(sequences.lengths) - sequences.lengths
        for batch, n_steps in self._batches(sequences, last_only=False):
            for begin, piece, trace in self.traces(batch, n_steps, self._inputs):
                rows = step_rows(piece._replace(starts=offsets[piece.rows] + begin), trace.places.packing)
                out[rows] = runtime.to_host(of_states(self.stack.outputs(trace)))
        return out

    def _inputs(self, piece, places):
        """What the first layer reads of a piece: gathered on the host, where X is too large for the device perhaps."""
        packing, x = places.packing, self.buffers.take("x", places.packing.n_packed, self.n_features)
        if self.n_tokens:
            tokens = piece.values.reshape(-1)[step_rows(piece, packing)]
            self.embed(self.buffers.send("tokens", tokens), places.packed, x)
        else:
            gathered = self._on_host.take("x", packing.n_packed, 1, self.n_features)
            on_host.gather_steps(piece.values, piece.starts, 1, packing.steps(0), gathered, packing.one_share)
            self._sender.send(gathered.reshape(x.shape), x)
        return x

    def _without_padding(self, states):
        """(M, D * padded H) as (M, D * H)."""
        stack, rows = self.stack, self.buffers.count(states.shape[0])
        out = self.buffers.take("states without padding", states.shape[0], self.width)
        for d in range(stack.n_directions):
            firsts = d * stack.padded, d * stack.hidden_size
            batches.move(states, rows, out, rows, stack.hidden_size, None, *firsts)
        return out

    # --- streams: several threads may step from one state, and share the buffers -------------------------------------

    def _step(self, x, state):
        with self._lock:
            given, new = None, self.stack.kept_states(len(x), self.buffers, "state after a step")
            if state is not None:
                given = self.stack.kept_states(len(x), self.buffers, "state of a stream")
                for part, on_host in zip(given, state, strict=True):
                    part.copy_to_device(on_host.reshape(part.shape))
            self.stack.step(self.buffers.upload("x of a step", x), given, new, self.buffers)
            return tuple(runtime.to_host(part).reshape(-1, len(x), part.shape[1]) for part in new)

    def head_outputs(self, pooled, n_threads=1):
        """See `Model.head_outputs`."""
        stack = self.stack
        padded = np.zeros((len(pooled), stack.n_directions, stack.padded), self.dtype)
        padded[:, :, : stack.hidden_size] = pooled.reshape(len(pooled), stack.n_directions, stack.hidden_size)
        with self._lock:
            inputs = self.buffers.upload("inputs of the head", padded.reshape(len(pooled), -1))
            return runtime.to_host(self.head_on_device(inputs))
