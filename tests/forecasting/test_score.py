"""The score of a forecaster: scaled errors of what came after the series, forecast from what came before."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

from fastrecur.forecasting import backtest
from tests.forecasting.conftest import FORECASTERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KNOWN = np.random.default_rng(1).normal(size=(60, 2))


def scaled_error(truth, forecast, fitted):
    """Minus the mean absolute error over the mean absolute change in the series of fit: one feature after the other."""
    errors = []
    for feature in range(truth.shape[1]):
        change = np.mean([abs(b - a) for a, b in zip(fitted[:-1, feature], fitted[1:, feature], strict=True)])
        errors.append(np.mean(np.abs(truth[:, feature] - forecast[:, feature])) / change)
    return -np.mean(errors)


@pytest.mark.parametrize("cls", FORECASTERS)
@pytest.mark.parametrize("parameters", [{}, {"strategy": "recursive"}, {"quantiles": [0.2, 0.9]}], ids=str)
def test_one_horizon(cls, parameters, quick, waves):
    forecaster = quick(cls, **parameters).fit(waves[:57])
    expected = scaled_error(waves[57:], forecaster.predict(), waves[:57])
    assert forecaster.score(waves[57:]) == pytest.approx(expected, rel=1e-12)
    fewer = scaled_error(waves[57:59], forecaster.predict(2), waves[:57])
    assert forecaster.score(waves[57:59]) == pytest.approx(fewer, rel=1e-12)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_several_horizons(strategy, quick, waves):
    """Eight steps at a horizon of three: from steps 0 and 3, and from 5 for the last two."""
    forecaster = quick(strategy=strategy).fit(waves[:50], KNOWN[:50])
    parts = []
    for begin, kept in ((50, slice(None)), (53, slice(None)), (55, slice(1, None))):
        known = {"exog": KNOWN[begin : begin + 3], "past_exog": KNOWN[:begin]}
        parts.append(forecaster.predict(series=waves[:begin], **known)[kept])
    expected = scaled_error(waves[50:58], np.concatenate(parts), waves[:50])
    assert forecaster.score(waves[50:58], KNOWN[50:58]) == pytest.approx(expected, rel=1e-9)


def test_a_step_is_forecast_from_what_came_before_it(quick, waves):
    """What comes later changes no forecast: with a value changed, only its own error and later ones differ."""
    forecaster = quick(horizon=1).fit(waves[:50])
    expected = forecaster.score(waves[50:54])
    changed = waves[50:54].copy()
    changed[3] += 1000.0
    change = np.abs(np.diff(waves[:50], axis=0)).mean(axis=0)
    forecast = forecaster.predict(series=waves[:53])
    more = np.abs(forecast - changed[3]) - np.abs(forecast - waves[53])
    assert expected - forecaster.score(changed) == pytest.approx((more / change).mean() / 4, rel=1e-9)


def test_the_unit_does_not_matter(quick, waves):
    plain = quick(dtype="float64").fit(waves[:50]).score(waves[50:])
    other = quick(dtype="float64").fit(1000 * waves[:50] + 7).score(1000 * waves[50:] + 7)
    assert other == pytest.approx(plain, rel=1e-6)


def test_a_panel(quick, waves):
    forecaster = quick().fit([waves[:50], 3 * waves[:40]])
    forecasts = forecaster.predict()
    parts = [
        scaled_error(waves[50:53], forecasts[0], waves[:50]),
        scaled_error(3 * waves[40:43], forecasts[1], 3 * waves[:40]),
    ]
    assert forecaster.score([waves[50:53], 3 * waves[40:43]]) == pytest.approx(np.mean(parts))


def test_features_that_never_changed(quick, waves):
    constant = np.column_stack([waves[:, 0], np.full(60, 3.0)])
    forecaster = quick().fit(constant[:57])
    expected = scaled_error(constant[57:, :1], forecaster.predict()[:, :1], constant[:57, :1])
    assert forecaster.score(constant[57:]) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(quick(linear=False).fit(np.ones(57)).score(np.ones(3)))


# --- searches --------------------------------------------------------------------------------------------------------


def test_a_search_scores_as_the_backtest_does(quick, waves):
    """Of one feature the mean absolute scaled error with a season of 1, split by split."""
    cv = TimeSeriesSplit(4, test_size=3)
    for series in (waves[:, 0], pd.Series(waves[:, 0], pd.date_range("2025-03-28", periods=60, freq="h", tz="CET"))):
        found = cross_val_score(quick(), series, cv=cv)
        np.testing.assert_allclose(found, -backtest(quick(), series, n_splits=4).mase, rtol=1e-9)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_grid_search(frame, quick, waves):
    search = GridSearchCV(quick(), {"window": [4, 12], "linear": [True, False]}, cv=TimeSeriesSplit(3, test_size=3))
    search.fit(frame({"u": waves[:, 0], "v": waves[:, 1]}))
    assert search.best_params_["linear"]  # three epochs teach the network nothing
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(2).shape == (2, 2)
    assert list(search.best_estimator_.predict().columns) == ["u", "v"]


def test_known_inputs_are_routed(quick, waves):
    cv = TimeSeriesSplit(3, test_size=3)
    with config_context(enable_metadata_routing=True):
        forecaster = quick().set_fit_request(exog=True).set_score_request(exog=True)
        search = GridSearchCV(forecaster, {"window": [4, 12]}, cv=cv).fit(waves, exog=KNOWN)
    expected = [
        np.mean([quick(window=window).fit(waves[a], KNOWN[a]).score(waves[b], KNOWN[b]) for a, b in cv.split(waves)])
        for window in (4, 12)
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input(quick, waves):
    with pytest.raises(NotFittedError):
        quick().score(waves)
    forecaster, panel, known = quick().fit(waves), quick().fit([waves, waves]), quick().fit(waves, KNOWN)
    for call, text in (
        (lambda: forecaster.score([waves, waves]), "after the one series of fit, found a list of 2. To split a panel"),
        (lambda: panel.score(waves), "after a list of the 2 series of fit, found one"),
        (lambda: panel.score([waves]), "after a list of the 2 series of fit, found a list of 1"),
        (lambda: forecaster.score(waves[:, :1]), r"series has 1 feature\(s\), but fit saw 2"),
        (lambda: forecaster.score(waves[:3], KNOWN[:3]), r"fit saw 0 known input\(s\), so that exog, .*must be None"),
        (lambda: known.score(waves[:3]), r"fit saw 2 known input\(s\), so that exog, those beside series, is needed"),
        (lambda: known.score(waves[:3], KNOWN[:4]), r"exog has 4 row\(s\), but series has 3"),
        (lambda: known.score(waves[:3], KNOWN[:3, :1]), r"exog has 1 column\(s\), but in fit exog had 2"),
        (
            lambda: known.score(waves[:2], KNOWN[:2]),
            r"exog has 2 row\(s\), but strategy='direct' was fitted for 3",
        ),
        (lambda: forecaster.score(np.full((3, 2), np.nan)), "series contains NaN"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_the_index_must_go_on(quick, waves):
    """As it does not where a search splits a series as if its rows were independent."""
    series = pd.Series(waves[:, 0], pd.date_range("2020-01-01", periods=60))
    forecaster = quick().fit(series[:50])
    forecaster.score(series[50:])
    with pytest.raises(ValueError, match=r"runs from 2020-02-21 .*, but the steps to come are 2020-02-20"):
        forecaster.score(series[51:])
    with pytest.raises(ValueError, match="The index of series runs from"):
        cross_val_score(quick(), series, cv=5, error_score="raise")
