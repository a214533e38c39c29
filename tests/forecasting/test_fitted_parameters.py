"""What a fit decides, and what later parameters do not change; windows for validation; scales that overflow."""

import numpy as np
import pytest

from fastrecur import GRUForecaster

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Of n windows n_train = n - ceil(n / 10) come before the validation, and a gap of 9 is half of 18.
@pytest.mark.parametrize(("n_windows", "validates"), [(19, False), (20, True), (22, True), (1, False)])
def test_the_gap_leaves_half_of_the_windows(n_windows, validates, quick):
    series = np.sin(np.arange(6 + 10 + n_windows - 1))
    network = quick(horizon=10).fit(series).network_
    assert network.early_stopping is validates
    assert (network.validation_scores_ is not None) is validates
    if validates:
        train, validation = network._split_rows(None, n_windows, int(np.ceil(n_windows / 10)), 0)
        assert 2 * len(train) >= validation[0]
        assert validation[0] - train[-1] == 10


def test_recursive_horizon_is_that_of_fit(quick, waves):
    forecaster = quick(strategy="recursive").fit(waves)
    assert forecaster.set_params(horizon=10).predict().shape == (3, 2)
    assert forecaster.predict(10).shape == (10, 2)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_quantiles_are_those_of_fit(strategy, quick, waves):
    forecaster = quick(strategy=strategy, quantiles=[0.1, 0.9]).fit(waves)
    expected = forecaster.predict_quantiles()
    assert expected.shape == (3, 2, 2)
    np.testing.assert_array_equal(forecaster.set_params(quantiles=None).predict_quantiles(), expected)


def test_scales_of_other_series_are_those_of_fit(quick, waves):
    """Of a panel each series that is to be continued has its own scale, made as in fit."""
    forecaster = quick().fit([waves, waves[:50]])
    expected = forecaster.predict(series=3 * waves)
    np.testing.assert_array_equal(forecaster.set_params(scaling=None).predict(series=3 * waves), expected)


@pytest.mark.parametrize("random_state", [None, 7, "instance"])
def test_paths_are_drawn_alike(random_state, quick, waves):
    random_state = np.random.RandomState(0) if random_state == "instance" else random_state
    forecaster = quick(strategy="recursive", quantiles=[0.1, 0.5], random_state=random_state).fit(waves)
    np.testing.assert_array_equal(forecaster.predict(), forecaster.predict_quantiles()[..., 1])


@pytest.mark.parametrize("scaling", ["window", "series", None])
def test_scales_that_overflow(scaling, quick, waves):
    for arguments, name in (((1e200 * waves,), "series"), ((waves, 1e200 * waves), "exog")):
        with pytest.raises(ValueError, match=f"Feature 0 of {name} has values up to .*e\\+200.* Divide them"):
            quick(scaling=scaling).fit(*arguments)
    with pytest.raises(ValueError, match=r"Feature 0 of series\[1\] has values"):
        quick(scaling=scaling).fit([waves, 1e200 * waves])


def test_a_series_of_few_windows_is_learned():
    forecaster = GRUForecaster(24, 24, hidden_size=4, max_iter=2, n_threads=1, random_state=0)
    assert not forecaster.fit(np.sin(np.arange(74.0))).network_.early_stopping
