"""The solvers against a transcription in NumPy's float64, and against PyTorch."""

import math

import numpy as np
import pytest

from fastrecur.network.optimisers import SGD, SOLVERS, make_optimiser
from fastrecur.network.parameters import Parameters
from tests.network.naive_solvers import MOMENTS, NAIVE, RATE, clipped

#: Weights and biases in turn: in the flat vector all weights come first. 57 numbers, no whole number of vectors.
SHAPES = {"weight_ih_l0": (5, 3), "bias_l0": (5,), "weight_hh_l0": (5, 5), "head_weight": (2, 5), "head_bias": (2,)}
N_STEPS, LIMIT = 20, 9.0

#: In the norm, after all steps.
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

each_solver = pytest.mark.parametrize("solver", SOLVERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def make(dtype="float64", seed=0):
    parameters = Parameters(SHAPES, dtype)
    parameters.flat[:] = np.random.default_rng(seed).normal(size=parameters.flat.size)
    return parameters


def solver_of(solver, parameters):
    return make_optimiser(solver, parameters, RATE, 0.9)


def gradient_of_step(step):
    """Gradients by name; their norms lie on both sides of `LIMIT`."""
    rng = np.random.default_rng(100 + step)
    return {name: 10.0 ** rng.uniform(-1.0, 0.5) * rng.normal(size=shape) for name, shape in SHAPES.items()}


def run(optimiser, max_norm=math.inf, decay=0.0, steps=range(N_STEPS), rate=None):
    """Norms that the steps return; ``rate`` is a function of the step."""
    grads, norms = optimiser.parameters.zeros_like(), []
    for step in steps:
        for name, gradient in gradient_of_step(step).items():
            grads.arrays[name][...] = gradient
        before = grads.flat.copy()
        if rate is not None:
            optimiser.rate = rate(step)
        norms.append(optimiser.step(grads, max_norm, decay))
        np.testing.assert_array_equal(grads.flat, before)  # clipping leaves the caller's gradient alone
    return norms


def assert_near(actual, expected, tolerance):
    """In the norm of each array."""
    for name, array in actual.arrays.items():
        error = np.linalg.norm(array - expected[name])
        assert error <= tolerance * np.linalg.norm(expected[name]), name


# --- the transcription -----------------------------------------------------------------------------------------------


def naive_run(solver, values, max_norm, decay):
    """Norms of all steps, array by array; ``values`` are replaced."""
    moments, norms = {name: [0.0] * len(MOMENTS[solver]) for name in values}, []
    for step in range(N_STEPS):
        norm, gradients = clipped(gradient_of_step(step), max_norm)
        norms.append(norm)
        for name, g in gradients.items():
            penalty = 0.0 if "bias" in name else decay
            values[name], *moments[name] = NAIVE[solver](values[name], g, penalty, step + 1, *moments[name])
    return norms


@each_dtype
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("max_norm", [math.inf, LIMIT, 1e-3])
@each_solver
def test_steps_are_those_of_the_equations(solver, max_norm, decay, dtype):
    parameters = make(dtype)
    expected = {name: array.astype(np.float64) for name, array in parameters.arrays.items()}
    norms = run(solver_of(solver, parameters), max_norm, decay)
    np.testing.assert_allclose(norms, naive_run(solver, expected, max_norm, decay), rtol=TOLERANCE[dtype])
    assert_near(parameters, expected, TOLERANCE[dtype])


def test_the_limit_clips_some_steps_and_not_others():
    norms = [clipped(gradient_of_step(step), math.inf)[0] for step in range(N_STEPS)]
    assert min(norms) < LIMIT < max(norms)


@pytest.mark.parametrize("n", [1, 2, 7, 17, 33, 63, 64, 65, 200])
@each_dtype
@each_solver
def test_every_number_of_a_vector_is_its_own(solver, dtype, n):
    """Whatever the length, in the norm and in the step: a number takes the way that it would take alone."""
    rng = np.random.default_rng(n)
    together = Parameters({"weight_ih_l0": (n, 1)}, dtype)
    together.flat[:] = rng.normal(size=n)
    grads, before = together.zeros_like(), together.flat.copy()
    grads.flat[:] = rng.normal(size=n)
    norm = solver_of(solver, together).step(grads, decay=0.1)
    assert norm == pytest.approx(np.linalg.norm(grads.flat.astype(np.float64)), rel=1e-14)
    for i in range(n):
        alone, own = Parameters({"weight_ih_l0": (1, 1)}, dtype), Parameters({"weight_ih_l0": (1, 1)}, dtype)
        alone.flat[:], own.flat[:] = before[i], grads.flat[i]
        solver_of(solver, alone).step(own, decay=0.1)
        assert alone.flat[0] == together.flat[i]


# --- what a step leaves alone ----------------------------------------------------------------------------------------


@each_solver
def test_the_penalty_is_for_weights_alone(solver):
    """Bit for bit: the biases take the same way with and without it."""
    free, strict = make(), make()
    run(solver_of(solver, free), LIMIT)
    run(solver_of(solver, strict), LIMIT, decay=0.3)
    for name, array in free.arrays.items():
        assert np.array_equal(array, strict.arrays[name]) == ("bias" in name), name


@each_solver
def test_a_gradient_of_zero_moves_nothing(solver):
    parameters = make()
    before = parameters.flat.copy()
    assert solver_of(solver, parameters).step(parameters.zeros_like(), max_norm=1.0) == 0.0
    np.testing.assert_array_equal(parameters.flat, before)


def test_adamw_shrinks_weights_without_a_gradient():
    parameters = make()
    before = parameters.flat.copy()
    solver_of("adamw", parameters).step(parameters.zeros_like(), decay=0.3)
    n = parameters.n_weights
    np.testing.assert_allclose(parameters.flat[:n], before[:n] * (1.0 - RATE * 0.3), rtol=1e-15)
    np.testing.assert_array_equal(parameters.flat[n:], before[n:])


@each_solver
def test_the_norm_of_large_float32_gradients_does_not_overflow(solver):
    parameters = make("float32")
    grads, before = parameters.zeros_like(), parameters.flat.copy()
    grads.flat[:] = 1e30
    norm = solver_of(solver, parameters).step(grads, max_norm=1.0)
    assert norm == pytest.approx(1e30 * math.sqrt(grads.flat.size))
    assert np.isfinite(parameters.flat).all()
    assert (parameters.flat < before).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_solver
def test_a_gradient_that_is_not_finite_shows(solver, value):
    """In the norm and in the parameters, clipped or not: that is how training learns of it."""
    for max_norm in (math.inf, 1.0):
        parameters, grads = make(), make(seed=1)
        grads.flat[3] = value
        norm = solver_of(solver, parameters).step(grads, max_norm)
        assert not np.isfinite(norm)
        assert not np.isfinite(parameters.flat).all()


@each_solver
def test_two_optimisers_share_no_moments(solver):
    alone, beside = make(), make()
    run(solver_of(solver, alone))
    first, other = solver_of(solver, beside), solver_of(solver, make(seed=1))
    run(other)
    run(first)
    np.testing.assert_array_equal(beside.flat, alone.flat)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@each_solver
def test_optimisers_by_name(solver, momentum):
    """The momentum is for descent alone."""
    made, expected = make(), make()
    optimiser = make_optimiser(solver, made, RATE, momentum)
    assert type(optimiser) is SOLVERS[solver]
    run(optimiser)
    run(SGD(expected, RATE, momentum) if solver == "sgd" else SOLVERS[solver](expected, RATE))
    np.testing.assert_array_equal(made.flat, expected.flat)


def test_descent_without_momentum_is_the_gradient_times_the_rate():
    parameters, grads = make(), make(seed=1)
    expected = parameters.flat - RATE * grads.flat
    SGD(parameters, RATE, momentum=0.0).step(grads)
    np.testing.assert_allclose(parameters.flat, expected, rtol=1e-15)


@each_solver
def test_a_rate_of_zero_holds_the_parameters_and_moves_the_moments(solver):
    parameters = make()
    before, optimiser = parameters.flat.copy(), solver_of(solver, parameters)
    run(optimiser, decay=0.3, rate=lambda step: 0)
    np.testing.assert_array_equal(parameters.flat, before)
    assert all(optimiser.state()[name].all() for name in MOMENTS[solver])


# --- states ----------------------------------------------------------------------------------------------------------


@each_dtype
@each_solver
def test_a_fresh_optimiser_goes_on_from_a_state_bit_for_bit(solver, dtype):
    whole, first = make(dtype), make(dtype)
    options = {"max_norm": LIMIT, "decay": 0.3}
    run(solver_of(solver, whole), **options, rate=lambda step: RATE if step < 3 else RATE / 5)
    optimiser = solver_of(solver, first)
    run(optimiser, **options, steps=range(3))
    optimiser.rate = RATE / 5
    state, second = optimiser.state(), make(dtype)
    second.flat[:] = first.flat
    run(optimiser, **options, steps=range(3, 7))  # the state is no view of what goes on
    fresh = make_optimiser(solver, second, 123.0, 0.9)
    fresh.load_state(state)
    assert fresh.rate == RATE / 5
    run(fresh, **options, steps=range(3, N_STEPS))
    np.testing.assert_array_equal(second.flat, whole.flat)
    run(optimiser, **options, steps=range(7, N_STEPS))
    np.testing.assert_array_equal(first.flat, whole.flat)


@each_dtype
@each_solver
def test_a_state_is_plain_numbers_and_arrays_by_name(solver, dtype):
    optimiser = solver_of(solver, make(dtype))
    run(optimiser, steps=range(4))
    state = optimiser.state()
    assert set(state) == {"rate", "n_steps", *MOMENTS[solver]}
    assert (state["rate"], state["n_steps"]) == (RATE, 4)
    assert (type(state["rate"]), type(state["n_steps"])) == (float, int)
    for name in MOMENTS[solver]:
        assert (state[name].dtype, state[name].shape) == (np.dtype(dtype), optimiser.parameters.flat.shape)


@each_solver
def test_a_state_of_other_parameters_or_another_solver_is_refused(solver):
    optimiser = solver_of(solver, make())
    run(optimiser, steps=range(2))
    good = optimiser.state()
    name = MOMENTS[solver][0]
    with pytest.raises(ValueError, match=r"needs a state of \['.*n_steps"):
        optimiser.load_state({key: value for key, value in good.items() if key != name})
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\), but the parameters have \(57,\)"):
        optimiser.load_state(good | {name: np.zeros(3), "n_steps": 9})
    for key, value in optimiser.state().items():
        np.testing.assert_array_equal(value, good[key])


