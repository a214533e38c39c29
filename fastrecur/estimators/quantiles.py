"""Regression of quantiles: several outputs for each target, trained with the pinball loss."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fastrecur.estimators.regression import SequenceRegressor
from fastrecur.estimators.targets import as_dtype_of_x
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network.gradient import Targets


def check_quantiles(quantiles):
    """Levels as a float64 array: between 0 and 1, rising.

    Raises
    ------
    ValueError, TypeError
        If they are not.

    Examples
    --------
    >>> check_quantiles([0.1, 0.5, 0.9])
    array([0.1, 0.5, 0.9])
    """
    remedy = "Pass a list such as [0.1, 0.5, 0.9]."
    listed = isinstance(quantiles, Sequence | np.ndarray) and not isinstance(quantiles, str)
    if not listed or not all(isinstance(q, Real) and not isinstance(q, bool) for q in quantiles):
        raise TypeError(f"quantiles must be a list of numbers, found {quantiles!r}. {remedy}")
    levels = np.array(quantiles, np.float64)
    if not levels.size:
        raise ValueError(f"quantiles is empty. {remedy}")
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"quantiles must lie between 0 and 1, both excluded, found {levels.tolist()}. {remedy}")
    if (np.diff(levels) <= 0).any():
        raise ValueError(f"quantiles must rise, each only once, found {levels.tolist()}. {remedy}")
    return levels


def pinball_losses(errors, levels):
    """Pinball losses (..., Q) of quantiles minus the truth (..., Q), at the levels (Q,).

    Examples
    --------
    >>> pinball_losses(np.array([[-1.0, 2.0]]), np.array([0.1, 0.9]))
    array([[0.1, 0.2]])
    """
    return np.maximum((1 - levels) * errors, -levels * errors)


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceQuantileRegressor(SequenceRegressor):
    """Quantiles of one target or several a sequence; without ``quantiles`` a `SequenceRegressor`.

    The mean of the pinball losses [1]_ of all quantiles is minimised, and predicted quantiles are sorted: they never
    cross, and sorting brings them no further from the true ones [2]_.

    References
    ----------
    .. [1] Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).
    .. [2] Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing", Econometrica
       78 (2010).
    """

    quantiles: Any = None

    _parameter_constraints: ClassVar[dict] = {"quantiles": ["array-like", None]}

    def _n_outputs(self, targets):
        return targets.shape[1] * (1 if self.quantiles is None else len(check_quantiles(self.quantiles)))

    def _prepare(self, X, y, sample_weight, continued, classes, partial):
        training = super()._prepare(X, y, sample_weight, continued, classes, partial)
        if self.quantiles is not None:
            _, values, weights = training.targets
            values = QuantileTargets(values, check_quantiles(self.quantiles))
            training = replace(training, targets=Targets("pinball", values, weights))
        return training

    def _validation_score(self, outputs, targets, weights):
        """Minus the loss: the R^2 of few targets of little variance would say little."""
        if self.quantiles is None:
            losses = ((outputs - targets) ** 2).mean(axis=1)
        else:
            levels = check_quantiles(self.quantiles)
            errors = outputs.reshape(len(outputs), -1, len(levels)) - targets[:, :, np.newaxis]
            losses = pinball_losses(errors, levels).mean(axis=(1, 2))
        return -float(np.average(losses, weights=weights))

    def _decoded(self, outputs, dtype):
        """With quantiles (n, Q), or (n, K, Q) of several targets."""
        if self.quantiles is None:
            return super()._decoded(outputs, dtype)
        values = np.sort(outputs.reshape(len(outputs), len(self._y_mean), -1), axis=2)
        y = as_dtype_of_x(values * self._y_scale[:, np.newaxis] + self._y_mean[:, np.newaxis], dtype)
        return y[:, 0] if self._y_ndim == 1 else y
