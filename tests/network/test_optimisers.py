"""Adam and gradient descent against a transcription in NumPy's float64, and against PyTorch."""

import math

import numpy as np
import pytest

from fastrecur.network.optimisers import SGD, Adam, make_optimiser
from fastrecur.network.parameters import Parameters

#: Weights and biases in turn: in the flat vector all weights come first. 57 numbers, no whole number of vectors.
SHAPES = {"weight_ih_l0": (5, 3), "bias_l0": (5,), "weight_hh_l0": (5, 5), "head_weight": (2, 5), "head_bias": (2,)}
OPTIMISERS = {"adam": Adam, "sgd": SGD}
N_STEPS, RATE, LIMIT = 8, 0.05, 9.0

#: In the norm, after all steps.
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}

each_optimiser = pytest.mark.parametrize("solver", OPTIMISERS)


def make(dtype="float64", seed=0):
    parameters = Parameters(SHAPES, dtype)
    parameters.flat[:] = np.random.default_rng(seed).normal(size=parameters.flat.size)
    return parameters


def gradient_of_step(step):
    """Gradients by name; their norms lie on both sides of `LIMIT`."""
    rng = np.random.default_rng(100 + step)
    return {name: 10.0 ** rng.uniform(-1.0, 0.5) * rng.normal(size=shape) for name, shape in SHAPES.items()}


def run(optimiser, max_norm=math.inf, decay=0.0):
    """Norms that ``N_STEPS`` steps return."""
    grads, norms = optimiser.parameters.zeros_like(), []
    for step in range(N_STEPS):
        for name, gradient in gradient_of_step(step).items():
            grads.arrays[name][...] = gradient
        before = grads.flat.copy()
        norms.append(optimiser.step(grads, max_norm, decay))
        np.testing.assert_array_equal(grads.flat, before)  # clipping leaves the caller's gradient alone
    return norms


# --- the transcription -----------------------------------------------------------------------------------------------


def clipped(gradients, max_norm):
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    scale = min(1.0, max_norm / (norm + 1e-6))
    return norm, {name: scale * gradient for name, gradient in gradients.items()}


def penalised(name, gradient, value, decay):
    return gradient if "bias" in name else gradient + decay * value


def naive_adam(values, max_norm, decay):
    """Algorithm 1 of Kingma and Ba (2015), array by array."""
    norms, m, v = [], dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for t in range(1, N_STEPS + 1):
        norm, gradients = clipped(gradient_of_step(t - 1), max_norm)
        norms.append(norm)
        for name, gradient in gradients.items():
            g = penalised(name, gradient, values[name], decay)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            m_hat, v_hat = m[name] / (1.0 - 0.9**t), v[name] / (1.0 - 0.999**t)
            values[name] = values[name] - RATE * m_hat / (np.sqrt(v_hat) + 1e-8)
    return norms


def naive_sgd(values, max_norm, decay):
    """Nesterov's momentum as PyTorch writes it: the step looks ahead along the new velocity."""
    norms, velocity = [], dict.fromkeys(values, 0.0)
    for step in range(N_STEPS):
        norm, gradients = clipped(gradient_of_step(step), max_norm)
        norms.append(norm)
        for name, gradient in gradients.items():
            g = penalised(name, gradient, values[name], decay)
            velocity[name] = 0.9 * velocity[name] + g
            values[name] = values[name] - RATE * (g + 0.9 * velocity[name])
    return norms


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("max_norm", [math.inf, LIMIT, 1e-3])
@each_optimiser
def test_steps_are_those_of_the_equations(solver, max_norm, decay, dtype):
    parameters = make(dtype)
    expected = {name: array.astype(np.float64) for name, array in parameters.arrays.items()}
    norms = run(OPTIMISERS[solver](parameters, RATE), max_norm, decay)
    expected_norms = {"adam": naive_adam, "sgd": naive_sgd}[solver](expected, max_norm, decay)
    np.testing.assert_allclose(norms, expected_norms, rtol=TOLERANCE[dtype])
    for name, array in parameters.arrays.items():
        error = np.linalg.norm(array - expected[name])
        assert error <= TOLERANCE[dtype] * np.linalg.norm(expected[name]), name


