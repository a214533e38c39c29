"""What is exchanged with other libraries: the weights of an estimator or a layer, and layers made of such weights.

Letters: F features, H hidden units, G gates, L layers, D directions, K outputs, V tokens, E width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.network import validation
from fastrecur.network.layers import GRU, LSTM, RNN
from fastrecur.network.parameters import GATES, TABLE, recurrent_shapes, suffix

PARTS = ("recurrent", "head", "embedding")

_LAYERS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """Weights of a network, and its shape.

    Parameters
    ----------
    cell : {"rnn", "lstm", "gru"}
    relu : bool
    hidden_size, num_layers, n_directions : int
    arrays : dict of str to array
        Recurrent weights by PyTorch's names, the biases as the cell has them; of an estimator head and embedding too.
    scale, mean : arrays of shape (K,), or None
        What undoes the standardisation of a regressor's targets.
    """

    cell: str
    relu: bool
    hidden_size: int
    num_layers: int
    n_directions: int
    arrays: Mapping[str, NDArray]
    scale: NDArray | None = None
    mean: NDArray | None = None

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the weights."""
        return self.arrays["weight_hh_l0"].dtype

    def recurrent(self, layer: int, direction: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """``w_ih`` (G*H, F), ``w_hh`` (G*H, H), ``b_ih`` and ``b_hh`` (G*H,): zeros where the cell has one bias."""
        end = suffix(layer, direction)
        w_ih, w_hh = self.arrays[f"weight_ih{end}"], self.arrays[f"weight_hh{end}"]
        if self.cell == "gru":
            return w_ih, w_hh, self.arrays[f"bias_ih{end}"], self.arrays[f"bias_hh{end}"]
        bias = self.arrays[f"bias{end}"]
        return w_ih, w_hh, bias, np.zeros_like(bias)

    def head(self) -> tuple[NDArray, NDArray]:
        """Weight (K, D*H) and bias (K,) of the head; of a regressor such as give its predictions.

        Raises
        ------
        ValueError
            If the outputs are quantiles, as those of a forecaster's network: they are sorted besides, by no head.
        """
        weight, bias = self.arrays["head_weight"], self.arrays["head_bias"]
        if self.scale is None or self.mean is None:
            return weight.copy(), bias.copy()
        if len(bias) != len(self.scale):
            raise ValueError(
                f"The head gives {len(bias) // len(self.scale)} quantiles of each of {len(self.scale)} target(s), "
                "which predict sorts and no other library's head does. Export a regressor without quantiles, or "
                "part='recurrent' alone."
            )
        scaled = weight * self.scale[:, np.newaxis], bias * self.scale + self.mean
        return scaled[0].astype(weight.dtype), scaled[1].astype(bias.dtype)

    @property
    def embedding(self) -> NDArray | None:
        """The table (V, E), or None where the first layer reads features."""
        return self.arrays.get(TABLE)


def network_weights(source: Any) -> NetworkWeights:
    """Weights of a fitted estimator or of a layer.

    Raises
    ------
    NotFittedError
        If an estimator is not fitted.
    TypeError
        If ``source`` is neither.
    """
    if isinstance(source, RNN | LSTM | GRU):
        return NetworkWeights(
            cell=source._cell,
            relu=source._relu,
            hidden_size=source.hidden_size,
            num_layers=source.num_layers,
            n_directions=source.n_directions,
            arrays={name: array.copy() for name, array in source.parameters.items()},
        )
    if not isinstance(source, RecurrentEstimator):
        raise TypeError(
            f"Pass a fitted estimator such as LSTMClassifier(), or a layer of fastrecur.layers, found {_name(source)}."
            + (" Of a pipeline pass the last step, pipeline[-1]." if hasattr(source, "steps") else "")
        )
    check_is_fitted(source)
    shape = source._architecture
    return NetworkWeights(
        cell=source._cell,
        relu=shape["relu"],
        hidden_size=shape["hidden_size"],
        num_layers=shape["num_layers"],
        n_directions=shape["n_directions"],
        arrays=source.weights_,
        scale=getattr(source, "_y_scale", None),
        mean=getattr(source, "_y_mean", None),
    )


def check_part(part: str, weights: NetworkWeights) -> None:
    """``part`` must be one of `PARTS` that this network has."""
    validation.check_choice("part", part, PARTS)
    if part == "head" and "head_weight" not in weights.arrays:
        raise ValueError("part='head' needs an estimator: a layer has no head. Pass part='recurrent'.")
    if part == "embedding" and weights.embedding is None:
        raise ValueError(
            "part='embedding' needs an estimator that was fitted with embedding_dim: this one has no table. Pass "
            "part='recurrent' or part='head'."
        )


def cell_of(n_rows: int, hidden_size: int, cell: str | None, name: str) -> str:
    """The cell whose gates make ``n_rows`` of ``hidden_size`` units; it must be ``cell`` where that is given.

    ``name`` is that of the weight which was counted.
    """
    if cell is not None:
        validation.check_choice("cell", cell, tuple(GATES))
    found = {gates * hidden_size: name for name, gates in GATES.items()}.get(n_rows)
    if found is None:
        raise ValueError(
            f"{name} has {n_rows} gate values for {hidden_size} hidden units: no cell has so many. An RNN has 1, a GRU "
            "3 and an LSTM 4 for each unit."
        )
    if cell not in (None, found):
        raise ValueError(
            f"cell={cell!r} has {GATES[str(cell)]} gate value(s) for each hidden unit, but {name} has "
            f"{n_rows // hidden_size}: it belongs to cell={found!r}. Leave cell=None to let the shapes decide."
        )
    return found


def make_layer(cell: str, arrays: Mapping[str, Any], nonlinearity: str) -> RNN | LSTM | GRU:
    """Layer of weights under PyTorch's names, whose shapes have been checked; two biases a layer, or one."""
    validation.check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    if cell != "rnn" and nonlinearity != "tanh":
        raise ValueError(f"nonlinearity={nonlinearity!r} is for the RNN alone, but these are weights of cell={cell!r}.")
    gates, input_size = arrays["weight_ih_l0"].shape
    double = any(array.dtype == np.float64 for array in arrays.values())
    layer = _LAYERS[cell](
        input_size,
        gates // GATES[cell],
        num_layers=sum(name.startswith("weight_ih") and not name.endswith("_reverse") for name in arrays),
        bidirectional="weight_ih_l0_reverse" in arrays,
        dtype="float64" if double else "float32",
        random_state=0,  # all that is drawn is written over
        **({"nonlinearity": nonlinearity} if cell == "rnn" else {}),
    )
    layer.load_parameters(arrays)
    return layer


def two_bias_shapes(
    cell: str, input_size: int, hidden_size: int, num_layers: int, n_directions: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of PyTorch's parameters, which has two biases a layer for every cell."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in recurrent_shapes(cell, input_size, hidden_size, num_layers, n_directions).items():
        if name.startswith("bias_l"):
            shapes[name.replace("bias_l", "bias_ih_l")] = shapes[name.replace("bias_l", "bias_hh_l")] = shape
        else:
            shapes[name] = shape
    return shapes


def missing_package(package: str, purpose: str, extra: str) -> ImportError:
    """What to raise where an optional package cannot be imported."""
    return ImportError(f'{purpose} needs {package}, which is not installed: pip install "fastrecur[{extra}]"')


def _name(source: Any) -> str:
    return f"the class {source.__name__}" if isinstance(source, type) else f"an instance of {type(source).__name__}"
