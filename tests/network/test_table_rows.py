"""Steps on some rows of a table of embeddings: the lazy way of PyTorch's SparseAdam, for every solver."""

import math

import numpy as np
import pytest

from fastrecur.network.optimisers import SOLVERS, make_optimiser
from fastrecur.network.parameters import Parameters
from tests.network.naive_solvers import MOMENTS, NAIVE, RATE, clipped

V, N_STEPS, LIMIT = 11, 20, 9.0

#: In the norm, after all steps.
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

each_solver = pytest.mark.parametrize("solver", SOLVERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def make(n_columns, dtype="float64"):
    """The table is the first by name and the last in the vector."""
    shapes = {"embedding": (V, n_columns), "weight_ih_l0": (5, n_columns), "bias_l0": (5,), "head_weight": (2, 5)}
    parameters = Parameters(shapes, dtype)
    parameters.flat[:] = np.random.default_rng(0).normal(size=parameters.flat.size)
    return parameters


def rows_of_step(step):
    """Some rows of the table, now and then none or all; the last one only in one step."""
    rng = np.random.default_rng(step)
    if step == 13:
        return np.arange(V)
    return np.sort(rng.choice(V - 1, 0 if step == 7 else rng.integers(1, 6), replace=False))


def gradient_of_step(step, shapes, rows):
    """By name; "embedding" holds the rows' alone."""
    rng = np.random.default_rng(100 + step)
    sizes = {name: (len(rows), *shape[1:]) if name == "embedding" else shape for name, shape in shapes.items()}
    return {name: 10.0 ** rng.uniform(-1.0, 0.5) * rng.normal(size=size) for name, size in sizes.items()}


def fill(grads, step, rows):
    """The gradient of a step; what is behind that of the rows is NaN."""
    grads.flat[:] = np.nan
    for name, gradient in gradient_of_step(step, grads.shapes, rows).items():
        grads.arrays[name][: len(gradient)] = gradient


def run(optimiser, max_norm=math.inf, decay=0.0, steps=range(N_STEPS)):
    grads, norms = optimiser.parameters.zeros_like(), []
    for step in steps:
        rows = rows_of_step(step)
        fill(grads, step, rows)
        before = grads.flat.copy()
        norms.append(optimiser.step(grads, max_norm, decay, rows))
        np.testing.assert_array_equal(grads.flat, before)
    return norms


def naive_run(solver, values, max_norm, decay):
    """Norms of all steps; ``values`` are replaced. Of the table the rows of a step are all that there is."""
    shapes = {name: value.shape for name, value in values.items()}
    moments = {name: [np.zeros(shape) for _ in MOMENTS[solver]] for name, shape in shapes.items()}
    norms = []
    for step in range(N_STEPS):
        rows = rows_of_step(step)
        norm, gradients = clipped(gradient_of_step(step, shapes, rows), max_norm)
        norms.append(norm)
        for name, g in gradients.items():
            part = rows if name == "embedding" else slice(None)
            own, penalty = [moment[part] for moment in moments[name]], 0.0 if "bias" in name else decay
            values[name][part], *own = NAIVE[solver](values[name][part], g, penalty, step + 1, *own)
            for moment, new in zip(moments[name], own, strict=True):
                moment[part] = new
    return norms


@each_dtype
@pytest.mark.parametrize(("max_norm", "decay"), [(math.inf, 0.0), (LIMIT, 0.3)])
@pytest.mark.parametrize("n_columns", [1, 2, 7, 17, 33, 63, 64, 130])
@each_solver
def test_steps_on_rows_are_those_of_the_equations(solver, n_columns, max_norm, decay, dtype):
    """The norm is that of the dense part and the rows; the penalty counts for the rows used."""
    parameters = make(n_columns, dtype)
    expected = {name: array.astype(np.float64) for name, array in parameters.arrays.items()}
    norms = run(make_optimiser(solver, parameters, RATE), max_norm, decay)
    np.testing.assert_allclose(norms, naive_run(solver, expected, max_norm, decay), rtol=TOLERANCE[dtype])
    for name, array in parameters.arrays.items():
        error = np.linalg.norm(array - expected[name])
        assert error <= TOLERANCE[dtype] * np.linalg.norm(expected[name]), name


@each_solver
def test_other_rows_and_their_moments_are_left_alone(solver):
    """Bit for bit, step after step, under a penalty too: they are not even read."""
    parameters = make(7)
    optimiser, table = make_optimiser(solver, parameters, RATE), parameters.arrays["embedding"]
    for step in range(N_STEPS):
        before, moments = table.copy(), optimiser.state()
        run(optimiser, LIMIT, 0.3, steps=[step])
        used = np.isin(np.arange(V), rows_of_step(step))
        np.testing.assert_array_equal((table != before).all(axis=1), used)
        np.testing.assert_array_equal((table != before).any(axis=1), used)
        for name in MOMENTS[solver]:
            old, new = (moment[name][parameters.n_dense :].reshape(V, 7) for moment in (moments, optimiser.state()))
            np.testing.assert_array_equal(new[~used], old[~used])
            assert (new[used] != old[used]).all()
    assert np.isfinite(parameters.flat).all()


@pytest.mark.parametrize("n_columns", [1, 7, 64])
@each_dtype
@each_solver
def test_all_rows_are_the_whole_vector(solver, dtype, n_columns):
    named, whole = make(n_columns, dtype), make(n_columns, dtype)
    grads = named.zeros_like()
    first, second = make_optimiser(solver, named, RATE), make_optimiser(solver, whole, RATE)
    for step in range(4):
        fill(grads, step, np.arange(V))
        assert first.step(grads, LIMIT, 0.3, np.arange(V)) == second.step(grads, LIMIT, 0.3)
    np.testing.assert_array_equal(named.flat, whole.flat)


@each_dtype
@each_solver
def test_without_rows_a_step_is_that_of_the_dense_part(solver, dtype):
    parameters = make(7, dtype)
    without = Parameters({name: shape for name, shape in parameters.shapes.items() if name != "embedding"}, dtype)
    without.flat[:] = parameters.flat[: parameters.n_dense]
    grads, dense, table = parameters.zeros_like(), without.zeros_like(), parameters.arrays["embedding"].copy()
    first, second = make_optimiser(solver, parameters, RATE), make_optimiser(solver, without, RATE)
    nothing = np.arange(0)
    for step in range(4):
        fill(grads, step, nothing)
        dense.flat[:] = grads.flat[: parameters.n_dense]
        assert first.step(grads, LIMIT, 0.3, nothing) == second.step(dense, LIMIT, 0.3)
    np.testing.assert_array_equal(parameters.flat[: parameters.n_dense], without.flat)
    np.testing.assert_array_equal(parameters.arrays["embedding"], table)


@each_dtype
@each_solver
def test_a_fresh_optimiser_goes_on_from_a_state_bit_for_bit(solver, dtype):
    whole, second = make(17, dtype), make(17, dtype)
    run(make_optimiser(solver, whole, RATE), LIMIT, 0.3)
    first = make_optimiser(solver, second, RATE)
    run(first, LIMIT, 0.3, steps=range(5))
    fresh = make_optimiser(solver, second, 123.0)
    fresh.load_state(first.state())
    run(fresh, LIMIT, 0.3, steps=range(5, N_STEPS))
    np.testing.assert_array_equal(second.flat, whole.flat)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("max_norm", [math.inf, LIMIT])
@pytest.mark.parametrize("n_columns", [1, 7, 64])
def test_steps_on_rows_are_those_of_sparse_adam(n_columns, max_norm, dtype, tolerance, torch):
    """Beside Adam for the dense part. SparseAdam adds epsilon to the root before the correction: it is given ours."""
    parameters = make(n_columns, dtype)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.arrays.items()}
    table, dense = tensors["embedding"], [tensor for name, tensor in tensors.items() if name != "embedding"]
    adam, sparse_adam = torch.optim.Adam(dense, lr=RATE), torch.optim.SparseAdam([table], lr=RATE)
    expected_norms = []
    for step in range(N_STEPS):
        rows = rows_of_step(step)
        gradients = gradient_of_step(step, parameters.shapes, rows)
        leaves = {name: torch.zeros(gradient.shape, dtype=table.dtype) for name, gradient in gradients.items()}
        for name, gradient in gradients.items():
            leaves[name].grad = torch.tensor(gradient.astype(dtype))
        expected_norms.append(torch.nn.utils.clip_grad_norm_(leaves.values(), max_norm).item())
        leaves["embedding"].grad, values = None, leaves["embedding"].grad
        for name, tensor in tensors.items():
            tensor.grad = leaves[name].grad
        index = torch.tensor(rows[np.newaxis])
        table.grad = torch.sparse_coo_tensor(index, values, table.shape, check_invariants=True)
        sparse_adam.param_groups[0]["eps"] = 1e-8 * math.sqrt(1.0 - 0.999 ** (step + 1))
        adam.step()
        sparse_adam.step()
    norms = run(make_optimiser("adam", parameters, RATE), max_norm)
    np.testing.assert_allclose(norms, expected_norms, rtol=tolerance)
    for name, tensor in tensors.items():
        error = np.linalg.norm(parameters.arrays[name] - tensor.detach().numpy())
        assert error <= tolerance * np.linalg.norm(tensor.detach().numpy()), name
