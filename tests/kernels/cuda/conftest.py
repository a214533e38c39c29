"""The tests of the GPU's kernels run in the simulator of numba-cuda, with its threads in shuffled orders."""

import pytest

from fastrecur.kernels.cuda import runtime
from tests.kernels.cuda.simulator import check_launches, shuffle


@pytest.fixture
def simulator(monkeypatch):
    """The simulated device, or a reason to skip."""
    if not runtime.SIMULATED:
        pytest.skip("needs numba-cuda and NUMBA_ENABLE_CUDASIM=1")
    shuffle(monkeypatch, seed=0)
    check_launches(monkeypatch)
