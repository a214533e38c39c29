"""A row of a batch has the bits that it has alone, whatever the order of the weights and what is asked for ahead."""

import numpy as np
import pytest

from fastrecur.kernels.cpu.target import FAR_WEIGHTS, TALL_2
from fastrecur.layers import GRU, LSTM, RNN

#: Hidden units whose recurrent weights alone are too many to lie near, in float32.
FAR = {"RNN": (RNN, 736), "LSTM": (LSTM, 368), "GRU": (GRU, 432)}


def passes(layer, x, dy):
    """Outputs without and with a record, and dx."""
    y, _ = layer.forward(x)
    recorded, state = layer.forward(x, training=True)
    dx, _ = layer.backward(dy, state)
    return y, recorded, dx


def check_rows_alone(layer, n_rows, n_steps):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n_rows, n_steps, layer.input_size)).astype(np.float32)
    dy = rng.normal(size=(n_rows, n_steps, layer.hidden_size)).astype(np.float32)
    together = [part.copy() for part in passes(layer, x, dy)]
    for row in range(n_rows):
        alone = passes(layer, x[row : row + 1], dy[row : row + 1])
        for one, all_rows in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], all_rows[row])


@pytest.mark.parametrize("n_rows", [2, 3, 5, 15])  # of 3 and 15, tiles leave one to three over
@pytest.mark.parametrize("n_hidden", [16, 40, 100, 144])  # 1 to 18 panels of 8, 16 or 32 units
@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_few_rows_read_the_panels_up_and_down(cls, n_hidden, n_rows):
    check_rows_alone(cls(5, n_hidden, random_state=0), n_rows, n_steps=7)


@pytest.mark.parametrize(("cls", "n_hidden"), FAR.values(), ids=FAR)
def test_tall_tiles_ask_for_weights_that_lie_far_away(cls, n_hidden):
    layer = cls(5, n_hidden, random_state=0)
    assert layer.parameters["weight_hh_l0"].nbytes >= FAR_WEIGHTS
    check_rows_alone(layer, 2 * TALL_2 + 1, 3)
