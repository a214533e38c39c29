"""Vectors and tiles against NumPy, number by number, and the order of a tile's sums."""

import ctypes
import functools
import mmap
import operator
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from fastrecur.kernels.cpu import simd
from fastrecur.kernels.cpu.simd import copy as simd_copy
from fastrecur.kernels.cpu.simd import load, load_part, offset, pointer, prefetch, prefetch_to_write, store
from fastrecur.kernels.cpu.target import HAS_FMA, VECTOR_BYTES

SPECIAL = [np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, 2.5, -3.0, 1e-30, -1e30]

compiled = functools.partial(numba.njit, error_model="numpy")
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def lanes(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def elementwise(function, n_arguments):
    """The vector function as a compiled function of ``n_arguments`` arrays of one vector each, and of the output."""

    @compiled
    def one(a, out):
        store(pointer(out), 0, function(load(pointer(a), 0)))

    @compiled
    def two(a, b, out):
        store(pointer(out), 0, function(load(pointer(a), 0), load(pointer(b), 0)))

    @compiled
    def three(a, b, c, out):
        store(pointer(out), 0, function(load(pointer(a), 0), load(pointer(b), 0), load(pointer(c), 0)))

    @compiled
    def four(a, b, c, d, out):
        vectors = load(pointer(a), 0), load(pointer(b), 0), load(pointer(c), 0), load(pointer(d), 0)
        store(pointer(out), 0, function(*vectors))

    return (one, two, three, four)[n_arguments - 1]


def pairs(dtype):
    """Every pair of special values, cut to whole vectors: two arrays (n, lanes)."""
    a, b = np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))
    n = lanes(dtype)
    return [np.resize(part.ravel(), (-(-part.size // n), n)) for part in (a, b)]


def bits(array):
    return array.view(array.dtype.str.replace("f", "u"))


# --- vectors ---------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "copysign"])
def test_binary_operator_equals_numpy_bit_for_bit(name, dtype):
    function = simd.copysign if name == "copysign" else getattr(operator, name)
    run = elementwise(function, 2)
    expected = np.copysign if name == "copysign" else getattr(operator, name)
    for a, b in zip(*pairs(dtype), strict=True):
        out = np.empty_like(a)
        run(a, b, out)
        with np.errstate(all="ignore"):
            wanted = expected(a, b)
        np.testing.assert_array_equal(out, wanted)
        number = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(out)[number], np.signbit(wanted)[number])


@each_dtype
def test_negative(dtype):
    run = elementwise(operator.neg, 1)
    for a, _ in zip(*pairs(dtype), strict=True):
        out = np.empty_like(a)
        run(a, out)
        np.testing.assert_array_equal(out, -a)
        number = ~np.isnan(a)
        np.testing.assert_array_equal(np.signbit(out)[number], np.signbit(-a)[number])


@each_dtype
def test_fma(dtype):
    n, rng = lanes(dtype), np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, n)).astype(dtype)
    out, run = np.empty_like(a), elementwise(simd.fma, 3)
    run(a, b, c, out)
    np.testing.assert_allclose(out, a * b + c, rtol=10 * np.finfo(dtype).eps, atol=10 * np.finfo(dtype).eps)
    if HAS_FMA:  # rounded once: (1 + eps) (1 - eps) - 1 = -eps^2
        eps = np.full(n, np.finfo(dtype).eps, dtype)
        run(1 + eps, 1 - eps, np.full_like(eps, -1.0), out)
        np.testing.assert_array_equal(out, -(eps**2))
    run(a, b, np.full_like(c, np.nan), out)
    assert np.isnan(out).all()


@each_dtype
def test_select_less(dtype):
    run = elementwise(simd.select_less, 4)
    for a, b in zip(*pairs(dtype), strict=True):
        yes, no, out = np.arange(len(a), dtype=dtype), -np.arange(1, len(a) + 1, dtype=dtype), np.empty_like(a)
        run(a, b, yes, no, out)
        np.testing.assert_array_equal(out, np.where(a < b, yes, no))


@each_dtype
def test_select_less_takes_the_second_where_either_is_nan(dtype):
    n, run = lanes(dtype), elementwise(simd.select_less, 4)
    nan, one, out = np.full(n, np.nan, dtype), np.ones(n, dtype), np.empty(n, dtype)
    for a, b in ((nan, one), (one, nan), (nan, nan)):
        run(a, b, one, 2 * one, out)
        np.testing.assert_array_equal(out, 2.0)
    run(one - 1, one, nan, one, out)  # and hands NaN on
    assert np.isnan(out).all()


@each_dtype
def test_absolute(dtype):
    a, _ = pairs(dtype)
    run, out = elementwise(simd.absolute, 1), np.empty(lanes(dtype), dtype)
    for row in a:
        run(row, out)
        np.testing.assert_array_equal(bits(out), bits(np.abs(row)))


def with_table(function, table):
    """``function`` of a vector and this table, as a compiled function of two arrays of one vector each."""

    @compiled
    def run(a, out):
        store(pointer(out), 0, function(load(pointer(a), 0), table))

    return run


@each_dtype
def test_power_of_two_from_the_lowest_to_the_highest(dtype):
    magic, bias = {"float32": (1.5 * 2.0**23, 127), "float64": (1.5 * 2.0**52, 1023)}[dtype]
    run, n = with_table(simd.power_of_two, (1.0,)), lanes(dtype)
    exponents = np.resize(np.arange(-bias, bias + 2), (-(-(2 * bias + 2) // n), n))
    for powers in exponents:
        out = np.empty(n, dtype)
        run((powers + magic).astype(dtype), out)
        expected = np.ldexp(1.0, np.minimum(powers, bias)).astype(dtype)
        expected[powers == -bias], expected[powers == bias + 1] = 0.0, np.inf
        np.testing.assert_array_equal(out, expected)


@pytest.mark.skipif(simd.ENTRIES == 1, reason="no instruction looks numbers up")
def test_fractional_power_of_two():
    k, n = simd.ENTRIES, lanes("float32")
    highest = np.exp2(np.arange(k) / k).astype("f").view(np.int32) - (np.arange(k, dtype=np.int32) << 23) // k
    run, out = with_table(simd.power_of_two, tuple(highest.view("f").tolist())), np.empty(n, "f")
    for powers in np.arange(-126 * k, 128 * k).reshape(-1, n):
        run((powers + 1.5 * 2.0**23).astype("f"), out)
        np.testing.assert_array_equal(out, np.exp2(powers / k).astype("f"))
    run(np.full(n, 128 * k + 1.5 * 2.0**23, "f"), out)
    assert np.isposinf(out).all()


@each_dtype
def test_a_table_has_one_number_or_those_of_a_register(dtype):
    vector = np.zeros(lanes(dtype), dtype)
    with pytest.raises(TypingError, match="takes one number"):
        with_table(simd.power_of_two, (1.0, 2.0))(vector, vector)


@each_dtype
def test_splat_like_a_vector_and_like_a_pointer(dtype):
    splat = simd.splat

    @compiled
    def run(source, out):
        vector = load(pointer(source), 0)
        store(pointer(out), 0, splat(vector, 0.1))
        store(pointer(out), len(source), splat(pointer(source), source[0]))

    source = np.arange(3, 3 + lanes(dtype), dtype=dtype)
    out = np.empty(2 * len(source), dtype)
    run(source, out)
    np.testing.assert_array_equal(out, np.repeat([np.array(0.1, dtype), np.array(3, dtype)], len(source)))


# --- memory ----------------------------------------------------------------------------------------------------------


@each_dtype
def test_load_and_store_at_any_offset_touch_one_vector_only(dtype):
    @compiled
    def copy(source, start, target, end):
        store(offset(pointer(target), end), 0, load(pointer(source), start))

    @compiled
    def copy_backwards(source, start, target, end):
        store(pointer(target), end, load(offset(pointer(source), len(source)), start - len(source)))

    n = lanes(dtype)
    source = np.arange(3 * n, dtype=dtype)
    for function in (copy, copy_backwards):
        for start in range(n + 1):
            for end in (0, 1, 3, n, 2 * n - 1, 2 * n):
                target = np.full(3 * n, -1.0, dtype)
                function(source, start, target, end)
                np.testing.assert_array_equal(target[end : end + n], source[start : start + n])
                assert np.all(np.delete(target, np.s_[end : end + n]) == -1.0)


def test_a_pointer_is_indexed_like_an_array():
    @compiled
    def run(array):
        row = offset(pointer(array), array.shape[1])
        row[1] = row[0] + 10.0

    array = np.arange(6.0).reshape(2, 3)
    run(array)
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 13, 5]])


def test_pointer_refuses_what_is_not_contiguous():
    run = elementwise(operator.neg, 1)
    for array in (np.zeros((32, 2))[:, 0], np.asfortranarray(np.zeros((32, 32))), 1.0):
        with pytest.raises(TypingError, match="C-contiguous"):
            run(array, np.zeros(32))


def test_load_refuses_integers():
    @compiled
    def run(array):
        load(pointer(array), 0)

    with pytest.raises(TypingError, match="float pointer"):
        run(np.zeros(16, np.int64))


@each_dtype
def test_a_part_of_a_vector_is_followed_by_zeros(dtype):
    @compiled
    def run(a, count, out):
        store(pointer(out), 0, load_part(pointer(a), 1, count))

    n = lanes(dtype)
    for count in (-1, 0, 1, n - 1, n, n + 3):
        a, out = np.full(n + 5, np.nan, dtype), np.empty(n, dtype)
        exist = max(0, min(count, n))
        a[1 : exist + 1] = np.arange(exist)
        run(a, count, out)
        np.testing.assert_array_equal(out, [*range(exist), *[0.0] * (n - exist)])


@each_dtype
@pytest.mark.skipif(sys.platform != "linux", reason="forbids a page of memory")
def test_nothing_is_read_behind_a_part_of_a_vector(dtype):
    @compiled
    def run(a, first, out):
        store(pointer(out), 0, load_part(pointer(a), first, 3))

    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    second = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory, mmap.PAGESIZE)))
    assert ctypes.CDLL(None).mprotect(second, mmap.PAGESIZE, 0) == 0
    a, out = np.frombuffer(memory, dtype, mmap.PAGESIZE // np.dtype(dtype).itemsize), np.empty(lanes(dtype), dtype)
    a[-3:] = 1, 2, 3
    run(a, len(a) - 3, out)
    np.testing.assert_array_equal(out[:3], [1, 2, 3])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 33])
@pytest.mark.parametrize("source", ["float32", "float64"])
@each_dtype
def test_copy_converts_and_touches_no_more(dtype, source, count):
    @compiled
    def run(a, out):
        simd_copy(offset(pointer(out), 1), offset(pointer(a), 2), count)

    a, out = np.random.default_rng(0).normal(size=count + 4).astype(source), np.full(count + 3, np.nan, dtype)
    run(a, out)
    np.testing.assert_array_equal(out[1 : count + 1], a[2 : count + 2].astype(dtype))
    assert np.isnan(out[[0, count + 1, count + 2]]).all()


@each_dtype
def test_prefetch_changes_nothing(dtype):
    @compiled
    def run(a):
        prefetch(pointer(a), 3, 4)
        prefetch_to_write(pointer(a), 0, 1000)

    a = np.arange(8, dtype=dtype)
    run(a)
    np.testing.assert_array_equal(a, np.arange(8))
