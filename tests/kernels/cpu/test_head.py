"""The kernels of the head: probabilities, the split into blocks and shares, sums in one order.

The numbers themselves are compared with NumPy in ``tests/network/test_head.py``. Letters: M rows, I inputs, K outputs.
"""

import numpy as np
import pytest

from fastrecur.kernels.cpu import panels
from fastrecur.kernels.cpu.head import ROW_BLOCK, head_forward, softmax
from fastrecur.kernels.cpu.head_gradient import CHUNK, head_gradient, scratch_size
from fastrecur.kernels.cpu.target import TALL_2

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_loss = pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])


def normal(seed, dtype, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# --- probabilities ---------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("n_outputs", [1, 2, 7, 100])
def test_softmax(n_outputs, dtype):
    logits = 5.0 * normal(0, dtype, 6, n_outputs)
    logits[1] += 1e4
    logits[2, 0] = -1e30
    out = np.full_like(logits, np.nan)
    softmax(logits, out)
    z = logits.astype(np.float64)
    expected = np.exp(z - z.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(out, expected, rtol=10 * np.finfo(dtype).eps, atol=0.0)


# --- outputs ---------------------------------------------------------------------------------------------------------


def pack(weight, bias):
    layout, dtype = panels.panel_layout("rnn", len(bias), bias.dtype), bias.dtype
    w = np.full((layout.n_panels, weight.shape[1], 2 * panels.lanes(dtype)), np.nan, dtype)
    packed_bias = np.full((layout.n_panels, 2 * panels.lanes(dtype)), np.nan, dtype)
    maps = layout.features, layout.hidden, layout.bias_features, layout.bias_hidden
    panels.pack_layer(weight, weight[:, :0].copy(), bias, bias[:0], *maps, w, packed_bias, w[:0])
    return w, packed_bias


@each_dtype
@pytest.mark.parametrize("n_outputs", [5, 32, 205])
def test_outputs_in_any_shares(n_outputs, dtype):
    """Shares of one row, of less than a tile, of more than a block: the same bits, and nothing beside the share."""
    n_rows, n_inputs = 2 * ROW_BLOCK + 11, 9
    w, bias = pack(normal(0, dtype, n_outputs, n_inputs), normal(1, dtype, n_outputs))
    x = normal(2, dtype, n_rows, 1, n_inputs)

    def forward(out, *bounds):
        scratch = np.full((len(bounds) - 1, TALL_2 * w.shape[2]), np.nan, dtype)
        head_forward(w, bias, x, n_inputs, out, scratch, np.array(bounds))

    whole = np.full((n_rows, n_outputs), np.nan, dtype)
    forward(whole, 0, n_rows)
    assert np.isfinite(whole).all()
    out = np.full_like(whole, np.nan)
    forward(out, 0, 1, 6, n_rows - 3, n_rows)
    np.testing.assert_array_equal(out, whole)
    out[:] = np.nan
    forward(out, 4, 9)
    np.testing.assert_array_equal(out[4:9], whole[4:9])
    assert np.isnan(out[:4]).all()
    assert np.isnan(out[9:]).all()


# --- gradient --------------------------------------------------------------------------------------------------------


def gradient(loss, n_outputs, n_inputs, n_rows, dtype, n_blocks, block, shards):
    """Loss, dx, dW and db of a random problem, by blocks and shares of the caller's choice; scratch is NaN."""
    weight, bias = normal(0, dtype, n_outputs, n_inputs), normal(1, dtype, n_outputs)
    x, rng = normal(2, dtype, n_rows, 1, n_inputs), np.random.default_rng(3)
    targets = rng.integers(n_outputs, size=n_rows) if loss == "cross_entropy" else rng.normal(size=(n_rows, n_outputs))
    rows, weights = rng.permutation(n_rows), rng.uniform(0.5, 2.0, size=n_rows)
    dweight, dbias, dx = np.zeros_like(weight), np.zeros_like(bias), np.full_like(x, np.nan)
    size = scratch_size(n_outputs, n_inputs, panels.lanes(dtype), n_blocks, block, len(shards) - 1)
    scratch = panels.aligned_empty((size,), np.dtype(dtype))
    scratch[:] = np.nan
    value = head_gradient(
        x, n_inputs, weight, bias, rows, targets, weights, 0.5, dweight, dbias, dx, scratch, n_blocks, block,
        np.asarray(shards),
    )  # fmt: skip
    return value, dx, dweight, dbias


@each_dtype
@each_loss
@pytest.mark.parametrize("n_inputs", [3, 64, 70])
def test_gradient_in_any_blocks_and_shares(n_inputs, loss, dtype):
    n_outputs, n_rows, pair = CHUNK + 41, 201, 2 * panels.lanes(dtype)
    n_tiles = -(-n_outputs // TALL_2) * -(-n_inputs // pair)
    expected = gradient(loss, n_outputs, n_inputs, n_rows, dtype, 1, -(-n_rows // pair) * pair, [0, n_tiles])
    assert all(np.isfinite(part).all() for part in expected)
    for n_blocks, block, shards in (
        (1, pair, [0, n_tiles]),
        (3, 2 * pair, [0, n_tiles]),
        (2, pair, [0, 1, n_tiles]),
        (5, pair, [0, n_tiles // 3, n_tiles]),
        (4, 3 * pair, [0, 0, 2, n_tiles]),
    ):
        found = gradient(loss, n_outputs, n_inputs, n_rows, dtype, n_blocks, block, shards)
        for part, whole in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, whole)


@each_loss
def test_gradient_of_no_rows_is_nothing(loss):
    value, dx, dweight, dbias = gradient(loss, 5, 3, 0, "float32", 1, 32, [0, 1])
    assert value == 0.0
    assert dx.size == 0
    assert not dweight.any()
    assert not dbias.any()


def test_sums_run_over_rising_rows():
    """The weight gradient of rows 2^24, 1, -2^24 is 0 in float32, that of 2^24, -2^24, 1 is 1: no pairs, no reorder."""
    big = 2.0**24
    for terms, expected in (((big, 1.0, -big), 0.0), ((big, -big, 1.0), 1.0)):
        x = np.array(terms, np.float32).reshape(3, 1, 1)
        weight, bias, dweight, dbias = (np.zeros(shape, np.float32) for shape in ((1, 1), 1, (1, 1), 1))
        scratch = np.full(scratch_size(1, 1, panels.lanes("float32"), 1, 64, 1), np.nan, np.float32)
        targets = np.full((3, 1), -1.0)
        head_gradient(
            x, 1, weight, bias, np.arange(3), targets, np.ones(3), 1.0, dweight, dbias, np.empty_like(x), scratch, 1,
            64, np.array([0, 1]),
        )  # fmt: skip
        assert dweight[0, 0] == expected
        assert dbias[0] == 3.0
