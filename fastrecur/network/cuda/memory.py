"""What a fit holds of the GPU's memory."""

import math

import numpy as np

from fastrecur.kernels.cuda.layout import RECORD, padded, scratch
from fastrecur.network.cuda.stack import PARTS
from fastrecur.network.parameters import BIASES, GATES, recurrent_shapes


def training_memory(
    cell, n_steps, n_packed, n_rows, n_pieces, dropout, recurrent_dropout, n_features, hidden_size, n_outputs,
    num_layers, n_directions, relu, dtype, pooling, n_tokens,
):  # fmt: skip
    """About how many bytes of the GPU's memory a fit holds, and how many of them are X.

    Parameters
    ----------
    n_steps : int
        Time steps of all sequences: X lies there as a whole, features or tokens.
    n_packed, n_rows : int
        Time steps and sequences of a minibatch.
    n_pieces : int
        Pieces of ``bptt_steps`` into which the longest sequence is cut.
    dropout, recurrent_dropout : bool
        Whether numbers are dropped.
    cell, n_features, hidden_size, n_outputs, num_layers, n_directions, relu, dtype, pooling, n_tokens
        See `fastrecur.network.model.Model`.

    Returns
    -------
    needed, of_x : int
    """
    width, across, itemsize = padded(hidden_size), n_directions * padded(hidden_size), np.dtype(dtype).itemsize
    states = (n_packed + n_rows) * num_layers * across * (2 if cell == "lstm" else 1)
    record = n_packed * width * (1 if cell == "rnn" else RECORD[cell] * num_layers * n_directions)
    lines = min(2, num_layers - 1)  # gradients of what the layers above the first read
    lines += pooling != "last"  # gradient of the outputs
    lines += dropout * (num_layers - 1 + (pooling is None))
    inputs = n_packed * (n_features * (2 if n_tokens else 1) + (n_outputs if pooling is None else 0))
    of_rows = n_rows * (3 * across + n_outputs)
    masks = recurrent_dropout * n_rows * num_layers * across + scratch(cell, width, n_rows, n_packed, recurrent_dropout)
    carried = n_pieces - 1 if pooling in ("mean", "max") else min(1, n_pieces - 1)  # states from piece to piece
    carried *= n_rows * num_layers * hidden_size * (2 if cell == "lstm" else 1)
    numbers = states + record + lines * n_packed * across + inputs + of_rows + masks + carried + PARTS
    numbers += _of_parameters(cell, n_features, hidden_size, n_outputs, num_layers, n_directions, n_tokens, itemsize)
    of_x = n_steps * (4 if n_tokens else n_features * itemsize)
    tables = 4 * (2 * max(2 * n_packed, 1024) + 4 * n_packed)  # which row lies where, in int32
    return int(numbers * itemsize + tables + of_x), int(of_x)


def _of_parameters(cell, n_features, hidden_size, n_outputs, num_layers, n_directions, n_tokens, itemsize):
    """Numbers of the parameters, moments and gradients, and of the padded weights, their places and gradients."""
    above = recurrent_shapes(cell, n_directions * hidden_size, hidden_size, 1, 1)
    first = recurrent_shapes(cell, n_features, hidden_size, 1, 1)
    n_head = n_outputs * (n_directions * hidden_size + 1)
    n_above = (num_layers - 1) * n_directions
    exact = n_directions * _count(first) + n_above * _count(above) + n_head + n_tokens * n_features
    width = padded(hidden_size)
    recurrent = GATES[cell] * width * (width + len(BIASES[cell]))
    within = n_directions * (recurrent + GATES[cell] * width * n_features)
    within += n_above * (recurrent + GATES[cell] * width * n_directions * width)
    within += n_outputs * (n_directions * width + 1)
    transposed = (n_directions + n_above) * GATES[cell] * width**2
    return 4 * exact + 2 * within + transposed + (within + transposed) * 4 // itemsize


def _count(shapes):
    return sum(map(math.prod, shapes.values()))
