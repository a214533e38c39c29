"""The head against plain NumPy and central differences; the same bits whatever the rows, the form and the threads.

Letters: M rows, n entries of the targets, D directions, H hidden units, I = D * H inputs, K outputs.
"""

import itertools

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import panels
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network import head as module
from fastrecur.network.head import LOSSES, Head
from fastrecur.network.parameters import Parameters
from fastrecur.network.workspace import Workspace
from tests.helpers import central_differences

#: Every number of outputs with some number of rows, and the other way round.
OUTPUTS, ROWS = (1, 2, 7, 17, 33, 100, 1000), (1, 2, 7, 63, 300)
SIZES = sorted({*zip(OUTPUTS, itertools.cycle(ROWS)), *itertools.product((7, 100), ROWS)})

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_loss = pytest.mark.parametrize("loss", LOSSES)
each_size = pytest.mark.parametrize(("n_outputs", "n_rows"), SIZES)
each_form = pytest.mark.parametrize(("n_directions", "n_hidden"), [(1, 13), (1, 64), (2, 9), (2, 32)])


@pytest.fixture(autouse=True)
def tiles(monkeypatch):
    """No head is small, but for the test that says so."""
    monkeypatch.setattr(module, "SMALL", 0)


class PoisonedWorkspace(Workspace):
    """A workspace whose buffers are NaN, and in which nothing has been before."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.given = []

    def take(self, name, *shape):
        array = panels.aligned_empty(shape, np.dtype(self._dtype))
        array[...] = np.nan
        self.given.append(array)
        return array


def make(n_inputs, n_outputs, dtype, size=0.5):
    rng = np.random.default_rng(n_inputs)
    parameters = Parameters({"head_weight": (n_outputs, n_inputs), "head_bias": (n_outputs,)}, dtype)
    parameters.flat[:] = size * rng.normal(size=parameters.flat.size)
    return Head(parameters, n_inputs, n_outputs)


def make_inputs(n_rows, n_inputs, dtype):
    return np.random.default_rng(n_rows).normal(size=(n_rows, n_inputs)).astype(dtype)


def as_states(x, n_directions):
    """Rows (M, I) as states behind some initial ones, NaN in the padding: (M, D, padded H)."""
    pieces = x.reshape(len(x), n_directions, -1)
    states = np.full((len(x) + 3, n_directions, panels.padded(pieces.shape[2], x.dtype)), np.nan, x.dtype)
    states[3:, :, : pieces.shape[2]] = pieces
    return states[3:]


def make_targets(loss, n_rows, n_outputs):
    """rows, targets, weights: of more entries than rows, in no order, some twice; one weight is zero."""
    rng, n = np.random.default_rng(3), n_rows + 5
    rows, weights = rng.integers(n, size=n_rows), rng.uniform(0.2, 3.0, size=n)
    weights[rows[-1]] = 0.0 if n_rows > 1 else 2.0
    return rows, make_values(loss, n, n_outputs, rng), weights


def make_values(loss, n, n_outputs, rng):
    if loss == "cross_entropy":
        return rng.integers(n_outputs, size=n)
    if loss == "squared_error":
        return rng.normal(size=(n, n_outputs))
    n_levels = next(q for q in (3, 2, 7, 17, n_outputs) if n_outputs % q == 0)
    levels = (np.arange(n_levels) + 0.7) / (n_levels + 1)
    return QuantileTargets(rng.normal(size=(n, n_outputs // n_levels)), levels)


def naive(loss, head, x, rows, targets, weights, scale):
    """Loss, dx, dW and db in float64."""
    weight, bias = (head.parameters.arrays[name].astype(np.float64) for name in ("head_weight", "head_bias"))
    x, share = x.astype(np.float64), scale * weights[rows]
    z = x @ weight.T + bias
    if loss == "pinball":
        levels = np.tile(targets.levels, targets.values.shape[1])
        error = z - np.repeat(targets.values[rows], len(targets.levels), axis=1)
        losses = np.maximum((1 - levels) * error, -levels * error).mean(axis=1)
        dz = np.where(error > 0, 1 - levels, -levels) / z.shape[1]
    elif loss == "cross_entropy":
        targets = targets[rows]
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        losses = -log_p[np.arange(len(z)), targets]
        dz = np.exp(log_p) - (np.arange(z.shape[1]) == targets[:, np.newaxis])
    else:
        targets = targets[rows]
        losses = 0.5 * ((z - targets) ** 2).mean(axis=1)
        dz = (z - targets) / z.shape[1]
    dz *= share[:, np.newaxis]
    return share @ losses, dz @ weight, dz.T @ x, dz.sum(axis=0)


def run(head, loss, x, targets, scale=0.1, workspace=None, n_threads=1):
    """Loss, and copies of dx, dW and db."""
    grads = head.parameters.zeros_like()
    workspace = PoisonedWorkspace(head.dtype) if workspace is None else workspace
    value, dx = head.gradient(loss, x, *targets, scale, grads, workspace, n_threads)
    return value, dx.copy(), grads.arrays["head_weight"], grads.arrays["head_bias"]


def assert_close(actual, expected, dtype):
    """Every number to a few units in the last place of the largest one."""
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * (1e-30 + 5 * np.abs(b).max()))


def assert_same_bits(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- against NumPy ---------------------------------------------------------------------------------------------------


@each_dtype
@each_form
@each_size
def test_outputs(n_outputs, n_rows, n_directions, n_hidden, dtype):
    head, x = make(n_directions * n_hidden, n_outputs, dtype), make_inputs(n_rows, n_directions * n_hidden, dtype)
    arrays = head.parameters.arrays
    expected = x.astype(np.float64) @ arrays["head_weight"].T.astype(np.float64) + arrays["head_bias"]
    out = np.full((n_rows, n_outputs), np.nan, dtype)
    assert head.outputs(x, out) is out
    assert_close([out], [expected], dtype)
    from_states = head.outputs(as_states(x, n_directions), np.full_like(out, np.nan))
    strided = head.outputs(np.pad(x, [(0, 0), (0, 3)], constant_values=np.nan)[:, :-3], np.full_like(out, np.nan))
    assert_same_bits([from_states, strided], [out, out])


@each_dtype
@each_loss
@each_form
@each_size
def test_gradient(n_outputs, n_rows, n_directions, n_hidden, loss, dtype):
    n_inputs = n_directions * n_hidden
    head, x = make(n_inputs, n_outputs, dtype), make_inputs(n_rows, n_inputs, dtype)
    targets = make_targets(loss, n_rows, n_outputs)
    results = run(head, loss, x, targets)
    assert results[1].shape == x.shape
    assert_close(results, naive(loss, head, x, *targets, 0.1), dtype)

    value, dx, *gradients = run(head, loss, as_states(x, n_directions), targets)
    assert_same_bits((value, *gradients), (results[0], *results[2:]))
    np.testing.assert_array_equal(dx, np.nan_to_num(as_states(results[1], n_directions)))


@each_dtype
@each_loss
@pytest.mark.parametrize(("n_outputs", "n_rows"), [(1, 7), (3, 1), (9, 32), (33, 2)])
def test_small_heads_have_the_gradient_of_large_ones(n_outputs, n_rows, loss, dtype, monkeypatch):
    head, x = make(13, n_outputs, dtype), make_inputs(n_rows, 13, dtype)
    rng, rows = np.random.default_rng(0), np.arange(n_rows)[::-1].copy()
    targets = make_values(loss, n_rows, n_outputs, rng)
    found = []
    for small in (0, 2**16):
        monkeypatch.setattr(module, "SMALL", small)
        grads = head.parameters.zeros_like()
        given = loss, x, rows, targets, np.linspace(0.0, 2.0, n_rows), 0.3, grads
        value, dinputs = head.gradient(*given, PoisonedWorkspace(dtype))
        found.append((value, dinputs.copy(), grads.flat))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    for large, small in zip(*found, strict=True):
        np.testing.assert_allclose(small, large, **tolerance)


@each_loss
def test_gradient_is_that_of_central_differences(loss):
    head, x, targets = make(5, 4, "float64"), make_inputs(6, 5, "float64"), make_targets(loss, 6, 4)
    arrays = {**head.parameters.arrays, "x": x}
    _, dx, dweight, dbias = run(head, loss, x, targets)
    for name, found in (("x", dx), ("head_weight", dweight), ("head_bias", dbias)):
        expected = central_differences(arrays[name], lambda: run(head, loss, x, targets)[0])
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10, err_msg=name)


@each_loss
def test_gradients_of_the_parameters_are_added(loss):
    head, x, targets = make(13, 20, "float64"), make_inputs(9, 13, "float64"), make_targets(loss, 9, 20)
    grads = head.parameters.zeros_like()
    grads.flat[:] = 3.0
    head.gradient(loss, x, *targets, 0.1, grads, Workspace(head.dtype))
    _, _, dweight, dbias = run(head, loss, x, targets)
    np.testing.assert_allclose(grads.arrays["head_weight"], 3.0 + dweight, rtol=1e-14)
    np.testing.assert_allclose(grads.arrays["head_bias"], 3.0 + dbias, rtol=1e-14)


@each_dtype
@pytest.mark.parametrize("n_outputs", [3, 250])
@pytest.mark.parametrize("at", [0, 2, 130, 249])
def test_extreme_logits(at, n_outputs, dtype):
    """One logit far above the others, in the first chunk or a later one, of either sign, the label's or another's."""
    for size, everywhere in ((1e4, 0.0), (1e4, -1e4), (-1e4, 1e4), (80.0, 0.0), (35.0, 0.0), (25.0, 0.0)):
        head, x = make(8, n_outputs, dtype), make_inputs(40, 8, dtype)
        rows, labels, weights = make_targets("cross_entropy", 40, n_outputs)
        labels[rows[:20]] = at % n_outputs
        head.parameters.arrays["head_bias"][:] += everywhere
        head.parameters.arrays["head_bias"][at % n_outputs] += size
        results = run(head, "cross_entropy", x, (rows, labels, weights))
        # Of z as it is rounded, so that the loss alone is compared.
        z = head.outputs(x, np.empty((40, n_outputs), dtype)).astype(np.float64)
        exact = make(n_outputs, n_outputs, "float64")
        exact.parameters.arrays["head_weight"][:] = np.eye(n_outputs)
        exact.parameters.arrays["head_bias"][:] = 0.0
        value, dz, _, _ = naive("cross_entropy", exact, z, rows, labels, weights, 0.1)
        tolerance = 2e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(results[0], value, rtol=tolerance, atol=1e-30)
        weight = head.parameters.arrays["head_weight"].astype(np.float64)
        for found, expected in zip(results[1:], (dz @ weight, dz.T @ x, dz.sum(axis=0)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(dz).max() * 10)


@each_dtype
def test_a_certain_row_has_an_exact_loss_and_gradient(dtype):
    """Where the others' probabilities are far below the precision of 1, they still are the gradient."""
    head, x = make(1, 3, dtype), np.ones((2, 1), dtype)
    head.parameters.arrays["head_weight"][:] = 0.0
    head.parameters.arrays["head_bias"][:] = [25.0, 0.0, 1.0]
    value, _, _, dbias = run(head, "cross_entropy", x, (np.array([0, 0]), np.array([0]), np.ones(1)), scale=0.5)
    others = np.exp(-25.0) + np.exp(-24.0)
    np.testing.assert_allclose(value, np.log1p(others), rtol=1e-5)
    np.testing.assert_allclose(dbias, [-others, np.exp(-25.0), np.exp(-24.0)], rtol=1e-5)


