"""exp, sigmoid and tanh against a wider float type: the error bounds that the module states, and the special values."""

import functools

import numba
import numpy as np
import pytest

from fastrecur.kernels.cpu import activations
from fastrecur.kernels.cpu.simd import load, pointer, store
from fastrecur.kernels.cpu.target import VECTOR_BYTES

#: The table of the module's docstring, in ulp: of float32 and of float64.
BOUNDS = {
    "exp": {"float32": 1.5, "float64": 1.5},
    "sigmoid": {"float32": 2.5, "float64": 2.5},
    "tanh": {"float32": 2.5, "float64": 3.0},
}

#: Smallest normal exponent, and bits of the mantissa.
FORMAT = {"float32": (-126, 23), "float64": (-1022, 52)}

#: An argument far enough for every result to have reached its end.
FAR = {"float32": 100.0, "float64": 800.0}

WIDER = {"float32": np.float64, "float64": np.longdouble}

each_name = pytest.mark.parametrize("name", BOUNDS)
each_dtype = pytest.mark.parametrize("dtype", FORMAT)


@functools.cache
def compiled(name):
    function = getattr(activations, name)

    @numba.njit(error_model="numpy")
    def run(x, out):
        for i in range(0, len(x), VECTOR_BYTES // x.itemsize):
            store(pointer(out), i, function(load(pointer(x), i)))

    return run


def apply(name, x):
    """The vector function on every number of ``x``, padded to whole vectors."""
    padded = np.zeros(-(-len(x) // 16) * 16, x.dtype)
    padded[: len(x)] = x
    out = np.full_like(padded, -7.0)
    compiled(name)(padded, out)
    return out[: len(x)]


def exact(name, x):
    """The function in the next wider type."""
    x = x.astype(WIDER[x.dtype.name])
    with np.errstate(all="ignore"):
        return 1.0 / (1.0 + np.exp(-x)) if name == "sigmoid" else getattr(np, name)(x)


def ulp(value, dtype):
    """Distance of the neighbours of ``value`` in ``dtype``, also where they are subnormal."""
    smallest, mantissa = FORMAT[dtype]
    return np.ldexp(np.ones_like(value), np.maximum(np.frexp(value)[1] - 1, smallest) - mantissa)


def in_range(name, expected, dtype):
    """Where the bound holds: results that are normal and, of exp, half a binade from overflow."""
    smallest, _ = FORMAT[dtype]
    two = expected.dtype.type(2)
    highest = two ** (expected.dtype.type(-smallest) + expected.dtype.type(1.5)) if name == "exp" else np.inf
    normal = True if name == "tanh" else expected >= two**smallest
    return normal & (expected <= highest)


@functools.cache
def numbers(dtype):
    """Every 509th bit pattern of float32, NaN and infinities with it; 4 million float64, dense where results move."""
    if dtype == "float32":
        return np.arange(0, 2**32, 509, dtype=np.uint64).astype(np.uint32).view(np.float32)
    rng, n = np.random.default_rng(0), 1_000_000
    scales = 10.0 ** rng.uniform(-20.0, 1.0, n)
    parts = (
        rng.uniform(-760.0, 760.0, n),
        rng.normal(size=n) * scales,
        rng.uniform(-1.0, 1.0, n),
        rng.uniform(-40.0, 40.0, n),
    )
    return np.concatenate([*parts, 10.0 ** rng.uniform(-320.0, 308.0, 50_000)])


@each_dtype
@each_name
def test_error_stays_within_the_stated_bound(name, dtype):
    x = numbers(dtype)
    x = x[np.isfinite(x)]
    actual, expected = apply(name, x), exact(name, x)
    valid = in_range(name, expected, dtype)
    error = np.abs(actual[valid] - expected[valid]) / ulp(expected[valid], dtype)
    reference_error = 0.0 if np.finfo(expected.dtype).nmant > np.finfo(dtype).nmant else 2.0  # no wider type here
    worst = np.argmax(error)
    assert valid.mean() > 0.2
    assert error[worst] <= BOUNDS[name][dtype] + reference_error, f"{error[worst]} ulp at {x[valid][worst]!r}"


@each_dtype
@each_name
def test_nan_where_and_only_where_the_argument_is_nan(name, dtype):
    x = numbers(dtype)
    nan_bits = {
        "float32": [0x7F800001, 0xFF800001, 0x7FC00000, 0xFFFFFFFF],
        "float64": [0x7FF0 << 48 | 1, 0xFFFF << 48],
    }
    unsigned = np.dtype(dtype.replace("float", "uint"))
    x = np.concatenate([x, np.array(nan_bits[dtype], unsigned).view(dtype), np.array([np.inf, -np.inf], dtype)])
    np.testing.assert_array_equal(np.isnan(apply(name, x)), np.isnan(x))
    assert np.isnan(x).any()


@each_dtype
@each_name
def test_results_beyond_the_bound_are_at_the_end_or_right(name, dtype):
    x = numbers(dtype)
    x = x[np.isfinite(x)]
    actual, expected = apply(name, x), exact(name, x)
    beyond = ~in_range(name, expected, dtype)
    x, actual, expected = x[beyond], actual[beyond], expected[beyond]
    if name == "tanh":
        assert len(x) == 0
        return
    ends = (actual == 0.0) & (x < 0) | np.isposinf(actual) & (x > 0)
    close = np.abs(actual[~ends] - expected[~ends]) <= BOUNDS[name][dtype] * ulp(expected[~ends], dtype)
    assert close.all()
    assert ends.any()


@each_dtype
@each_name
def test_neither_rises_above_its_range_nor_falls_below(name, dtype):
    x = numbers(dtype)
    actual = apply(name, x[~np.isnan(x)])
    low, high = {"exp": (0.0, np.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}[name]
    assert actual.min() == low
    assert actual.max() == high
    if name != "tanh":
        assert not np.signbit(actual).any()


@each_dtype
def test_exact_at_zero(dtype):
    zeros = np.array([0.0, -0.0], dtype)
    np.testing.assert_array_equal(apply("exp", zeros), [1.0, 1.0])
    np.testing.assert_array_equal(apply("sigmoid", zeros), [0.5, 0.5])
    np.testing.assert_array_equal(apply("tanh", zeros), zeros)
    np.testing.assert_array_equal(np.signbit(apply("tanh", zeros)), [False, True])


@each_dtype
def test_exact_at_saturation_and_infinity(dtype):
    far, huge = FAR[dtype], float(np.finfo(dtype).max)
    for x in (far, huge, np.inf):
        x = np.array([-x, x], dtype)
        np.testing.assert_array_equal(apply("exp", x), [0.0, np.inf])
        np.testing.assert_array_equal(apply("sigmoid", x), [0.0, 1.0])
        np.testing.assert_array_equal(apply("tanh", x), [-1.0, 1.0])


@each_dtype
def test_tanh_keeps_the_sign_and_is_the_identity_near_zero(dtype):
    x = numbers(dtype)
    x = x[~np.isnan(x)]
    np.testing.assert_array_equal(np.signbit(apply("tanh", x)), np.signbit(x))
    x = x[np.abs(x) < np.finfo(dtype).eps / 8]
    assert len(x) > 10_000
    np.testing.assert_array_equal(apply("tanh", x), x)


@each_dtype
@each_name
def test_a_result_depends_on_neither_its_lane_nor_its_neighbours(name, dtype):
    x = np.array([0.3, -2.0, np.nan, 5.0, -np.inf, 90.0, 1e-3, -700.0, np.inf, -0.0, 0.7], dtype)
    expected = apply(name, x)
    for shift in range(1, len(x)):
        np.testing.assert_array_equal(apply(name, np.roll(x, shift)), np.roll(expected, shift))
    for i, value in enumerate(x):
        np.testing.assert_array_equal(apply(name, np.full(16, value)), np.full(16, expected[i]))


@each_dtype
def test_clamp_keeps_nan(dtype):
    clamp = activations.clamp

    @numba.njit(error_model="numpy")
    def run(x, out):
        store(pointer(out), 0, clamp(load(pointer(x), 0), -2.0, 3.0))

    x = np.resize(np.array([np.nan, -np.inf, -2.5, -2.0, -0.0, 1.0, 3.0, 3.5, np.inf], dtype), 16)
    out = np.empty_like(x)
    run(x, out)
    n = VECTOR_BYTES // x.itemsize
    np.testing.assert_array_equal(out[:n], np.clip(x, -2.0, 3.0)[:n])


def test_constants_of_a_dtype_exist_only_in_compiled_code():
    with pytest.raises(NotImplementedError):
        activations._limits(1.0)
