"""What of a fitted forecaster goes into a file, but for its network: plain values and arrays; and back, checked.

The letters: n series, F features, E known inputs, H steps that the network predicts at once, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrecur.estimators.quantiles import check_quantiles
from fastrecur.forecasting.linear import LinearAutoregression
from fastrecur.forecasting.time_index import TimeIndex
from fastrecur.forecasting.windows import Origin, Scale
from fastrecur.series import Frame, are_names

#: What is made anew of the columns that fit saw.
_NAMES = {"feature_names_in_": "columns", "exog_names_in_": "exog_columns"}


def to_plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes of a fitted forecaster (without its network) as plain values and arrays."""
    plain = {name: value for name, value in attributes.items() if name not in _NAMES}
    linear, scale, origins = (plain[name] for name in ("linear_", "_known_scale", "_origins"))
    plain["linear_"] = None if linear is None else vars(linear).copy()
    plain["_known_scale"] = None if scale is None else scale._asdict()
    plain["_origins"] = {
        "history": np.stack([origin.history for origin in origins]),
        "known": None if origins[0].known is None else np.stack([origin.known for origin in origins]),
        "mean": np.stack([origin.scale.mean for origin in origins]),
        "deviation": np.stack([origin.scale.deviation for origin in origins]),
        "single": np.array([origin.single for origin in origins]),
        "index": [None if origin.index is None else _plain_index(origin.index) for origin in origins],
        "frame": [None if origin.frame is None else asdict(origin.frame) for origin in origins],
    }
    return plain


def _plain_index(index: TimeIndex) -> dict[str, Any]:
    plain = asdict(index)
    for name, what in (("step", "steps"), ("zone", "a time zone")):
        if not isinstance(plain[name], str | int | tuple | None):
            raise TypeError(f"the index of the series has {what}, {plain[name]!r}, without a name that pandas knows.")
    return plain


def from_plain(plain: dict[str, Any]) -> dict[str, Any]:
    """Undo `to_plain`.

    Raises
    ------
    ValueError
        If a forecaster of such attributes could not predict.
    """
    missing = [name for name in (*_COUNTS, "_is_panel", "_fitted", *_PARTS) if name not in plain]
    if missing:
        raise ValueError(f"the attribute {missing[0]} is missing.")
    sizes = _sizes(plain)
    attributes = {name: value for name, value in plain.items() if name not in _NAMES}
    attributes |= {name: read(plain[name], name, sizes) for name, read in _PARTS.items()}
    for name, key in _NAMES.items():
        if are_names(columns := sizes[key]):
            attributes[name] = np.array(columns, dtype=object)
    return attributes


# --- sizes -----------------------------------------------------------------------------------------------------------


def _count(value: Any, least: int = 1) -> bool:
    return type(value) is int and value >= least


_COUNTS: dict[str, int] = {"n_features_in_": 1, "n_exog_": 0, "n_series_": 1}

#: What each value of ``_fitted`` may be.
_FITTED: dict[str, Callable[[Any], bool]] = {
    "window": _count,
    "span": _count,
    "strategy": lambda value: value in ("direct", "recursive"),
    "scaling": lambda value: value in ("window", "series", None),
    "horizon": _count,
    "seed": lambda value: _count(value, 0) and value < 2**32,
    "quantiles": lambda value: value is None or _are_levels(value),
    "columns": lambda value: value is None or isinstance(value, list),
    "exog_columns": lambda value: value is None or isinstance(value, list),
}


def _are_levels(value: Any) -> bool:
    try:
        return check_quantiles(value) is not None
    except (TypeError, ValueError):
        return False


def _sizes(plain: dict[str, Any]) -> dict[str, Any]:
    """Return ``_fitted`` with the sizes n, F, E, H and Q, which fit each other."""
    for name, least in _COUNTS.items():
        if not _count(plain[name], least):
            raise ValueError(f"the attribute {name} must be a whole number of at least {least}.")
    fitted, n, is_panel = plain["_fitted"], plain["n_series_"], plain["_is_panel"]
    if not isinstance(fitted, dict) or fitted.keys() != _FITTED.keys():
        raise ValueError(f"the attribute _fitted must be a dict of {', '.join(_FITTED)}.")
    wrong = [name for name, fits in _FITTED.items() if not fits(fitted[name])]
    if wrong:
        raise ValueError(f"the attribute _fitted has a value for {wrong[0]!r} that no fit leaves.")
    if fitted["span"] != (1 if fitted["strategy"] == "recursive" else fitted["horizon"]):
        raise ValueError("the attribute _fitted has a span that is not that of its strategy and horizon.")
    if type(is_panel) is not bool or (n > 1 and not is_panel):
        raise ValueError(f"the attribute _is_panel does not go with n_series_={n}.")
    sizes = {**fitted, "n": n, "F": plain["n_features_in_"], "E": plain["n_exog_"], "H": fitted["span"]}
    for key, size in (("columns", sizes["F"]), ("exog_columns", sizes["E"])):
        if fitted[key] is not None and len(fitted[key]) != size:
            raise ValueError(f"the attribute _fitted has {len(fitted[key])} {key}, but {size} are due.")
    levels = plain["_levels_fitted"]
    fits = levels is None or (isinstance(levels, np.ndarray) and levels.dtype == np.float64 and _are_levels(levels))
    if (levels is None) != (fitted["quantiles"] is None) or not fits:
        raise ValueError("the attribute _levels_fitted does not go with the quantiles of fit.")
    return {**sizes, "levels": levels, "Q": 1 if levels is None else len(levels)}


# --- parts -----------------------------------------------------------------------------------------------------------


