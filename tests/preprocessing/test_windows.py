"""`SlidingWindow`: which values stand where, panels, frames, scikit-learn's checks, bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fastrecur import GRURegressor
from fastrecur.preprocessing import SlidingWindow

PAIRS = "transform gives pairs, of another number than the time steps"
ONE_DIMENSION = "a series of one feature may be 1-D"

#: What cannot hold where (T, F) becomes (n, window, F) and y.
EXPECTED = {
    "check_pipeline_consistency": PAIRS,
    "check_estimators_pickle": PAIRS,
    "check_transformer_data_not_an_array": PAIRS,
    "check_transformer_general": PAIRS,
    "check_methods_sample_order_invariance": PAIRS,
    "check_methods_subset_invariance": PAIRS,
    "check_fit_idempotent": PAIRS,
    "check_fit1d": ONE_DIMENSION,
    "check_fit2d_predict1d": ONE_DIMENSION,
}


@parametrize_with_checks([SlidingWindow(window=2)], expected_failed_checks=lambda estimator: EXPECTED)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_number_of_checks():
    assert len(list(estimator_checks_generator(SlidingWindow(window=2), legacy=True))) >= 40


def naive(series, window, horizon, step):
    """Pairs of a series (T, F), one by one."""
    begins = range(0, len(series) - window - horizon + 1, step)
    X = [series[b : b + window] for b in begins]
    y = [series[b + window : b + window + horizon] for b in begins]
    return np.array(X), np.array(y)


@pytest.mark.parametrize(("window", "horizon", "step"), [(1, 1, 1), (3, 2, 1), (5, 1, 2), (4, 7, 3), (12, 8, 1)])
def test_windows_and_what_follows(window, horizon, step):
    series = np.random.default_rng(0).normal(size=(20, 3))
    X, y = SlidingWindow(window, horizon, step).fit_transform(series)
    expected_X, expected_y = naive(series, window, horizon, step)
    np.testing.assert_array_equal(X, expected_X)
    np.testing.assert_array_equal(y, expected_y[:, 0] if horizon == 1 else expected_y)
    one = SlidingWindow(window, horizon, step).fit_transform(series[:, 0])
    np.testing.assert_array_equal(one[0], expected_X[:, :, 0])
    np.testing.assert_array_equal(one[1], expected_y[:, 0, 0] if horizon == 1 else expected_y[:, :, 0])


def test_panel():
    panel = [np.arange(6.0), np.arange(100.0, 104.0)]
    windows = SlidingWindow(window=2, horizon=2, step=2)
    X, y = windows.fit_transform(panel)
    np.testing.assert_array_equal(X, [[0, 1], [2, 3], [100, 101]])
    np.testing.assert_array_equal(y, [[2, 3], [4, 5], [102, 103]])
    np.testing.assert_array_equal(windows.series_of_windows(panel), [0, 0, 1])
    np.testing.assert_array_equal(windows.last_window(panel), [[4, 5], [102, 103]])


def test_last_window_is_the_one_before_the_future():
    series = np.arange(10.0)
    windows = SlidingWindow(window=4, horizon=2).fit(series)
    np.testing.assert_array_equal(windows.last_window(series), [[6, 7, 8, 9]])
    np.testing.assert_array_equal(windows.last_window(series[:4]), [[0, 1, 2, 3]])


def test_frames_and_dtypes():
    values = np.arange(12.0).reshape(6, 2)
    expected = SlidingWindow(2).fit_transform(values)
    for frame in (pd.DataFrame(values), pl.DataFrame(values, schema=["a", "b"])):
        for found, wanted in zip(SlidingWindow(2).fit_transform(frame), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    X, y = SlidingWindow(2).fit_transform(pd.Series([1, 2, 3], dtype="Int64"))
    assert (X.shape, y.shape) == ((1, 2), (1,))
    assert {array.dtype for array in SlidingWindow(2).fit_transform(values.astype(np.float32))} == {np.dtype("f4")}
    assert {array.dtype for array in SlidingWindow(2).fit_transform(values.astype(int))} == {np.dtype("f8")}


def test_the_result_is_a_copy():
    series = np.arange(5.0)
    X, _ = SlidingWindow(2).fit_transform(series)
    X[:] = -1.0
    np.testing.assert_array_equal(series, np.arange(5.0))


def test_pairs_train_a_regressor():
    X, y = SlidingWindow(window=8, horizon=2).fit_transform(np.sin(np.arange(60) * 0.7))
    model = GRURegressor(8, max_iter=150, tol=0.0, n_iter_no_change=150, batch_size=8, random_state=0, n_threads=1)
    with pytest.warns(UserWarning, match="max_iter"):
        model.fit(X, y)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("name", ["window", "horizon", "step"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_parameters(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        SlidingWindow(**{"window": 2, name: value}).fit(np.arange(9.0))


def test_clone_keeps_the_parameters():
    assert clone(SlidingWindow(5, 4, 3)).get_params() == {"window": 5, "horizon": 4, "step": 3}


def test_bad_series():
    windows = SlidingWindow(window=4, horizon=2)
    for series, error, text in (
        (np.arange(5.0), ValueError, r"series has 5 time step\(s\).*window=4 and horizon=2 need 6"),
        ([np.arange(9.0), np.arange(5.0)], ValueError, r"series\[1\] has 5 time step"),
        ([np.ones((9, 2)), np.ones((9, 3))], ValueError, r"series\[1\] has 3 feature\(s\), but series\[0\] has 2"),
        (np.r_[np.arange(8.0), np.nan, 1.0], ValueError, "series contains NaN: step 8"),
        ([1.0, np.inf] * 5, ValueError, "series contains infinity: step 1"),
        (["a", "b"] * 5, TypeError, "series must hold numbers"),
        ([], ValueError, "series is empty"),
        (np.ones((2, 3, 4, 5)), ValueError, "must have shape"),
        (5.0, ValueError, "a scalar"),
        (None, ValueError, "series is None"),
        ([[[1.0], [2.0, 3.0]]], ValueError, "rows differ in length"),
        (pd.DataFrame({"a": range(9), "b": ["x"] * 9}), TypeError, r"series\['b'\] must hold numbers"),
        (pl.Series([None] + [1.0] * 9), ValueError, "contains NaN: step 0"),
    ):
        with pytest.raises(error, match=text):
            windows.fit(series)
    windows.fit(np.arange(9.0))
    with pytest.raises(ValueError, match="fewer than window=4"):
        windows.last_window(np.arange(3.0))
    with pytest.raises(ValueError, match="X has 2 features, but SlidingWindow is expecting 1 features"):
        windows.transform(np.ones((9, 2)))