def test_nan_and_infinity_are_not_hidden():
    rows, labels, weights = np.arange(5), np.zeros(5, np.int64), np.ones(5)
    for number in (np.nan, np.inf):
        head, x = make(8, 120, "float32"), make_inputs(5, 8, "float32")
        x[2, 3] = number
        value, dx, _, dbias = run(head, "cross_entropy", x, (rows, labels, weights))
        assert np.isnan(value)
        assert np.isnan(dx[2]).all()
        assert np.isnan(dbias).any()
        assert np.isfinite(np.delete(dx, 2, axis=0)).all()


def test_targets_of_the_wrong_loss_are_refused():
    targets = make_targets("squared_error", 4, 2)[1]
    with pytest.raises(ValueError, match="cross_entropy takes targets of 1 axes, found 2"):
        module.check_targets("cross_entropy", targets, 2)


def test_a_quantile_on_its_target_is_left_where_it_is():
    head, x = make(3, 2, "float64"), np.zeros((2, 3))
    head.parameters.arrays["head_bias"][:] = [1.5, 1.5]
    targets = np.arange(2), QuantileTargets(np.full((2, 1), 1.5), np.array([0.1, 0.9])), np.ones(2)
    value, dx, dweight, dbias = run(head, "pinball", x, targets)
    assert value == 0.0
    assert not np.any(np.concatenate([dx.ravel(), dweight.ravel(), dbias]))


