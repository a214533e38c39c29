"""The kernels as other processors would run them: their own vectors and tiles, in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest
from numba.core.codegen import get_host_cpu_features

from fastrecur.kernels.cpu.target import INSTRUCTION_SET

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
    if name == INSTRUCTION_SET:
        pytest.skip(f"all tests run with {name} here")
    # In one process, whatever the options here are: two would compile the same kernels at the same time.
    one_process = {"PYTEST_ADDOPTS": "-p no:cacheprovider"}
    environment = os.environ | one_process | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    target = "from fastrecur.kernels.cpu.target import INSTRUCTION_SET; print(INSTRUCTION_SET)"
    found = subprocess.run([sys.executable, "-c", target], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == name
    tests = [sys.executable, "-m", "pytest", "-q", "tests/kernels/cpu/test_cells.py", "tests/kernels/cpu/test_tile.py"]
    result = subprocess.run([*tests, "-k", SELECTION], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout


#: What predictions are made of, for each cell: states within and at the ends of their range, one sequence and many, an
#: odd number of units.
OUTPUTS = """
import hashlib
import numpy as np
from fastrecur import layers
from fastrecur.kernels.cpu.head import softmax
from fastrecur.kernels.cpu.target import INSTRUCTION_SET
from fastrecur.network.head import Head
from fastrecur.network.parameters import Parameters
parameters = Parameters({"head_weight": (5, 37), "head_bias": (5,)}, np.dtype(np.float32))
parameters.flat[:] = np.random.default_rng(1).normal(size=parameters.flat.size)
head = Head(parameters, 37, 5)
digest, x = hashlib.sha256(), np.random.default_rng(0).normal(size=(21, 30, 5)).astype(np.float32)
for cell in (layers.LSTM, layers.GRU, layers.RNN):
    layer = cell(5, 37, n_threads=1, random_state=0)
    for rows, factor in ((21, 1), (1, 1), (21, 30)):
        states = layer.forward(factor * x[:rows])[0]
        outputs = head.outputs(states[:, -1], np.empty((rows, 5), np.float32))
        probabilities = np.empty_like(outputs)
        softmax(outputs, probabilities)
        for array in (states, outputs, probabilities):
            digest.update(array.tobytes())
print(INSTRUCTION_SET, digest.hexdigest())
"""


def outputs(**environment):
    command, environment = [sys.executable, "-c", OUTPUTS], os.environ | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(INSTRUCTION_SET != "AVX-512", reason="needs a processor with AVX-512")
def test_outputs_have_the_same_bits_with_avx2_and_avx512():
    here, there = outputs(), outputs(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=AVX2)
    assert (here[0], there[0]) == ("AVX-512", "AVX2")
    assert here[1] == there[1]
