"""What the compiler makes of the GPU's kernels, without a GPU: ``python -m bench.cuda_kernels``.

Compiles every kernel through NVVM to PTX and with the ptxas of the nvidia-cuda-nvcc wheel to machine code, and prints
registers, shared memory and how many blocks and warps a multiprocessor holds. Of numba-cuda and numba-cuda-mlir the one
is taken that the package takes.
"""

import argparse
import gc
import importlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from fastrecur.kernels.cuda import (
    batches,
    elman,
    embeddings,
    gru,
    layout,
    losses,
    lstm,
    masks,
    pooling,
    products,
    runtime,
    stepwise,
    updates,
)

#: Compute capability: registers, bytes of shared memory that blocks without more than 48 KB can fill, warps and blocks
#: of a multiprocessor (CUDA C++ Programming Guide, "Technical specifications per compute capability"; blocks as in
#: CUDA 13's cuda_occupancy.h).
MULTIPROCESSOR = {
    (7, 5): (65536, 64 * 1024, 32, 16),
    (8, 0): (65536, 164 * 1024, 64, 32),
    (8, 6): (65536, 100 * 1024, 48, 16),
    (8, 9): (65536, 100 * 1024, 48, 24),
    (9, 0): (65536, 228 * 1024, 64, 32),
    (10, 0): (65536, 228 * 1024, 64, 32),
    (12, 0): (65536, 100 * 1024, 48, 24),
}

STATIC_SHARED = 48 * 1024


