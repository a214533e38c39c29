"""What the real compiler makes of the kernels: no GPU is needed, but the wheels of NVVM and of ptxas are."""

import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cuda_kernels
from fastrecur.kernels import cuda
from fastrecur.kernels.cuda import runtime

pytestmark = pytest.mark.cuda

ROOT = Path(__file__).parents[3]


def builds(*options):
    """Every build that ``python -m bench.cuda_kernels`` makes, in a process that does not simulate."""
    if importlib.util.find_spec("numba_cuda") is None or cuda_kernels.find_ptxas() is None:
        pytest.skip("needs numba-cuda and the wheel nvidia-cuda-nvcc")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-m", "bench.cuda_kernels", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = map(json.loads, done.stdout.splitlines())
    return [cuda_kernels.Build(**facts | {"capability": tuple(facts["capability"])}) for facts in found]


def check(build, dtype):
    assert build.stack == 0, build
    assert build.spills == 0, build
    assert build.shared <= cuda_kernels.STATIC_SHARED, build
    assert build.registers * -(-build.threads // 32) * 32 <= 65536, build
    assert dtype == "float64" or build.in_doubles or build.doubles == 0, build  # no number becomes a double on the way


@pytest.mark.parametrize("capability", ["{}.{}".format(*c) for c in cuda_kernels.MULTIPROCESSOR])
def test_the_widest_kernels_of_every_capability(capability):
    """W_hh in as many registers as there are (H of 64), or partly through the cache (128), four rows a block."""
    sizes = ["64", "128"] if capability in ("7.5", "9.0") else ["64"]  # all have passed: these keep it short
    found = builds("--capability", capability, "--sizes", *sizes, "--rows", "4")
    assert len(found) == 6 * len(sizes)
    for build in found:
        check(build, "float32")
        assert build.fused >= build.layout[1] * 48  # the product with W_hh, unrolled


def test_the_small_kernels_and_those_beside_them():
    found = builds("--capability", "8.0", "--sizes", "16", "--rows", "1", "--others")
    names = {build.kernel for build in found}
    assert {
        "lstm.forward",
        "gru.backward",
        "products.product",
        "stepwise.lstm_cell",
        "batches._move",
        "losses.squares",
        "updates.adam",
    } <= names
    for build in found:
        check(build, "float32")


def test_every_kernel_says_why_no_race_is_possible():
    listed = {kernel for kernel, _ in (*cuda_kernels.block_kernels(), *cuda_kernels.other_kernels())}
    modules = [importlib.import_module(f"{cuda.__name__}.{m.name}") for m in pkgutil.iter_modules(cuda.__path__)]
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, runtime.Kernel)}
    assert listed == kernels  # `bench.cuda_kernels` and the tests below leave none out
    for kernel in kernels:
        assert "No race" in kernel.__doc__, kernel.__name__


def test_double_precision():
    for build in builds("--capability", "9.0", "--sizes", "64", "--rows", "4", "--dtype", "float64"):
        check(build, "float64")
