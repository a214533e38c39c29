"""Weights to and from Keras' recurrent layers: transposed, and of the GRU with the gates in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrecur.interop.weights import NetworkWeights, cell_of, check_part, make_layer, network_weights
from fastrecur.network import validation
from fastrecur.network.layers import GRU, LSTM, RNN
from fastrecur.network.parameters import GATES, suffix

#: Places of PyTorch's gates in Keras' order, and back: i, f, c, o is i, f, g, o; z, r, h is r, z, n.
_ORDER = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}


def to_keras(estimator_or_layer: Any, part: str = "recurrent") -> list:
    """Lists of weights that ``set_weights`` of Keras' layers takes.

    Parameters
    ----------
    estimator_or_layer : fitted estimator, or layer of `fastrecur.layers`
    part : {"recurrent", "head", "embedding"}, default="recurrent"
        "recurrent" is for ``keras.layers.SimpleRNN``, ``LSTM`` or ``GRU`` with Keras' defaults (of an RNN fitted with
        ``nonlinearity="relu"``, ``activation="relu"``), inside ``keras.layers.Bidirectional`` where it has two
        directions. "head" is for ``keras.layers.Dense(K)``, whose outputs are the logits of a classifier (Keras'
        softmax of them are its probabilities) and the predictions of a regressor (the scaling of its targets is undone
        in the weights). "embedding" is for ``keras.layers.Embedding(V, E)``.

    Returns
    -------
    list of ndarray, or list of lists of ndarray
        kernel (F, G*H), recurrent kernel (H, G*H) and bias (G*H,), of the GRU (2, 3*H); behind them those of the
        second direction. With ``num_layers`` above 1 a list of such lists, one for each of Keras' layers. All but the
        last want ``return_sequences=True``. Copies, in the dtype of the network.

    Raises
    ------
    NotFittedError
        If an estimator is not fitted.
    TypeError
        If it is neither estimator nor layer.
    ValueError
        If the network has no such part.

    Examples
    --------
    >>> from fastrecur.interop import to_keras
    >>> from fastrecur.layers import GRU
    >>> [array.shape for array in to_keras(GRU(input_size=3, hidden_size=8))]
    [(3, 24), (8, 24), (2, 24)]
    """
    weights = network_weights(estimator_or_layer)
    check_part(part, weights)
    if part == "head":
        weight, bias = weights.head()
        return [np.ascontiguousarray(weight.T), bias]
    if part == "embedding":
        return [np.array(weights.embedding)]
    layers = [_keras_layer(weights, layer) for layer in range(weights.num_layers)]
    return layers if len(layers) > 1 else layers[0]


def _keras_layer(weights: NetworkWeights, layer: int) -> list[NDArray]:
    out = []
    for direction in range(weights.n_directions):
        w_ih, w_hh, b_ih, b_hh = (_reordered(array, weights.cell) for array in weights.recurrent(layer, direction))
        bias = np.stack([b_ih, b_hh]) if weights.cell == "gru" else b_ih
        out += [np.ascontiguousarray(w_ih.T), np.ascontiguousarray(w_hh.T), bias]
    return out


def _reordered(array: NDArray, cell: str) -> NDArray:
    """Gates (the first axis) from PyTorch's order into Keras', or back: the same exchange."""
    gates = np.split(array, GATES[cell])
    return np.concatenate([gates[k] for k in _ORDER[cell]])


def from_keras(weights: Any, *, cell: str | None = None, nonlinearity: str = "tanh") -> RNN | LSTM | GRU:
    """Layer with the weights of Keras' ``SimpleRNN``, ``LSTM`` or ``GRU``.

    Parameters
    ----------
    weights : list of arrays, or list of such lists
        What ``get_weights()`` of a recurrent layer gives: kernel (F, G*H), recurrent kernel (H, G*H) and bias, or
        without bias the first two; of a ``Bidirectional`` that concatenates (Keras' default) twice as many. For layers
        one above the other a list with the weights of each.
    cell : {"rnn", "lstm", "gru"}, optional
        What the weights must belong to. By default the shapes decide: 1, 4 or 3 gate values for each hidden unit.
    nonlinearity : {"tanh", "relu"}, default="tanh"
        ``activation`` of the SimpleRNN, which the weights do not tell.

    Returns
    -------
    layer : fastrecur.layers.RNN, LSTM or GRU
        Its `parameters` are the dict that ``load_parameters`` of another layer takes. float64 if any weight is,
        float32 otherwise.

    Raises
    ------
    TypeError
        If it is no list, or a weight holds no numbers.
    ValueError
        If arrays are missing, shapes do not go together, the layers differ in cell, units or directions, or the GRU
        is one of ``reset_after=False``, whose equations are others (its bias has one row).

    Notes
    -----
    The activations must be Keras' defaults, which the weights do not tell: sigmoid of the gates, tanh of the rest. A
    GRU without bias is taken to be one of ``reset_after=True``, the default.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.interop import from_keras
    >>> layer = from_keras([np.ones((3, 32)), np.eye(8, 32), np.zeros(32)])  # keras_layer.get_weights()
    >>> type(layer).__name__, layer.input_size, layer.hidden_size
    ('LSTM', 3, 8)
    """
    validation.check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    layers = _layers(weights)
    n_directions = _n_directions(layers)
    recurrent_kernel = layers[0][1]
    if recurrent_kernel.ndim != 2 or 0 in recurrent_kernel.shape:
        raise ValueError(f"weights[1] must be a recurrent kernel (H, G*H), found shape {recurrent_kernel.shape}.")
    hidden_size, n_columns = recurrent_kernel.shape
    cell = cell_of(n_columns, hidden_size, cell, "the recurrent kernel")
    arrays: dict[str, NDArray] = {}
    for k, layer in enumerate(layers):
        width = len(layer) // n_directions
        n_features = n_directions * hidden_size if k else None
        for direction in range(n_directions):
            given, where = layer[direction * width : (direction + 1) * width], _place(k, direction, len(layers))
            arrays |= _named(given, cell, hidden_size, n_features, where, suffix(k, direction))
            n_features = given[0].shape[0]
    return make_layer(cell, arrays, nonlinearity)


def _layers(weights: Any) -> list[list[NDArray]]:
    """The arrays of each layer."""
    if not isinstance(weights, list | tuple) or not len(weights):
        what = "layer.get_weights()" if hasattr(weights, "get_weights") else "a list of arrays, or of lists of arrays"
        found = "an empty list" if isinstance(weights, list | tuple) else f"a {type(weights).__name__}"
        kind = ValueError if isinstance(weights, list | tuple) else TypeError
        raise kind(f"weights must be what get_weights() gives, found {found}. Pass {what}.")
    nested = [isinstance(part, list | tuple) for part in weights]
    if any(nested) and not all(nested):
        raise ValueError("weights mixes arrays and lists. Pass one layer's arrays, or a list of them for each layer.")
    parts = weights if all(nested) else [weights]
    out = []
    for k, part in enumerate(parts):
        arrays = [validation.as_array(f"weights[{i}] of layer {k}", array) for i, array in enumerate(part)]
        for i, array in enumerate(arrays):
            validation.check_real(f"weights[{i}] of layer {k}", array)
        out.append(arrays)
    return out


def _n_directions(layers: list[list[NDArray]]) -> int:
    """1, or 2 where every layer has twice as many arrays."""
    for k, layer in enumerate(layers):
        if len(layer) not in (2, 3, 4, 6):
            raise ValueError(
                f"Layer {k} of weights has {len(layer)} array(s). A recurrent layer of Keras has 3 (kernel, recurrent "
                "kernel, bias), 2 without bias, and in a Bidirectional 6 or 4. For several layers pass a list of lists."
            )
    counts = {1 if len(layer) < 4 else 2 for layer in layers}
    if len(counts) > 1:
        raise ValueError(
            "weights mixes layers of one direction and of two. Those of fastrecur are alike: convert each."
        )
    return counts.pop()


def _place(layer: int, direction: int, n_layers: int) -> str:
    name = ("the backward direction of " if direction else "") + (f"layer {layer}" if n_layers > 1 else "the layer")
    return name.removesuffix(" of the layer")


def _named(
    given: list[NDArray], cell: str, hidden_size: int, n_features: int | None, where: str, end: str
) -> dict[str, NDArray]:
    """The weights of one direction under PyTorch's names; ``n_features`` of its kernel, where that is known."""
    width = GATES[cell] * hidden_size
    kernel, recurrent_kernel = given[:2]
    bias_shape = (2, width) if cell == "gru" else (width,)
    bias = given[2] if len(given) == 3 else np.zeros(bias_shape, kernel.dtype)
    if cell == "gru" and bias.shape == (width,):
        raise ValueError(
            f"The bias of {where} has shape {bias.shape}: a GRU of reset_after=False, whose equations are others than "
            "fastrecur's. Only reset_after=True, Keras' default, can be converted: its bias is (2, 3*H)."
        )
    n_features = n_features if n_features is not None else (kernel.shape[0] if kernel.ndim == 2 else 1)
    for name, array, shape in (
        ("kernel", kernel, (n_features, width)),
        ("recurrent kernel", recurrent_kernel, (hidden_size, width)),
        ("bias", bias, bias_shape),
    ):
        if array.shape != shape or not n_features:
            raise ValueError(f"The {name} of {where} must have shape {shape} ({cell}), found {array.shape}.")
    named = {f"weight_ih{end}": _reordered(kernel.T, cell), f"weight_hh{end}": _reordered(recurrent_kernel.T, cell)}
    if cell == "gru":
        return named | {f"bias_ih{end}": _reordered(bias[0], cell), f"bias_hh{end}": _reordered(bias[1], cell)}
    return named | {f"bias{end}": bias}
