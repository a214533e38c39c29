"""Sequences to packed rows and back, also where the rows of a time step lie a multiple of 4096 bytes apart."""

import numpy as np
import pytest

from fastrecur.kernels.cpu import batches
from fastrecur.network.packing import Packing

LENGTHS = {
    "none": [0],
    "one": [5],
    "equal": [11] * 32,
    "ragged": [20, 20, 17, 9, 9, 8, 3, 1],
    "ragged, many rows": [*range(30, 0, -1), 1, 1],
}


@pytest.mark.parametrize("n_features", [1, 3, 32])  # 32 rows of 32 float32: 4096 bytes
@pytest.mark.parametrize("name", LENGTHS)
def test_steps_are_gathered_and_scattered(name, n_features):
    lengths = np.array(LENGTHS[name])
    packing, rng = Packing(lengths), np.random.default_rng(0)
    values = rng.normal(size=(lengths.sum() + 7, n_features))
    starts = rng.permutation(np.cumsum(lengths) - lengths) if len(set(lengths)) == 1 else np.cumsum(lengths) - lengths
    steps, packed = packing.steps(0), np.full((lengths.sum(), 1, n_features), np.nan, np.float32)
    batches.gather_steps(values, starts, steps, packed)
    expected = [values[start + t] for t in range(lengths[0]) for start in starts[lengths > t]]
    np.testing.assert_array_equal(packed[:, 0], np.array(expected, np.float32).reshape(-1, n_features))
    back = np.full_like(values, np.nan)
    batches.scatter_steps(packed.astype(float), 0, starts, steps, n_features, back)
    np.testing.assert_array_equal(back[:-7], values[:-7].astype(np.float32))
    assert np.isnan(back[-7:]).all()
