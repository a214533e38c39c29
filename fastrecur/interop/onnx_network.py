"""A network as nodes of an ONNX graph, whoever keeps the graph: `to_onnx`, or skl2onnx.

Letters: N sequences, T time steps, F features, H hidden units, G gates, D directions, W = D * H, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastrecur.interop.weights import NetworkWeights
from fastrecur.network.parameters import GATES

#: From this opset on sums take their axes as an input, as they do here.
LEAST_OPSET = 13

#: ONNX's numbers of element types, which its specification fixes.
ELEMENT_TYPES = {"float32": 1, "int32": 6, "int64": 7, "object": 8, "bool": 9, "float64": 11}

#: Places of PyTorch's gates in ONNX's order: i, o, f, c of i, f, g, o; z, r, h of r, z, n.
_ORDER = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


class Graph(Protocol):
    """What nodes and constants go into."""

    opset: int

    def constant(self, name: str, value: Any) -> str:
        """Add a constant array and return its unique name."""
        ...

    def node(self, op_type: str, inputs: list[str], output: int = 0, **attributes: Any) -> str:
        """Add a node and return the unique name of its only output that is wanted, number ``output``."""
        ...


@dataclass(frozen=True)
class Lengths:
    """Names of what tells the valid time steps of each sequence; "" where all sequences fill their T steps.

    Parameters
    ----------
    counts : str
        Lengths (N,), int32.
    mask : str
        (T, N, 1), true on valid steps.
    """

    counts: str = ""
    mask: str = ""


def element_type(dtype: DTypeLike) -> int:
    """ONNX's number of a dtype."""
    return ELEMENT_TYPES[np.dtype(dtype).name]


def read_lengths(graph: Graph, counts: str, x: str) -> Lengths:
    """`Lengths` of the lengths ``counts`` (N,), int32, for the T of ``x`` (T, N, .)."""
    steps = graph.node("Range", [graph.constant("first", 0), _n_steps(graph, x), graph.constant("one", 1)])
    steps = graph.node("Unsqueeze", [steps, graph.constant("axis", [1])])
    valid = graph.node("Less", [steps, graph.node("Cast", [counts], to=element_type("int64"))])
    return Lengths(counts, graph.node("Unsqueeze", [valid, graph.constant("axis", [2])]))


def _n_steps(graph: Graph, x: str) -> str:
    """T of x (T, N, .)."""
    return graph.node("Gather", [graph.node("Shape", [x]), graph.constant("first", 0)], axis=0)


def features(graph: Graph, x: str, rank: int) -> str:
    """(T, N, F) of x (N, T, F), or (N, T) where F is 1."""
    if rank == 2:
        x = graph.node("Unsqueeze", [x, graph.constant("axis", [2])])
    return graph.node("Transpose", [x], perm=[1, 0, 2])


def embeddings(graph: Graph, tokens: str, rank: int, table: NDArray) -> str:
    """(T, N, E) of tokens (N, T), or (N, T, 1)."""
    if rank == 3:
        tokens = graph.node("Squeeze", [tokens, graph.constant("axis", [2])])
    embedded = graph.node("Gather", [graph.constant("embedding", table), tokens], axis=0)
    return graph.node("Transpose", [embedded], perm=[1, 0, 2])


def states(
    graph: Graph, weights: NetworkWeights, pooling: str | None, x: str, lengths: Lengths, dtype: DTypeLike
) -> str:
    """What the head reads of x (T, N, F): (N, W), or (T, N, W) without ``pooling``."""
    width, last = weights.n_directions * weights.hidden_size, weights.num_layers - 1
    attributes = _operator_attributes(weights)
    for layer in range(weights.num_layers):
        constants = [graph.constant(*item) for item in _operator_weights(weights, layer, dtype).items()]
        inputs = [x, *constants, *([lengths.counts] if lengths.counts else [])]
        if layer == last and pooling == "last":  # Y_h: backwards, the state at the first step
            y = graph.node(weights.cell.upper(), inputs, output=1, **attributes)
            y = graph.node("Transpose", [y], perm=[1, 0, 2])
            return graph.node("Reshape", [y, graph.constant("shape", [0, width])])
        y = graph.node(weights.cell.upper(), inputs, **attributes)
        y = graph.node("Transpose", [y], perm=[0, 2, 1, 3])
        x = graph.node("Reshape", [y, graph.constant("shape", [0, 0, width])])
    return x if pooling is None else _pooled(graph, pooling, x, lengths, dtype)


