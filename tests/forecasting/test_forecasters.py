"""Forecasts: shapes, strategies, panels, scales, quantiles, what they may depend on."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import fastrecur
from fastrecur import GRUForecaster, GRURegressor, LSTMForecaster, RNNForecaster
from fastrecur.forecasting.prediction import _interpolated
from tests.forecasting.conftest import FORECASTERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

each_class = pytest.mark.parametrize("cls", FORECASTERS)
each_strategy = pytest.mark.parametrize("strategy", ["direct", "recursive"])


# --- estimators of scikit-learn --------------------------------------------------------------------------------------


@each_class
def test_parameters_are_those_of_the_regressor_and_more(cls):
    regressor = getattr(fastrecur, cls.__name__.replace("Forecaster", "Regressor"))
    own, of_regressor = cls().get_params(), regressor().get_params()
    assert of_regressor.keys() - own.keys() == {"return_sequences", "embedding_dim"}
    assert own.keys() - of_regressor.keys() == {"window", "horizon", "strategy", "quantiles", "scaling", "linear"}
    changed = {name for name in of_regressor.keys() & own.keys() if own[name] != of_regressor[name]}
    assert changed == {"hidden_size", "early_stopping"}


@each_class
def test_clone_set_params_and_positions(cls):
    forecaster = cls(5, 2, strategy="recursive", quantiles=[0.2, 0.8], dropout=0.1)
    assert clone(forecaster).get_params() == forecaster.get_params()
    assert forecaster.set_params(window=9).window == 9
    assert repr(cls(5)) == f"{cls.__name__}(window=5)"
    with pytest.raises(TypeError, match="return_sequences"):
        cls(return_sequences=True)


@each_class
def test_fit_is_fit_and_changes_no_parameter(cls, quick, waves):
    forecaster = quick(cls)
    before = forecaster.get_params()
    assert forecaster.fit(waves) is forecaster
    assert forecaster.get_params() == before
    assert (forecaster.n_features_in_, forecaster.n_exog_, forecaster.n_series_) == (2, 0, 1)
    assert forecaster.network_.n_outputs_ == 6


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.9]])
@each_strategy
def test_pickle(strategy, quantiles, quick, waves):
    forecaster = quick(strategy=strategy, quantiles=quantiles).fit(waves)
    copy = pickle.loads(pickle.dumps(forecaster))
    np.testing.assert_array_equal(copy.predict(), forecaster.predict())


# --- shapes ----------------------------------------------------------------------------------------------------------


@each_class
@each_strategy
def test_shapes(cls, strategy, quick, waves):
    forecaster = quick(cls, strategy=strategy)
    assert forecaster.fit(waves[:, 0]).predict().shape == (3, 1)
    assert forecaster.fit(waves).predict().shape == (3, 2)
    assert forecaster.predict(2).shape == (2, 2)
    panel = forecaster.fit([waves, waves[:40]]).predict()
    assert [one.shape for one in panel] == [(3, 2), (3, 2)]
    assert isinstance(forecaster.fit([waves]).predict(), list)
    np.testing.assert_array_equal(forecaster.fit(waves[:, :1]).predict(), forecaster.fit(waves[:, 0]).predict())


def test_shorter_horizons_are_the_beginning(quick, waves):
    direct = quick().fit(waves)
    np.testing.assert_array_equal(direct.predict(1), direct.predict()[:1])
    recursive = quick(strategy="recursive").fit(waves)
    np.testing.assert_array_equal(recursive.predict(3), recursive.predict(20)[:3])


def test_dtype_is_that_of_the_series(quick, waves):
    assert quick().fit(waves.astype(np.float32)).predict().dtype == np.float32
    assert quick().fit(waves).predict().dtype == np.float64
    assert quick(dtype="float64").fit((10 * waves).astype(int)).predict().dtype == np.float64


# --- what is learned -------------------------------------------------------------------------------------------------


@each_class
@each_strategy
def test_a_season_with_a_trend_is_learned(cls, strategy, waves):
    forecaster = cls(12, 6, strategy=strategy, random_state=0, n_threads=1).fit(waves)
    t = np.arange(60, 66)
    truth = np.column_stack([np.sin(t * np.pi / 3) + 0.02 * t, 100 + 5 * np.cos(t * np.pi / 3)])
    np.testing.assert_allclose(forecaster.predict(), truth, atol=0.5)


def test_the_network_learns_what_no_line_can():
    """The logistic map: the next value is a parabola of the last one."""
    series = np.empty(400)
    series[0] = 0.3
    for i in range(399):
        series[i + 1] = 3.8 * series[i] * (1 - series[i])
    errors = {}
    for iterations in (1, 200):
        model = GRUForecaster(4, 1, scaling="series", max_iter=iterations, n_iter_no_change=30, random_state=0)
        model.set_params(n_threads=1).fit(series[:300])
        found = [model.predict(series=series[:t])[0, 0] for t in range(300, 400)]
        errors[iterations] = np.abs(np.array(found) - series[300:]).mean()
    assert errors[200] < 0.3 * errors[1]


@pytest.mark.parametrize("scaling", ["window", "series"])
@each_strategy
def test_other_units_give_the_same_forecast_in_them(scaling, strategy, quick, waves):
    forecaster = quick(strategy=strategy, scaling=scaling, dtype="float64")
    expected = forecaster.fit(waves).predict()
    found = forecaster.fit(1000.0 * waves - 7.0).predict()
    np.testing.assert_allclose(found, 1000.0 * expected - 7.0, rtol=1e-6)


def test_without_scaling_and_without_a_linear_part(quick, waves):
    forecaster = quick(scaling=None, linear=False).fit(waves)
    assert forecaster.linear_ is None
    assert np.isfinite(forecaster.predict()).all()


def test_each_feature_is_forecast_linearly_from_itself(waves):
    rng = np.random.default_rng(0)
    forecaster = GRUForecaster(6, 3, max_iter=1, random_state=0, n_threads=1)
    alone = forecaster.fit(waves[:, 0]).linear_.coefficients[0]
    beside = forecaster.fit(np.column_stack([waves[:, 0], rng.normal(size=60)])).linear_.coefficients[0]
    np.testing.assert_allclose(alone, beside)


def test_a_constant_feature_stays_what_it_is(quick, waves):
    forecast = quick().fit(np.column_stack([waves[:, 0], np.full(60, 7.5)])).predict()
    np.testing.assert_allclose(forecast[:, 1], 7.5, atol=1e-6)


def test_the_smallest_series(quick):
    forecast = quick(window=1, horizon=1).fit([1.0, 2.0]).predict()
    assert forecast.shape == (1, 1)
    assert np.isfinite(forecast).all()
    with_known = quick(window=1, horizon=1).fit([1.0, 2.0], [0.0, 1.0])
    assert np.isfinite(with_known.predict(exog=[1.0])).all()


def test_a_fit_is_repeatable_and_independent_of_threads(quick, waves):
    forecaster = quick(quantiles=[0.1, 0.9], strategy="recursive")
    expected = forecaster.fit(waves).predict_quantiles(5)
    np.testing.assert_array_equal(forecaster.fit(waves).predict_quantiles(5), expected)
    np.testing.assert_array_equal(forecaster.set_params(n_threads=2).fit(waves).predict_quantiles(5), expected)


def test_warm_start_goes_on_from_the_weights(quick, waves):
    forecaster = quick(warm_start=True, max_iter=1, early_stopping=False, learning_rate_init=1e-6).fit(waves)
    before = forecaster.network_.weights_["weight_hh_l0"]
    after = forecaster.fit(waves).network_.weights_["weight_hh_l0"]
    assert 0 < np.abs(after - before).max() < 1e-3


def test_a_validation_looks_at_the_last_windows_alone(quick, waves):
    network = quick(horizon=3, validation_fraction=0.2).fit(waves).network_
    rows, kept_out = network._split_rows(None, 52, 11, 0)
    np.testing.assert_array_equal(kept_out, np.arange(41, 52))
    np.testing.assert_array_equal(rows, np.arange(41 - 2))
    assert network.gap == 2


# --- panels and other series -----------------------------------------------------------------------------------------


def test_the_scales_of_a_panel_are_those_of_its_series(quick, waves):
    forecaster = quick(dtype="float64")
    one = forecaster.fit([waves, 1000 + 50 * waves[:45]]).predict()
    other = forecaster.fit([waves, waves[:45]]).predict()
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    np.testing.assert_allclose(one[1], 1000 + 50 * other[1], rtol=1e-6)


def test_the_order_of_a_panel_does_not_matter_to_one_series_of_it(quick, waves):
    forecaster = quick().fit([waves, waves[:45] * 2])
    both = forecaster.predict(series=[waves[:50], 3 * waves[10:40]])
    np.testing.assert_array_equal(forecaster.predict(series=3 * waves[10:40]), both[1])


@each_strategy
def test_the_series_of_fit_given_again_is_forecast_alike(strategy, quick, waves):
    known = np.random.default_rng(1).normal(size=(63, 2))
    forecaster = quick(strategy=strategy).fit(waves, known[:60])
    expected = forecaster.predict(exog=known[60:])
    found = forecaster.predict(exog=known[60:], series=waves, past_exog=known[:60])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_only_the_window_is_looked_at(quick, waves):
    forecaster = quick().fit(waves)
    np.testing.assert_array_equal(forecaster.predict(series=waves[-6:]), forecaster.predict(series=waves))


# --- inputs known in advance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.9]])
@each_strategy
def test_known_inputs_are_used(strategy, quantiles):
    """Half of the series is what was known, at the same step: without it there is nothing to forecast."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=160)
    series = 10 + 3 * known + 0.1 * rng.normal(size=160)
    forecaster = GRUForecaster(4, 5, strategy=strategy, quantiles=quantiles, random_state=0, n_threads=1)
    forecaster.fit(series[:150], known[:150])
    forecast = forecaster.predict(5, known[150:155])
    assert np.abs(forecast[:, 0] - series[150:155]).max() < 1.0
    other = forecaster.predict(5, known[150:155] + [0, 0, 1, 0, 0])
    assert np.abs(other - forecast)[2, 0] > 2.0


