"""The GPU's matrix products in the simulator against NumPy, buffers poisoned with NaN."""

import numpy as np
import pytest

from fastrecur.kernels.cuda import products, runtime
from tests.kernels.cuda.simulator import shuffle

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

SIZES = [(1, 1, 1), (3, 5, 2), (16, 16, 16), (17, 15, 33), (2, 33, 17)]


def send(array, dtype="float64"):
    return runtime.to_device(np.asarray(array, dtype))


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_product_equals_numpy(size, transposed):
    m, n, depth = size
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, depth)), rng.normal(size=(depth, n))
    c = send(np.full((m + 1, n + 1), np.nan))
    products.multiply(send(a.T if transposed[0] else a), send(b.T if transposed[1] else b), c, m, n, depth, *transposed)
    result = runtime.to_host(c)
    np.testing.assert_allclose(result[:m, :n], a @ b, rtol=0, atol=1e-13)
    assert np.isnan(result[m]).all()
    assert np.isnan(result[:, n]).all()


@pytest.mark.parametrize("tile", [32, 64])
@pytest.mark.parametrize(
    ("transposed", "indexed"),
    [((False, False), False), ((False, True), False), ((True, False), False), ((True, False), True)],
    ids=str,
)
def test_the_tiles_of_the_gpu(transposed, indexed, tile, monkeypatch):
    """Each layout that is compiled; the simulator's own tile is as wide as deep, and hides which is which."""
    monkeypatch.setattr(products, "_tile", lambda m, n: tile)
    rng, side = np.random.default_rng(0), tile + 1
    a, b, index = rng.normal(size=(side, 18)), rng.normal(size=(18, side)), rng.integers(0, 18, 18)
    given = send(a.T if transposed[0] else a), send(b.T if transposed[1] else b)
    c = send(np.full((side, side), np.nan))
    products.multiply(*given, c, side, side, 18, *transposed, index=send(index, "int32") if indexed else None)
    np.testing.assert_allclose(runtime.to_host(c), a @ (b[index] if indexed else b), rtol=0, atol=1e-13)


def test_parts_of_matrices_bias_and_addition():
    rng = np.random.default_rng(0)
    a, b, c, bias = (rng.normal(size=shape) for shape in ((7, 9), (4, 8), (9, 10), (1, 5)))
    out = send(c)
    products.multiply(
        send(a), send(b), out, 3, 5, 4, a_row=2, a_first=4, b_first=3, c_row=5, c_first=1, bias=send(bias), add=True
    )
    c[5:8, 1:6] += a[2:5, 4:8] @ b[:, 3:8] + bias
    np.testing.assert_allclose(runtime.to_host(out), c, rtol=0, atol=1e-13)


def test_rows_by_index():
    rng = np.random.default_rng(0)
    a, b, index = rng.normal(size=(20, 3)), rng.normal(size=(9, 4)), rng.integers(0, 9, 20)
    c = send(np.full((3, 4), np.nan))
    products.multiply(send(a), send(b), c, 3, 4, 20, transpose_a=True, index=send(index, "int32"))
    np.testing.assert_allclose(runtime.to_host(c), a.T @ b[index], rtol=0, atol=1e-13)


@pytest.mark.parametrize("add", [False, True])
def test_blocks_that_share_a_sum(add, monkeypatch):
    rng = np.random.default_rng(0)
    a, b, before = rng.normal(size=(75, 5)), rng.normal(size=(75, 6)), rng.normal(size=(5, 6))
    results = []
    for seed in range(2):
        shuffle(monkeypatch, seed)
        c, parts = send(before, "float32"), send(np.full(4 * 30, np.nan), "float32")
        options = {"transpose_a": True, "add": add, "parts": parts}
        products.multiply(send(a, "float32"), send(b, "float32"), c, 5, 6, 75, **options)
        assert np.isfinite(runtime.to_host(parts)[:60]).all()  # two parts at least
        results.append(runtime.to_host(c))
    np.testing.assert_allclose(results[0], a.T @ b + add * before, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("shape", [(1, 1), (100, 3), (70, 40)], ids=str)
def test_sums_of_columns(shape):
    a = np.random.default_rng(0).normal(size=(shape[0], shape[1] + 2))
    out = send(np.ones((1, shape[1] + 1)))
    products.add_column_sums(send(a), out, *shape, send(np.full(130, np.nan)), a_first=2, out_first=1)
    result = runtime.to_host(out)
    np.testing.assert_allclose(result[0, 1:], 1.0 + a[:, 2:].sum(axis=0), rtol=0, atol=1e-12)
    assert result[0, 0] == 1.0


def test_rows_beyond_the_blocks_along_y(monkeypatch):
    """CUDA has 65,535 blocks along y and z: the rows of a batch, (B T) x F, have to lie along x."""
    grids, rows = [], 65_536 * 16
    monkeypatch.setattr(products.product, "launch", lambda layout, blocks, *given, **options: grids.append(blocks))
    a, c = (np.empty((rows, 1), "float32") for _ in range(2))
    products.multiply(a, np.empty((1, 1), "float32"), c, rows, 1, 1)
    assert grids == [(65_536, 1, 1)]