def _array(value: Any, name: str, shape: tuple[int, ...], dtype: str = "float64", allow_nan: bool = False) -> NDArray:
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != shape:
        found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"the attribute {name} is {found}; it must be {dtype} of shape {shape}.")
    if not allow_nan and not np.isfinite(value).all():
        raise ValueError(f"the attribute {name} holds NaN or infinity.")
    return value


def _object(value: Any, name: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise ValueError(f"the attribute {name} must be a dict of {', '.join(sorted(keys))}.")
    return value


def _scale(value: Any, name: str, shape: tuple[int, ...]) -> Scale:
    scale = Scale(*(_array(value[key], f"{name}.{key}", shape) for key in ("mean", "deviation")))
    if not (scale.deviation > 0).all():
        raise ValueError(f"the attribute {name}.deviation must be positive.")
    return scale


def _read_known_scale(value: Any, name: str, sizes: dict[str, Any]) -> Scale | None:
    if value is None and sizes["E"] == 0:
        return None
    return _scale(_object(value, name, {"mean", "deviation"}), name, (max(1, sizes["E"]),))


def _read_linear(value: Any, name: str, sizes: dict[str, Any]) -> LinearAutoregression | None:
    if value is None:
        return None
    value = _object(value, name, {"coefficients", "intercepts"})
    n_inputs = sizes["window"] + sizes["E"] * (sizes["window"] + sizes["H"] - 1)
    return LinearAutoregression(
        _array(value["coefficients"], f"{name}.coefficients", (sizes["F"], sizes["H"], n_inputs)),
        _array(value["intercepts"], f"{name}.intercepts", (sizes["F"], sizes["H"])),
    )


def _read_origins(value: Any, name: str, sizes: dict[str, Any]) -> list[Origin]:
    value = _object(value, name, {"history", "known", "mean", "deviation", "single", "index", "frame"})
    n, window = sizes["n"], sizes["window"]
    history = _array(value["history"], f"{name}.history", (n, window, sizes["F"]))
    known: Any = [None] * n
    if value["known"] is not None or sizes["E"]:
        known = _array(value["known"], f"{name}.known", (n, window - 1, max(1, sizes["E"])))
    scale = _scale(value, name, (n, sizes["F"]))
    single = _array(value["single"], f"{name}.single", (n,), "bool")
    for key in ("index", "frame"):
        if not isinstance(value[key], list) or len(value[key]) != n:
            raise ValueError(f"the attribute {name}.{key} must be a list of {n}.")
    return [
        Origin(
            history=history[i],
            known=known[i],
            scale=Scale(scale.mean[i], scale.deviation[i]),
            index=_read_index(value["index"][i], f"{name}.index"),
            frame=_read_frame(value["frame"][i], f"{name}.frame", sizes["F"]),
            single=bool(single[i]),
        )
        for i in range(n)
    ]


def _read_index(value: Any, name: str) -> TimeIndex | None:
    if value is None:
        return None
    index = TimeIndex(**_object(value, name, {"kind", "last", "step", "name", "unit", "zone"}))
    of_dates = index.kind in ("dates", "durations")
    step = index.step
    if isinstance(step, tuple):  # of a DateOffset
        named = len(step) == 2 and _count(step[0]) and isinstance(step[1], dict) and index.kind == "dates"
        fits = named and all(type(key) is str and type(number) is int for key, number in step[1].items())
    else:
        fits = _count(step) if index.kind == "numbers" else type(step) is str
    fits &= index.kind in ("dates", "durations", "periods", "numbers") and type(index.last) is int
    fits &= index.unit in ("s", "ms", "us", "ns") if of_dates else index.unit is None
    fits &= index.zone is None or (type(index.zone) is str and index.kind == "dates")
    if not fits:
        raise ValueError(f"the attribute {name} is none of a series.")
    return index


def _read_frame(value: Any, name: str, n_features: int) -> Frame | None:
    if value is None:
        return None
    frame = Frame(**_object(value, name, {"kind", "vector", "columns", "index"}))
    fits = frame.kind in ("pandas", "polars") and type(frame.vector) is bool and frame.index is None
    if not fits or not isinstance(frame.columns, list) or len(frame.columns) != n_features:
        raise ValueError(f"the attribute {name} is none of a series of {n_features} feature(s).")
    return frame


_PARTS: dict[str, Callable[[Any, str, dict[str, Any]], Any]] = {
    "_levels_fitted": lambda value, name, sizes: sizes["levels"],
    "_varies": lambda value, name, sizes: _array(value, name, (sizes["H"], sizes["F"]), "bool"),
    "_naive_errors": lambda value, name, sizes: _array(value, name, (sizes["n"], sizes["F"]), allow_nan=True),
    "_known_scale": _read_known_scale,
    "linear_": _read_linear,
    "_origins": _read_origins,
}


def check_network(network: Any, plain: dict[str, Any]) -> None:
    """Raise ValueError unless the network reads what the forecaster gives it, and says what the forecaster expects."""
    sizes = _sizes(plain)
    architecture, levels = network._architecture, sizes["levels"]
    n_inputs = sizes["F"] + sizes["E"] + (1 if sizes["E"] and sizes["H"] > 1 else 0)
    n_outputs = sizes["H"] * sizes["F"] * sizes["Q"]
    wanted = {"n_features": n_inputs, "n_outputs": n_outputs, "n_tokens": 0}
    found = {name: architecture[name] for name in wanted}
    asked = network.quantiles if levels is None or network.quantiles is None else list(network.quantiles)
    if found != wanted or architecture["pooling"] is None or asked != (None if levels is None else levels.tolist()):
        raise ValueError(f"the network has {found} and quantiles={asked}, but the forecaster needs {wanted}.")