def test_known_inputs_of_the_past_are_not_those_of_the_future(quick, waves):
    """Of the recursive strategy a step sees the input of the step that it predicts, not of the next one."""
    known = np.random.default_rng(2).normal(size=(66, 1))
    forecaster = quick(strategy="recursive").fit(waves, known[:60])
    expected = forecaster.predict(6, known[60:])
    changed = known[60:].copy()
    changed[3:] += 5.0
    found = forecaster.predict(6, changed)
    np.testing.assert_array_equal(found[:3], expected[:3])
    assert np.abs(found[3:] - expected[3:]).min() > 0


def test_known_inputs_of_a_panel(quick, waves):
    known = np.random.default_rng(1).normal(size=(63, 2))
    forecaster = quick().fit([waves, waves[:50]], [known[:60], known[:50]])
    forecast = forecaster.predict(exog=[known[60:], known[50:53]])
    assert [one.shape for one in forecast] == [(3, 2), (3, 2)]


# --- quantiles -------------------------------------------------------------------------------------------------------


@each_class
@each_strategy
def test_quantiles_never_cross(cls, strategy, quick, waves):
    levels = [0.05, 0.3, 0.5, 0.8, 0.95]
    forecaster = quick(cls, strategy=strategy, quantiles=levels).fit(waves)
    found = forecaster.predict_quantiles()
    assert found.shape == (3, 2, 5)
    assert (np.diff(found, axis=2) >= 0).all()
    np.testing.assert_array_equal(found[:, :, 2], forecaster.predict())
    assert forecaster.fit([waves, waves]).predict_quantiles()[1].shape == (3, 2, 5)


