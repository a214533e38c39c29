"""Fixtures of several packages' tests."""

import gc
import os

import pytest

# Tests may run two at a time, and a waiting thread of GNU OpenMP would keep the other's core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_finish():
    """Look for garbage more rarely, and not among twelve thousand tests: compilations make many objects, few cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture
def torch():
    """PyTorch on one thread: the work is too small for more."""
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(n_threads)
