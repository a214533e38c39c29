"""The linear part of a forecast: what follows a window as a weighted sum of its values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

#: Penalties among which leave-one-out errors choose; windows are in units of the series' standard deviation.
ALPHAS = np.logspace(-3, 3, 13)

#: With fewer windows there is no choosing, and no linear part.
FEWEST = 5


class LinearAutoregression:
    """Ridge regressions, one a feature, of its next values on its own window and on the inputs known in advance.

    Other features have no part in it: in many series each is best forecast from itself, and there are few windows.

    Parameters
    ----------
    coefficients : array of shape (F, H, window + steps * E)
        Of each feature and step to come, those of the window before those of the known inputs.
    intercepts : array of shape (F, H)
    """

    def __init__(self, coefficients: NDArray, intercepts: NDArray) -> None:
        self.coefficients = coefficients
        self.intercepts = intercepts

    @classmethod
    def fitted(cls, history: NDArray, known: NDArray | None, targets: NDArray) -> LinearAutoregression:
        """Fit to windows (n, window, F), known inputs (n, steps, E) or None, and what follows, (n, H, F)."""
        models = [RidgeCV(ALPHAS).fit(_inputs(history, known, f), targets[:, :, f]) for f in range(history.shape[2])]
        shape = (len(models), targets.shape[1], -1)
        coefficients = np.stack([model.coef_ for model in models]).reshape(shape)
        return cls(
            np.ascontiguousarray(coefficients), np.stack([model.intercept_ for model in models]).reshape(shape[:2])
        )

    def predict(self, history: NDArray, known: NDArray | None) -> NDArray:
        """Return what follows each window, (n, H, F): the same bits whatever the other windows.

        A matrix product sums in another order for one window than for several, in some builds of BLAS.
        """
        parts = enumerate(zip(self.coefficients, self.intercepts, strict=True))
        return np.stack([np.vecdot(_inputs(history, known, f)[:, np.newaxis], c) + b for f, (c, b) in parts], axis=2)


def cross_fitted(history: NDArray, known: NDArray | None, targets: NDArray) -> NDArray:
    """Return what follows each window as regressions on other windows have it, (n, H, F).

    A network that learned the errors of a regression on the windows that it was fitted to, which are too small, would
    have too narrow intervals, and be stopped too late.
    """
    parts = [
        cross_val_predict(RidgeCV(ALPHAS), _inputs(history, known, f), targets[:, :, f], cv=KFold(FEWEST))
        for f in range(history.shape[2])
    ]
    return np.stack([part.reshape(len(history), -1) for part in parts], axis=2)


def _inputs(history: NDArray, known: NDArray | None, feature: int) -> NDArray:
    own = history[:, :, feature]
    return own if known is None else np.hstack([own, known.reshape(len(known), -1)])