@pytest.mark.parametrize("scaling", ["window", "series"])
@each_strategy
def test_shares_of_the_truth_below_the_quantiles(strategy, scaling):
    """A wave with noise of deviation 1: nine tenths of what follows lie between the quantiles 0.05 and 0.95."""
    rng, t = np.random.default_rng(0), np.arange(1500)
    series = 3 * np.sin(t * np.pi / 6) + rng.normal(size=1500)
    forecaster = LSTMForecaster(24, 4, strategy=strategy, scaling=scaling, quantiles=[0.05, 0.5, 0.95])
    forecaster.set_params(hidden_size=16, max_iter=30, random_state=0, n_threads=1).fit(series[:1000])
    found = np.stack([forecaster.predict_quantiles(series=series[:t]) for t in range(1000, 1490, 10)])
    truth = np.stack([series[t : t + 4] for t in range(1000, 1490, 10)])
    share = (truth[:, :, np.newaxis] <= found[:, :, 0]).mean(axis=(0, 1))
    np.testing.assert_allclose(share, [0.05, 0.5, 0.95], atol=0.08)
    width = (found[..., 2] - found[..., 0]).mean()
    assert 2.8 < width < 4.4  # 3.29 for a normal deviation of 1


def test_the_median_is_learned_where_it_is_not_asked_for(quick, waves):
    forecaster = quick(quantiles=[0.1, 0.9]).fit(waves)
    assert forecaster.network_.n_outputs_ == 3 * 2 * 3
    found = forecaster.predict_quantiles()
    assert ((found[:, :, 0] <= forecaster.predict()) & (forecaster.predict() <= found[:, :, 1])).all()


def test_interpolation_of_quantiles():
    rng = np.random.default_rng(0)
    levels, quantiles = np.array([0.1, 0.3, 0.8]), np.sort(rng.normal(size=(50, 2, 3)), axis=2)
    u = rng.uniform(size=(50, 2))
    expected = [[np.interp(u[n, f], levels, quantiles[n, f]) for f in range(2)] for n in range(50)]
    np.testing.assert_allclose(_interpolated(u, levels, quantiles), expected)


def test_forecasters_are_where_the_contract_says():
    assert (fastrecur.RNNForecaster, fastrecur.LSTMForecaster) == (RNNForecaster, LSTMForecaster)
    assert not hasattr(GRURegressor(), "predict_quantiles")
