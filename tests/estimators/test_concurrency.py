"""Fits and predictions side by side: Python threads, joblib's workers, forked children, on each threading layer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastrecur
from tests.helpers import threading_layer

ROOT = Path(fastrecur.__file__).parents[1]

SCRIPT = """
import os, sys, warnings
from concurrent.futures import ThreadPoolExecutor
import joblib
import numba
import numpy as np
from sklearn.base import clone
from fastrecur import GRUClassifier
from fastrecur.kernels import threads

warnings.simplefilter("ignore")
threads.WORTH_A_THREAD = 1
try:
    numba.get_num_threads()
except ValueError:
    print("unavailable")
    sys.exit()
assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
rng = np.random.default_rng(0)
X, y = rng.normal(size=(48, 12, 3)).astype(np.float32), np.arange(48) % 3
model = GRUClassifier(9, max_iter=3, n_threads=2, random_state=0)
expected = clone(model).fit(X, y).predict_proba(X)


def work(_):
    return bool(np.array_equal(clone(model).fit(X, y).predict_proba(X), expected))


with ThreadPoolExecutor(16) as pool:
    assert all(pool.map(work, range(64)))
"""

IN_JOBLIB = """
default = clone(model).set_params(n_threads=None)


def counted(_):
    return threads.available_threads(), bool(np.array_equal(clone(default).fit(X, y).predict_proba(X), expected))


results = joblib.Parallel(n_jobs=2, backend=sys.argv[1])(joblib.delayed(counted)(i) for i in range(6))
assert results == [(1, True)] * 6, results
"""

IN_A_CHILD = """
child = os.fork()
if child == 0:
    os._exit(0 if work(0) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def run(layer, code, *args):
    environment = {**os.environ, **threading_layer(layer), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT + code + "print('survived')", *args]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    if result.stdout.strip() == "unavailable":
        pytest.skip(f"Numba has no layer {layer} here")
    assert "survived" in result.stdout.split()  # beside it Numba may tell what it thinks of a fork under tbb


each_layer = pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])


@each_layer
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_in_python_threads_and_in_joblibs_workers(layer, backend):
    """The same bits in 16 Python threads at once; one thread, by default, inside a worker."""
    run(layer, IN_JOBLIB, backend)


@each_layer
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fit_in_a_forked_child(layer):
    run(layer, IN_A_CHILD)
