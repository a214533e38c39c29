"""The whole grid against other libraries as tables of ratios: ``python -m bench``. See README.md in this folder."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numba

from bench import estimator_tables, first_use, layer_tables, machine, memory, scaling_tables
from bench.grid import CELLS, GRID

TABLES = {
    "forward": layer_tables.forward,
    "training": layer_tables.training,
    "fit": estimator_tables.fit,
    "predict": estimator_tables.predict,
    "peak": layer_tables.peak,
    "second-thread": layer_tables.second_thread,
    "linear": scaling_tables.linear,
    "step": scaling_tables.step,
    "memory": memory.memory,
    "first-use": first_use.first_use,
}

#: What holds Numba and PyTorch to AVX2 and fused multiply-adds.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+fma,+popcnt,+sse4.1,+sse4.2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


@dataclass
class Options:
    """What to measure. ``held``: to AVX2, which ONNX Runtime cannot be."""

    rounds: int
    threads: list
    cells: list
    shapes: list
    held: bool

    def lines(self, least_hidden=1, names=tuple(GRID)):
        """Shape and number of threads of each line of a table."""
        shapes = [shape for shape in self.shapes if shape.hidden >= least_hidden and shape.name in names]
        return [(shape, threads) for shape in shapes for threads in self.threads]


def _names(known):
    """Type of an option: names with commas between."""

    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(map(str, known))}")
        return names

    return parse


def _parse():
    numbers = [str(n) for n in range(1, numba.config.NUMBA_NUM_THREADS + 1)]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="timed rounds of each side (default: 20)")
    parser.add_argument("--threads", type=_names(numbers), default=numbers[:2], metavar="N[,N]", help="default: 1,2")
    for option, known in (("cells", CELLS), ("shapes", GRID), ("tables", TABLES)):
        metavar = f"{next(iter(known))}[,...]"
        parser.add_argument(
            f"--{option}", type=_names(known), default=list(known), metavar=metavar, help=f"of {', '.join(known)}"
        )
    parser.add_argument("--avx2", action="store_true", help="hold Numba and PyTorch to AVX2, in another process")
    return parser.parse_args()


def _run_held():
    """The same command line under `AVX2`; its exit status."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--avx2"]
    return subprocess.run([sys.executable, "-m", "bench", *arguments], env=os.environ | AVX2, check=False).returncode


def main():
    arguments = _parse()
    if arguments.avx2:
        return _run_held()
    options = Options(
        rounds=arguments.rounds,
        threads=[int(n) for n in arguments.threads],
        cells=arguments.cells,
        shapes=[GRID[name] for name in arguments.shapes],
        held=os.environ.get("ONEDNN_MAX_CPU_ISA") == AVX2["ONEDNN_MAX_CPU_ISA"],
    )
    load = machine.load()
    layer_tables.start_threads()
    print(
        "```",
        *machine.describe(),
        f"medians of {options.rounds} rounds, the sides in turn; {load}",
        "```",
        "",
        sep="\n",
    )
    n_failed = 0
    for name in arguments.tables:
        began = time.perf_counter()
        found = TABLES[name](options)
        for table in found if isinstance(found, list) else [found]:
            print(*table.markdown(), sep="\n", flush=True)
            n_failed += table.n_failed
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    if n_failed:
        print(f"{n_failed} check(s) failed: no figure there")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
