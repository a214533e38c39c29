"""Seconds of the first use, in processes of their own: import, and the first fit with and without kept kernels."""

import os
import statistics
import subprocess
import sys
import tempfile

from bench import grid, timing
from bench.report import Figure, Table

#: Rounds of what takes a second, and of what compiles.
MOST_ROUNDS, MOST_COMPILATIONS = 10, 3

IMPORT = "import time; began = time.perf_counter(); from fastrecur import {cell}Classifier; "
END = "print(time.perf_counter() - began)"

FIT = """
import numpy as np, warnings
warnings.simplefilter("ignore")
X, y = np.random.default_rng(0).normal(size=(64, 10, 3)), np.arange(64) % 3
began = time.perf_counter()
{cell}Classifier(max_iter=1, random_state=0).fit(X, y)
"""


def first_use(options):
    """Import, first fit on kept kernels, first fit ever."""
    rounds = min(options.rounds, MOST_ROUNDS)
    notes = [f"Seconds in a new process, medians of {rounds} ({min(rounds, MOST_COMPILATIONS)} with an empty cache):"]
    notes += ["the import of one classifier and of all that it imports; its first fit, after the import, with the"]
    notes += ["kernels of an earlier process on disk; the same with an empty cache; as many threads as by default."]
    columns = {"import": grid.IMPORT, "first fit": grid.FILLED_CACHE, "first fit ever": grid.EMPTY_CACHE}
    table = Table("First use", notes, ("cell",), columns, form="{:.2f} s")
    for cell in options.cells:
        for column, seconds in _seconds(cell, rounds).items():
            figure = Figure(statistics.median(seconds), noisy=timing.is_noisy(seconds))
            table.add((cell,), column, figure)
    return table


def _seconds(cell, rounds):
    importing = (IMPORT + END).format(cell=cell)
    fitting = (IMPORT + FIT + END).format(cell=cell)
    with tempfile.TemporaryDirectory() as filled:
        ever = [_run(fitting, filled)]
        for _ in range(min(rounds, MOST_COMPILATIONS) - 1):
            with tempfile.TemporaryDirectory() as empty:
                ever.append(_run(fitting, empty))
        both = [(_run(importing, filled), _run(fitting, filled)) for _ in range(rounds)]
    imports, fits = zip(*both, strict=True)
    return {"import": list(imports), "first fit": list(fits), "first fit ever": ever}


def _run(code, cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