def test_the_limit_clips_some_steps_and_not_others():
    norms = [clipped(gradient_of_step(step), math.inf)[0] for step in range(N_STEPS)]
    assert min(norms) < LIMIT < max(norms)


# --- what a step leaves alone ----------------------------------------------------------------------------------------


@each_optimiser
def test_the_penalty_is_for_weights_alone(solver):
    """Bit for bit: the biases take the same way with and without it."""
    free, strict = make(), make()
    run(OPTIMISERS[solver](free, RATE), LIMIT)
    run(OPTIMISERS[solver](strict, RATE), LIMIT, decay=0.3)
    for name, array in free.arrays.items():
        assert np.array_equal(array, strict.arrays[name]) == ("bias" in name), name


@each_optimiser
def test_a_gradient_of_zero_moves_nothing(solver):
    parameters = make()
    before = parameters.flat.copy()
    assert OPTIMISERS[solver](parameters, RATE).step(parameters.zeros_like(), max_norm=1.0) == 0.0
    np.testing.assert_array_equal(parameters.flat, before)


@each_optimiser
def test_the_norm_of_large_float32_gradients_does_not_overflow(solver):
    parameters = make("float32")
    grads, before = parameters.zeros_like(), parameters.flat.copy()
    grads.flat[:] = 1e30
    norm = OPTIMISERS[solver](parameters, RATE).step(grads, max_norm=1.0)
    assert norm == pytest.approx(1e30 * math.sqrt(grads.flat.size))
    assert np.isfinite(parameters.flat).all()
    assert (parameters.flat < before).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_optimiser
def test_a_gradient_that_is_not_finite_shows(solver, value):
    """In the norm and in the parameters, clipped or not: that is how training learns of it."""
    for max_norm in (math.inf, 1.0):
        parameters, grads = make(), make(seed=1)
        grads.flat[3] = value
        norm = OPTIMISERS[solver](parameters, RATE).step(grads, max_norm)
        assert not np.isfinite(norm)
        assert not np.isfinite(parameters.flat).all()


@each_optimiser
def test_two_optimisers_share_no_moments(solver):
    alone, beside = make(), make()
    run(OPTIMISERS[solver](alone, RATE))
    first, other = OPTIMISERS[solver](beside, RATE), OPTIMISERS[solver](make(seed=1), RATE)
    run(other)
    run(first)
    np.testing.assert_array_equal(beside.flat, alone.flat)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@each_optimiser
def test_optimisers_by_name(solver, momentum):
    """The momentum is for descent alone."""
    made, expected = make(), make()
    optimiser = make_optimiser(solver, made, RATE, momentum)
    assert type(optimiser) is OPTIMISERS[solver]
    run(optimiser)
    run(Adam(expected, RATE) if solver == "adam" else SGD(expected, RATE, momentum))
    np.testing.assert_array_equal(made.flat, expected.flat)


def test_descent_without_momentum_is_the_gradient_times_the_rate():
    parameters, grads = make(), make(seed=1)
    expected = parameters.flat - RATE * grads.flat
    SGD(parameters, RATE, momentum=0.0).step(grads)
    np.testing.assert_allclose(parameters.flat, expected, rtol=1e-15)


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_optimiser(torch, solver, tensors, decay):
    biases = [tensor for name, tensor in tensors.items() if "bias" in name]
    weights = [tensor for name, tensor in tensors.items() if "bias" not in name]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases}]
    if solver == "adam":
        return torch.optim.Adam(groups, lr=RATE)
    return torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)


@pytest.mark.torch
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("max_norm", [math.inf, LIMIT])
@each_optimiser
def test_steps_are_those_of_pytorch(solver, max_norm, decay, torch):
    parameters = make()
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.arrays.items()}
    optimiser, expected_norms = torch_optimiser(torch, solver, tensors, decay), []
    for step in range(N_STEPS):
        for name, gradient in gradient_of_step(step).items():
            tensors[name].grad = torch.tensor(gradient)
        expected_norms.append(torch.nn.utils.clip_grad_norm_(tensors.values(), max_norm).item())
        optimiser.step()
    norms = run(OPTIMISERS[solver](parameters, RATE), max_norm, decay)
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-13)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(parameters.arrays[name], tensor.detach().numpy(), rtol=1e-11, err_msg=name)
