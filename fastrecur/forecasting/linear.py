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
    history : array of shape (n, window, F)
    known : array of shape (n, steps, E) or None
    targets : array of shape (n, H, F)
    """

    def __init__(self, history: NDArray, known: NDArray | None, targets: NDArray) -> None:
        inputs = [_inputs(history, known, f) for f in range(history.shape[2])]
        self.models = [RidgeCV(ALPHAS).fit(x, targets[:, :, f]) for f, x in enumerate(inputs)]

    def predict(self, history: NDArray, known: NDArray | None) -> NDArray:
        """Return what follows each window, (n, H, F)."""
        parts = [model.predict(_inputs(history, known, f)) for f, model in enumerate(self.models)]
        return np.stack([part.reshape(len(history), -1) for part in parts], axis=2)


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
