"""CSV files of the reader's own."""

import pytest

from fastrecur.examples import forecast, sarcasm
from fastrecur.examples.csv_files import read_csv


def test_rows_and_the_lines_that_they_end_in(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('\ufefftext,label\n\n"two\nlines",0\n"a, b",1\n', encoding="utf-8")
    assert read_csv(path) == [(1, ["text", "label"]), (4, ["two\nlines", "0"]), (5, ["a, b", "1"])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'text,label\n"never closed,0\n' + b"good,1\n" * 20_000,
            r"cannot be read as CSV up to line \d+: field larger",
        ),
        (b"text,label\nna\xefve,0\n", "is no text in UTF-8"),
    ],
    ids=["quotation mark", "latin-1"],
)
def test_files_that_will_not_do(content, message, tmp_path):
    """An error in one line, of the function and of both examples that read such files."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"rows.csv {message}"):
        read_csv(path)
    for example, arguments in ((sarcasm, [str(path)]), (forecast, ["--csv", str(path)])):
        with pytest.raises(SystemExit, match=f"rows.csv {message}"):
            example.main(arguments)