@pytest.mark.parametrize("small", [0, 2**16])
def test_nan_and_infinity_are_not_hidden_from_the_pinball_loss(small, monkeypatch):
    monkeypatch.setattr(module, "SMALL", small)
    head, x, targets = make(8, 6, "float32"), make_inputs(5, 8, "float32"), make_targets("pinball", 5, 6)
    x[2, 3] = np.nan
    targets[2][targets[0]] = 1.0
    value, dx, _, dbias = run(head, "pinball", x, targets)
    assert np.isnan(value)
    assert np.isnan(dx[2]).all()
    assert np.isnan(dbias).all()
    assert np.isfinite(np.delete(dx, 2, axis=0)).all()


def test_levels_are_for_the_pinball_loss_and_make_up_the_outputs():
    targets = make_targets("pinball", 4, 6)[1]
    with pytest.raises(ValueError, match="5 output"):
        module.check_targets("pinball", targets, 5)
    with pytest.raises(ValueError, match="squared_error and a QuantileTargets"):
        module.check_targets("squared_error", targets, 5)
    with pytest.raises(ValueError, match="pinball and a ndarray"):
        module.check_targets("pinball", targets.values, 5)


# --- the same bits ---------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("n_outputs", [1, 9, 33, 100, 300])
def test_outputs_do_not_depend_on_the_other_rows_and_the_threads(n_outputs, dtype, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    head, x = make(45, n_outputs, dtype), make_inputs(131, 45, dtype)
    whole = head.outputs(x, np.empty((131, n_outputs), dtype))
    for m in (0, 1, 7, 130):
        alone = head.outputs(x[m : m + 1], np.full((1, n_outputs), np.nan, dtype))
        np.testing.assert_array_equal(alone[0], whole[m])
    np.testing.assert_array_equal(head.outputs(x[5:28], np.full((23, n_outputs), np.nan, dtype)), whole[5:28])
    for n_threads in (2, 3):
        np.testing.assert_array_equal(head.outputs(x, np.full_like(whole, np.nan), n_threads), whole)


@each_dtype
@each_loss
@pytest.mark.parametrize("n_inputs", [45, 64])
@pytest.mark.parametrize(("n_outputs", "n_rows"), [(5, 700), (40, 37), (130, 250), (300, 96)])
def test_gradient_does_not_depend_on_the_threads(n_outputs, n_rows, n_inputs, loss, dtype, monkeypatch):
    head, x = make(n_inputs, n_outputs, dtype), make_inputs(n_rows, n_inputs, dtype)
    targets = make_targets(loss, n_rows, n_outputs)
    expected = run(head, loss, x, targets)
    used = Workspace(head.dtype)
    for size, n_threads in ((1, 2), (1, 3), (2**20, 2), (1, 1)):
        monkeypatch.setattr(module, "ROUND", size)
        monkeypatch.setattr(threads, "even_shards", lambda n, _, t, multiple=1: np.arange(t + 1) * n // t)
        assert_same_bits(run(head, loss, x, targets, n_threads=n_threads), expected)
        assert_same_bits(run(head, loss, x, targets, workspace=used, n_threads=n_threads), expected)
        monkeypatch.undo()


@each_loss
def test_dinputs_of_a_row_do_not_depend_on_the_others(loss):
    head, x = make(33, 210, "float32"), make_inputs(150, 33, "float32")
    head.parameters.arrays["head_bias"][150] += 28.0  # some rows are computed again, others not
    rows, targets, weights = make_targets(loss, 150, 210)
    whole = run(head, loss, x, (rows, targets, weights))[1]
    for m in (0, 50, 149):
        np.testing.assert_array_equal(run(head, loss, x[[m]], (rows[[m]], targets, weights))[1][0], whole[m])


def test_outputs_of_the_whole_batch_are_never_in_memory():
    head, x = make(16, 5000, "float32"), make_inputs(3000, 16, "float32")
    workspace = PoisonedWorkspace(head.dtype)
    run(head, "cross_entropy", x, make_targets("cross_entropy", 3000, 5000), workspace=workspace)
    assert sum(array.size for array in workspace.given) < 3000 * 5000 / 5


# --- parameters ------------------------------------------------------------------------------------------------------


def test_refresh_reads_the_parameters_anew():
    head, x = make(7, 3, "float64"), make_inputs(4, 7, "float64")
    out = head.outputs(x, np.empty((4, 3)))
    head.parameters.flat *= 2.0
    head.refresh()
    np.testing.assert_allclose(head.outputs(x, np.empty((4, 3))), 2.0 * out)
