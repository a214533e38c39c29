"""Fixtures of the forecasters' tests."""

import numpy as np
import pytest

from fastrecur import GRUForecaster, LSTMForecaster, RNNForecaster

FORECASTERS = (RNNForecaster, LSTMForecaster, GRUForecaster)


@pytest.fixture
def quick():
    """Make a forecaster that is fitted in a moment: what its forecasts are worth does not matter."""

    def make(cls=GRUForecaster, **parameters):
        return cls(
            **{"window": 6, "horizon": 3, "hidden_size": 4, "max_iter": 3, "n_threads": 1, "random_state": 0}
            | parameters
        )

    return make


@pytest.fixture
def waves():
    """Return two features with a season of 6, a trend and noise: (60, 2)."""
    rng, t = np.random.default_rng(0), np.arange(60)
    return np.column_stack([np.sin(t * np.pi / 3) + 0.02 * t, 100 + 5 * np.cos(t * np.pi / 3)]) + rng.normal(
        scale=0.05, size=(60, 2)
    )
