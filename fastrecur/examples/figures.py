"""Plots of the examples, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from fastrecur.persistence.files import check_writable


def check_plot_path(path: str) -> None:
    """Find out before anything is trained whether a plot can be saved.

    Raises
    ------
    ValueError
        If the file cannot be written, or matplotlib, where it is installed, makes no picture of its ending.
    """
    try:
        check_writable(Path(path))
    except OSError as error:
        raise ValueError(f"cannot save {path!r}, {error.strerror}") from error
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    endings = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in endings:
        raise ValueError(f"cannot save {path!r}: matplotlib needs one of the endings {', '.join(sorted(endings))}")


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
        console.print('No plot: that needs matplotlib, pip install "fastrecur[plot]".', markup=False, soft_wrap=True)
        return False
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:  # a disk that is full, say: the numbers have been printed
        console.print(f"No plot: {error}", markup=False, soft_wrap=True)
        return False
    console.print(f"The plot is in {path}.", markup=False, soft_wrap=True)
    return True
