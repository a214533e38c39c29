"""Weights that lie too far away are asked for ahead of time, by tall tiles: that changes no bit."""

import numpy as np
import pytest

from fastrecur.kernels.cpu.target import FAR_WEIGHTS, TALL_2
from fastrecur.layers import GRU, LSTM, RNN

#: Hidden units whose recurrent weights alone are as many bytes, in float32.
SIZES = {"RNN": (RNN, 736), "LSTM": (LSTM, 368), "GRU": (GRU, 432)}


def passes(layer, x, dy):
    """Outputs without and with a record, and dx."""
    y, _ = layer.forward(x)
    recorded, state = layer.forward(x, training=True)
    dx, _ = layer.backward(dy, state)
    return y, recorded, dx


@pytest.mark.skipif(FAR_WEIGHTS > 2**21, reason="with AVX-512 no weights are far")
@pytest.mark.parametrize(("cls", "n_hidden"), SIZES.values(), ids=SIZES)
def test_rows_have_the_bits_that_each_has_alone(cls, n_hidden):
    layer, rng = cls(5, n_hidden, random_state=0), np.random.default_rng(1)
    assert layer.parameters["weight_hh_l0"].nbytes >= FAR_WEIGHTS
    x = rng.normal(size=(2 * TALL_2 + 1, 3, 5)).astype(np.float32)
    dy = rng.normal(size=(*x.shape[:2], n_hidden)).astype(np.float32)
    together = [part.copy() for part in passes(layer, x, dy)]
    for row in range(len(x)):
        alone = passes(layer, x[row : row + 1], dy[row : row + 1])
        for one, all_rows in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_rows[row])
