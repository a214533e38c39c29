"""What threads leave alone: the process's OpenMP settings, a mask of Numba's threads, other processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastrecur
from fastrecur.kernels import threads
from fastrecur.kernels.cpu.target import VECTOR_BYTES
from tests.helpers import threading_layer

ROOT = Path(fastrecur.__file__).parents[1]
LAYERS = ("workqueue", "omp", "tbb")

START = """
import os, sys
import numba
import numpy as np
try:
    numba.get_num_threads()
except ValueError:
    print("unavailable")
    sys.exit()
"""

FASTRECUR = """
import numba
import numpy as np
from fastrecur.kernels import threads
from fastrecur.layers import LSTM
threads.WORTH_A_THREAD = threads.WORTH_A_MEETING = 1
x = np.ones((8, 5, 3), np.float32)
one, two = (LSTM(3, 40, n_threads=n, random_state=0) for n in (1, 2))
"""


def run(code, layer="omp", **settings):
    """What a process of its own prints, with two threads of Numba's layer."""
    environment = {**os.environ, **threading_layer(layer), "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment | settings, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    if result.stdout.strip() == "unavailable":
        pytest.skip(f"Numba has no layer {layer} here")
    return result.stdout.split()


@pytest.fixture(scope="module")
def _omp():
    run(START)


# --- how long threads wait -------------------------------------------------------------------------------------------

STARTED = """
import os
from fastrecur.kernels import threads
with threads.team(2):
    print(os.environ.get("GOMP_SPINCOUNT"))
"""


def spins_taken(**settings):
    """What the OpenMP libraries of a process say of themselves as they are loaded, the one of Numba last."""
    environment = {**os.environ, **threading_layer("omp"), "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "VERBOSE"}
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        environment.pop(name, None)
    result = subprocess.run(
        [sys.executable, "-c", STARTED], env=environment | settings, capture_output=True, text=True, timeout=300,
        check=True,
    )  # fmt: skip
    found = re.findall(r"GOMP_SPINCOUNT = '(\w+)'", result.stderr)
    if not found:
        pytest.skip("no GNU OpenMP library says how long its threads spin")
    return found[-1], result.stdout.strip()


@pytest.mark.usefixtures("_omp")
def test_waiting_threads_spin_for_a_short_time():
    assert spins_taken() == (str(threads.SPINS), "None")


@pytest.mark.usefixtures("_omp")
def test_what_the_environment_says_of_waiting_holds():
    assert spins_taken(GOMP_SPINCOUNT="777") == ("777", "777")
    assert spins_taken(OMP_WAIT_POLICY="passive")[0] == "0"


# --- how much is worth a thread --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_steps", "n_shares"), [(25, 1), (50, 2)] if VECTOR_BYTES == 64 else [(8, 1), (16, 2)])
def test_a_small_lstm_is_shared_and_half_of_it_is_not(n_steps, n_shares):
    """32 rows, 8 features, 32 units."""
    assert len(threads.row_shards(np.full(32, n_steps), 4 * 32 * (8 + 32), 2)) - 1 == n_shares


# --- OpenMP's settings -----------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.usefixtures("_omp")
def test_pytorch_keeps_its_number_of_threads():
    pytest.importorskip("torch")
    code = f"""
import torch
torch.set_num_threads(1)
print(torch.get_num_threads())  # PyTorch sets it at the first use
{FASTRECUR}
two.forward(x)
print(numba.threading_layer(), torch.get_num_threads())
"""
    assert run(code) == ["1", "omp", "1"]


@pytest.mark.usefixtures("_omp")
def test_a_library_that_comes_with_the_layer_keeps_the_users_number():
    code = f"""
{FASTRECUR}
two.forward(x)
from threadpoolctl import threadpool_info
print(*(library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"))
"""
    assert set(run(code, OMP_NUM_THREADS="1")) == {"1"}


@pytest.mark.parametrize("mask", [1, 2])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_mask_of_threads_stays_and_changes_no_bit(layer, mask):
    run(START, layer)
    code = f"""
{FASTRECUR}
numba.set_num_threads({mask})
for x in (x, x[:1].copy()):  # rows for each thread; one sequence for both
    dy = np.ones((len(x), 5, 40))
    assert np.array_equal(two.forward(x, training=True)[0], one.forward(x, training=True)[0])
    assert np.array_equal(two.backward(dy)[0], one.backward(dy)[0])
    assert all(np.array_equal(two.grads[name], one.grads[name]) for name in one.grads)
print(numba.get_num_threads())
"""
    assert run(code, layer) == [str(mask)]


# --- forked processes ------------------------------------------------------------------------------------------------

PRANGE = """
@numba.njit(parallel=True)
def count(n):
    total = 0
    for _ in numba.prange(n):
        total += 1
    return total
assert count(1000) == 1000
"""

TORCH = """
import torch
torch.set_num_threads(2)
torch.ones(2000, 2000).add(1).sum()
"""

FORK = """
import os, signal
if os.fork():
    sys.exit(0 if os.wait()[1] == 0 else 1)
signal.alarm(120)
"""

SAME_BITS = """
assert np.array_equal(two.forward(x)[0], one.forward(x)[0])
with threads.team(2) as n_threads:
    print(numba.threading_layer(), n_threads, flush=True)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@needs_fork
@pytest.mark.usefixtures("_omp")
def test_a_child_of_a_process_that_used_the_layer_uses_one_thread():
    """Where fastrecur is imported in the child only, GNU OpenMP would end it."""
    assert run(START + PRANGE + FORK + FASTRECUR + SAME_BITS) == ["omp", "1"]


@needs_fork
@pytest.mark.torch
@pytest.mark.usefixtures("_omp")
def test_a_child_of_a_process_that_used_openmp_without_the_layer_uses_one_thread():
    """PyTorch's threads, for which the child would wait for ever, are those of the layer."""
    pytest.importorskip("torch")
    assert run("import sys" + TORCH + FORK + FASTRECUR + SAME_BITS) == ["omp", "1"]


@pytest.mark.usefixtures("_omp")
def test_a_layer_that_this_process_started_is_used():
    assert run(START + PRANGE + FASTRECUR + SAME_BITS) == ["omp", "2"]


@pytest.mark.parametrize("layer", [None, "omp"])
def test_where_the_system_tells_no_age_a_started_layer_may_be_anothers(layer, monkeypatch):
    def unknown(*_):
        raise OSError

    monkeypatch.setattr(threads, "_layer", lambda: layer)
    monkeypatch.setattr(os, "sysconf", unknown)
    assert threads._is_forked() == (layer is not None)
