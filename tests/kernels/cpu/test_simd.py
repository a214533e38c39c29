"""Vectors and tiles against NumPy, number by number, and the order of a tile's sums."""

import functools
import operator

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from fastrecur.kernels.cpu import simd
from fastrecur.kernels.cpu.simd import (
    load,
    offset,
    panel_dot,
    pointer,
    store,
    tile_dot,
    tile_load,
    tile_shape,
    tile_store,
)
from fastrecur.kernels.cpu.target import (
    HAS_FMA,
    MIDDLE_2,
    MIDDLE_3,
    MIDDLE_4,
    TALL_2,
    TALL_3,
    TALL_4,
    VECTOR_BYTES,
)

#: Rows and vectors of every tile that the kernels use.
SHAPES = sorted(
    {(rows, 2) for rows in (TALL_2, MIDDLE_2, 2, 1)}
    | {(rows, 3) for rows in (TALL_3, MIDDLE_3, 2, 1)}
    | {(rows, 4) for rows in (TALL_4, MIDDLE_4, 2, 1)}
)
SPECIAL = [np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, 2.5, -3.0, 1e-30, -1e30]

compiled = functools.partial(numba.njit, error_model="numpy")
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")


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
def test_power_of_two_from_the_lowest_to_the_highest(dtype):
    magic, bias = {"float32": (1.5 * 2.0**23, 127), "float64": (1.5 * 2.0**52, 1023)}[dtype]
    run, n = elementwise(simd.power_of_two, 1), lanes(dtype)
    exponents = np.resize(np.arange(-bias, bias + 2), (-(-(2 * bias + 2) // n), n))
    for powers in exponents:
        out = np.empty(n, dtype)
        run((powers + magic + bias).astype(dtype), out)
        expected = np.ldexp(1.0, np.minimum(powers, bias)).astype(dtype)
        expected[powers == -bias], expected[powers == bias + 1] = 0.0, np.inf
        np.testing.assert_array_equal(out, expected)


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


# --- tiles -----------------------------------------------------------------------------------------------------------


@functools.cache
def tile_kernel(shape):
    """out = acc + a b by one tile: numbers from row to row (``_row``) and from k to k (``_k``) of each array."""
    rows, vectors = shape

    @compiled
    def run(acc, acc_row, a, a_row, a_k, b, b_k, count, out, out_row):
        tile = tile_load(tile_shape(rows, vectors), pointer(acc), acc_row)
        tile_store(tile_dot(tile, pointer(a), a_row, a_k, pointer(b), b_k, count), pointer(out), out_row)

    return run


@functools.cache
def panel_kernel(shape):
    """The same by `panel_dot`: one row of a, the tile's rows are panels of b, ``b_row`` apart."""
    rows, vectors = shape

    @compiled
    def run(acc, acc_row, a, a_k, b, b_row, b_k, count, out, out_row):
        tile = tile_load(tile_shape(rows, vectors), pointer(acc), acc_row)
        tile_store(panel_dot(tile, pointer(a), a_k, pointer(b), b_row, b_k, count), pointer(out), out_row)

    return run


def with_gaps(array, width):
    """Copy with rows of ``width`` numbers, NaN after the valid ones."""
    out = np.full((len(array), width), np.nan, array.dtype)
    out[:, : array.shape[1]] = array
    return out


def random(rng, dtype, *shape):
    return rng.normal(size=shape).astype(dtype)


@each_dtype
@each_shape
@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_tile_dot(shape, dtype, count):
    rng, rows, columns = np.random.default_rng(count), shape[0], shape[1] * lanes(dtype)
    acc, a, b = random(rng, dtype, rows, columns), random(rng, dtype, rows, count), random(rng, dtype, count, columns)
    out = np.full((rows, columns + 3), -7.0, dtype)
    tile_kernel(shape)(
        with_gaps(acc, columns + 5), columns + 5, with_gaps(a, count + 2), count + 2, 1, with_gaps(b, columns + 1),
        columns + 1, count, out, columns + 3,
    )  # fmt: skip
    expected = acc.astype(np.float64) + a.astype(np.float64) @ b.astype(np.float64)
    tolerance = 20 * np.finfo(dtype).eps if count else 0.0
    np.testing.assert_allclose(out[:, :columns], expected, rtol=tolerance, atol=tolerance)
    assert np.all(out[:, columns:] == -7.0)


@each_dtype
@each_shape
def test_tile_of_one_repeated_row_and_of_transposed_a(shape, dtype):
    rng, rows, columns, count = np.random.default_rng(0), shape[0], shape[1] * lanes(dtype), 9
    bias, a, b = random(rng, dtype, columns), random(rng, dtype, count, rows), random(rng, dtype, count, columns)
    out = np.empty((rows, columns), dtype)
    tile_kernel(shape)(bias, 0, with_gaps(a, rows + 3), 1, rows + 3, b, columns, count, out, columns)
    expected = bias.astype(np.float64) + a.astype(np.float64).T @ b.astype(np.float64)
    np.testing.assert_allclose(out, expected, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


@each_dtype
@each_shape
def test_a_row_has_the_same_bits_in_every_tile(shape, dtype):
    rng, (rows, vectors), count = np.random.default_rng(1), shape, 200
    columns = vectors * lanes(dtype)
    acc, a, b = random(rng, dtype, rows, columns), random(rng, dtype, rows, count), random(rng, dtype, count, columns)
    out, alone = np.empty((rows, columns), dtype), np.empty((1, columns), dtype)
    tile_kernel(shape)(acc, columns, a, count, 1, b, columns, count, out, columns)
    for r in range(rows):
        tile_kernel((1, vectors))(acc[r], columns, a[r], count, 1, b, columns, count, alone, columns)
        np.testing.assert_array_equal(bits(out[r]), bits(alone[0]))


@each_dtype
@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (2, 4)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_panels_of_one_row_have_the_bits_of_a_tile(shape, dtype):
    rng, (panels, vectors), count = np.random.default_rng(2), shape, 77
    columns = vectors * lanes(dtype)
    acc, a = random(rng, dtype, panels, columns), with_gaps(random(rng, dtype, count, 1), 2)
    b = random(rng, dtype, panels, count + 1, columns)
    b[:, count] = np.nan
    out, alone = np.full((panels, columns + 1), -7.0, dtype), np.empty((1, columns), dtype)
    panel_kernel(shape)(acc, columns, a, 2, b, (count + 1) * columns, columns, count, out, columns + 1)
    for p in range(panels):
        tile_kernel((1, vectors))(acc[p], columns, a, 2, 2, b[p], columns, count, alone, columns)
        np.testing.assert_array_equal(bits(out[p, :columns]), bits(alone[0]))
    expected = acc + np.einsum("k,pkn->pn", a[:, 0].astype(np.float64), b[:, :count].astype(np.float64))
    np.testing.assert_allclose(out[:, :columns], expected, rtol=1e-5, atol=200 * np.finfo(dtype).eps)
    assert np.all(out[:, columns:] == -7.0)


@each_dtype
@each_shape
def test_sums_begin_with_the_tile_and_run_over_rising_k(shape, dtype):
    rows, columns = shape[0], shape[1] * lanes(dtype)
    big = 2.0 ** (np.finfo(dtype).nmant + 1)  # big + 1 = big
    one_row, out = np.ones((3, columns), dtype), np.empty((rows, columns), dtype)
    for start, terms, expected in (
        (0.0, (big, 1.0, -big), 0.0),
        (0.0, (big, -big, 1.0), 1.0),
        (big, (1.0, -big, 0.0), 0.0),
    ):
        acc, a = np.full((rows, columns), start, dtype), np.tile(np.array(terms, dtype), (rows, 1))
        tile_kernel(shape)(acc, columns, a, 3, 1, one_row, columns, 3, out, columns)
        np.testing.assert_array_equal(out, expected)
        if rows == 2:
            panel_kernel(shape)(acc, columns, a, 1, one_row, 0, columns, 3, out, columns)
            np.testing.assert_array_equal(out, expected)


@each_dtype
@each_shape
def test_tile_of_zeros_and_its_number_of_rows(shape, dtype):
    (rows, vectors), tile_zero = shape, simd.tile_zero

    @compiled
    def run(out, row):
        tile_store(tile_zero(tile_shape(rows, vectors), pointer(out)), pointer(out), row)
        return len(tile_shape(rows, vectors))

    out = np.full((rows + 1, vectors * lanes(dtype) + 1), np.nan, dtype)
    assert run(out, out.shape[1]) == rows
    assert np.all(out[:rows, :-1] == 0.0)
    assert np.isnan(out[rows]).all()
    assert np.isnan(out[:, -1]).all()
