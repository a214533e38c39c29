"""What classifiers add: labels, probabilities, a stratified split."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.kernels.cpu.head import softmax


class SequenceClassifier(ClassifierMixin, RecurrentEstimator):
    """One label a sequence: softmax over the classes, cross entropy."""

    _loss = "cross_entropy"

    def _check_targets(self, y, weights, continued):
        """Labels as numbers 0..K-1, int64; sets `classes_`."""
        y = column_or_1d(y, warn=True)
        self._check_number(y, len(weights))
        if y.dtype.kind in "fO":
            assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        encoder = LabelEncoder()
        if continued:
            unknown = np.setdiff1d(y, self.classes_)
            if len(unknown):
                raise ValueError(
                    f"warm_start=True continues with the classes {self.classes_.tolist()}, but y has "
                    f"{unknown.tolist()} too. Set warm_start=False to begin anew."
                )
            encoder.classes_ = self.classes_
            return encoder.transform(y).astype(np.int64)
        labels = encoder.fit_transform(y).astype(np.int64)
        if len(encoder.classes_) < 2:
            raise ValueError(
                f"y has one class only, {encoder.classes_[0]}, in {len(y)} sequence(s). A classifier needs at "
                "least 2 classes."
            )
        self.classes_ = encoder.classes_
        return labels

    def _n_outputs(self, targets):
        return len(self.classes_)

    def _split_rows(self, targets, n_validation, random_state):
        counts = np.bincount(targets, minlength=len(self.classes_))
        if counts.min() < 2 or n_validation < len(self.classes_) or len(targets) - n_validation < len(self.classes_):
            rare = self.classes_[counts.argmin()]
            raise ValueError(
                f"early_stopping needs each class among the sequences it trains on and among the {n_validation} that "
                f"it keeps out: found {len(self.classes_)} classes in {len(targets)} sequences, class {rare} "
                f"{counts.min()} time(s). Pass more sequences, raise validation_fraction or set early_stopping=False."
            )
        rows = np.arange(len(targets))
        train, validation = train_test_split(rows, test_size=n_validation, stratify=targets, random_state=random_state)
        return train, validation

    def _validation_score(self, outputs, targets, weights):
        return float(accuracy_score(targets, outputs.argmax(axis=1), sample_weight=weights))

    def predict(self, X):
        """Most probable class of each sequence.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        y : array of shape (n,)
        """
        outputs, _ = self._raw_outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        probabilities : array of shape (n, K)
            Columns in the order of `classes_`.
        """
        outputs, _ = self._raw_outputs(X)
        probabilities = np.empty_like(outputs)
        softmax(outputs, probabilities)
        return probabilities

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        log_probabilities : array of shape (n, K)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
