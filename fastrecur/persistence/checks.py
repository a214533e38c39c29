"""Checks that attributes, out of a file or on their way into one, are those of a fitted estimator that can predict."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from fastrecur.network.parameters import network_shapes
from fastrecur.persistence.files import short

#: Beginnings of the names of attributes that stay out: an unfinished fit, scikit-learn's callbacks.
LEFT_OUT = ("_resume", "_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx")

#: Where scikit-learn keeps what `set_fit_request` and its kind have set.
REQUESTS = "_metadata_request"


def check_names(cls: type, attributes: dict) -> None:
    """Raise ValueError where a name is none of an attribute, but a parameter, a method or what stays out."""
    taken = {REQUESTS, *cls._get_param_names()}  # type: ignore[attr-defined]
    for name in attributes:
        if name in taken or hasattr(cls, name) or name.startswith(LEFT_OUT) or not name.isidentifier():
            raise ValueError(f"{short(name)} is no name of an attribute that fit leaves on a {cls.__name__}.")


def check_fitted(cls: Any, attributes: dict, n_quantiles: int = 1) -> None:
    """Raise ValueError unless attributes, ``weights_`` among them, are those of a fitted ``cls`` that can predict.

    ``n_quantiles`` are the outputs of the network for each target.
    """
    needed: dict[str, Any] = {
        "weights_": dict,
        "_architecture": dict,
        "n_features_in_": Integral,
        "n_outputs_": Integral,
    }
    if issubclass(cls, ClassifierMixin):
        needed["classes_"] = np.ndarray
    else:
        needed |= {"_y_ndim": Integral, "_y_mean": np.ndarray, "_y_scale": np.ndarray}
    for name, kind in needed.items():
        if not isinstance(attributes.get(name), kind):
            found = f"is a {type(attributes[name]).__name__}" if name in attributes else "is missing"
            raise ValueError(f"the attribute {name} {found}; it must be a {kind.__name__}.")
    check_names(cls, attributes)
    architecture = attributes["_architecture"]
    _check_architecture(architecture)
    _check_weights(cls._cell, architecture, attributes["weights_"])
    n_outputs = architecture["n_outputs"]
    for name in needed.keys() & {"classes_", "_y_mean", "_y_scale"}:
        if attributes[name].shape != (n_outputs // n_quantiles,) or n_outputs % n_quantiles:
            raise ValueError(f"{name} has the shape {attributes[name].shape}, but the network {n_outputs} output(s).")


def is_count(value: Any, least: int = 1) -> bool:
    """Whether this is a whole number of at least ``least``, and no bool."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


#: What each argument of `Model` but the cell and the device may be.
_ARCHITECTURE = {
    "n_features": is_count,
    "hidden_size": is_count,
    "n_outputs": is_count,
    "num_layers": is_count,
    "n_directions": lambda value: value in (1, 2),
    "relu": lambda value: isinstance(value, bool | np.bool_),
    "dtype": lambda value: isinstance(value, str) and value in ("float32", "float64"),
    "pooling": lambda value: value in (None, "last", "mean", "max"),
    "n_tokens": lambda value: is_count(value, 0),
}


def _check_architecture(architecture):
    if architecture.keys() != _ARCHITECTURE.keys():
        keys, arguments = short(list(architecture)), list(_ARCHITECTURE)
        raise ValueError(f"_architecture has the keys {keys}, but the network takes {arguments}.")
    for name, fits in _ARCHITECTURE.items():
        if not fits(architecture[name]):
            raise ValueError(f"_architecture has {name}={short(architecture[name])}, which no network has.")


def _check_weights(cell, architecture, weights):
    """Weights must be exactly those of the network, and finite."""
    if architecture["num_layers"] > len(weights):
        raise ValueError(f"the network's tensors: {architecture['num_layers']} layers have more than {len(weights)}.")
    expected = shapes(cell, architecture)
    for problem, names in (("missing", expected.keys() - weights), ("unexpected", weights.keys() - expected)):
        if names:
            raise ValueError(f"the network's tensors: {problem} {short(sorted(map(str, names)))}.")
    for name, shape in expected.items():
        array = weights[name]
        if not isinstance(array, np.ndarray) or array.dtype != architecture["dtype"] or array.shape != shape:
            raise ValueError(
                f"the tensor {name!r} is {outline(array)}, but the network needs {architecture['dtype']} of shape "
                f"{shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"the tensor {name!r} holds NaN or infinity.")


def shapes(cell: str, architecture: dict) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's parameters, without a network: a file may claim any size."""
    left_out = {"relu", "dtype", "pooling"}
    return network_shapes(cell, **{name: value for name, value in architecture.items() if name not in left_out})


def outline(array: Any) -> str:
    """Return dtype and shape, for a message."""
    if isinstance(array, np.ndarray):
        return f"{array.dtype} of shape {array.shape}"
    return f"a {type(array).__name__}"
