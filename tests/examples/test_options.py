"""What will not do is found out before anything is trained, by all examples alike."""

import importlib
import os
import sys

import pytest

from fastrecur.examples.figures import check_plot_path
from fastrecur.examples.options import Options

EXAMPLES = ("sarcasm", "next_word", "forecast", "stream", "long_dependencies")


@pytest.fixture(params=EXAMPLES)
def example(request, monkeypatch):
    """The module of an example, in which nothing may be fitted."""
    for name in ("RNN", "LSTM", "GRU"):
        for kind in ("Classifier", "Regressor", "Forecaster"):
            monkeypatch.setattr(f"fastrecur.{name}{kind}.fit", lambda *_: pytest.fail("trained"))
    return importlib.import_module(f"fastrecur.examples.{request.param}")


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        ("missing/plot.png", "cannot save '.*missing/plot.png', there is no folder '.*missing': make it first"),
        ("", "cannot save '.*', this is a folder: add the name of a file"),
        ("plot", "cannot save '.*plot': matplotlib needs one of the endings .*png"),
        ("plot.docx", "cannot save '.*plot.docx': matplotlib needs one of the endings .*svg"),
    ],
)
def test_plots_that_cannot_be_saved(example, plot, message, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit):
        example.main(["--plot", f"{tmp_path}/{plot}"])
    error = capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        check_plot_path(f"{tmp_path}/{plot}")
    assert "argument --plot: cannot save" in error


def test_folders_and_files_that_may_not_be_written(tmp_path, monkeypatch):
    """Root may write anything: the system's answer is given for it."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="files may not be added to the folder"):
        check_plot_path(str(tmp_path / "plot.png"))
    (tmp_path / "plot.png").touch()
    with pytest.raises(ValueError, match="the file that is there may not be written"):
        check_plot_path(str(tmp_path / "plot.png"))


def test_without_matplotlib_any_ending_does(tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    check_plot_path(str(tmp_path / "plot"))


def test_help(example, capsys):
    with pytest.raises(SystemExit) as ended:
        example.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: python -m {example.__name__} " in text
    assert "--no-plot" in text
    assert "``" not in text


def test_numbers(capsys):
    def read(*arguments):
        parser = Options("name", "``python -m fastrecur.examples.name``: what it does.")
        parser.add_count("--steps", 3, "steps", least=2)
        return parser.read([*arguments, "--no-plot"])

    assert (read().steps, read("--steps", "7").steps, read().plot) == (3, 7, None)
    for given, message in (("1", "must be at least 2, found 1"), ("2.5", "must be a whole number, found '2.5'")):
        with pytest.raises(SystemExit):
            read("--steps", given)
        assert f"argument --steps: {message}" in capsys.readouterr().err
