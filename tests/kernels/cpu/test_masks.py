"""Masks against the generator written once more in Python's integers, and what they do not depend on."""

import numpy as np
import pytest

from fastrecur.kernels.cpu import masks
from fastrecur.kernels.steps import step_table

SEED, STREAM, RATE = np.uint64(2**63 + 11), 5, 0.3
LENGTHS = [4, 4, 2, 1, 1]

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def number(key, n):
    """Number ``n`` of splitmix64 from ``key`` on."""
    z = (int(key) + (n + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def expected_mask(stream, step, shape, rate=RATE):
    """Mask of one step: 0 where 53 bits, as a number from 0 to 1, are below the rate."""
    key = number(number(number(SEED, 0), stream), step)
    uniform = np.array([(number(key, n) >> 11) / 2**53 for n in range(np.prod(shape))])
    return np.where(uniform < rate, 0.0, 1.0 / (1.0 - rate)).reshape(shape)


def recurrent(*shape, stream=STREAM, seed=SEED, rate=RATE, width=7, dtype="float64"):
    out = np.full(shape, np.nan, dtype)
    masks.recurrent_masks(seed, stream, rate, width, out)
    return out


def dropped(values, steps, step=0, stream=STREAM, width=7, shards=None, out=None):
    """`drop_steps` to a copy."""
    out = np.full_like(values, np.nan) if out is None else out
    shards = np.array([0, steps[0, 1]]) if shards is None else np.asarray(shards)
    masks.drop_steps(values, width, steps, SEED, stream, step, RATE, out, shards)
    return out


def test_the_first_numbers_are_those_of_splitmix64():
    """From seed 1234567, as published with the generator's ports."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [number(1234567, n) for n in range(4)] == expected


@each_dtype
def test_recurrent_masks_are_those_of_the_generator(dtype):
    actual = recurrent(3, 5, 16, dtype=dtype)
    for i in range(3):
        expected = expected_mask(STREAM + i, 0, (5, 7)).astype(dtype)
        np.testing.assert_array_equal(actual[i, :, :7], expected)
    assert np.all(actual[:, :, 7:] == 0.0)


@each_dtype
def test_each_step_has_a_mask_of_its_own(dtype):
    steps, offset = step_table(LENGTHS), 100
    values = np.random.default_rng(0).normal(size=(sum(LENGTHS), 2, 16)).astype(dtype)
    actual = dropped(values, steps, offset)
    assert np.isnan(actual[:, :, 7:]).all()  # not written
    for t, (at, rows, *_) in enumerate(steps):
        mask = expected_mask(STREAM, offset + t, (rows, 2, 7)).astype(dtype)
        np.testing.assert_array_equal(actual[at : at + rows, :, :7], values[at : at + rows, :, :7] * mask)


def test_the_first_rows_do_not_depend_on_the_number_of_rows():
    many = recurrent(2, 33, 16)
    for n_rows in (1, 7, 32):
        np.testing.assert_array_equal(recurrent(2, n_rows, 16), many[:, :n_rows])


def test_masks_do_not_depend_on_padding():
    np.testing.assert_array_equal(recurrent(2, 5, 7), recurrent(2, 5, 32)[:, :, :7])


def test_streams_follow_one_another():
    np.testing.assert_array_equal(recurrent(3, 5, 7)[1:], recurrent(2, 5, 7, stream=STREAM + 1))


def test_chunks_of_time_have_the_masks_of_the_whole():
    ones, steps = np.ones((sum(LENGTHS), 2, 7)), step_table(LENGTHS)
    whole, row = dropped(ones, steps), 0
    for step, lengths in ((0, [1, 1, 1, 1, 1]), (1, [2, 2, 1]), (3, [1, 1])):
        end = row + sum(lengths)
        np.testing.assert_array_equal(dropped(ones[row:end], step_table(lengths), step), whole[row:end])
        row = end
    assert row == len(whole)


def test_neither_shards_nor_the_place_of_the_result_matter():
    steps = step_table(LENGTHS)
    values = np.random.default_rng(0).normal(size=(sum(LENGTHS), 2, 7))
    expected = dropped(values, steps)
    np.testing.assert_array_equal(dropped(values, steps, shards=[0, 1, 4, 5]), expected)
    in_place = values.copy()
    np.testing.assert_array_equal(dropped(in_place, steps, out=in_place), expected)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.2, 0.5, 0.95])
def test_the_share_that_is_dropped(rate):
    mask, n = recurrent(1, 1000, 300, width=300, rate=rate), 300_000
    kept = mask > 0.0
    assert np.all(mask[kept] == 1.0 / (1.0 - rate))
    assert abs(n - kept.sum() - n * rate) <= 5 * np.sqrt(n * rate * (1 - rate))
    for axis in (1, 2):  # of rows and of units alike
        share, size = kept.mean(axis=axis), kept.shape[axis]
        assert np.abs(share - (1 - rate)).max() <= 6 * np.sqrt(rate * (1 - rate) / size) + 2 / size


def test_masks_have_nothing_to_do_with_one_another():
    """Neighbouring seeds, streams, rows, units and steps: the shares dropped in both are products."""
    many = recurrent(2, 300, 300, width=300, rate=0.5) > 0
    other = recurrent(1, 300, 300, width=300, rate=0.5, seed=SEED + np.uint64(1)) > 0
    steps, ones = step_table([2] * 300), np.ones((600, 1, 300))
    by_step = dropped(ones, steps, width=300)[:, 0] > 0
    pairs = {
        "streams": (many[0], many[1]),
        "seeds": (many[0], other[0]),
        "rows": (many[0, 1:], many[0, :-1]),
        "units": (many[0, :, 1:], many[0, :, :-1]),
    }
    for name, (one, two) in pairs.items():
        assert abs((one ^ two).mean() - 0.5) <= 5 * 0.5 / np.sqrt(one.size), name
    different = 2 * RATE * (1 - RATE)
    assert abs((by_step[:300] ^ by_step[300:]).mean() - different) <= 5 * 0.5 / np.sqrt(90_000)


def test_nan_stays():
    values = np.full((1, 1, 100), np.nan)
    assert np.isnan(dropped(values, step_table([1]), width=100)).all()
