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


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("width", [1, 3, 32])  # 32 rows of 32 float32: 4096 bytes
@pytest.mark.parametrize("name", LENGTHS)
def test_steps_are_packed_and_unpacked(name, width, several, time_major):
    lengths, rng = np.array(LENGTHS[name]), np.random.default_rng(0)
    n_rows, n_steps = len(lengths), max(1, lengths[0])
    padded = rng.normal(size=(n_rows, n_steps, width))
    shards = np.unique([0, n_rows // 3 if several else 0, n_rows])
    values = (padded.transpose(1, 0, 2) if time_major else padded).reshape(-1, width).copy()
    starts, apart = (np.arange(n_rows), n_rows) if time_major else (np.arange(n_rows) * n_steps, 1)
    steps, expected = Packing(lengths).steps(0), np.array([padded[b, t] for t, b in places(lengths)], np.float32)
    expected = expected.reshape(-1, width)

    packed = np.full((lengths.sum(), 1, width), np.nan, np.float32)
    batches.gather_steps(values, starts, apart, steps, packed, shards)
    np.testing.assert_array_equal(packed[:, 0], expected)

    wide = np.pad(packed, ((0, 0), (0, 0), (0, 5)), constant_values=np.nan)
    starts, valid = np.arange(n_rows) * n_steps, np.arange(n_steps) < lengths[:, np.newaxis]
    for padded_to, given in ((0, lengths[:0]), (n_steps, lengths)):
        back = np.full_like(padded, np.nan)
        batches.scatter_steps(wide, 0, starts, steps, width, back.reshape(-1, width), given, padded_to, shards)
        np.testing.assert_array_equal(back[valid], padded[valid].astype(np.float32))
        np.testing.assert_array_equal(back[~valid], 0.0 if padded_to else np.nan)


def places(lengths):
    """(time step, row) of the packed rows."""
    return [(t, b) for t in range(max(lengths)) for b in np.flatnonzero(lengths > t)]
