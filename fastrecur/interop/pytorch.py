"""Weights to and from PyTorch's recurrent modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrecur.interop.weights import (
    cell_of,
    check_part,
    make_layer,
    missing_package,
    network_weights,
    two_bias_shapes,
)
from fastrecur.network import validation
from fastrecur.network.layers import GRU, LSTM, RNN
from fastrecur.network.parameters import suffix

_NAME = re.compile(r"(?:weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?")


def to_torch(estimator_or_layer: Any, part: str = "recurrent", *, as_tensors: bool = False) -> dict[str, Any]:
    """State dict that PyTorch's module of the same kind takes.

    Parameters
    ----------
    estimator_or_layer : fitted estimator, or layer of `fastrecur.layers`
    part : {"recurrent", "head", "embedding"}, default="recurrent"
        "recurrent" is for ``torch.nn.RNN``, ``LSTM`` or ``GRU`` with the same ``input_size``, ``hidden_size``,
        ``num_layers`` and ``bidirectional``; of an RNN the ``nonlinearity`` must be the same too, which no state dict
        tells. "head" is for ``torch.nn.Linear(D * H, K)``, whose outputs are the logits of a classifier and the
        predictions of a regressor (the scaling of its targets is undone in the weights). "embedding" is for
        ``torch.nn.Embedding(V, E)``.
    as_tensors : bool, default=False
        Tensors, as ``load_state_dict`` wants them, instead of NumPy arrays. Needs PyTorch.

    Returns
    -------
    dict of str to ndarray or Tensor
        Copies, in the dtype of the network. PyTorch has two biases a layer: where fastrecur has one, it is the first
        and the second is zero.

    Raises
    ------
    NotFittedError
        If an estimator is not fitted.
    TypeError
        If it is neither estimator nor layer.
    ValueError
        If the network has no such part.
    ImportError
        If tensors are asked for and PyTorch is not installed.

    Examples
    --------
    >>> from fastrecur.interop import to_torch
    >>> from fastrecur.layers import LSTM
    >>> {name: array.shape for name, array in to_torch(LSTM(input_size=3, hidden_size=8)).items()}
    {'weight_ih_l0': (32, 3), 'weight_hh_l0': (32, 8), 'bias_ih_l0': (32,), 'bias_hh_l0': (32,)}

    With PyTorch: ``torch.nn.LSTM(3, 8).load_state_dict(to_torch(layer, as_tensors=True))``.
    """
    validation.check_flag("as_tensors", as_tensors)
    weights = network_weights(estimator_or_layer)
    check_part(part, weights)
    state: dict[str, NDArray] = {}
    if part == "head":
        state["weight"], state["bias"] = weights.head()
    elif part == "embedding":
        state["weight"] = np.array(weights.embedding)
    else:
        for layer in range(weights.num_layers):
            for direction in range(weights.n_directions):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                for name, array in zip(names, weights.recurrent(layer, direction), strict=True):
                    state[name + suffix(layer, direction)] = array.copy()
    return _tensors(state) if as_tensors else state


def _tensors(state: dict[str, NDArray]) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise missing_package("PyTorch", "to_torch(as_tensors=True)", "torch") from error
    return {name: torch.from_numpy(array) for name, array in state.items()}


def from_torch(
    state_dict: Any, *, cell: str | None = None, nonlinearity: str = "tanh", prefix: str = ""
) -> RNN | LSTM | GRU:
    """Layer with the weights of a ``torch.nn.RNN``, ``LSTM`` or ``GRU``.

    Parameters
    ----------
    state_dict : dict of str to Tensor or array
        What ``module.state_dict()`` gives: tensors on any device, or arrays. A module without biases has zeros.
    cell : {"rnn", "lstm", "gru"}, optional
        What the weights must belong to. By default the shapes decide: 1, 4 or 3 gate values for each hidden unit.
    nonlinearity : {"tanh", "relu"}, default="tanh"
        Of the RNN, which the state dict does not tell.
    prefix : str, default=""
        Beginning of the names in the state dict of a larger module, such as ``"encoder.lstm."``. Other names are
        left alone then.

    Returns
    -------
    layer : fastrecur.layers.RNN, LSTM or GRU
        Its `parameters` are the dict that ``load_parameters`` of another layer takes. float64 if any weight is,
        float32 otherwise. Two biases of which fastrecur has one are added up.

    Raises
    ------
    TypeError
        If it is no dict, or a weight holds no numbers.
    ValueError
        If names are missing or foreign, shapes do not go together, or the LSTM projects its states (``proj_size``).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.interop import from_torch, to_torch
    >>> from fastrecur.layers import GRU
    >>> layer, x = GRU(3, 8, num_layers=2, random_state=0), np.ones((1, 5, 3))
    >>> again = from_torch(to_torch(layer))
    >>> type(again).__name__, bool((again.forward(x)[0] == layer.forward(x)[0]).all())
    ('GRU', True)
    """
    if not isinstance(state_dict, Mapping):
        what = "module.state_dict()" if hasattr(state_dict, "state_dict") else "a dict of tensors or arrays by name"
        raise TypeError(f"state_dict must be a dict, found a {type(state_dict).__name__}. Pass {what}.")
    validation.check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    chosen = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    _check_names(chosen, state_dict, prefix)
    arrays = {name: _array(prefix + name, value) for name, value in chosen.items() if _NAME.fullmatch(name)}
    cell, shapes = _expected(arrays, cell)
    if not any(name.startswith("bias") for name in arrays):  # bias=False
        arrays |= {name: np.zeros_like(arrays["weight_hh_l0"][:, 0]) for name in shapes if name.startswith("bias")}
    validation.check_arrays("state_dict", arrays, shapes)
    return make_layer(cell, arrays, nonlinearity)


def _check_names(chosen: dict[str, Any], state_dict: Any, prefix: str) -> None:
    """The names must be those of one recurrent module; with a prefix, others beside them are of other modules."""
    if any("weight_hr_l" in name for name in chosen):
        raise ValueError(
            "state_dict holds weight_hr_l0: an LSTM with proj_size projects its states, which fastrecur does not. "
            "Train it with proj_size=0."
        )
    foreign = [name for name in chosen if not _NAME.fullmatch(name)]
    if len(foreign) < len(chosen) and (not foreign or prefix):
        return
    nested = {match[1] for name in state_dict if (match := re.fullmatch(r"(.*)weight_ih_l0", name)) and match[1]}
    if nested:
        remedy = f"Pass prefix={' or prefix='.join(map(repr, sorted(nested)))} to take the module of that name."
    else:
        remedy = "Pass the state dict of a torch.nn.RNN, LSTM or GRU alone."
    raise ValueError(
        f"state_dict must hold weight_ih_l0, weight_hh_l0 and so on"
        f"{f' behind prefix={prefix!r}' if prefix else ''}, found {sorted(foreign or state_dict)}. {remedy}"
    )


def _array(name: str, value: Any) -> NDArray:
    """Array of a tensor of any device and precision, or of what is one already."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value if value.element_size() == 8 else value.float()  # NumPy has no bfloat16
    array = validation.as_array(f"state_dict[{name!r}]", value)
    validation.check_real(f"state_dict[{name!r}]", array)
    return array


def _expected(arrays: dict[str, NDArray], cell: str | None) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The cell, and the names and shapes that go with the first layer's weights."""
    missing = [name for name in ("weight_ih_l0", "weight_hh_l0") if name not in arrays]
    if missing:
        raise ValueError(f"state_dict lacks {' and '.join(missing)}, found {sorted(arrays)}. Pass it whole.")
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if arrays[name].ndim != 2 or 0 in arrays[name].shape:
            raise ValueError(f"state_dict[{name!r}] must be a matrix (G*H, .), found shape {arrays[name].shape}.")
    n_rows, hidden_size = arrays["weight_hh_l0"].shape
    cell = cell_of(n_rows, hidden_size, cell, "weight_hh_l0")
    matches = [match for match in map(_NAME.fullmatch, arrays) if match]
    num_layers = 1 + max(int(match[1]) for match in matches)
    n_directions = 1 + any(match[2] is not None for match in matches)
    return cell, two_bias_shapes(cell, arrays["weight_ih_l0"].shape[1], hidden_size, num_layers, n_directions)
