"""Fixtures of several packages' tests."""

import pytest


@pytest.fixture
def torch():
    """PyTorch on one thread: the work is too small for more."""
    torch = pytest.importorskip("torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(n_threads)
