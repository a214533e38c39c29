"""The example of long dependencies, with the smallest of budgets."""

import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console

from fastrecur.examples import long_dependencies
from fastrecur.examples.long_dependencies import TASKS, Result, learn, main

SMALL = ["--sequences", "64", "--hidden-size", "8", "--epochs", "1"]


@pytest.fixture(autouse=True)
def plt():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_one_table_and_one_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    figure = tmp_path / "figure.png"
    results = main([*SMALL, "--distances", "12", "5", "--plot", str(figure)])
    assert len(results) == 2 * 2 * 4
    assert figure.stat().st_size > 10_000
    text = capsys.readouterr().out
    for part in ("adding problem", "copy memory", "12 steps", "IRNN", "GRU", "missed", "0 of 16 were learned"):
        assert part in text
    assert text.count("┏") == 1
    rows = [line.split("│")[1:3] for line in text.splitlines() if " missed" in line]
    cells = ["RNN", "IRNN", "LSTM", "GRU"]
    names = ["adding", "", "", "", "copy", "", "", ""]
    assert [(task.strip(), cell.strip()) for task, cell in rows] == list(zip(names, 2 * cells, strict=True))
    for result in results:
        n_steps = result.distance + (0 if result.task == "adding problem" else 6)
        assert result.flow.by_lag.shape == (n_steps,)
        assert result.epochs == 1
        assert f"{result.score:.3f} missed" in text


def test_a_network_that_learns_stops_there():
    result = learn(TASKS["adding"], "GRU", 8, epochs=40, n_sequences=600, hidden_size=16)
    assert result.solved
    assert result.score < 0.01
    assert result.epochs < 40
    assert result.flow.effective_memory == 8


def test_the_table_fits_eighty_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    flow = SimpleNamespace(effective_memory=400, by_lag=np.ones(400))
    results = [
        Result(task.name, cell, distance, 0.98, True, False, 80, 1.0, flow)
        for task in TASKS.values()
        for distance in long_dependencies.QUICK[0]
        for cell in ("RNN", "IRNN")
    ]
    Console().print(long_dependencies.results_table(results, list(TASKS.values())))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.count("0.980 80 ep.") for line in lines) == 16
    assert max(map(len, lines)) <= 80


def test_a_score_axis_always_has_numbers(plt):
    """Errors of less than a power of ten: the ticks between its powers are labelled."""
    results = [learn(TASKS["adding"], "GRU", distance, epochs=1, n_sequences=64, hidden_size=4) for distance in (3, 5)]
    figure = plt.figure(layout="constrained")
    long_dependencies._draw(figure, results, [TASKS["adding"]])
    figure.canvas.draw()
    left = figure.axes[0]
    low, high = left.get_ylim()
    assert high < 10 * low
    labels = left.get_yticklabels(which="both")
    assert [label for label in labels if label.get_text() and low <= label.get_position()[1] <= high]
    assert [label.get_text() for label in left.get_xticklabels(which="both") if label.get_text()] == ["3", "5"]


def test_choices(tmp_path, capsys):
    given = ["--tasks", "copy", "--cells", "RNN", "LSTM", "--distances", "3", "--plot", str(tmp_path / "f.png")]
    results = main([*SMALL, *given])
    assert [(result.task, result.cell) for result in results] == [("copy memory", "RNN"), ("copy memory", "LSTM")]


def test_full_takes_more_unless_told_otherwise():
    quick, full = long_dependencies.parse([]), long_dependencies.parse(["--full", "--epochs", "3"])
    assert (quick.distances[0], quick.distances[-1]) == (10, 400)
    assert len(full.distances) > len(quick.distances)
    assert full.epochs == 3


def test_without_matplotlib_the_table_comes_all_the_same(tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    given = ["--tasks", "adding", "--cells", "RNN", "--distances", "3", "--plot", str(tmp_path / "f.png")]
    assert len(main([*SMALL, *given])) == 1
    assert 'pip install "fastrecur[plot]"' in capsys.readouterr().out.replace("\n", " ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [["--distances", "1"], ["--sequences", "0"], ["--cells", "CNN"]])
def test_bad_options(given, capsys):
    with pytest.raises(SystemExit):
        main(given)
    assert "error" in capsys.readouterr().err
