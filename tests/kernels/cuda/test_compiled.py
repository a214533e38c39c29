"""What the real compilers make of the kernels: no GPU is needed, but the wheels of NVVM and of ptxas are.

At each of the seven compute capabilities numba-cuda compiles every kernel of the package in float32: those that keep
sequences in a block in the layout with the most registers (H of 64, four rows) and in two of the other eleven, which
are dealt out, products in their larger tile (at one in both), the others in all of their layouts. In float64 it
compiles the first of these at each of the seven and four of the eleven, those of H 96 and 128, at one each; the others
at one. Its successor numba-cuda-mlir compiles every kernel in float32 at one. All layouts at all seven are the work of
``python -m bench.cuda_kernels --others --capability 7.5 8.0 8.6 8.9 9.0 10.0 12.0`` (and ``--dtype float64``), which
takes minutes and prints the table.
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

#: Layouts of a block beside it.
BESIDE = [block for block in cuda_kernels.BLOCKS if block != WIDEST]

CAPABILITIES = list(cuda_kernels.MULTIPROCESSOR)

#: Python by which each package is the one that is taken.
PACKAGES = {"numba_cuda": "", "numba_cuda_mlir": "import sys; sys.modules['numba_cuda'] = None; "}

#: Multiply-adds that a kernel has at least once for each number: those whose sums are of products. The others copy,
#: compare, or add and multiply apart.
FUSED = {
    "products.product": 64,
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


def lines_of(package, code, *arguments):
    """What Python prints in a process with this package that does not simulate."""
    if importlib.util.find_spec(package) is None or cuda_kernels.find_ptxas() is None:
        pytest.skip(f"needs {package.replace('_', '-')} and the wheel nvidia-cuda-nvcc")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-c", PACKAGES[package] + code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def builds(package, *options):
    """Every build that ``python -m bench.cuda_kernels`` makes with a package."""
    code = "from bench import cuda_kernels; raise SystemExit(cuda_kernels.main())"
    found = map(json.loads, lines_of(package, code, "--json", *options))
    return [cuda_kernels.Build(**facts | {"capability": tuple(facts["capability"])}) for facts in found]


def check(build, dtype):
    assert build.stack == 0, build
    assert build.spills == 0, build
    assert build.shared <= cuda_kernels.STATIC_SHARED, build
    assert build.shared > 0 or not keeps_sequences(build), build  # nor is "no shared memory" a word not understood
    assert build.registers > 0, build  # the compiler's words were understood
    assert build.registers * -(-build.threads // 32) * 32 <= 65536, build
    assert build.blocks >= 1, build
    assert dtype == "float64" or build.in_doubles or build.doubles == 0, build  # no number becomes a double on the way
    assert build.fused >= fused(build), build
    assert build.inexact == 0, build
    assert build.atomics == 0, build


def keeps_sequences(build):
    """Whether a block of the kernel takes its sequences through all time steps."""
    return build.kernel.split(".")[1] in ("forward", "backward")


def fused(build):
    """Least number of multiply-adds: of a block's kernel, those with the weights in registers, for each row."""
    if not keeps_sequences(build):
        return FUSED.get(build.kernel, 0)
    of = layout.Layout(*build.layout)
    return of.pieces * layout.PIECE * of.rows


def kernels_of_the_package():
    """Every `Kernel` of every module of ``fastrecur.kernels.cuda``."""
    modules = [importlib.import_module(f"{cuda.__name__}.{m.name}") for m in pkgutil.iter_modules(cuda.__path__)]
    return {value for module in modules for value in vars(module).values() if isinstance(value, runtime.Kernel)}


def names(kernels):
    return {f"{kernel.__module__.rsplit('.', 1)[1]}.{kernel.__name__}" for kernel in kernels}


def check_all(package, capability, dtype, blocks, *options):
    """Check every kernel in these layouts, or without ``--others`` those alone that keep sequences in a block."""
    options = "--capability", "{}.{}".format(*capability), "--dtype", dtype, *options
    found = builds(package, *options, "--blocks", *("{}x{}".format(*block) for block in blocks))
    expected = kernels_of_the_package() if "--others" in options else {k for k, _ in cuda_kernels.block_kernels()}
    assert {build.kernel for build in found} == names(expected)
    assert {build.capability for build in found} == {capability}
    for build in found:
        check(build, dtype)


each_capability = pytest.mark.parametrize("capability", CAPABILITIES, ids="{0[0]}.{0[1]}".format)


@each_capability
def test_every_kernel_at_every_capability(capability):
    place, n = CAPABILITIES.index(capability), len(CAPABILITIES)
    blocks = WIDEST, BESIDE[place], BESIDE[(place + n) % len(BESIDE)]
    check_all("numba_cuda", capability, "float32", blocks, "--others", *["--tiles", "64"] * (capability != (8, 0)))


@each_capability
def test_double_precision(capability):
    wide = {(7, 5): [(128, 4)], (8, 0): [(128, 1)], (8, 6): [(96, 4)], (8, 9): [(96, 1)]}
    options = ["--others"] * (capability == (9, 0))
    check_all("numba_cuda", capability, "float64", (WIDEST, *wide.get(capability, [])), *options)


def test_the_successor_of_numba_cuda():
    check_all("numba_cuda_mlir", (10, 0), "float32", (WIDEST, (96, 1), (128, 4)), "--others")


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_launched_is_what_is_compiled(package):
    """With the arrays of the package itself: see `tests.kernels.cuda.host_side`."""
    code = f"from tests.kernels.cuda import host_side; host_side.main({package!r})"
    assert lines_of(package, code) == sorted(names(kernels_of_the_package()))


def test_the_bench_lists_every_kernel_and_every_layout_that_is_launched():
    listed = list(cuda_kernels.block_kernels()) + list(cuda_kernels.other_kernels())
    assert {kernel for kernel, _ in listed} == kernels_of_the_package()
    assert len(listed) == len(set(listed))
    launched = {layout.block_layout(h, b, "float32", 2) for h in layout.SIZES for b in (1, 2, 3, 999)}
    assert launched == {of for _, of in cuda_kernels.block_kernels()}


def test_every_kernel_says_why_no_race_is_possible():
    for kernel in kernels_of_the_package():
        assert "No race" in kernel.__doc__, kernel.__name__
