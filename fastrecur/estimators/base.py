"""What all six estimators share: parameters, validation, the network behind them."""

import os
import re
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastrecur.estimators.training import Training, Validation, fitted_attributes, train, warn_of_ending
from fastrecur.kernels.threads import resolve_threads
from fastrecur.masks import refuse_masked
from fastrecur.network.model import Model, training_memory
from fastrecur.sequences import check_sequences

_GIBIBYTE = 2**30


class _Count(Interval):
    """Constraint of a parameter: an integer from 1 on. True, an integer to Python, is none."""

    def __init__(self):
        super().__init__(Integral, 1, None, closed="left")

    def is_satisfied_by(self, val):
        return not isinstance(val, bool) and super().is_satisfied_by(val)


class RecurrentEstimator(BaseEstimator):
    """Base of the estimators; `_cell` and the loss come from the subclasses."""

    _cell = ""
    _loss = ""
    classes_: Any

    _parameter_constraints: ClassVar[dict] = {
        "hidden_size": [_Count()],
        "num_layers": [_Count()],
        "bidirectional": ["boolean"],
        "pooling": [StrOptions({"last"})],
        "solver": [StrOptions({"adam", "sgd"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), _Count()],
        "max_iter": [_Count()],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [_Count()],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "n_threads": [_Count(), None],
        "dtype": [StrOptions({"float32", "float64"})],
    }

    def __init__(
        self,
        hidden_size=64,
        *,
        num_layers=1,
        bidirectional=False,
        pooling="last",
        solver="adam",
        learning_rate_init=0.005,
        momentum=0.9,
        alpha=1e-4,
        batch_size="auto",
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        max_grad_norm=1.0,
        shuffle=True,
        random_state=None,
        warm_start=False,
        verbose=False,
        n_threads=None,
        dtype="float32",
    ):
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.max_grad_norm = max_grad_norm
        self.shuffle = shuffle
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.n_threads = n_threads
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train the network on sequences.

        Parameters
        ----------
        X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
            Sequences: see `fastrecur.sequences.check_sequences`.
        y : array of shape (n,) or, for regression, (n, K)
            One target a sequence.
        sample_weight : array of shape (n,), optional
            Weights of the sequences in the loss. Equal weights by default.

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
        RuntimeWarning
            If the fit was interrupted from the keyboard: the weights of the last whole epoch are kept. An interrupt
            before the first epoch is whole, or a second one, is raised and leaves the estimator as it was.
        """
        before = dict(self.__dict__)
        try:
            training = self._prepare(X, y, sample_weight)
            train(training)
            self.__dict__.update(fitted_attributes(training))
        except BaseException:
            self.__dict__ = before
            raise
        warn_of_ending(training)
        return self

    def _prepare(self, X, y, sample_weight):
        """Everything up to the first epoch: all checks, the network, the split."""
        continued = self.warm_start and hasattr(self, "weights_")
        sequences = self._check_sequences(X, self.dtype, reset=not continued)
        refuse_masked(sample_weight, "sample_weight")
        weights, unit = self._check_weights(sample_weight, sequences)
        targets = self._read_targets(y, weights, continued)
        batch_size = min(32 if self.batch_size == "auto" else int(self.batch_size), len(targets))
        architecture = self._wanted_architecture(sequences.n_features, self._n_outputs(targets))
        _check_memory(self._cell, sequences, batch_size, architecture)
        random_state = check_random_state(self.random_state)
        rows, kept_out = self._split(targets, random_state)
        self._check_influence(weights, rows, kept_out)
        if continued:
            self._check_continued(architecture)
        self._architecture = architecture
        model = Model(self._cell, **self._architecture)
        if continued:
            model.load(self.weights_)
        else:
            model.initialise(random_state)
        validation = None
        if len(kept_out):
            validation = Validation(sequences.take(kept_out), targets[kept_out], weights[kept_out])
        return Training(
            estimator=self,
            model=model,
            sequences=sequences,
            targets=targets,
            weights=weights,
            weight_unit=unit,
            rows=rows,
            batch_size=min(batch_size, len(rows)),
            validation=validation,
            random_state=random_state,
            n_threads=resolve_threads(self.n_threads),
        )

    def _wanted_architecture(self, n_features, n_outputs):
        """Arguments of `Model`, numbers as Python's, in which nothing overflows."""
        return {
            "n_features": n_features,
            "hidden_size": int(self.hidden_size),
            "n_outputs": n_outputs,
            "num_layers": int(self.num_layers),
            "n_directions": 2 if self.bidirectional else 1,
            "relu": getattr(self, "nonlinearity", "tanh") == "relu",
            "dtype": self.dtype,
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

    def _read_targets(self, y, weights, continued):
        """What `_check_targets` makes of y; its errors name y."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        refuse_masked(y, "y")
        try:
            return self._check_targets(y, weights, continued)
        except (TypeError, ValueError) as error:
            if re.search(r"\by\b", str(error)):
                raise
            text = str(error).strip().split("\n")[0]  # scikit-learn shows the array below
            raise type(error)(f"y cannot be the targets: {text}") from error

    def _check_weights(self, sample_weight, sequences):
        """Weights with mean 1, float64, and what they were divided by for it (None without weights)."""
        if sample_weight is None:
            return np.ones(len(sequences)), None
        weights = _check_sample_weight(
            sample_weight,
            sequences.lengths,
            dtype=np.float64,
            ensure_non_negative=True,
            allow_all_zero_weights=True,
        )
        largest = weights.max()
        if largest == 0:
            raise ValueError("sample_weight is all zero. Give at least one sequence a positive weight.")
        weights = weights / largest
        mean = weights.mean()
        return weights / mean, float(largest * mean)

    def _check_number(self, y, n_sequences):
        """There must be one target a sequence."""
        if len(y) != n_sequences:
            raise ValueError(
                f"y has {len(y)} target(s), but X has {n_sequences} sequence(s): inconsistent numbers of samples. "
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

    def _split(self, targets, random_state):
        """Rows to train on and rows to validate on (none without early stopping)."""
        n = len(targets)
        if not self.early_stopping:
            return np.arange(n), np.arange(0)
        n_validation = int(np.ceil(self.validation_fraction * n))
        if n_validation >= n:
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} leaves none of {n} sequence(s) to "
                "train on. Lower validation_fraction or set early_stopping=False."
            )
        return self._split_rows(targets, n_validation, random_state)

    def _check_continued(self, architecture):
        """With warm_start the network must still be the one that was fitted."""
        fitted, wanted = _as_parameters(self._architecture), _as_parameters(architecture)
        changed = [f"{name} {fitted[name]} to {wanted[name]}" for name in wanted if wanted[name] != fitted[name]]
        if changed:
            raise ValueError(
                f"warm_start=True continues with the fitted weights, but {', '.join(changed)} was changed since. "
                "Change it back, or set warm_start=False to begin anew."
            )

    # --- prediction --------------------------------------------------------------------------------------------------

    def _fitted_model(self):
        model = Model(self._cell, **self._architecture)
        model.load(self.weights_)
        return model

    def _raw_outputs(self, X):
        """Outputs of the head (n, K), and the sequences."""
        check_is_fitted(self)
        constraints = {"n_threads": self._parameter_constraints["n_threads"]}  # of what may be set after fit
        validate_parameter_constraints(constraints, {"n_threads": self.n_threads}, type(self).__name__)
        sequences = self._check_sequences(X, self._architecture["dtype"], reset=False)
        return self._fitted_model().outputs(sequences, resolve_threads(self.n_threads)), sequences

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        return tags


def _as_parameters(architecture):
    """The network by the names that the caller knows."""
    return {
        "hidden_size": architecture["hidden_size"],
        "num_layers": architecture["num_layers"],
        "bidirectional": architecture["n_directions"] == 2,
        "nonlinearity": "relu" if architecture["relu"] else "tanh",
        "dtype": architecture["dtype"],
        "number of features": architecture["n_features"],
        "number of outputs": architecture["n_outputs"],
    }


def _check_memory(cell, sequences, batch_size, architecture):
    """Refuse a batch whose buffers exceed the machine's memory."""
    longest = int(np.sort(sequences.lengths)[-batch_size:].sum())
    needed = training_memory(cell, longest, **architecture)
    available = _physical_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"A batch of batch_size={batch_size} sequences with hidden_size={architecture['hidden_size']}, "
            f"num_layers={architecture['num_layers']} and up to {sequences.max_length} time steps needs about "
            f"{needed / _GIBIBYTE:.1f} GiB to train; this machine has {available / _GIBIBYTE:.1f} GiB. "
            "Lower batch_size, hidden_size or num_layers, or cut the sequences."
        )


def _physical_memory():
    """Bytes of memory of the machine or its container, or None where the system does not tell."""
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(available, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (ValueError, OSError):  # "max", or no such container
        return available
