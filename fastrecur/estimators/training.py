"""The minibatch loop: epochs, early stopping, the best weights, and what an interrupted fit keeps."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastrecur.estimators.progress import Progress
from fastrecur.network.model import Model
from fastrecur.network.optimisers import make_optimiser
from fastrecur.network.workspace import Workspace
from fastrecur.sequences import Sequences


@dataclass
class Validation:
    """Sequences that are kept out of training, for early stopping."""

    sequences: Sequences
    targets: Any
    weights: Any


@dataclass(frozen=True)
class Epoch:
    """What a whole epoch came to: its mean loss, mean gradient norm, share of clipped steps, validation score."""

    loss: float
    norm: float
    clipped: float
    score: float | None


@dataclass(frozen=True)
class Record:
    """What the whole epochs have left. It is replaced as one, so that an interrupt finds all of an epoch or nothing.

    ``best`` is the least loss, or minus the best validation score; ``waited`` counts the epochs without progress.
    """

    weights: Any
    best_weights: Any
    epochs: tuple[Epoch, ...] = ()
    best: float = np.inf
    waited: int = 0


@dataclass
class Training:
    """A fit under way.

    ``weights`` have mean 1; times ``weight_unit`` they are what the caller gave (None: nothing was given). ``ending``
    says what ended the epochs: "converged", "max_iter", "interrupted" or "diverged".
    """

    estimator: Any
    model: Model
    sequences: Sequences
    targets: Any
    weights: Any
    weight_unit: float | None
    rows: Any
    batch_size: int
    validation: Validation | None
    random_state: np.random.RandomState
    n_threads: int
    ending: str = "max_iter"

    def __post_init__(self):
        model, estimator = self.model, self.estimator
        self.max_norm = np.inf if estimator.max_grad_norm is None else float(estimator.max_grad_norm)
        self.workspace = Workspace(model.dtype)
        self.grads = model.parameters.zeros_like()
        self.optimiser = make_optimiser(
            estimator.solver, model.parameters, estimator.learning_rate_init, estimator.momentum
        )
        weights = model.parameters.flat.copy()
        self.record = Record(weights, weights)

    @property
    def losses(self):
        """Mean loss of each whole epoch."""
        return [epoch.loss for epoch in self.record.epochs]


def train(training):
    """Run the epochs, until one of the four endings."""
    estimator = training.estimator
    patience = int(estimator.n_iter_no_change)
    with Progress(estimator.verbose, int(estimator.max_iter), len(training.rows)) as progress:
        try:
            for _ in range(estimator.max_iter):
                _epoch(training)
                progress.advance(training.record.epochs[-1])
                if training.record.waited > patience:
                    training.ending = "converged"
                    progress.complete()
                    break
        except KeyboardInterrupt:
            if not training.record.epochs:
                raise  # nothing was learned: the estimator stays as it was
            training.ending = "interrupted"
        except FloatingPointError:
            training.ending = "diverged"


def warn_of_ending(training):
    """Warn the caller of `fit` of every ending but convergence."""
    n_epochs, category = len(training.record.epochs), ConvergenceWarning
    if training.ending == "converged":
        return
    if training.ending == "interrupted":
        category = RuntimeWarning
        text = f"fit was interrupted: the weights after epoch {n_epochs}, the last whole one, are kept."
    elif training.ending == "diverged":
        text = (
            f"The loss or the weights were no longer finite in epoch {n_epochs + 1}: the weights of the epoch before "
            "are kept. Lower learning_rate_init, set max_grad_norm, or scale X."
        )
    else:
        text = f"The loss was still falling after max_iter={n_epochs} epochs. Raise max_iter, or tol."
    warnings.warn(text, category, stacklevel=4)


def _epoch(training):
    """One pass over the sequences; its results count only when it is whole."""
    estimator = training.estimator
    rows = training.random_state.permutation(training.rows) if estimator.shuffle else training.rows
    loss, norms = 0.0, []
    for start in range(0, len(rows), training.batch_size):
        batch = rows[start : start + training.batch_size]
        value, norm = _step(training, batch)
        loss += value * len(batch)
        norms.append(norm)
    loss /= len(rows)
    if not (np.isfinite(loss) and np.isfinite(training.model.parameters.flat).all()):
        raise FloatingPointError
    clipped = sum(norm > training.max_norm for norm in norms)
    epoch = Epoch(loss, sum(norms) / len(norms), clipped / len(norms), _score(training))
    training.record = _recorded(training, epoch, training.model.parameters.flat.copy())


def _step(training, batch):
    """One minibatch: gradient, clipping, optimiser step."""
    estimator, model = training.estimator, training.model
    loss = model.gradient(
        training.sequences, batch, estimator._loss, training.targets, training.weights, training.grads,
        training.workspace, training.n_threads,
    )  # fmt: skip
    weight = len(batch) if training.weight_unit is None else training.weights[batch].sum() * training.weight_unit
    decay = estimator.alpha / weight if weight > 0 else 0.0
    norm = training.optimiser.step(training.grads, training.max_norm, decay)
    model.stack.refresh()
    return loss, norm


def _score(training):
    """Score on the validation sequences, None without them."""
    validation = training.validation
    if validation is None:
        return None
    outputs = training.model.outputs(validation.sequences, training.n_threads)
    return training.estimator._validation_score(outputs, validation.targets, validation.weights)


def _recorded(training, epoch, weights):
    """The record with one more epoch: the epochs without progress, and the weights of the best score if there are any.

    Of epochs as good, the first counts.
    """
    record = training.record
    value = epoch.loss if epoch.score is None else -epoch.score
    best, best_weights = (value, weights) if value < record.best else (record.best, record.best_weights)
    waited = 0 if value < record.best - training.estimator.tol else record.waited + 1
    return Record(weights, best_weights, (*record.epochs, epoch), best, waited)


def fitted_attributes(training):
    """What the fit leaves on the estimator, by name."""
    record, model, validated = training.record, training.model, training.validation is not None
    losses, scores = training.losses, [epoch.score for epoch in record.epochs]
    model.parameters.flat[:] = record.best_weights if validated else record.weights
    return {
        "weights_": {name: array.copy() for name, array in model.parameters.arrays.items()},
        "n_outputs_": model.n_outputs,
        "n_iter_": len(losses),
        "t_": len(losses) * len(training.rows),
        "loss_curve_": losses,
        "loss_": losses[-1] if losses else np.inf,
        "best_loss_": None if validated else min(losses, default=np.inf),
        "validation_scores_": scores if validated else None,
        "best_validation_score_": max(scores, default=None) if validated else None,
        "grad_norm_curve_": [epoch.norm for epoch in record.epochs],
        "clip_fraction_": [epoch.clipped for epoch in record.epochs],
    }
