"""Plots with matplotlib and without."""

import sys

import pytest
from rich.console import Console

from fastrecur.examples.figures import save_plot


def test_no_plot_is_asked_for(capsys):
    assert not save_plot(Console(), None, pytest.fail, (1, 1))
    assert capsys.readouterr().out == ""


def test_without_matplotlib(monkeypatch, capsys, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not save_plot(Console(), str(tmp_path / "plot.png"), pytest.fail, (1, 1))
    assert 'pip install "fastrecur[plot]"' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_with_matplotlib(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    assert save_plot(Console(), str(path), lambda figure: figure.subplots().plot([1, 2]), (2, 1))
    assert path.read_bytes()[1:4] == b"PNG"
