"""Register tiles against NumPy, number by number, and the order of their sums."""

import functools
import platform
import re

import numba
import numpy as np
import pytest

from fastrecur.kernels.cpu import tile
from fastrecur.kernels.cpu.simd import pointer
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
from fastrecur.kernels.cpu.tile import panel_dot, tile_dot, tile_dot_asking, tile_load, tile_shape, tile_store

#: Rows and vectors of every tile that the kernels use.
SHAPES = sorted(
    {(rows, 2) for rows in (TALL_2, MIDDLE_2, 2, 1)}
    | {(rows, 3) for rows in (TALL_3, MIDDLE_3, 2, 1)}
    | {(rows, 4) for rows in (TALL_4, MIDDLE_4, 2, 1)}
)

compiled = functools.partial(numba.njit, error_model="numpy")
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")


def lanes(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def bits(array):
    return array.view(array.dtype.str.replace("f", "u"))


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


@functools.cache
def asking_kernel(shape):
    """The same by `tile_dot_asking`, side by side in k, for ``asked_k`` bytes a k."""
    rows, vectors = shape

    @compiled
    def run(acc, acc_row, a, a_row, b, b_k, count, out, out_row, asked, asked_k):
        tile, memory = tile_load(tile_shape(rows, vectors), pointer(acc), acc_row), pointer(asked)
        tile = tile_dot_asking(tile, pointer(a), a_row, 1, pointer(b), b_k, count, memory, asked_k, asked_k)
        tile_store(tile, pointer(out), out_row)

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
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_a_tile_that_asks_has_the_same_bits_wherever_it_asks(shape, dtype, count):
    rows, columns, rng = shape[0], shape[1] * lanes(dtype), np.random.default_rng(count)
    acc, a, b = random(rng, dtype, rows, columns), random(rng, dtype, rows, 11), random(rng, dtype, 11, columns)
    expected = np.empty_like(acc)
    tile_kernel(shape)(acc, columns, a, 11, 1, b, columns, count, expected, columns)
    for asked_k in (0, 7, 64, -(2**40)):
        out = np.empty_like(acc)
        asking_kernel(shape)(acc, columns, a, 11, b, columns, count, out, columns, b, asked_k)
        np.testing.assert_array_equal(bits(out), bits(expected))


@pytest.mark.skipif(not HAS_FMA or platform.machine() not in ("x86_64", "AMD64"), reason="reads x86's names")
@each_dtype
@each_shape
def test_no_tile_leaves_its_registers(shape, dtype):
    kernel, numbers = tile_kernel(shape), np.zeros((9, 9), dtype)
    kernel(numbers, 0, numbers, 0, 0, numbers, 0, 0, np.zeros((shape[0], shape[1] * lanes(dtype)), dtype), 0)
    loops = loops_of(kernel)
    assert loops
    assert not any("(%rsp)" in block for block in loops)


@pytest.mark.skipif(not HAS_FMA or platform.machine() not in ("x86_64", "AMD64"), reason="reads x86's names")
@each_dtype
@each_shape
def test_no_tile_that_asks_leaves_its_registers(shape, dtype):
    """Its addresses may, of which four steps have more."""
    kernel, numbers = asking_kernel(shape), np.zeros((9, 9), dtype)
    out = np.zeros((shape[0], shape[1] * lanes(dtype)), dtype)
    kernel(numbers, 0, numbers, 0, numbers, 0, 0, out, 0, numbers, 0)
    lines = [line.split("#")[0].strip() for block in loops_of(kernel) for line in block.splitlines()]
    assert any(line.startswith("prefetch") for line in lines)
    assert not [line for line in lines if line.startswith("v") and "(%rsp)" in line]


def loops_of(kernel):
    """The blocks of a kernel's machine code that multiply and add."""
    blocks = [block for code in kernel.inspect_asm().values() for block in re.split(r"\n\S+:\n", code)]
    return [block for block in blocks if "vfmadd" in block]


@pytest.mark.parametrize(
    ("rows", "tall", "middle", "expected"),
    [(32, 6, 4, 24), (64, 6, 4, 60), (9, 6, 4, 0), (8, 6, 4, 0), (3, 6, 4, 0), (6, 6, 4, 6), (7, 6, 4, 6), (7, 3, 2, 3)]
    + [(32, 12, 4, 24), (27, 12, 4, 24), (34, 8, 4, 32), (0, 6, 4, 0)],
)
def test_two_middle_tiles_stand_for_a_tall_one_and_single_rows(rows, tall, middle, expected):
    @compiled
    def run(rows):
        return tile.tall_rows(rows, tile_shape(tall, 2), tile_shape(middle, 2))

    assert run(rows) == expected


@each_dtype
@each_shape
def test_tile_of_zeros_and_its_number_of_rows(shape, dtype):
    (rows, vectors), tile_zero = shape, tile.tile_zero

    @compiled
    def run(out, row):
        tile_store(tile_zero(tile_shape(rows, vectors), pointer(out)), pointer(out), row)
        return len(tile_shape(rows, vectors))

    out = np.full((rows + 1, vectors * lanes(dtype) + 1), np.nan, dtype)
    assert run(out, out.shape[1]) == rows
    assert np.all(out[:rows, :-1] == 0.0)
    assert np.isnan(out[rows]).all()
    assert np.isnan(out[:, -1]).all()


@each_dtype
@each_shape
def test_a_shifted_tile_leaves_its_first_vectors_behind_and_takes_others_on(shape, dtype):
    (rows, vectors), tile_shift, n = shape, tile.tile_shift, lanes(dtype)

    @compiled
    def run(acc, acc_row, first, first_row, last, last_row, out, out_row):
        taken = tile_load(tile_shape(rows, vectors), pointer(acc), acc_row)
        shifted = tile_shift(taken, pointer(first), first_row, pointer(last), last_row)
        tile_store(shifted, pointer(out), out_row)

    rng = np.random.default_rng(0)
    acc, last = random(rng, dtype, rows, vectors * n), random(rng, dtype, rows, n)
    first, out = np.full((rows, n + 1), np.nan, dtype), np.full((rows, vectors * n + 3), np.nan, dtype)
    run(acc, vectors * n, first, n + 1, with_gaps(last, n + 2), n + 2, out, vectors * n + 3)
    np.testing.assert_array_equal(first[:, :n], acc[:, :n])
    np.testing.assert_array_equal(out[:, : vectors * n], np.hstack([acc[:, n:], last]))
    assert np.isnan(first[:, n:]).all()
    assert np.isnan(out[:, vectors * n :]).all()
    run(acc, vectors * n, first, n + 1, last[0].copy(), 0, out, vectors * n + 3)  # the same for every row
    np.testing.assert_array_equal(out[:, (vectors - 1) * n : vectors * n], np.repeat(last[:1], rows, axis=0))


@functools.cache
def square_kernel():
    """out += acc, transposed, by a square tile."""

    @compiled
    def run(acc, acc_row, out, out_row):
        square = tile.tile_square(pointer(out))
        transposed = tile.tile_transpose(tile_load(square, pointer(acc), acc_row))
        tile.tile_add(transposed, pointer(out), out_row)
        return len(square)

    return run


@each_dtype
def test_a_square_tile_transposed_and_added(dtype):
    rng, n = np.random.default_rng(0), lanes(dtype)
    acc, before = random(rng, dtype, n, n), random(rng, dtype, n, n)
    out = with_gaps(before, n + 3)
    assert square_kernel()(with_gaps(acc, n + 2), n + 2, out, n + 3) == n
    np.testing.assert_array_equal(out[:, :n], before + acc.T)
    assert np.isnan(out[:, n:]).all()
