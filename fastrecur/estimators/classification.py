"""What classifiers add: labels, probabilities, a stratified split."""

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.parameters import ClassifierParameters
from fastrecur.estimators.prediction import SequencePredictor
from fastrecur.estimators.targets import check_finite_targets
from fastrecur.kernels.cpu.head import softmax


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceClassifier(SequencePredictor, ClassifierMixin, RecurrentEstimator, ClassifierParameters):
    """One label a sequence, or a time step: softmax over the classes, cross entropy."""

    _loss: ClassVar[str] = "cross_entropy"

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Run one epoch over the sequences, from the weights of the last one.

        A fit that is made of calls of this on the same sequences can be gone on with by `fit` with ``warm_start``.
        After a fit that came to its own end, ``n_iter_`` and the curves begin anew.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array of shape (K,), optional
            All labels that will ever come; needed in the first call if y lacks one.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError, TypeError
            As from `fit`, or if classes lacks a label of y or differs from that of the call before; and with
            ``solver="lbfgs"``, ``early_stopping`` or ``class_weight="balanced"``, which need all data at once, or at
            the end of ``learning_rate="cosine"``. Nothing has been changed then.
        """
        return self._partial_fit(X, y, sample_weight, classes)

    def _check_targets(self, y, lengths, weights, continued, classes):
        """Labels as numbers 0..K-1, int64, and weights with those of the classes; sets `classes_`."""
        y = column_or_1d(y, warn=True)
        self._check_number(y, len(weights))
        check_finite_targets(y, lengths)
        try:
            check_classification_targets(y)
        except ValueError as error:
            raise ValueError(f"y must hold labels of classes, integers or strings: {error}") from error
        encoder = LabelEncoder()
        if continued:
            self._check_classes(classes)
            encoder.classes_ = self.classes_
        else:
            encoder.fit(y if classes is None else _as_classes(classes))
        unknown = np.setdiff1d(y, encoder.classes_)
        if len(unknown):
            source = "warm_start=True or partial_fit continues with the classes" if continued else "classes holds"
            raise ValueError(
                f"{source} {encoder.classes_.tolist()}, but y has {unknown.tolist()} too. Set warm_start=False to "
                "begin anew, or pass all classes to the first partial_fit."
            )
        labels = encoder.transform(y).astype(np.int64)
        if len(encoder.classes_) < 2:
            raise ValueError(
                f"y has one class only, {encoder.classes_[0]}, in {len(y)} target(s). A classifier needs at "
                "least 2 classes."
            )
        self.classes_ = encoder.classes_
        return labels, weights * self._class_weights(labels, weights)[labels]

    def _check_classes(self, classes):
        if classes is not None and not np.array_equal(found := np.unique(_as_classes(classes)), self.classes_):
            raise ValueError(
                f"classes={found.tolist()} is not the same as on last call to partial_fit, was: "
                f"{self.classes_.tolist()}."
            )

    def _class_weights(self, labels, weights):
        """Weight of each class, (K,)."""
        n_classes = len(self.classes_)
        if self.class_weight is None:
            return np.ones(n_classes)
        if isinstance(self.class_weight, str):  # "balanced"
            totals = np.bincount(labels, weights=weights, minlength=n_classes)
            return np.divide(weights.sum(), n_classes * totals, out=np.zeros(n_classes), where=totals > 0)
        places = {label: k for k, label in enumerate(self.classes_.tolist())}
        found = np.ones(n_classes)
        for label, weight in self.class_weight.items():
            if label not in places:
                raise ValueError(
                    f"class_weight has the label {label!r}, which is none of the classes {self.classes_.tolist()}. "
                    "Leave it out, or write it as y does."
                )
            if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
                raise ValueError(f"class_weight of {label!r} must be a number of 0 or more, found {weight!r}.")
            found[places[label]] = weight
        return found

    def _n_outputs(self, targets):
        return len(self.classes_)

    def _split_rows(self, values, n_sequences, n_validation, seed):
        rows = np.arange(n_sequences)
        if self.return_sequences:
            return train_test_split(rows, test_size=n_validation, random_state=seed)
        counts = np.bincount(values, minlength=len(self.classes_))
        if counts.min() < 2 or n_validation < len(self.classes_) or n_sequences - n_validation < len(self.classes_):
            rare = self.classes_[counts.argmin()]
            raise ValueError(
                f"early_stopping needs each class among the sequences it trains on and among the {n_validation} that "
                f"it keeps out: found {len(self.classes_)} classes in {n_sequences} sequences, class {rare} "
                f"{counts.min()} time(s). Pass more sequences, raise validation_fraction or set early_stopping=False."
            )
        return train_test_split(rows, test_size=n_validation, stratify=values, random_state=seed)

    def _validation_score(self, outputs, targets, weights):
        return float(accuracy_score(targets, outputs.argmax(axis=1), sample_weight=weights))

    def predict(self, X):
        """Most probable class of each sequence, or of each time step with ``return_sequences``.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        y : array of shape (n,), or with ``return_sequences`` (n, T) or a list of (T_i,) arrays

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError, TypeError
            If X will not do, or has other features, names of columns or tokens than `fit` has seen.
        """
        outputs, sequences = self._raw_outputs(X)
        return self._laid_out(self._decoded(outputs, None), sequences)

    def _decoded(self, outputs, dtype):
        """Labels of outputs."""
        return self.classes_[outputs.argmax(axis=1)]

    def _metric(self, y, predicted, weights):
        return float(accuracy_score(y, predicted, sample_weight=weights))

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        probabilities : array of shape (n, K), or with ``return_sequences`` (n, T, K) or a list of (T_i, K) arrays
            Columns in the order of `classes_`.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        outputs, sequences = self._raw_outputs(X)
        return self._laid_out(_probabilities(outputs), sequences)

    def predict_proba_step(self, x_t, state):
        """Take one time step of each stream: T steps give the bits of `predict_proba` on the whole.

        Parameters
        ----------
        x_t, state
            As in `predict_step`, and so are the errors.

        Returns
        -------
        probabilities : array of shape (n_sequences, K)
            What `predict_proba` returns for sequences that end here.
        state : Stream
            A new one: the old one may be used again.
        """
        outputs, state = self._step(x_t, state)
        return _probabilities(outputs), state

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, bit for bit; where that is 0, of what it is in truth.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        log_probabilities : as `predict_proba`
        """
        outputs, sequences = self._raw_outputs(X)
        probabilities, logarithms = _probabilities(outputs), log_softmax(outputs, axis=1)
        np.log(probabilities, out=logarithms, where=probabilities > 0)
        return self._laid_out(logarithms, sequences)


def _probabilities(outputs):
    probabilities = np.empty_like(outputs)
    softmax(outputs, probabilities)
    return probabilities


def _as_classes(classes):
    """The labels that the caller announces, as an array."""
    found = np.asarray(classes)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"classes must be a list or an array (K,) of labels, found {classes!r}.")
    if found.dtype.kind == "O" and len({type(label) for label in found}) > 1:
        raise ValueError(f"classes mixes labels of different types, {found.tolist()}. Give labels of one.")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"classes holds NaN or infinity, {found.tolist()}. Give the labels that y has.")
    return found
