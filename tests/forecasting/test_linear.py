"""The linear part: regressions that are scikit-learn's, and forecasts that no other window changes."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from fastrecur.forecasting.linear import ALPHAS, LinearAutoregression

each_known = pytest.mark.parametrize("steps", [0, 4], ids=["alone", "known"])


def windows(rng, window, steps):
    """Return 40 windows of two features, what is known beside them or None, and three steps that follow."""
    known = rng.normal(size=(40, steps, 2)) if steps else None
    return rng.normal(size=(40, window, 2)), known, rng.normal(size=(40, 3, 2))


@each_known
def test_each_feature_is_a_ridge_regression_on_its_own_window(steps):
    history, known, targets = windows(np.random.default_rng(0), 6, steps)
    found = LinearAutoregression.fitted(history, known, targets).predict(history, known)
    assert found.shape == (40, 3, 2)
    for f in range(2):
        inputs = np.hstack([history[:, :, f], np.empty((40, 0)) if known is None else known.reshape(40, -1)])
        np.testing.assert_allclose(found[:, :, f], RidgeCV(ALPHAS).fit(inputs, targets[:, :, f]).predict(inputs))


@each_known
@pytest.mark.parametrize("window", [1, 2, 5, 6, 17, 48])
def test_other_windows_change_no_bit(window, steps):
    history, known, targets = windows(np.random.default_rng(window), window, steps)
    model = LinearAutoregression.fitted(history, known, targets)
    whole = model.predict(history, known)
    for rows in (slice(0, 1), slice(7, 9), slice(3, 20), slice(39, 40)):
        np.testing.assert_array_equal(model.predict(history[rows], None if known is None else known[rows]), whole[rows])