@dataclass(frozen=True)
class Build:
    """One kernel for one layout and one compute capability, as ptxas reports it.

    ``doubles`` counts instructions in double precision; ``in_doubles`` says whether arguments are, and they are meant.
    ``inexact`` counts roots, divisions and tanh that fast-math would approximate, ``atomics`` atomic operations but
    for that by which numba-cuda-mlir keeps the first error of a kernel.
    """

    kernel: str
    layout: tuple
    capability: tuple
    threads: int
    registers: int
    stack: int
    spills: int
    shared: int
    fused: int
    doubles: int
    in_doubles: bool
    inexact: int
    atomics: int

    @property
    def blocks(self):
        """Blocks that fit on a multiprocessor at a time."""
        registers, shared, warps, blocks = MULTIPROCESSOR[self.capability]
        of_block = -(-self.threads // 32)
        a_warp = -(-32 * self.registers // 256) * 256  # handed out 256 at a time
        by_shared = shared // (self.shared + 1024) if self.shared else blocks  # 1 KB of each block is the system's
        return min(blocks, warps // of_block, registers // (a_warp * of_block), by_shared)

    @property
    def warps(self):
        """Warps of those blocks, and their share of what a multiprocessor can hold."""
        warps = self.blocks * -(-self.threads // 32)
        return warps, warps / MULTIPROCESSOR[self.capability][2]


def find_ptxas():
    """Path of the ptxas of the nvidia-cuda-nvcc wheel, or None."""
    for folder in map(Path, sys.path):
        for path in sorted(folder.glob("nvidia/*/bin/ptxas"), reverse=True):
            return path
    return None


def compiled(kernel, of, capability, ptxas):
    """`Build` of a kernel."""
    if runtime.PACKAGE == "numba_cuda_mlir":  # asks a device what it is, whatever it compiles for: this is the answer
        importlib.import_module("numba_cuda_mlir.tools")._cached_cc = capability
    ptx = kernel.ptx(of, capability)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        arch = "sm_{}{}".format(*capability)
        command = [ptxas, f"-arch={arch}", "-v", "-o", f"{folder}/kernel.cubin", source]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def number(pattern, least=1):
        found = re.findall(pattern, text)
        if len(found) < least:
            raise ValueError(f"no {pattern!r} in what ptxas says: {text}")
        return sum(map(int, found))

    return Build(
        kernel=f"{kernel.__module__.rsplit('.', 1)[1]}.{kernel.__name__}",
        layout=tuple(of),
        capability=capability,
        threads=runtime.n_threads(kernel.threads(of)),
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem", least=0),  # of a kernel without it nothing is said
        fused=len(re.findall(r"\bfma\.rn", ptx)),
        doubles=len(re.findall(r"\b(?:fma|add|sub|mul|div|cvt)[\w.]*\.f64", ptx)),
        in_doubles=any(name.startswith("d") for name in kernel.arguments),
        inexact=len(re.findall(r"\b(?:tanh|sqrt|rsqrt)\.approx|\bdiv\.(?:approx|full)", ptx)),
        atomics=len(re.findall(r"\s(?:atom|red)\.", re.sub(r"_error_code;\s+atom\.", "", ptx))),
    )


#: H and rows of a block.
BLOCKS = [(n_hidden, rows) for n_hidden in layout.SIZES for rows in (1, 4)]


def block_kernels(dtype="float32", blocks=BLOCKS):
    """(kernel, layout) of the recurrences that stay in one block."""
    for module in (elman, gru, lstm):
        for kernel in (module.forward, module.backward):
            for n_hidden, rows in blocks:
                yield kernel, layout.Layout(n_hidden, rows, dtype)


#: Tiles of a product.
TILES = (32, 64)


def other_kernels(dtype="float32", tiles=TILES):
    """(kernel, layout) of products, copies, losses and optimisers, and of steps that are launched by themselves."""
    for tile in tiles:
        for of in ((False, False, False), (False, True, False), (True, False, False), (True, False, True)):
            yield products.product, products.ProductLayout(tile, *of, dtype)
    for kernel in (products.sum_columns, products.combine, products.previous_states):
        yield kernel, products.ProductLayout(0, False, False, False, dtype)
    for module in (stepwise, batches, embeddings, masks, pooling, updates):
        for kernel in filter(_is_kernel, vars(module).values()):
            yield kernel, layout.Layout(0, 0, dtype)
    for kernel in filter(_is_kernel, vars(losses).values()):
        for of in sorted({losses.loss_layout(n_outputs, dtype) for n_outputs in (1, losses.FEW_OUTPUTS + 1)}):
            yield kernel, of


def _is_kernel(value):
    return isinstance(value, runtime.Kernel)


def _capability(text):
    major, minor = text.split(".")
    if (int(major), int(minor)) not in MULTIPROCESSOR:
        raise argparse.ArgumentTypeError(f"one of {', '.join('{}.{}'.format(*c) for c in MULTIPROCESSOR)}")
    return int(major), int(minor)


def _block(text):
    n_hidden, _, rows = text.partition("x")
    if (n_hidden, rows) not in [(str(h), str(r)) for h, r in BLOCKS]:
        raise argparse.ArgumentTypeError(f"one of {', '.join(f'{h}x{r}' for h, r in BLOCKS)}")
    return int(n_hidden), int(rows)


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=_capability, default=[(7, 5), (9, 0)], nargs="+", metavar="X.Y")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--others", action="store_true", help="all other kernels too: products, losses ...")
    parser.add_argument("--blocks", type=_block, default=BLOCKS, nargs="*", metavar="HxROWS", help="such as 64x4")
    parser.add_argument("--tiles", type=int, default=TILES, nargs="*", choices=TILES, help="of products, with --others")
    parser.add_argument("--json", action="store_true", help="one object a line instead of the table")
    arguments = parser.parse_args()
    ptxas = find_ptxas()
    if runtime.cuda is None or runtime.SIMULATED or ptxas is None:
        packages = "numba-cuda or numba-cuda-mlir, not simulated, and the wheel nvidia-cuda-nvcc of the same release"
        print(f"needs {packages}", file=sys.stderr)
        return 1
    kernels = [
        *block_kernels(arguments.dtype, arguments.blocks),
        *(other_kernels(arguments.dtype, arguments.tiles) if arguments.others else ()),
    ]
    if not arguments.json:
        _print_head()
    gc.disable()  # looking for garbage after every few hundred objects took a fifth of the time
    for i, ((kernel, of), capability) in enumerate(itertools.product(kernels, arguments.capability)):
        if i % 20 == 0:
            gc.collect()
        build = compiled(kernel, of, capability, ptxas)
        print(json.dumps(asdict(build)) if arguments.json else _line(build, of), flush=True)
    return 0


def _print_head():
    print("| kernel | layout | capability | threads | registers | stack | spills | shared | blocks | warps |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")


def _line(build, of):
    warps, share = build.warps
    name = ", ".join(f"{key}={value}" for key, value in of._asdict().items() if key != "dtype" and value)
    return (
        f"| {build.kernel} | {name} | {build.capability[0]}.{build.capability[1]} | {build.threads} | "
        f"{build.registers} | {build.stack} | {build.spills} | {build.shared} | {build.blocks} | "
        f"{warps} ({share:.0%}) |"
    )


if __name__ == "__main__":
    sys.exit(main())
