"""Plots of the examples, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console


def save_plot(console: Console, path: str | None, draw: Callable[[Any], None], size: tuple[float, float]) -> bool:
    """Save a plot and say where, or say what is missing.

    Parameters
    ----------
    console : Console
    path : str or None
        Of the file, its ending tells the format. None asks for no plot.
    draw : callable
        Given a `matplotlib.figure.Figure`.
    size : (float, float)
        Width and height in inches.

    Returns
    -------
    bool
        Whether there is a plot.
    """
    if path is None:
        return False
    try:
        from matplotlib.figure import Figure
    except ImportError:
        console.print('No plot: that needs matplotlib, pip install "fastrecur[plot]".', markup=False)
        return False
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    figure.savefig(path)
    console.print(f"The plot is in {path}.")
    return True
