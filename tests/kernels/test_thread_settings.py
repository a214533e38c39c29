"""What threads leave alone: the process's OpenMP settings, a mask of Numba's threads, other processes."""

import numpy as np
import pytest

from fastrecur.kernels import threads

# --- how much is worth a thread --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_steps", "n_shares"), [(25, 1), (50, 2)])
def test_a_small_lstm_is_shared_and_half_of_it_is_not(n_steps, n_shares):
    """32 rows, 8 features, 32 units."""
    assert len(threads.row_shards(np.full(32, n_steps), 4 * 32 * (8 + 32), 2)) - 1 == n_shares