# --- PyTorch ---------------------------------------------------------------------------------------------------------

#: Against PyTorch in the same dtype; in the norm, after all steps.
TORCH_TOLERANCE = {"float32": 2e-6, "float64": 1e-12}


def torch_optimiser(torch, solver, tensors, decay):
    biases = [tensor for name, tensor in tensors.items() if "bias" in name]
    weights = [tensor for name, tensor in tensors.items() if "bias" not in name]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    if solver == "sgd":
        return torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)
    return kinds[solver](groups, lr=RATE)


@pytest.mark.torch
@each_dtype
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("max_norm", [math.inf, LIMIT])
@each_solver
def test_steps_are_those_of_pytorch(solver, max_norm, decay, dtype, torch):
    """With a rate that falls from step to step."""
    parameters = make(dtype)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.arrays.items()}
    optimiser, expected_norms = torch_optimiser(torch, solver, tensors, decay), []
    for step in range(N_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.9**step
        for name, gradient in gradient_of_step(step).items():
            tensors[name].grad = torch.tensor(gradient.astype(dtype))
        expected_norms.append(torch.nn.utils.clip_grad_norm_(tensors.values(), max_norm).item())
        optimiser.step()
    norms = run(solver_of(solver, parameters), max_norm, decay, rate=lambda step: RATE * 0.9**step)
    np.testing.assert_allclose(norms, expected_norms, rtol=TORCH_TOLERANCE[dtype])
    assert_near(parameters, {name: tensor.detach().numpy() for name, tensor in tensors.items()}, TORCH_TOLERANCE[dtype])


@pytest.mark.parametrize("solver", ["adam", "adamw"])
def test_rounding_does_not_shrink_the_mean_of_the_gradients(solver):
    """Rounded to float32, 0.9 and 0.1 sum to 1 - 2e-8: a mean of such shares would be 2e-7 too small."""
    parameters, rng = Parameters({"head_weight": (50, 100)}, "float32"), np.random.default_rng(0)
    optimiser, grads, exact = solver_of(solver, parameters), parameters.zeros_like(), 0.0
    for _ in range(100):
        grads.flat[:] = rng.uniform(0.5, 1.5, grads.flat.size)
        exact = 0.9 * exact + 0.1 * grads.flat.astype(np.float64)
        optimiser.step(grads)
    assert abs((optimiser.state()["first"] / exact - 1.0).mean()) < 2e-8
