"""Solvers on the device, in the simulator, against those of the CPU: dense parameters, and some rows of a table."""

import math

import numpy as np
import pytest

from fastrecur.kernels.cuda import runtime
from fastrecur.network.cuda.log import Log
from fastrecur.network.cuda.optimiser import DeviceOptimiser
from fastrecur.network.optimisers import SOLVERS, make_optimiser
from fastrecur.network.parameters import Parameters

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

DENSE = {"weight_ih_l0": (5, 3), "bias_l0": (5,), "head_weight": (2, 5)}
STEPS = ([0, 4], [1, 4, 5], [0])

each_solver = pytest.mark.parametrize("solver", SOLVERS)


def pair(solver, shapes, dtype):
    """Optimisers of the same parameters on the host and on the device, and the log of the latter."""
    parameters = Parameters(shapes, dtype)
    parameters.flat[:] = np.random.default_rng(0).normal(size=parameters.flat.size)
    log, copy = Log(), Parameters(shapes, dtype)
    copy.flat[:] = parameters.flat
    device = DeviceOptimiser(make_optimiser(solver, copy, 0.1, 0.9), runtime.to_device(parameters.flat), log)
    return make_optimiser(solver, parameters, 0.1, 0.9), device, log


def step(host, device, seed, rows, **options):
    """The same step on both sides; returns the norm of the host's, and the place of the other."""
    grads = host.parameters.zeros_like()
    grads.flat[:] = np.random.default_rng(seed).normal(size=grads.flat.size)
    given, on_device = grads.flat[: grads.n_dense], None
    if rows is not None:
        rows = np.asarray(rows)
        given, on_device = grads.flat[: grads.n_dense + 3 * len(rows)], runtime.to_device(rows.astype(np.int32))
    place = device.step(runtime.to_device(given), rows=on_device, **options)
    return host.step(grads, rows=rows, **options), place


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_table", [False, True], ids=["dense", "table"])
@each_solver
def test_steps_equal_the_cpu(solver, with_table, dtype):
    shapes = DENSE | ({"embedding": (7, 3)} if with_table else {})
    host, device, log = pair(solver, shapes, dtype)
    norms, places = [], []
    for seed, rows in enumerate(STEPS):
        host.rate = device.rate = 0.1 / (1 + seed)
        options = {"max_norm": (math.inf, 2.0, 3.0)[seed], "decay": 0.3}
        norm, place = step(host, device, seed, rows if with_table else None, **options)
        norms.append(norm)
        places.append(place)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(np.array(log.fetch())[places], norms, rtol=1e-12)
    expected, actual = host.state(), device.state()
    np.testing.assert_allclose(runtime.to_host(device._flat), host.parameters.flat, rtol=0, atol=tolerance)
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert type(value) is type(expected[name])
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=10 * tolerance, err_msg=name)


@each_solver
def test_a_state_moves_from_device_to_host_and_back(solver):
    host, device, _ = pair(solver, DENSE, "float64")
    step(host, device, 0, None)
    other, back, _ = pair(solver, DENSE, "float64")
    other.load_state(device.state())
    back.load_state(other.state())
    for name, value in device.state().items():
        np.testing.assert_array_equal(back.state()[name], value, err_msg=name)