def _operator_weights(weights: NetworkWeights, layer: int, dtype: DTypeLike) -> dict[str, NDArray]:
    """W (D, G*H, F), R (D, G*H, H) and B (D, 2*G*H) of a layer's operator."""
    parts: dict[str, list[NDArray]] = {"W": [], "R": [], "B": []}
    for direction in range(weights.n_directions):
        w_ih, w_hh, b_ih, b_hh = (_reordered(array, weights.cell) for array in weights.recurrent(layer, direction))
        parts["W"].append(w_ih)
        parts["R"].append(w_hh)
        parts["B"].append(np.concatenate([b_ih, b_hh]))
    return {f"{name}_l{layer}": np.stack(arrays).astype(dtype) for name, arrays in parts.items()}


def _reordered(array: NDArray, cell: str) -> NDArray:
    """Gates (the first axis) in ONNX's order."""
    gates = np.split(array, GATES[cell])
    return np.concatenate([gates[k] for k in _ORDER[cell]])


def _operator_attributes(weights: NetworkWeights) -> dict[str, Any]:
    attributes: dict[str, Any] = {"hidden_size": weights.hidden_size}
    if weights.n_directions == 2:
        attributes["direction"] = "bidirectional"
    if weights.cell == "gru":
        attributes["linear_before_reset"] = 1
    if weights.relu:
        attributes["activations"] = ["Relu"] * weights.n_directions
    return attributes


def _pooled(graph: Graph, pooling: str, y: str, lengths: Lengths, dtype: DTypeLike) -> str:
    """Mean or maximum (N, W) of y (T, N, W) over the valid steps."""
    if pooling == "max":
        return _largest(graph, _masked(graph, y, lengths, np.finfo(dtype).min, dtype))
    axis = graph.constant("axis", [0])
    total = graph.node("ReduceSum", [_masked(graph, y, lengths, 0.0, dtype), axis], keepdims=0)
    if lengths.counts:
        n_steps = graph.node("Unsqueeze", [lengths.counts, graph.constant("axis", [1])])
    else:
        n_steps = _n_steps(graph, y)
    return graph.node("Div", [total, graph.node("Cast", [n_steps], to=element_type(dtype))])


def _largest(graph: Graph, y: str) -> str:
    """Largest values over the first axis."""
    if graph.opset < 18:  # from there on the axes are an input
        return graph.node("ReduceMax", [y], axes=[0], keepdims=0)
    return graph.node("ReduceMax", [y, graph.constant("axis", [0])], keepdims=0)


def _masked(graph: Graph, values: str, lengths: Lengths, filling: float, dtype: DTypeLike) -> str:
    """Values (T, N, .) with ``filling`` on the steps that are not valid."""
    if not lengths.mask:
        return values
    return graph.node("Where", [lengths.mask, values, graph.constant("filling", np.array(filling, dtype))])


def head(graph: Graph, weights: NetworkWeights, read: str, dtype: DTypeLike) -> str:
    """Outputs (..., K) of what the head reads, (..., W): logits, or the predictions of a regressor."""
    weight, bias = weights.head()
    matrix = graph.constant("head_weight", np.ascontiguousarray(weight.T).astype(dtype))
    product = graph.node("MatMul", [read, matrix])
    return graph.node("Add", [product, graph.constant("head_bias", bias.astype(dtype))])


def by_step(graph: Graph, outputs: str, lengths: Lengths, dtype: DTypeLike) -> str:
    """(N, T, K) of outputs (T, N, K), 0 beyond a sequence's length."""
    return graph.node("Transpose", [_masked(graph, outputs, lengths, 0.0, dtype)], perm=[1, 0, 2])


def label_and_probabilities(
    graph: Graph, logits: str, classes: NDArray, steps: Lengths | None, dtype: DTypeLike
) -> tuple[str, str]:
    """Labels (N,) and probabilities (N, K) of logits (N, K).

    With the ``steps`` of logits (T, N, K): (N, T) and (N, T, K), the first label and 0 beyond a sequence's length.
    """
    probabilities = graph.node("Softmax", [logits], axis=-1)
    if steps is not None:
        logits, probabilities = (by_step(graph, values, steps, dtype) for values in (logits, probabilities))
    places = graph.node("ArgMax", [logits], axis=-1, keepdims=0)
    return graph.node("Gather", [graph.constant("classes", classes), places], axis=0), probabilities
