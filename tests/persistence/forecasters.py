"""Small forecasters for tests, and what makes two of them, or their forecasts, the same."""

import numpy as np
import pandas as pd

import fastrecur
from fastrecur import GRUForecaster
from fastrecur.forecasting import state
from tests.helpers import assert_same_estimator, assert_same_value

T, H = 60, 3
WAVES = np.column_stack([np.sin(np.arange(T) * np.pi / 3), 100 + 5 * np.cos(np.arange(T) * np.pi / 3)])
WAVES = WAVES + np.random.default_rng(0).normal(scale=0.05, size=WAVES.shape)
KNOWN = np.random.default_rng(1).normal(size=(T + H, 2))


def quick(cls=GRUForecaster, **parameters):
    settings = {"window": 6, "horizon": H, "hidden_size": 4, "max_iter": 3, "n_threads": 1, "random_state": 0}
    return cls(**settings | parameters)


def saved_and_loaded(forecaster, path):
    forecaster.save(path)
    return fastrecur.load(path)


def assert_same_forecaster(loaded, forecaster):
    """The same parameters, network and state, of the same types."""
    assert type(loaded) is type(forecaster)
    assert_same_value(loaded.get_params(), forecaster.get_params())
    assert_same_estimator(loaded.network_, forecaster.network_)
    assert vars(loaded).keys() == vars(forecaster).keys()
    found, expected = (
        state.to_plain({name: value for name, value in vars(model).items() if name != "network_"})
        for model in (loaded, forecaster)
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_same_value(found[name], value)
    for name in ("feature_names_in_", "exog_names_in_"):
        assert_same_value(getattr(loaded, name, None), getattr(forecaster, name, None))


def assert_same_forecasts(a, b):
    """Arrays, Series, DataFrames of pandas and polars, or lists of them, of the same bits, names and indices."""
    assert type(a) is type(b)
    if isinstance(a, list):
        for one, other in zip(a, b, strict=True):
            assert_same_forecasts(one, other)
    elif isinstance(a, np.ndarray):
        assert_same_value(a, b)
    elif isinstance(a, pd.Series):
        pd.testing.assert_series_equal(a, b, check_exact=True, check_freq=True)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=True)
    else:
        assert a.equals(b)
