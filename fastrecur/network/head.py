"""The dense layer behind the recurrent ones, with the loss: who works on what, and on which buffers."""

import numpy as np

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import flow, head, head_gradient, panels, small_head
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.kernels.cpu.target import TALL_2

#: Axes of the targets of each loss: labels (n,), targets (n, K), or, in `QuantileTargets`, (n, Y).
LOSSES = {"cross_entropy": 1, "squared_error": 2, "pinball": 2}

#: Multiplications of a head that plain loops do as fast as tiles, and which need not wait for those to be compiled.
SMALL = 2**16
SMALL_LOSSES = {
    "cross_entropy": small_head.small_cross_entropy,
    "squared_error": small_head.small_squared_error,
    "pinball": small_head.small_pinball,
}

#: Numbers that a thread may hold of the blocks of a round, their inputs and outputs, unless one block alone is more.
ROUND = 2**20


class Head:
    """z = x W^T + b.

    Parameters
    ----------
    parameters : Parameters
        With ``head_weight`` (K, I) and ``head_bias`` (K,). After a change of their values, call `refresh`.
    n_inputs, n_outputs : int
        I and K.
    """

    def __init__(self, parameters, n_inputs, n_outputs):
        self.parameters, self.n_inputs, self.n_outputs = parameters, n_inputs, n_outputs
        self.dtype = parameters.flat.dtype
        self._lanes = panels.lanes(self.dtype)
        self._packed = None
        self._weights = self._arrays(parameters)

    def refresh(self):
        """Read the parameters anew: they are packed when `outputs` next needs them. `gradient` does without."""
        self._packed = None

    def _arrays(self, parameters):
        return parameters.arrays["head_weight"], parameters.arrays["head_bias"]

    def _panels(self):
        """Weights and biases as panels, in arrays that are never written again: other threads may be reading them."""
        packed = self._packed
        if packed is None:
            layout, pair = panels.panel_layout("rnn", self.n_outputs, self.dtype), 2 * self._lanes
            w = panels.aligned_empty((layout.n_panels, self.n_inputs, pair), self.dtype)
            bias = panels.aligned_empty((layout.n_panels, pair), self.dtype)
            weight, given = self._weights
            maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
            panels.pack_layer(weight, weight[:, :0].copy(), given, given[:0], *maps, w, bias, w[:0])
            self._packed = packed = w, bias
        return packed

    def _segments(self, inputs):
        """The inputs as (M, S, stride), and how many numbers of each segment are valid."""
        if inputs.ndim == 3:
            return inputs, self.n_inputs // inputs.shape[1]
        return np.ascontiguousarray(inputs).reshape(len(inputs), 1, self.n_inputs), self.n_inputs

    def outputs(self, inputs, out, n_threads=1):
        """Outputs of each row: the same bits whatever the other rows and the threads.

        Parameters
        ----------
        inputs : array of shape (M, I) or (M, D, stride)
            In the second form the I inputs are D pieces of I / D numbers, each at the beginning of its ``stride``.
        out : array of shape (M, K)
            Assigned.
        n_threads : int

        Returns
        -------
        out : array of shape (M, K)
        """
        inputs, features = self._segments(inputs)
        w, bias = self._panels()
        shards = threads.even_shards(len(inputs), self.n_inputs * self.n_outputs, n_threads, multiple=TALL_2)
        with threads.shares(shards) as shards:
            scratch = np.empty((len(shards) - 1, TALL_2 * 2 * self._lanes), self.dtype)
            head.head_forward(w, bias, inputs, features, out, scratch, shards)
        return out

    def gradient(self, loss, inputs, rows, targets, weights, scale, grads, workspace, n_threads=1):
        """Loss of a batch, ``scale * sum over m of weights[rows[m]] * loss_m``, and its gradients.

        The outputs of the whole batch are never in memory at once. The bits do not depend on the threads.

        Parameters
        ----------
        loss : {"cross_entropy", "squared_error", "pinball"}
            Of the row m: -log softmax(z)_label; the mean over K of (z - target)^2 / 2; the mean over K of
            max(q (target - z), (1 - q) (z - target)), where q is the level of the output [1]_.
        inputs : array of shape (M, I) or (M, D, stride)
            As in `outputs`.
        rows : int64 array of shape (M,)
            Which entries of ``targets`` and ``weights`` the rows belong to.
        targets : int64 array of shape (n,), array of shape (n, K), or QuantileTargets with Y * Q = K
        weights : float64 array of shape (n,)
        scale : float
        grads : Parameters
            Added to.
        workspace : Workspace
        n_threads : int

        Returns
        -------
        value : float
        dinputs : array of the shape of ``inputs``
            Of the workspace. Zero beside the pieces.

        References
        ----------
        .. [1] Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).
        """
        if inputs.ndim == 2 and inputs.size * self.n_outputs <= SMALL:
            return self._small_gradient(loss, inputs, rows, targets, weights, scale, grads, workspace)
        shape = inputs.shape
        inputs, features = self._segments(inputs)
        shards = self._weight_shards(len(inputs), n_threads)
        with threads.shares(shards) as shards:
            return self._gradient(inputs, features, rows, targets, weights, scale, grads, workspace, shards, shape)

    def squared_error_flow(self, inputs, rows, targets, weights, workspace):
        """``dinputs`` alone, as `gradient` has it for the squared error and ``scale`` 1, by sums in float64."""
        dinputs = workspace.take("dinputs of the head", *inputs.shape)
        segments, features = self._segments(inputs)
        flow.squared_error_flow(
            segments, features, *self._weights, rows, targets, weights, dinputs.reshape(segments.shape)
        )
        return dinputs

    def _small_gradient(self, loss, inputs, rows, targets, weights, scale, grads, workspace):
        dinputs = workspace.take("dinputs of the head", *inputs.shape)
        scratch = workspace.take("scratch of the head", (2 * len(inputs) + self.n_inputs) * self.n_outputs)
        value = SMALL_LOSSES[loss](
            np.ascontiguousarray(inputs), *self._weights, rows, targets, weights, float(scale),
            scratch, *self._arrays(grads), dinputs,
        )  # fmt: skip
        return value, dinputs

    def _gradient(self, inputs, features, rows, targets, weights, scale, grads, workspace, shards, shape):
        dinputs = workspace.take("dinputs of the head", *inputs.shape)
        n_blocks, block = self._blocks(len(inputs), len(shards) - 1)
        size = head_gradient.scratch_size(self.n_outputs, self.n_inputs, self._lanes, n_blocks, block, len(shards) - 1)
        scratch = workspace.take("scratch of the head", size)
        value = head_gradient.head_gradient(
            inputs, features, *self._weights, rows, targets, weights, float(scale),
            *self._arrays(grads), dinputs, scratch, n_blocks, block, shards,
        )  # fmt: skip
        return value, dinputs.reshape(shape)

    def _weight_shards(self, n_rows, n_threads):
        """Bounds of the tiles of dW for each thread, which also says how many threads there are."""
        pair = 2 * self._lanes
        n_tiles = -(-self.n_outputs // TALL_2) * -(-self.n_inputs // pair)
        return threads.even_shards(n_tiles, 3 * n_rows * TALL_2 * pair, n_threads)

    def _blocks(self, n_rows, n_threads):
        """Blocks of rows in a round, and rows of a block.

        Threads wait for each other twice a round, so that a round has many blocks where they are small.
        """
        pair, in_all = 2 * self._lanes, -(-n_rows // (head_gradient.BLOCK * n_threads)) * n_threads
        block = -(-n_rows // (in_all * pair)) * pair  # about equal ones
        if n_threads == 1:
            return 1, block
        each = max(1, ROUND // (block * (self.n_outputs + self.n_inputs)))
        return n_threads * min(each, in_all // n_threads), block


def check_targets(loss, targets, n_outputs):
    """Refuse targets that are not those of ``loss``: the kernels would read beyond them."""
    of_quantiles = isinstance(targets, QuantileTargets)
    if of_quantiles != (loss == "pinball"):
        raise ValueError(f"{loss} and a {type(targets).__name__} of targets do not go together.")
    values = targets.values if of_quantiles else targets
    if values.ndim != LOSSES[loss]:
        raise ValueError(f"{loss} takes targets of {LOSSES[loss]} axes, found {values.ndim}.")
    if of_quantiles and values.shape[1] * len(targets.levels) != n_outputs:
        raise ValueError(
            f"{n_outputs} output(s) cannot be {len(targets.levels)} quantile(s) of each of {values.shape[1]} target(s)."
        )
