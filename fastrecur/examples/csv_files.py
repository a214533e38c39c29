"""CSV files of the reader's own."""

from __future__ import annotations

import csv
from pathlib import Path


def read_csv(path: str | Path) -> list[tuple[int, list[str]]]:
    """Read a CSV file in UTF-8, blank lines left out.

    Returns
    -------
    rows : list of (int, list of str)
        The number of the line that a row ends in, and its fields. A header is the first row.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no text in UTF-8 or not CSV, as with a quotation mark that is never closed.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            return [(reader.line_num, row) for row in reader if row]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: {error}.") from error
        except csv.Error as error:
            raise ValueError(
                f"{path} cannot be read as CSV up to line {reader.line_num}: {error}. Close the quotation marks."
            ) from error
