"""What the real compiler makes of the kernels: no GPU is needed, but the wheels of NVVM and of ptxas are.

At each of the seven compute capabilities every kernel of the package is compiled: those that keep sequences in a block
in the layout with the most registers (H of 64, four rows), the others in all of their layouts. Of the other eleven
layouts of the former four are compiled, each at one or two capabilities. All at all seven are the work of ``python -m
bench.cuda_kernels --others --capability 7.5 8.0 8.6 8.9 9.0 10.0 12.0`` (and ``--dtype float64``), which takes minutes
and prints the table.
"""

import importlib
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
from fastrecur.kernels.cuda import layout, runtime

pytestmark = pytest.mark.cuda

ROOT = Path(__file__).parents[3]
WIDEST = (64, 4)

#: Layouts of a block beside it, dealt out among the capabilities: weights in one array of registers or three, all of
#: them or partly through the cache, one row or four.
BESIDE = [(16, 1), (128, 4), (48, 4), (96, 1)]

#: Multiply-adds that a kernel has at least once for each number: those whose sums are of products. The others copy,
#: compare, or add and multiply apart.
FUSED = {
    "products.product": 16,
    "stepwise.rnn_cell": 1,
    "stepwise.lstm_cell": 1,
    "stepwise.lstm_gradient": 1,
    "stepwise.gru_cell": 1,
    "updates.adam": 4,
    "updates.rmsprop": 2,
    "updates.sgd": 3,
    "losses.cross_entropy": 1,
    "losses.squared_error": 1,
    "losses.pinball": 1,
    "losses.squares": 1,
}


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


def check(build, dtype="float32"):
    assert build.stack == 0, build
    assert build.spills == 0, build
    assert build.shared <= cuda_kernels.STATIC_SHARED, build
    assert build.registers * -(-build.threads // 32) * 32 <= 65536, build
    assert build.blocks >= 1, build
    assert dtype == "float64" or build.in_doubles or build.doubles == 0, build  # no number becomes a double on the way
    assert build.fused >= fused(build), build


def fused(build):
    """Least number of multiply-adds: of a block's kernel, those with the weights in registers, for each row."""
    if build.kernel.split(".")[1] not in ("forward", "backward"):
        return FUSED.get(build.kernel, 0)
    of = layout.Layout(*build.layout)
    return of.pieces * layout.PIECE * of.rows


def of_blocks(blocks):
    return "--blocks", *("{}x{}".format(*block) for block in blocks)


def kernels_of_the_package():
    """Every `Kernel` of every module of ``fastrecur.kernels.cuda``."""
    modules = [importlib.import_module(f"{cuda.__name__}.{m.name}") for m in pkgutil.iter_modules(cuda.__path__)]
    return {value for module in modules for value in vars(module).values() if isinstance(value, runtime.Kernel)}


def names(kernels):
    return {f"{kernel.__module__.rsplit('.', 1)[1]}.{kernel.__name__}" for kernel in kernels}


@pytest.mark.parametrize("capability", cuda_kernels.MULTIPROCESSOR, ids="{0[0]}.{0[1]}".format)
def test_every_kernel_at_every_capability(capability):
    place = list(cuda_kernels.MULTIPROCESSOR).index(capability)
    blocks = WIDEST, BESIDE[place % len(BESIDE)]
    found = builds("--capability", "{}.{}".format(*capability), "--others", *of_blocks(blocks))
    assert {build.kernel for build in found} == names(kernels_of_the_package())
    for build in found:
        assert build.capability == capability
        check(build)


def test_the_bench_lists_every_kernel_and_every_layout_that_is_launched():
    listed = list(cuda_kernels.block_kernels()) + list(cuda_kernels.other_kernels())
    assert {kernel for kernel, _ in listed} == kernels_of_the_package()
    assert len(listed) == len(set(listed))
    launched = {layout.block_layout(h, b, "float32", 2) for h in layout.SIZES for b in (1, 2, 3, 999)}
    assert launched == {of for _, of in cuda_kernels.block_kernels()}


def test_every_kernel_says_why_no_race_is_possible():
    for kernel in kernels_of_the_package():
        assert "No race" in kernel.__doc__, kernel.__name__


def test_double_precision():
    for build in builds("--capability", "9.0", "--others", "--dtype", "float64", *of_blocks([WIDEST])):
        check(build, "float64")
