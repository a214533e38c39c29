"""The GPU's network in the simulator."""

from tests.kernels.cuda.conftest import simulator

__all__ = ["simulator"]
