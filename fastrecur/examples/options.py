"""What the command lines of the examples have in common: numbers, and a plot, that are checked before any training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from fastrecur.examples.figures import check_plot_path


class Options(argparse.ArgumentParser):
    """Parser of the command line of an example.

    Parameters
    ----------
    name : str
        Of the example.
    description : str
        What it does: the docstring of its module, of which the first line is taken, without the command.
    """

    def __init__(self, name: str, description: str) -> None:
        command = f"python -m fastrecur.examples.{name}"
        line = description.split("\n")[0].removeprefix(f"``{command}``: ")
        super().__init__(command, description=line[0].upper() + line[1:])
        self._plot = f"{name}.png"

    def add_count(self, flag: str, default: int | None, text: str, least: int = 1, **options: object) -> None:
        """Add an option that is a whole number of at least ``least``."""
        shown = text if default is None else f"{text} (default: %(default)s)"
        self.add_argument(flag, type=whole(least), default=default, metavar="N", help=shown, **options)  # type: ignore[arg-type]

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Options of the command line; those that will not do, and a plot that cannot be saved, end the program."""
        self.add_argument("--plot", default=self._plot, metavar="FILE", help="file of the plot (default: %(default)s)")
        self.add_argument("--no-plot", dest="plot", action="store_const", const=None, help="save no plot")
        options = self.parse_args(arguments)
        if options.plot is not None:
            try:
                check_plot_path(options.plot)
            except ValueError as error:
                self.error(f"argument --plot: {error}")
        return options


def whole(least: int = 1) -> Callable[[str], int]:
    """Return what argparse reads a whole number with."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, found {text!r}") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, found {number}")
        return number

    return read


def refuse(error: Exception) -> NoReturn:
    """End the program with what is wrong with a file, in one line."""
    raise SystemExit(f"{type(error).__name__}: {error}") from error
