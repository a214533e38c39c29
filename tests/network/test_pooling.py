"""Mean and largest states of packed batches, in pieces too, against plain NumPy."""

import numpy as np
import pytest

from fastrecur.network.model import Model
from fastrecur.network.pooling import RunningPool
from fastrecur.sequences import check_sequences

LENGTHS = (70, 3, 64, 65, 1, 130)
NAIVE = {"last": lambda h: h[-1], "mean": lambda h: h.mean(axis=0), "max": lambda h: h.max(axis=0)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_directions", [1, 2])
@pytest.mark.parametrize("pooling", NAIVE)
def test_pooled_states_are_those_of_numpy(pooling, n_directions, dtype):
    model = Model("lstm", 2, 5, 2, 1, n_directions, False, dtype, pooling)
    model.initialise(np.random.RandomState(0))
    rng = np.random.default_rng(0)
    sequences = check_sequences([rng.normal(size=(length, 2)) for length in LENGTHS])
    states = sequences.unstack(model.hidden_states(sequences, 1))
    expected = np.array([NAIVE[pooling](h.astype(np.float64)) for h in states])
    if pooling == "last" and n_directions == 2:
        expected[:, 5:] = [h[0, 5:] for h in states]
    np.testing.assert_allclose(model.pooled(sequences, 1), expected, rtol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("pooling", NAIVE)
def test_a_step_at_a_time_gives_the_same_bits(pooling):
    model = Model("gru", 2, 5, 2, 1, 1, False, "float32", pooling)
    model.initialise(np.random.RandomState(0))
    sequences = check_sequences(np.random.default_rng(0).normal(size=(4, 80, 2)))
    states = sequences.unstack(model.hidden_states(sequences, 1))
    pool = RunningPool(pooling)
    for t in range(80):
        pool = pool.add(states[:, t], t + 1)
    np.testing.assert_array_equal(pool.pooled(80, np.float32), model.pooled(sequences, 1))


def test_of_equal_states_the_first_counts_and_nan_stays_away_from_others():
    pool = RunningPool("max").add(np.array([[1.0, 2.0]]), 1).add(np.array([[3.0, 2.0]]), 2)
    np.testing.assert_array_equal(pool.pooled(2, np.float64), [[3.0, 2.0]])
