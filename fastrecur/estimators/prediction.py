"""What a fitted estimator does with sequences: outputs, states, streams."""

import numpy as np
from sklearn import get_config
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from fastrecur.arrays import all_finite
from fastrecur.estimators.sample_weight import sequence_weights
from fastrecur.estimators.saving import Saved
from fastrecur.estimators.streams import Stream
from fastrecur.estimators.targets import check_finite_targets, stack_targets
from fastrecur.kernels.threads import resolve_threads
from fastrecur.masks import refuse_masked
from fastrecur.network.device import resolve_device
from fastrecur.network.model import make_model
from fastrecur.tokens import as_tokens


class SequencePredictor(Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Prediction, transformation and streams."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # states come in the dtype of the network
        return tags

    def _fitted_model(self):
        model = make_model(self._cell, resolve_device(self.device), **self._architecture)
        model.load(self.weights_)
        return model

    def _sequences(self, X):
        """X as the network reads it, and the number of threads."""
        check_is_fitted(self)
        constraints = {"n_threads": self._parameter_constraints["n_threads"]}  # of what may be set after fit
        validate_parameter_constraints(constraints, {"n_threads": self.n_threads}, type(self).__name__)
        sequences = self._check_sequences(X, self._architecture["dtype"], reset=False)
        if self._architecture["n_tokens"]:
            sequences = as_tokens(sequences, X, self._architecture["n_tokens"])
        return sequences, resolve_threads(self.n_threads)

    def _raw_outputs(self, X):
        """Outputs of the head, (n, K) or (S, K), and the sequences."""
        sequences, n_threads = self._sequences(X)
        outputs = self._fitted_model().outputs(sequences, n_threads)
        return self._refuse_overflow(outputs, sequences.lengths), sequences

    def _refuse_overflow(self, values, lengths, name="X"):
        """``values``, one a sequence of these ``lengths`` or one a time step, unless the network's sums overflowed."""
        if get_config()["assume_finite"] or all_finite(values):
            return values
        row = np.flatnonzero(~np.isfinite(values).all(axis=1))[0]
        sequence = row if len(values) == len(lengths) else np.searchsorted(np.cumsum(lengths), row, side="right")
        dtype = self._architecture["dtype"]
        remedy = f"Scale {name} as for fit" + (", or fit with dtype='float64'." if dtype == "float32" else ".")
        raise ValueError(
            f"{name} holds values so large, first in sequence {sequence}, that the sums of the network are beyond "
            f"{dtype}. {remedy}"
        )

    @property
    def _has_step_targets(self):
        return self._architecture["pooling"] is None

    def _laid_out(self, rows, sequences):
        """Predictions as the y of `fit`: one a sequence, or one a time step in the layout of X."""
        return sequences.unstack(rows) if self._has_step_targets else rows

    def transform(self, X):
        """What the head reads of each sequence: the pooled states of the last layer.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        states : array of shape (n, D * H)
            With ``return_sequences`` the last states.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        sequences, n_threads = self._sequences(X)
        return self._refuse_overflow(self._fitted_model().pooled(sequences, n_threads), sequences.lengths)

    @property
    def _n_features_out(self):
        return self._architecture["n_directions"] * self._architecture["hidden_size"]

    def hidden_states(self, X):
        """States of the last layer after each time step.

        Parameters
        ----------
        X : sequences, as in `fit`

        Returns
        -------
        states : array of shape (n, T, D * H), or list of arrays of shape (T_i, D * H)
            A list where X is one. Of two directions, the one that reads forwards comes first.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.
        """
        sequences, n_threads = self._sequences(X)
        states = self._fitted_model().hidden_states(sequences, n_threads)
        return sequences.unstack(self._refuse_overflow(states, sequences.lengths))

    def initial_state(self, n_sequences=1):
        """State of `n_sequences` streams of which nothing has been seen.

        Parameters
        ----------
        n_sequences : int, default=1

        Returns
        -------
        state : Stream
            For `predict_step`, until the estimator is fitted again.

        Raises
        ------
        ValueError
            If the network is bidirectional: it reads sequences from their ends too.
        """
        check_is_fitted(self)
        self._refuse_two_directions()
        if isinstance(n_sequences, bool) or not isinstance(n_sequences, int | np.integer) or n_sequences < 1:
            raise ValueError(f"n_sequences must be an int of at least 1, found {n_sequences!r}.")
        return Stream(self._fitted_model(), self._of_fit(), int(n_sequences))

    def _refuse_two_directions(self):
        if self._architecture["n_directions"] == 2:
            raise ValueError(
                "Streams need bidirectional=False: a bidirectional network reads a sequence from its end, which a "
                "stream has not reached. Fit with bidirectional=False."
            )

    def _of_fit(self):
        """What tells this fit from others, read at each step of a stream: little, with a few of the weights."""
        return type(self).__name__, self._architecture["hidden_size"], self.weights_["head_weight"][0].tobytes()

    def predict_step(self, x_t, state):
        """Take one time step of each stream and predict: T steps give the bits of `predict` on the whole.

        Parameters
        ----------
        x_t : array of shape (n_sequences, F)
            (n_sequences,) where F is 1, or tokens; (F,) for a single stream.
        state : Stream
            From `initial_state` or the step before.

        Returns
        -------
        output : array
            What `predict` returns for sequences that end here.
        state : Stream
            A new one: the old one may be used again.

        Raises
        ------
        ValueError, TypeError
            If x_t does not fit, holds NaN or infinity, or state is not one.
        """
        outputs, state = self._step(x_t, state)
        dtype = np.asarray(x_t).dtype
        return self._decoded(outputs, np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64), state

    def _step(self, x_t, state):
        """Outputs of the head after one more time step, (n_sequences, K), and the new state."""
        check_is_fitted(self)
        self._refuse_two_directions()
        if not isinstance(state, Stream):
            raise TypeError(f"state must come from initial_state() or predict_step(), found a {type(state).__name__}.")
        if state.of_fit != self._of_fit():
            raise ValueError("state belongs to another network or fit. Begin with initial_state() of this estimator.")
        outputs, state = state.step(x_t)
        return self._refuse_overflow(outputs, np.ones(len(outputs), int), "x_t"), state

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, R^2 of a regressor; with ``return_sequences`` over all valid time steps.

        Parameters
        ----------
        X : sequences, as in `fit`
        y : targets, as in `fit`
        sample_weight : array of shape (n,), optional
            Weights of the sequences.

        Returns
        -------
        score : float

        Raises
        ------
        ValueError, TypeError
            If X, y or sample_weight will not do.
        """
        check_is_fitted(self)
        if y is None:
            raise ValueError("score needs y, the targets of X, but it is None.")
        refuse_masked(y, "y")
        predicted = self.predict(X)
        weights = None if sample_weight is None else sequence_weights(sample_weight, len(predicted))
        lengths = None
        if self._has_step_targets:
            lengths = np.array([len(steps) for steps in predicted])
            y, predicted = stack_targets(y, lengths), np.concatenate(predicted)
            weights = None if weights is None else np.repeat(weights, lengths)
        try:
            check_finite_targets(y, lengths)
            return self._metric(y, predicted, weights)
        except ValueError as error:
            raise ValueError(f"y cannot be held against the predictions: {error}") from error
