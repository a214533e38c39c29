"""Bad input of the forecasters: each refused with the argument, what was found and what would do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from fastrecur import GRUForecaster
from fastrecur.forecasting import SeasonalNaive, backtest
from tests.forecasting.conftest import FORECASTERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", 0),
        ("window", True),
        ("horizon", 1.5),
        ("strategy", "both"),
        ("scaling", "minmax"),
        ("linear", "yes"),
        ("hidden_size", -1),
        ("dtype", "float16"),
    ],
)
def test_parameters(name, value, quick, waves):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of GRUForecaster"):
        quick(**{name: value}).fit(waves)


@pytest.mark.parametrize(
    ("quantiles", "error", "text"),
    [
        ([0.1, 1.0], ValueError, r"between 0 and 1, both excluded, found \[0.1, 1.0\]"),
        ([0.0, 0.5], ValueError, "between 0 and 1"),
        ([-0.2], ValueError, "between 0 and 1"),
        ([np.nan], ValueError, "between 0 and 1"),
        ([0.9, 0.1], ValueError, "must rise, each only once"),
        ([0.1, 0.1], ValueError, "must rise, each only once"),
        ([], ValueError, "quantiles is empty"),
        (["a"], TypeError, "must be a list of numbers"),
        ([[0.1]], TypeError, "must be a list of numbers"),
        (0.5, ValueError, "The 'quantiles' parameter"),
    ],
)
def test_quantiles(quantiles, error, text, quick, waves):
    with pytest.raises(error, match=text):
        quick(quantiles=quantiles).fit(waves)


@pytest.mark.parametrize("cls", FORECASTERS)
def test_short_series(cls, quick, waves):
    text = r"series has 8 time step\(s\), but window=6 and 3 step\(s\) to predict need 9"
    with pytest.raises(ValueError, match=text):
        quick(cls).fit(waves[:8])
    with pytest.raises(ValueError, match=r"series\[1\] has 8 time step"):
        quick(cls).fit([waves, waves[:8]])
    quick(cls, strategy="recursive", early_stopping=False).fit(waves[:8])  # learns one step at a time
    with pytest.raises(ValueError, match=r"series has 5 time step\(s\), but window=6 need 6"):
        quick(cls).fit(waves).predict(series=waves[:5])


def test_series(quick, waves):
    hole = waves.copy()
    hole[17, 1] = np.nan
    for series, error, text in (
        (hole, ValueError, r"series contains NaN: step 17, feature 1"),
        ([waves, hole], ValueError, r"series\[1\] contains NaN: step 17"),
        (pd.DataFrame(hole, pd.period_range("2001-01", periods=60, freq="M")), ValueError, r"step 17 \(2002-06\)"),
        (["a"] * 60, TypeError, "series must hold numbers"),
        (None, ValueError, "series is None"),
        ([], ValueError, "series is empty"),
        ([waves, waves[:, :1]], ValueError, r"series\[1\] has 1 feature"),
    ):
        with pytest.raises(error, match=text):
            quick().fit(series)
    with pytest.raises(ValueError, match=r"series has 1 feature.*fit saw 2"):
        quick().fit(waves).predict(series=waves[:, 0])


def test_horizons(quick, waves):
    forecaster = quick().fit(waves)
    with pytest.raises(ValueError, match=r"horizon=4 is beyond the 3 step\(s\).*Fit with horizon=4, or with strategy"):
        forecaster.predict(4)
    for horizon, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError), (waves, TypeError)):
        with pytest.raises(error, match="horizon must be"):
            forecaster.predict(horizon)
    with pytest.raises(TypeError, match=r"found of type ndarray. .*the series to continue go by name: .*series="):
        forecaster.predict(waves)
    assert quick(strategy="recursive").fit(waves).predict(40).shape == (40, 2)
    assert forecaster.set_params(horizon=9).predict().shape == (3, 2)  # as it was fitted


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_known_inputs(strategy, quick, waves):
    known = np.random.default_rng(0).normal(size=(63, 2))
    forecaster = quick(strategy=strategy)
    for exog, text in (
        (known, r"exog has 63 row\(s\), but series has 60"),
        (known[:59], r"exog has 59 row\(s\), but series has 60"),
        ([known[:60]], "exog must be one, as the series is, found a list of 1"),
        (np.where(known[:60] > 2, np.nan, known[:60]), "exog contains NaN"),
    ):
        with pytest.raises(ValueError, match=text):
            forecaster.fit(waves, exog)
    with pytest.raises(ValueError, match="exog must be a list of 2, as the series is, found one"):
        forecaster.fit([waves, waves], known[:60])
    forecaster.fit(waves, known[:60])
    for exog, text in (
        (None, r"fit saw 2 known input\(s\): predict needs exog, their values at the 3 step\(s\) to come"),
        (known[60:62], r"exog has 2 row\(s\), but 3 step\(s\) are to be forecast"),
        (known[59:], r"exog has 4 row\(s\), but 3 step\(s\)"),
        (known[60:, :1], r"exog has 1 column\(s\), but in fit exog had 2"),
        (known[60:] * np.inf, "exog contains infinity"),
        ([known[60:]], "exog must be one"),
    ):
        with pytest.raises(ValueError, match=text):
            forecaster.predict(exog=exog)
    with pytest.raises(ValueError, match="past_exog, those beside series, is needed"):
        forecaster.predict(exog=known[60:], series=waves)
    with pytest.raises(ValueError, match=r"past_exog has 59 row"):
        forecaster.predict(exog=known[60:], series=waves, past_exog=known[:59])
    with pytest.raises(ValueError, match="past_exog has 1 column"):
        forecaster.predict(exog=known[60:], series=waves, past_exog=known[:60, :1])
    with pytest.raises(ValueError, match="past_exog goes with series"):
        forecaster.predict(exog=known[60:], past_exog=known[:60])
    forecaster.fit(waves)
    with pytest.raises(ValueError, match="fit saw no exog"):
        forecaster.predict(exog=known[60:])
    with pytest.raises(ValueError, match="past_exog, those beside series, must be None"):
        forecaster.predict(series=waves, past_exog=known[:60])


def test_direct_reads_the_known_inputs_of_all_its_steps(quick, waves):
    forecaster = quick().fit(waves, waves)
    with pytest.raises(ValueError, match="exactly these steps, which strategy='direct' was fitted for"):
        forecaster.predict(2, waves[:2])
    assert forecaster.predict(2, waves[:3]).shape == (2, 2)


def test_quantiles_that_were_not_fitted(quick, waves):
    with pytest.raises(ValueError, match="predict_quantiles needs a forecaster fitted with quantiles"):
        quick().fit(waves).predict_quantiles()
    forecaster = quick(quantiles=[0.1, 0.9]).fit(waves).set_params(quantiles=[0.2])
    with pytest.raises(ValueError, match=r"quantiles=\[0.2\] were not fitted, but \[0.1, 0.5, 0.9\]"):
        forecaster.predict_quantiles()


@pytest.mark.parametrize(("horizon", "error"), [(2.5, TypeError), (0, ValueError), (-1, ValueError)])
def test_horizons_of_the_seasonal_naive(horizon, error):
    with pytest.raises(error, match="horizon must be"):
        SeasonalNaive().fit([1.0, 2.0]).predict(horizon)


def test_masked_values_of_the_seasonal_naive():
    with pytest.raises(ValueError, match=r"series has 1 masked value\(s\)"):
        SeasonalNaive().fit(np.ma.masked_greater(np.arange(5.0), 3))


def test_not_fitted(quick):
    for method in (quick().predict, quick(quantiles=[0.5]).predict_quantiles, SeasonalNaive().predict):
        with pytest.raises(NotFittedError):
            method()


def test_a_refused_fit_changes_nothing(quick, waves):
    forecaster = quick().fit(waves)
    expected = forecaster.predict()
    with pytest.raises(ValueError, match="contains NaN"):
        forecaster.fit(np.full(60, np.nan))
    with pytest.raises(ValueError, match="dropout"):
        forecaster.set_params(dropout=0.5, solver="lbfgs").fit(2 * waves)
    np.testing.assert_array_equal(forecaster.predict(), expected)


def test_seasonal_naive_and_backtest():
    with pytest.raises(ValueError, match=r"series has 3 time step\(s\), fewer than season_length=4"):
        SeasonalNaive(season_length=4).fit([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="The 'season_length' parameter"):
        SeasonalNaive(season_length=0).fit([1.0, 2.0])
    series = np.arange(30.0)
    for parameters, error, text in (
        ({"n_splits": 0}, ValueError, "n_splits must be at least 1"),
        ({"n_splits": 2.0}, TypeError, "n_splits must be an int"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1"),
        ({"season_length": -1}, ValueError, "season_length must be at least 1"),
        ({"n_splits": 5, "horizon": 6}, ValueError, "series has 30 time step.*need more than 30"),
        ({"exog": np.arange(29.0)}, ValueError, "exog must have one row"),
        ({"exog": 1.0}, ValueError, "exog must have one row"),
        ({"exog": np.array(1.0)}, ValueError, "exog must have one row"),
        ({"max_train_size": 0}, ValueError, "max_train_size must be at least 1"),
        ({"max_train_size": 2.5}, TypeError, "max_train_size must be an int"),
        ({"season_length": 25}, ValueError, "season_length=25 needs more steps to train on.* than the 25 that a split"),
        ({"season_length": 4, "max_train_size": 4}, ValueError, "than the 4 that a split has"),
    ):
        with pytest.raises(error, match=text):
            backtest(SeasonalNaive(), series, **parameters)
    with pytest.raises(ValueError, match="need 27"):
        backtest(GRUForecaster(24, 3), series, n_splits=3)
