"""The kernels as other processors would run them: their own vectors and tiles, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest
from numba.core.codegen import get_host_cpu_features

AVX2 = "+avx,+avx2,+bmi,+bmi2,+fma,+popcnt,+sse4.1,+sse4.2"

#: The gated cells in single precision, for every tile shape is in them, and what keeps the tiles fast.
SELECTION = (
    "test_forward_and_gradients_equal_the_reference and float32 and (33 or 63) and (lstm or gru)"
    " or test_no_tile_leaves_its_registers"
)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the names are those of x86")
@pytest.mark.parametrize(("name", "cpu", "features"), [("AVX2", "haswell", AVX2), ("plain", "generic", "")])
def test_cells_on_another_instruction_set(name, cpu, features):
    if not {feature for feature in features.split(",") if feature} <= set(get_host_cpu_features().split(",")):
        pytest.skip(f"this processor has no {name}")
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    target = "from fastrecur.kernels.cpu.target import INSTRUCTION_SET; print(INSTRUCTION_SET)"
    found = subprocess.run([sys.executable, "-c", target], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == name
    tests = [sys.executable, "-m", "pytest", "-q", "tests/kernels/cpu/test_cells.py", "tests/kernels/cpu/test_tile.py"]
    result = subprocess.run([*tests, "-k", SELECTION], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout
