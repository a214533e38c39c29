"""The commands that measure on a GPU run in the simulator, on small shapes: what hardware is to find is not typos."""

import numpy as np
import pytest

from bench import cuda_layers, cuda_training
from bench.grid import Shape

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]


def rows(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| LSTM", "| GRU", "| RNN"))]


def test_layers_beside_torch(capsys):
    pytest.importorskip("torch")
    assert cuda_layers.main(["--dry-run", "--cells", "GRU"]) == 0
    found = rows(capsys)
    assert len(found) == len(cuda_layers.DRY)
    assert all(row.count("| runs |") == 2 and row.count("|") == 13 for row in found), found


def test_a_wrong_number_is_told_from_a_right_one():
    torch = pytest.importorskip("torch")
    sides = cuda_layers.Sides("RNN", cuda_layers.DRY[1], torch)
    assert sides.check()[0] == ""
    right, sides.our_forward = sides.our_forward, lambda: np.full((3, 3, 4), np.nan)
    assert sides.check()[0] == "y nan"
    sides.our_forward = right
    sides.ours.parameters["weight_hh_l0"][0, 0] += 1.0
    wrong = sides.check()[0]
    assert all(f"{name} " in wrong for name in ("y", "dx", *sides.ours.grads)), wrong


def test_training_beside_the_cpu(capsys):
    assert cuda_training.main(["--dry-run", "--cells", "RNN"]) == 0
    found = rows(capsys)
    assert len(found) == len(cuda_training.DRY)
    assert all(row.count("| runs |") == 1 for row in found), found


def test_a_failed_check_is_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(cuda_training, "epochs", lambda cell, shape, device, n_epochs: (len(device), 1.0))
    assert cuda_training.main(["--dry-run", "--cells", "RNN"]) == 1
    found = rows(capsys)
    assert len(found) == len(cuda_training.DRY)
    assert all("check failed: losses 3 and 4" in row for row in found), found


def test_a_layer_whose_check_failed_has_no_figures(monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(cuda_layers.Sides, "check", lambda self: ("y nan", float("nan")))
    assert cuda_layers.main(["--dry-run", "--cells", "RNN"]) == 1
    found = rows(capsys)
    assert len(found) == len(cuda_layers.DRY)
    assert all("check failed: y nan" in row and "runs" not in row for row in found), found


@pytest.mark.parametrize("bench", [cuda_layers, cuda_training])
def test_the_simulator_is_not_measured(bench, capsys):
    assert bench.main([]) == 1
    assert "no GPU to measure" in capsys.readouterr().err


def test_the_roofline_counted_by_hand():
    """Two sequences of three steps, F 5, H 7; a card of 100 bytes and 1,000 operations a second."""
    shape = Shape("", 2, 3, 5, 7)
    weights = 4 * 7 * (5 + 7)
    forward, training = 6 * (5 + 7) + weights, 6 * (3 * 5 + 7 * (2 * (4 + 2) + 1)) + 3 * weights
    assert cuda_layers.moved("LSTM", shape, False) == 4 * forward
    assert cuda_layers.moved("LSTM", shape, True) == 4 * training
    operations = 2 * 6 * weights
    assert cuda_layers.roofline("LSTM", shape, False, (100, 1000)) == max(4 * forward / 100, operations / 1000)
    assert cuda_layers.roofline("LSTM", shape, True, (1e9, 1000)) == 3 * operations / 1000
