"""A part of the grid with pytest-benchmark, which keeps every round: forward and training step against ``torch.nn``.

`bench.pair` says what the two sides get and how they are compared before they are timed.
"""

import pytest
import torch

from bench.grid import CELLS, GRID
from bench.pair import Pair

SHAPES = ("I1", "S4", "M1", "M2", "M4", "L1")


@pytest.fixture(params=SHAPES)
def shape(request):
    return GRID[request.param]


@pytest.fixture(params=CELLS)
def cell(request):
    return request.param


def test_forward(cell, shape, threads, side_by_side):
    pair = Pair(cell, shape, threads)
    error = pair.check_forward()
    side_by_side("forward", shape, cell, threads, error, pair.forward, pair.their_forward)
    assert torch.get_num_threads() == threads


def test_training_step(cell, shape, threads, side_by_side):
    pair = Pair(cell, shape, threads)
    pair.check_forward()
    error = pair.check_training_step()
    side_by_side("training step", shape, cell, threads, error, pair.training_step, pair.their_training_step)
    assert torch.get_num_threads() == threads
