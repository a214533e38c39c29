"""What all six estimators share: validation, the network behind them, `fit` and `partial_fit`."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state

from fastrecur.estimators.gradient_warnings import warn_of_gradients
from fastrecur.estimators.memory import check_memory
from fastrecur.estimators.parameters import NetworkParameters, check_combination
from fastrecur.estimators.sample_weight import sequence_weights
from fastrecur.estimators.targets import stack_targets
from fastrecur.estimators.tasks import Tasks
from fastrecur.estimators.training import (
    Training,
    Validation,
    fitted_attributes,
    resumed_record,
    to_go_on_with,
    train,
    warn_of_ending,
)
from fastrecur.kernels.threads import resolve_threads
from fastrecur.masks import refuse_masked
from fastrecur.network.device import resolve_device
from fastrecur.network.gradient import Targets
from fastrecur.network.model import make_model
from fastrecur.sequences import check_sequences
from fastrecur.tokens import as_tokens


@dataclass(eq=False, repr=False, kw_only=True)
class RecurrentEstimator(NetworkParameters, CallbackSupportMixin, BaseEstimator):
    """Base of the estimators; `_cell` and the loss come from the subclasses."""

    _architecture: dict[str, Any] = field(init=False)  # set by `fit`: no parameters
    classes_: Any = field(init=False)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train the network on sequences.

        Parameters
        ----------
        X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
            Sequences: see `fastrecur.sequences.check_sequences`. With ``embedding_dim`` they hold integer tokens.
        y : array of shape (n,) or, for regression, (n, K)
            One target a sequence. With ``return_sequences`` one a time step: (n, T) or a list of (T_i,) arrays; for
            regression (n, T, K) or a list of (T_i, K) arrays too.
        sample_weight : array of shape (n,), optional
            Weights of the sequences in the loss, 0 or more and not all 0. Equal weights by default.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError, TypeError
            If a parameter, X, y or sample_weight will not do; nothing has been changed then.

        Warns
        -----
        ConvergenceWarning
            If the loss was still falling after ``max_iter`` epochs.
        ExplodingGradientWarning
            If the loss or the weights were no longer finite, and the weights of the last whole epoch are kept, or if
            the norm of the gradient grew past all bounds.
        VanishingGradientWarning
            If the gradient dies before it reaches the first tenth of long sequences. Both are ConvergenceWarnings; the
            bounds are in `fastrecur.estimators.gradient_warnings`.
        RuntimeWarning
            If the fit was interrupted from the keyboard: the weights of the last whole epoch are kept. An interrupt
            before the first epoch is whole, or a second one, is raised and leaves the estimator as it was.

        Notes
        -----
        With ``warm_start`` a fit begins from the weights of the last one. If that one was stopped early (from the
        keyboard, by a callback, or because it was made of calls of `partial_fit`), it goes on with the moments of the
        solver and the random numbers too: the epochs that it lacks are run, and the result is that of a fit that was
        never stopped, bit for bit. With "lbfgs" that takes the time of a whole fit: all iterations are run again. A fit
        that was stopped in the last of ``max_iter`` epochs lacks none: the next one is a new fit from its weights, or
        goes on if ``max_iter`` was raised.
        """
        return self._fit(X, y, sample_weight, continued=self.warm_start and hasattr(self, "weights_"))

    @_fit_context(prefer_skip_nested_validation=True)
    def _partial_fit(self, X, y, sample_weight, classes=None):
        if self.solver == "lbfgs":
            raise ValueError("partial_fit sees some data at a time, but solver='lbfgs' needs all. Take solver='adam'.")
        if isinstance(getattr(self, "class_weight", None), str):
            raise ValueError(
                "class_weight='balanced' counts the classes of all data, of which partial_fit sees some at a time. "
                "Pass a dict of weights."
            )
        if self.early_stopping:
            raise ValueError("partial_fit keeps no sequences out: set early_stopping=False, or call fit.")
        if self.learning_rate == "cosine" and self._has_run_its_epochs():
            raise ValueError(
                f"learning_rate='cosine' has come to 0: partial_fit has run all max_iter={self.max_iter} epochs. Raise "
                "max_iter, or take learning_rate='constant'."
            )
        return self._fit(X, y, sample_weight, hasattr(self, "weights_"), classes, partial=True)

    def _has_run_its_epochs(self):
        return getattr(self, "_resume", {}).get("unfinished", False) and self.n_iter_ >= self.max_iter

    def _fit(self, X, y, sample_weight, continued, classes=None, partial=False):
        before = dict(self.__dict__)
        try:
            training = self._prepare(X, y, sample_weight, continued, classes, partial)
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            with Tasks(self, training, X, y, metadata, silent=partial) as tasks:
                train(training, tasks)
            self.__dict__.update(fitted_attributes(training))
        except BaseException:
            self.__dict__ = before | {k: v for k, v in self.__dict__.items() if "callback" in k}
            raise
        warn_of_ending(training)
        warn_of_gradients(training)
        return self

    def _prepare(self, X, y, sample_weight, continued, classes, partial):
        """Everything up to the first epoch: all checks, the network, the split."""
        check_combination(self, self._cell)
        device = resolve_device(self.device)
        sequences = self._check_sequences(X, self.dtype, reset=not continued)
        if continued and (self.embedding_dim is not None) != (self._architecture["n_tokens"] > 0):
            was = self._architecture["n_features"] if self._architecture["n_tokens"] else None
            raise ValueError(
                f"{_continuing(partial)} goes on with the fitted network, but embedding_dim was changed since, from "
                f"{was} to {self.embedding_dim}. Change it back, or call fit with warm_start=False."
            )
        if self.embedding_dim is not None:
            n_known = (self._architecture["n_tokens"] or None) if continued else None
            sequences = as_tokens(sequences, X, n_known)
        weights = sequence_weights(sample_weight, len(sequences))
        values, target_weights = self._read_targets(y, sequences, weights, continued, classes)
        n_outputs = self._n_outputs(values)
        resume = to_go_on_with(self, partial) if continued else None
        unit = resume["weight_unit"] if partial and resume and resume["unfinished"] else None
        target_weights, unit = _with_unit_mean(target_weights, unit)
        batch_size = min(self._wanted_batch_size(len(sequences)), len(sequences))
        architecture = self._wanted_architecture(sequences, n_outputs, continued)
        check_memory(self, sequences, batch_size, architecture, device)
        random_state = check_random_state(self.random_state)
        seeds = resume["seeds"] if resume else [int(random_state.randint(2**31)) for _ in ("split", "epochs")]
        rows, kept_out = self._split(values, sequences, seeds[0])
        self._check_influence(weights, rows, kept_out)
        if continued:
            self._check_continued(architecture, partial)
        self._architecture = architecture
        model = make_model(self._cell, device, **self._architecture)
        if continued:
            model.load(self.weights_)
        else:
            options = {"forget_bias": self.forget_bias} if self._cell == "lstm" else {}
            model.initialise(random_state, preset=self.init, longest=sequences.max_length, **options)
        return Training(
            estimator=self,
            model=model,
            sequences=sequences,
            targets=Targets(self._loss, values, target_weights),
            weight_unit=unit,
            rows=rows,
            batch_size=min(batch_size, len(rows)),
            validation=self._validation(sequences, values, target_weights, kept_out),
            seeds=seeds,
            n_threads=resolve_threads(self.n_threads),
            resumed=resumed_record(self, resume, partial),
            partial=partial,
        )

    def _wanted_batch_size(self, n_sequences):
        """Few sequences go in small batches: an epoch of one or two steps would end the fit before it has begun."""
        return min(32, max(8, n_sequences // 16)) if self.batch_size == "auto" else int(self.batch_size)

    def _wanted_architecture(self, sequences, n_outputs, continued):
        """Arguments of `Model`, numbers as Python's, in which nothing overflows."""
        n_tokens = 0
        if self.embedding_dim is not None:
            n_tokens = self._architecture["n_tokens"] if continued else int(sequences.values.max()) + 1
        return {
            "n_features": sequences.n_features if self.embedding_dim is None else int(self.embedding_dim),
            "hidden_size": int(self.hidden_size),
            "n_outputs": n_outputs,
            "num_layers": int(self.num_layers),
            "n_directions": 2 if self.bidirectional else 1,
            "relu": getattr(self, "nonlinearity", "tanh") == "relu",
            "dtype": self.dtype,
            "pooling": None if self.return_sequences else self.pooling,
            "n_tokens": n_tokens,
        }

    # --- checks ------------------------------------------------------------------------------------------------------

    def _check_sequences(self, X, dtype, reset):
        sequences = check_sequences(X, estimator=self, reset=reset)
        values, largest = sequences.values, np.finfo(dtype).max
        if values.dtype != dtype and max(values.max(), -values.min()) > largest:
            raise ValueError(
                f"X has values beyond {largest:.3g}, the largest that dtype={dtype!r} can hold. "
                "Scale X, or fit with dtype='float64'."
            )
        return sequences

    def _read_targets(self, y, sequences, weights, continued, classes):
        """What `_check_targets` makes of y, and a weight for each target; its errors name y."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        refuse_masked(y, "y")
        lengths = sequences.lengths if self.return_sequences else None
        try:
            if lengths is not None:
                y, weights = stack_targets(y, lengths), np.repeat(weights, lengths)
            return self._check_targets(y, lengths, weights, continued, classes)
        except (TypeError, ValueError) as error:
            named = re.search(r"\b(y|class_weight|classes)\b", str(error))
            of_steps = not self.return_sequences and _has_axes(y)
            if named and not of_steps:
                raise
            text = str(error).strip().split("\n")[0].rstrip(".")  # scikit-learn shows the array below
            hint = " For a target at each time step set return_sequences=True." if of_steps else ""
            raise type(error)(f"{'' if named else 'y cannot be the targets: '}{text}.{hint}") from error

    def _check_number(self, y, n_targets):
        """There must be one target a sequence (those of time steps have been counted)."""
        if len(y) != n_targets:
            raise ValueError(
                f"y has {len(y)} target(s), but X has {n_targets} sequence(s): inconsistent numbers of samples. "
                "Pass one target a sequence."
            )

    def _check_influence(self, weights, rows, kept_out):
        """Sequences with weight on both sides of the split."""
        for side, purpose in ((rows, "train on"), (kept_out, "validate on")):
            if len(side) and not weights[side].any():
                raise ValueError(
                    f"sample_weight is zero for all {len(side)} sequence(s) to {purpose}. Give more sequences a "
                    "positive weight, change random_state or set early_stopping=False."
                )

    def _split(self, values, sequences, seed):
        """Rows to train on, and rows to validate on (none without early stopping)."""
        n = len(sequences)
        if not self.early_stopping:
            return np.arange(n), np.arange(0)
        n_validation = int(np.ceil(self.validation_fraction * n))
        if n_validation >= n:
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} leaves none of {n} sequence(s) to "
                "train on. Lower validation_fraction or set early_stopping=False."
            )
        return self._split_rows(values, n, n_validation, seed)

    def _validation(self, sequences, values, weights, kept_out):
        """`Validation` on the sequences kept out, or None."""
        if not len(kept_out):
            return None
        index = kept_out
        if self.return_sequences:
            spans = zip(sequences.starts[kept_out], sequences.lengths[kept_out], strict=True)
            index = np.concatenate([np.arange(start, start + length) for start, length in spans])
        if not weights[index].any():
            raise ValueError(
                f"class_weight and sample_weight leave the {len(kept_out)} sequence(s) to validate on no weight. "
                "Change them or random_state, or set early_stopping=False."
            )
        return Validation(sequences.take(kept_out), values[index], weights[index])

    def _check_continued(self, architecture, partial):
        """The network must still be the one that was fitted."""
        fitted, wanted = _as_parameters(self._architecture), _as_parameters(architecture)
        changed = [f"{name} {fitted[name]} to {wanted[name]}" for name in wanted if wanted[name] != fitted[name]]
        if changed:
            raise ValueError(
                f"{_continuing(partial)} continues with the fitted weights, but {', '.join(changed)} was changed "
                "since. Change it back, or call fit with warm_start=False to begin anew."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        return tags


def _continuing(partial):
    return "partial_fit" if partial else "warm_start=True"


def _with_unit_mean(weights, unit=None):
    """Weights with mean 1, and what they were divided by for it; or divided by the given ``unit``."""
    largest = weights.max()
    if largest == 0:
        raise ValueError("class_weight and sample_weight leave no target a weight. Give at least one a positive one.")
    if unit is None:
        unit = float(largest * (weights / largest).mean())
    return weights / unit, unit


def _has_axes(y):
    """Whether there is more than a number or a label in what y has for the first sequence."""
    first = next(iter(y), None) if np.iterable(y) else None
    return np.iterable(first) and not isinstance(first, str | bytes)


def _as_parameters(architecture):
    """The network by the names that the caller knows."""
    tokens = architecture["n_tokens"] > 0
    return {
        "hidden_size": architecture["hidden_size"],
        "num_layers": architecture["num_layers"],
        "bidirectional": architecture["n_directions"] == 2,
        "nonlinearity": "relu" if architecture["relu"] else "tanh",
        "dtype": architecture["dtype"],
        "return_sequences": architecture["pooling"] is None,
        "pooling": architecture["pooling"] or "last",
        "embedding_dim": architecture["n_features"] if tokens else None,
        "number of features": 1 if tokens else architecture["n_features"],
        "number of outputs": architecture["n_outputs"],
    }
