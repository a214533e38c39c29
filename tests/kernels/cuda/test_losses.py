"""The GPU's losses and sums in the simulator, threads shuffled: against the CPU's head, and the same bits in any order.

A simulated block has four threads: seven outputs are more than one to each, two are fewer.
"""

import numpy as np
import pytest

from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.kernels.cuda import losses, runtime
from fastrecur.network.cuda.buffers import Buffers
from fastrecur.network.cuda.log import Log
from fastrecur.network.cuda.targets import DeviceTargets
from fastrecur.network.gradient import Targets
from fastrecur.network.head import Head
from fastrecur.network.parameters import Parameters
from fastrecur.network.workspace import Workspace
from tests.kernels.cuda.simulator import shuffle

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
ROWS, SCALE = np.array([4, 0, 3]), 0.25

each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def make_targets(loss, n_outputs):
    rng = np.random.default_rng(n_outputs)
    if loss == "cross_entropy":
        values = rng.integers(0, n_outputs, 5)
    elif loss == "squared_error":
        values = rng.normal(size=(5, n_outputs))
    else:
        levels = np.array([0.1, 0.9]) if n_outputs % 2 == 0 else np.array([0.3])
        values = QuantileTargets(rng.normal(size=(5, n_outputs // len(levels))), levels)
    return Targets(loss, values, rng.uniform(0.5, 2.0, size=5))


def on_device(targets, z, dtype):
    """Loss, and the gradient of the outputs ``z``."""
    log = Log()
    device = DeviceTargets(targets, np.dtype(dtype), log, Buffers(np.dtype(dtype)))
    z = runtime.to_device(np.asarray(z, dtype))
    place = device.gradient(z, runtime.to_device(ROWS.astype(np.int32)), SCALE)
    return log.fetch()[place], runtime.to_host(z)


def on_host(targets, z):
    """The same by a head in double precision whose weights are the identity."""
    n_outputs = z.shape[1]
    parameters = Parameters({"head_weight": (n_outputs, n_outputs), "head_bias": (n_outputs,)}, "float64")
    parameters.arrays["head_weight"][...] = np.eye(n_outputs)
    given = ROWS, targets.values, targets.weights, SCALE, parameters.zeros_like(), Workspace(np.dtype("float64"))
    return Head(parameters, n_outputs, n_outputs).gradient(targets.loss, z.astype(np.float64), *given)


@each_dtype
@pytest.mark.parametrize("n_outputs", [2, 7])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "pinball"])
def test_loss_and_gradient_equal_the_cpu(loss, n_outputs, dtype):
    targets = make_targets(loss, n_outputs)
    z = np.random.default_rng(0).normal(size=(3, n_outputs)).astype(np.float32)
    value, dz = on_device(targets, z, dtype)
    expected, expected_dz = on_host(targets, z)
    assert value == pytest.approx(expected, rel=10 * TOLERANCE[dtype])
    np.testing.assert_allclose(dz, expected_dz, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("size", [80.0, 3e4, 1e30])
def test_large_logits(size):
    """No exponential overflows, and what is lost of a gradient is below the smallest number."""
    targets = make_targets("cross_entropy", 7)
    z = (size * np.random.default_rng(1).normal(size=(3, 7))).astype(np.float32)
    value, dz = on_device(targets, z, "float32")
    expected, expected_dz = on_host(targets, z)
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(dz, expected_dz, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "pinball"])
def test_nan_reaches_the_loss_and_stays_in_its_row(loss):
    for k in range(5):
        z = np.random.default_rng(0).normal(size=(3, 5))
        z[1, k] = np.nan
        value, dz = on_device(make_targets(loss, 5), z, "float32")
        assert np.isnan(value)
        assert np.isnan(dz[1, k])
        assert np.isfinite(dz[[0, 2]]).all()


@pytest.mark.parametrize("n", [1, 5, 40])
def test_norms_and_sums_have_the_same_bits_in_any_order(n, monkeypatch):
    """Of more blocks than one from 5 numbers on, and of more numbers than threads from 40 on."""
    vector = np.random.default_rng(n).normal(size=n).astype(np.float32)
    results = []
    for seed in range(2):
        shuffle(monkeypatch, seed)
        parts, out = (runtime.to_device(np.full(4, np.nan)) for _ in range(2))
        losses.norm(runtime.to_device(vector), parts, out, 1)
        losses.add_up(runtime.to_device(vector.astype(np.float64)), n, out, 2)
        results.append(runtime.to_host(out))
    expected = np.nan, np.linalg.norm(vector.astype(np.float64)), vector.astype(np.float64).sum(), np.nan
    np.testing.assert_allclose(results[0], expected, rtol=1e-14)
    np.testing.assert_array_equal(*results)


def test_rows_have_a_warp_or_eight(monkeypatch):
    monkeypatch.setattr(losses, "SIMULATED", False)
    assert [losses.loss_layout(k, "float32").threads for k in (1, 128, 129, 9999)] == [32, 32, 256, 256]
