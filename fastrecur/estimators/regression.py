"""What regressors add: targets standardised inside, undone on the way out."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.prediction import SequencePredictor
from fastrecur.estimators.targets import as_dtype_of_x, check_finite_targets


def _deviation(centred, weights, size):
    """Weighted standard deviation of each column, 1 where it is nothing beside the column's ``size``."""
    largest = np.abs(centred).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)  # squares of very large or small numbers would leave float64's range
    deviation = unit * np.sqrt(np.average((centred / unit) ** 2, axis=0, weights=weights))
    return np.where(deviation > 10 * np.finfo(float).eps * size, deviation, 1.0)


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceRegressor(SequencePredictor, RegressorMixin, RecurrentEstimator):
    """One target or several a sequence, or a time step: squared error."""

    _loss: ClassVar[str] = "squared_error"

    _y_mean: Any = field(init=False)  # set by `fit`: no parameter

    def partial_fit(self, X, y, sample_weight=None):
        """Run one epoch over the sequences, from the weights of the last one.

        The first call decides how targets are standardised. A fit that is made of calls of this on the same sequences
        can be gone on with by `fit` with ``warm_start``. After a fit that came to its own end, ``n_iter_`` and the
        curves begin anew.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError, TypeError
            As from `fit`; and with ``solver="lbfgs"`` or ``early_stopping``, which need all data at once, or at the
            end of ``learning_rate="cosine"``. Nothing has been changed then.
        """
        return self._partial_fit(X, y, sample_weight)

    def _check_targets(self, y, lengths, weights, continued, classes):
        """Standardised targets (n, K), float64, and the weights; sets their (weighted) mean and scale."""
        if getattr(getattr(y, "dtype", None), "kind", None) in ("m", "M"):
            raise TypeError(f"y must hold numbers, found an array of dtype {y.dtype}. Convert times to numbers first.")
        options = {"ensure_all_finite": False, "ensure_2d": False, "allow_nd": True, "ensure_min_samples": 0}
        y = check_array(y, dtype=np.float64, input_name="y", **options)
        if y.ndim not in (1, 2):
            raise ValueError(f"y must have shape (n,) or (n, K), found {y.shape if y.ndim else 'a scalar'}.")
        self._check_number(y, len(weights))
        check_finite_targets(y, lengths)
        targets = y.reshape(len(y), -1)
        if continued:
            if targets.shape[1] != len(self._y_mean):
                raise ValueError(
                    f"warm_start=True continues with {len(self._y_mean)} output(s), but y has {targets.shape[1]}. "
                    "Set warm_start=False to begin anew."
                )
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                if np.isinf(np.abs(targets).sum()):
                    largest = np.abs(targets).max()
                    raise ValueError(f"y has values up to {largest:.3g}, whose sum is beyond float64. Scale y.")
            self._y_ndim = y.ndim
            self._y_mean = np.average(targets, axis=0, weights=weights)
            self._y_scale = _deviation(targets - self._y_mean, weights, np.abs(self._y_mean))
        return (targets - self._y_mean) / self._y_scale, weights

    def _n_outputs(self, targets):
        return targets.shape[1]

    def _split_rows(self, values, n_sequences, n_validation, seed):
        return train_test_split(np.arange(n_sequences), test_size=n_validation, random_state=seed)

    def _validation_score(self, outputs, targets, weights):
        if np.ptp(targets, axis=0).max() == 0.0:  # R^2 is not defined where all targets are one
            return -float(np.mean((outputs - targets) ** 2))
        return float(r2_score(targets, outputs, sample_weight=weights))

    def predict(self, X):
        """Predicted targets of each sequence, or of each time step with ``return_sequences``.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        y : array of shape (n,) or (n, K), or with ``return_sequences`` (n, T[, K]) or a list of (T_i[, K]) arrays
            As the y of `fit`, in the dtype of X.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If X will not do, or has other features, names of columns or tokens than `fit` has seen.
        """
        outputs, sequences = self._raw_outputs(X)
        return self._laid_out(self._decoded(outputs, sequences.values.dtype), sequences)

    def _decoded(self, outputs, dtype):
        """Targets of outputs, as the y of `fit`."""
        y = as_dtype_of_x(outputs * self._y_scale + self._y_mean, dtype)
        return y[:, 0] if self._y_ndim == 1 else y

    def _metric(self, y, predicted, weights):
        return float(r2_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
