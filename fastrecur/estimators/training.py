"""The minibatch loop: epochs, early stopping, the best weights, and what an interrupted fit keeps."""

import warnings
from dataclasses import dataclass, field
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


@dataclass
class Training:
    """A fit under way.

    ``weights`` have mean 1; times ``weight_unit`` they are what the caller gave (None: nothing was given).
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
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: float = np.inf
    waited: int = 0

    def __post_init__(self):
        model, estimator = self.model, self.estimator
        self.max_norm = np.inf if estimator.max_grad_norm is None else float(estimator.max_grad_norm)
        self.workspace = Workspace(model.dtype)
        self.grads = model.parameters.zeros_like()
        self.optimiser = make_optimiser(
            estimator.solver, model.parameters, estimator.learning_rate_init, estimator.momentum
        )
        self.kept = model.parameters.flat.copy()
        self.best_weights = self.kept


def train(training):
    """Run the epochs, and leave the fitted attributes on the estimator, whatever ends the loop."""
    estimator = training.estimator
    converged = interrupted = diverged = False
    with Progress(estimator.verbose, estimator.max_iter, len(training.rows)) as progress:
        try:
            for _ in range(estimator.max_iter):
                _epoch(training)
                progress.advance(training.losses[-1], training.scores[-1] if training.scores else None)
                if converged := training.waited > estimator.n_iter_no_change:
                    break
        except KeyboardInterrupt:
            interrupted = True
        except FloatingPointError:
            diverged = True
    _finish(training)
    if interrupted:
        warnings.warn(
            f"fit was interrupted: the weights after epoch {len(training.losses)}, the last whole one, are kept.",
            RuntimeWarning,
            stacklevel=4,
        )
    elif diverged:
        warnings.warn(
            f"The loss or the weights were no longer finite in epoch {len(training.losses) + 1}: the weights of the "
            "epoch before are kept. Lower learning_rate_init, set max_grad_norm, or scale X.",
            ConvergenceWarning,
            stacklevel=4,
        )
    elif not converged and len(training.losses) == estimator.max_iter:
        warnings.warn(
            f"The loss was still falling after max_iter={estimator.max_iter} epochs. Raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=4,
        )


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
    score = _score(training)
    training.losses.append(loss)
    training.norms.append(float(np.mean(norms)))
    training.clipped.append(float(np.mean(np.array(norms) > training.max_norm)))
    training.kept = training.model.parameters.flat.copy()
    _watch(training, loss, score)


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


def _watch(training, loss, score):
    """Count the epochs without progress; remember the best weights when there are validation scores."""
    tol = training.estimator.tol
    if score is None:
        improved = loss < training.best - tol
        training.best = min(loss, training.best)
    else:
        training.scores.append(score)
        improved = -score < training.best - tol
        if -score < training.best:
            training.best, training.best_weights = -score, training.kept
    training.waited = 0 if improved else training.waited + 1


def _finish(training):
    estimator, model = training.estimator, training.model
    early = training.validation is not None and training.scores
    model.parameters.flat[:] = training.best_weights if early else training.kept
    estimator.weights_ = {name: array.copy() for name, array in model.parameters.arrays.items()}
    estimator.n_outputs_ = model.n_outputs
    estimator.n_iter_ = len(training.losses)
    estimator.t_ = len(training.losses) * len(training.rows)
    estimator.loss_curve_ = training.losses
    estimator.loss_ = training.losses[-1] if training.losses else np.inf
    estimator.best_loss_ = None if training.validation else min(training.losses, default=np.inf)
    estimator.validation_scores_ = training.scores if training.validation else None
    estimator.best_validation_score_ = max(training.scores, default=None) if training.validation else None
    estimator.grad_norm_curve_ = training.norms
    estimator.clip_fraction_ = training.clipped
