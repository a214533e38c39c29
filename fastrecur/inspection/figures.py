"""What the displays share: matplotlib, imported when something is drawn, and marks that do without red and green."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: One line after another: a colour of Okabe and Ito's palette, which all kinds of colour vision tell apart, and a style
#: of its own, for print in grey. After the last one the colours come again, each with another style than before.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (8, 2, 2, 2)))

#: Perceptually uniform maps, made for all kinds of colour vision: of what lies between 0 and 1 (from dark blue to
#: yellow), and of what lies around 0 (blue, grey, yellow).
GATES_MAP, SIGNED_MAP = "viridis", "cividis"


def pyplot() -> Any:
    """Import ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; it names the extra that brings it.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Displays need matplotlib, which is not installed. Run: pip install "fastrecur[plot]"'
        ) from error
    return plt


#: What the legend of a small axes is drawn with.
SMALL_LEGEND = {"loc": "best", "fontsize": "xx-small", "handlelength": 2, "labelspacing": 0.3, "framealpha": 0.85}


def line_marks(k: int) -> dict[str, Any]:
    """Colour and line style of the k-th line."""
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": STYLES[(k + k // len(COLOURS)) % len(STYLES)]}


def whole_steps(axes: Any) -> None:
    """Ticks at whole numbers only, on the horizontal axis of time steps or epochs."""
    ticker = importlib.import_module("matplotlib.ticker")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins="auto", integer=True, min_n_ticks=1))


def one_axes(ax: Any, figsize: tuple[float, float]) -> tuple[Any, Any]:
    """Return the axes to draw on, and their figure: new ones where ``ax`` is None.

    Raises
    ------
    TypeError
        If ``ax`` is given and is no axes.
    """
    if ax is None:
        figure, ax = pyplot().subplots(figsize=figsize, layout="constrained")
        return ax, figure
    _check_axes(ax)
    return ax, ax.figure


def several_axes(ax: Any, n: int, figsize: tuple[float, float], names: str) -> tuple[np.ndarray, Any]:
    """Return n axes, one below the other and with one axis of time, and their figure.

    Raises
    ------
    ValueError, TypeError
        If ``ax`` is given and is not n axes.
    """
    if ax is None:
        figure, axes = pyplot().subplots(n, 1, figsize=figsize, sharex=True, squeeze=False, layout="constrained")
        return axes[:, 0], figure
    axes = np.atleast_1d(np.asarray(ax, object)).ravel()
    if len(axes) != n:
        raise ValueError(f"ax must be {n} axes, one for each of {names}; found {len(axes)}. Pass None for new ones.")
    for one in axes:
        _check_axes(one)
    return axes, axes[0].figure


def _check_axes(ax: Any) -> None:
    pyplot()
    if not hasattr(ax, "plot") or not hasattr(ax, "figure"):
        raise TypeError(f"ax must be matplotlib Axes, found a {type(ax).__name__}. Pass None for new ones.")


def inches(axes: Any) -> tuple[float, float]:
    """Width and height of an axes, as they are before a layout engine moves it."""
    return axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi


def with_none_below(all_axes: np.ndarray) -> list[Any]:
    """Those of some axes that none of the others lies below: where the axis of time needs its labels."""
    boxes = [axes.bbox for axes in all_axes]
    return [
        axes
        for axes, box in zip(all_axes, boxes, strict=True)
        if not any(other.y1 <= box.y0 and other.x0 < box.x1 and box.x0 < other.x1 for other in boxes)
    ]


def check_names(names: Any, n: int, what: str) -> list[str]:
    """Return ``names`` as a list of n str.

    Raises
    ------
    ValueError, TypeError
        If there are not n of them.
    """
    if not isinstance(names, str | list | tuple):
        raise TypeError(f"name must be a str or a list of str, found a {type(names).__name__}.")
    names = [names] if isinstance(names, str) else list(names)
    if len(names) != n:
        raise ValueError(f"name must hold one name for each of {n} {what}, found {len(names)}: {names}.")
    return [str(name) for name in names]


def floor_of_log(values: ArrayLike) -> np.ndarray:
    """Values for a logarithmic axis: zeros, which it cannot show, become NaN."""
    values = np.asarray(values, np.float64)
    return np.where(values > 0, values, np.nan)
