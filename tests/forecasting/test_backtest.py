"""Backtests: which steps each split knows, errors against NumPy and scikit-learn."""

from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from fastrecur.forecasting import SeasonalNaive, backtest

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Recording(BaseEstimator):
    """Forecasts the last value, and keeps what it was shown."""

    shown: ClassVar[list] = []

    def __init__(self, horizon=2):
        self.horizon = horizon

    def fit(self, series, exog=None):
        self.shown.append(("fit", np.array(series), exog))
        self.last_ = np.asarray(series)[-1]
        return self

    def predict(self, horizon=None, exog=None):
        self.shown.append(("predict", horizon, exog))
        return np.full((horizon, 1), self.last_)


def test_nothing_is_shown_before_its_time():
    Recording.shown.clear()
    series, known = np.arange(20.0), np.arange(20.0) * 10
    result = backtest(Recording(), series, known, n_splits=3, horizon=4)
    assert [shown[0] for shown in Recording.shown] == ["fit", "predict"] * 3
    for split, end in enumerate((8, 12, 16)):
        _, seen, known_then = Recording.shown[2 * split]
        np.testing.assert_array_equal(seen, series[:end])
        np.testing.assert_array_equal(known_then, known[:end])
        np.testing.assert_array_equal(Recording.shown[2 * split + 1][2], known[end : end + 4])
        np.testing.assert_array_equal(result.truth[split], series[end : end + 4])
    np.testing.assert_array_equal(result.train_sizes, [8, 12, 16])
    np.testing.assert_array_equal(result.mae, [2.5, 2.5, 2.5])


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_the_future_changes_no_forecast_before_it(strategy, refit, quick, waves):
    known = np.random.default_rng(0).normal(size=(60, 1))
    forecaster = quick(strategy=strategy, quantiles=[0.1, 0.9])
    other = waves.copy()
    other[54:] += 1000.0
    results = [backtest(forecaster, series, known, n_splits=4, refit=refit) for series in (waves, other)]
    for split in range(3):  # the steps 48 to 57; the last one has seen those from 54 on
        np.testing.assert_array_equal(results[0].predictions[split], results[1].predictions[split])
        np.testing.assert_array_equal(results[0].quantiles[split], results[1].quantiles[split])
    assert np.abs(results[0].predictions[3] - results[1].predictions[3]).min() > 1


def test_errors(quick, waves):
    levels = np.array([0.1, 0.4, 0.9])
    result = backtest(quick(quantiles=levels), waves, n_splits=4, horizon=3, season_length=6)
    for split, (truth, predicted, quantiles) in enumerate(
        zip(result.truth, result.predictions, result.quantiles, strict=True)
    ):
        train = waves[: result.train_sizes[split]]
        np.testing.assert_allclose(result.mae[split], mean_absolute_error(truth, predicted))
        rmse = root_mean_squared_error(truth.ravel(), predicted.ravel())
        np.testing.assert_allclose(result.rmse[split], rmse)
        scale = np.abs(train[6:] - train[:-6]).mean(axis=0)
        np.testing.assert_allclose(result.mase[split], (np.abs(predicted - truth) / scale).mean())
        pinball = [mean_pinball_loss(truth, quantiles[:, :, q], alpha=level) for q, level in enumerate(levels)]
        np.testing.assert_allclose(result.pinball[split], np.mean(pinball))
    below = np.stack([t[..., np.newaxis] <= q for t, q in zip(result.truth, result.quantiles, strict=True)])
    np.testing.assert_allclose(result.coverage, below.mean(axis=(0, 1, 2)))


def test_without_refit_the_first_fit_continues(quick, waves):
    result = backtest(quick(), waves, n_splits=4, refit=False)
    fitted = quick().fit(waves[:48])
    np.testing.assert_array_equal(result.predictions[0], fitted.predict())
    np.testing.assert_array_equal(result.predictions[2], fitted.predict(series=waves[:54]))


def test_a_longest_training_part(waves):
    result = backtest(SeasonalNaive(6), waves, n_splits=3, horizon=2, max_train_size=20)
    np.testing.assert_array_equal(result.train_sizes, [20, 20, 20])
    assert backtest(SeasonalNaive(6), waves, n_splits=1, horizon=2, max_train_size=20).train_sizes.tolist() == [20]


def test_panels_and_frames(quick, waves):
    panel = [pd.DataFrame(waves), pd.DataFrame(waves[:40])]
    result = backtest(quick(), panel, n_splits=2)
    np.testing.assert_array_equal(result.train_sizes, [[54, 34], [57, 37]])
    assert result.predictions[1][1].index.tolist() == [37, 38, 39]
    alone = [backtest(SeasonalNaive(6, 3), one, n_splits=2) for one in panel]
    both = backtest(SeasonalNaive(6, 3), panel, n_splits=2)
    np.testing.assert_allclose(both.mae, np.mean([one.mae for one in alone], axis=0))
    in_polars = backtest(SeasonalNaive(6, 3), pl.DataFrame(waves), n_splits=2)
    np.testing.assert_array_equal(in_polars.mae, alone[0].mae)


def test_a_series_without_change_has_no_mase():
    result = backtest(SeasonalNaive(), np.ones(20), n_splits=2, horizon=2)
    assert np.isnan(result.mase).all()
    np.testing.assert_array_equal(result.mae, [0.0, 0.0])
