"""The minibatch loop: epochs, early stopping, the best weights, and what an interrupted fit keeps."""

from dataclasses import dataclass, field, replace
from operator import mul
from typing import Any

import joblib
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastrecur.estimators import full_batch
from fastrecur.estimators.caller import warn_caller
from fastrecur.estimators.gradient_warnings import diverged_text
from fastrecur.estimators.progress import Progress
from fastrecur.exceptions import ExplodingGradientWarning
from fastrecur.network.dropout import Dropout
from fastrecur.network.gradient import Targets, make_gradient
from fastrecur.network.model import Model
from fastrecur.network.optimisers import copied
from fastrecur.network.parameters import Parameters
from fastrecur.network.schedules import make_schedule
from fastrecur.sequences import Sequences


@dataclass
class Validation:
    """Sequences that are kept out of training, for early stopping; targets and weights of them alone."""

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
    ``going_on`` is what the next epoch needs besides: states of solver and schedule, the seeds; ``n_seen`` counts the
    sequences trained on.
    """

    weights: Any
    best_weights: Any
    epochs: tuple[Epoch, ...] = ()
    best: float = np.inf
    waited: int = 0
    going_on: dict[str, Any] = field(default_factory=dict)
    n_seen: int = 0


@dataclass
class Training:
    """A fit under way.

    The targets' weights have mean 1; times ``weight_unit`` they are what the caller gave. ``ending`` says what ended
    the epochs: "converged", "max_iter", "interrupted", "stopped" (by a callback), "diverged", or L-BFGS's own words;
    ``diverged_at`` says where in the epoch.
    ``resumed`` is a `Record` of a fit that was stopped, and goes on. ``seeds`` are those of the split and of the
    epochs: each epoch has its own random numbers, so that a fit that goes on needs no state of them. ``start`` tells
    L-BFGS from which weights, after which epoch, its iterations began.
    """

    estimator: Any
    model: Model
    sequences: Sequences
    targets: Targets
    weight_unit: float
    rows: Any
    batch_size: int
    validation: Validation | None
    seeds: list[int]
    n_threads: int
    resumed: Record | None
    partial: bool
    ending: str = "max_iter"
    diverged_at: str = ""

    def __post_init__(self):
        model, estimator, resumed = self.model, self.estimator, self.resumed
        self.max_norm = np.inf if estimator.max_grad_norm is None else float(estimator.max_grad_norm)
        self.gradient = make_gradient(model, self.targets, self.n_threads)
        self.schedule = make_schedule(estimator.learning_rate, estimator.learning_rate_init, estimator.max_iter)
        self._spare = None, None
        self._handed_out = resumed and resumed.going_on
        self.drops = estimator.dropout > 0 or estimator.recurrent_dropout > 0
        self.start = {"weights": model.parameters.flat.copy(), "epoch": 0}  # of L-BFGS
        if estimator.solver != "lbfgs":
            rate = estimator.learning_rate_init
            self.optimiser = self.gradient.make_optimiser(estimator.solver, rate, estimator.momentum)
        if resumed is None:
            weights = model.parameters.flat.copy()
            self.record = Record(weights, weights, going_on=self.going_on())
        else:
            self.record = resumed
            if resumed.epochs and not self.partial and resumed.going_on["data"] != self.data():
                self.record = replace(resumed, best_weights=resumed.weights, best=np.inf, waited=0)
            model.parameters.flat[:] = resumed.weights
            model.refresh()
            self.start = {"weights": resumed.weights, "epoch": len(resumed.epochs)}
            self._go_on(resumed.going_on)

    def _go_on(self, state):
        if state["solver"] == self.estimator.solver == "lbfgs" and self.record.epochs:
            self.start = state["optimiser"]
        elif state["solver"] == self.estimator.solver != "lbfgs":
            self.optimiser.load_state(state["optimiser"])
        if state["learning_rate"] == [self.estimator.learning_rate, self.estimator.learning_rate_init]:
            self.schedule.load_state(state["schedule"])

    def add(self, epoch, best, waited):
        """Record a whole epoch, in the arrays of the record before the last: fresh memory costs more than the copy.

        ``best`` and ``waited`` are of `Record`; the weights are the best ones if ``best`` is less than it was.
        """
        last, (spare_weights, spare_state) = self.record, self._spare
        weights, going_on = copied(self.model.parameters.flat, spare_weights), self.going_on(spare_state)
        best_weights = weights if best < last.best else last.best_weights
        epochs, n_seen = (*last.epochs, epoch), last.n_seen + len(self.rows)
        self.record = Record(weights, best_weights, epochs, best, waited, going_on, n_seen)
        if self.estimator.solver != "lbfgs":  # which may begin again from what it left
            state = None if last.going_on is self._handed_out else last.going_on["optimiser"]
            self._spare = None if last.weights is best_weights else last.weights, state

    def going_on(self, spare=None):
        """What the next epoch needs besides the weights; for ``spare`` see `Optimiser.state`."""
        estimator = self.estimator
        return {
            "solver": estimator.solver,
            "optimiser": self.start if estimator.solver == "lbfgs" else self.optimiser.state(spare),
            "learning_rate": [estimator.learning_rate, float(estimator.learning_rate_init)],
            "schedule": self.schedule.state(),
            "seeds": self.seeds,
        }

    def data(self):
        """Hash of all that tells how good an epoch was: sequences, targets, their weights, those kept out."""
        sequences, targets = self.sequences, self.targets
        arrays = np.asarray(sequences.values), sequences.starts, sequences.lengths, targets.weights, self.rows
        return joblib.hash((*arrays, tuple(targets.values) if isinstance(targets.values, tuple) else targets.values))

    @property
    def n_epochs_left(self):
        """Epochs that are still to run at most."""
        if self.partial:
            return 1
        return max(1, int(self.estimator.max_iter) - len(self.record.epochs))

    def has_converged(self):
        """Whether there was no progress for too long."""
        if self.partial or (self.estimator.solver == "lbfgs" and self.validation is None):  # which ends by itself
            return False
        return self.record.waited > self.estimator.n_iter_no_change

    @property
    def losses(self):
        """Mean loss of each whole epoch."""
        return [epoch.loss for epoch in self.record.epochs]

    def attributes_so_far(self):
        """Attributes of the estimator as if the fit ended here, for callbacks."""
        self._handed_out = self.record.going_on
        return fitted_attributes(self)


def train(training, tasks):
    """Run the epochs, until one of the endings."""
    estimator = training.estimator
    n_before = len(training.record.epochs)
    if training.has_converged():  # the fit that goes on was stopped in what was to be its last epoch
        training.ending = "converged"
        return
    with Progress(estimator.verbose, training.n_epochs_left, len(training.rows)) as progress:
        try:
            if estimator.solver == "lbfgs":
                training.ending = full_batch.minimise(training, tasks, progress, _add_epoch)
            else:
                training.ending = _epochs(training, tasks, progress)
        except KeyboardInterrupt:
            if len(training.record.epochs) == n_before:
                raise  # nothing was learned: the estimator stays as it was
            training.ending = "interrupted"
        except FloatingPointError as error:
            training.ending, training.diverged_at = "diverged", str(error)


def _epochs(training, tasks, progress):
    for _ in range(training.n_epochs_left):
        tasks.begin()
        _epoch(training)
        progress.advance(training.record.epochs[-1])
        stop = tasks.end()
        if training.has_converged():
            progress.complete()
            return "converged"
        if stop:
            progress.complete()
            return "stopped"
    return "max_iter"


def warn_of_ending(training):
    """Warn the caller of `fit` of every ending that he did not ask for."""
    n_epochs, category = len(training.record.epochs), ConvergenceWarning
    if training.ending in ("converged", "stopped") or (training.partial and training.ending == "max_iter"):
        return
    if training.ending.startswith("lbfgs"):
        text = f"L-BFGS did not reach tol in {n_epochs} iterations: {training.ending}. Scale X, or raise tol."
    elif training.ending == "interrupted":
        category = RuntimeWarning
        text = f"fit was interrupted: the weights after epoch {n_epochs}, the last whole one, are kept."
    elif training.ending == "diverged":
        category, text = ExplodingGradientWarning, diverged_text(training)
    else:
        text = f"The loss was still falling after max_iter={n_epochs} epochs. Raise max_iter, or tol."
    warn_caller(text, category)


def _epoch(training):
    """One pass over the sequences; its results count only when it is whole."""
    estimator = training.estimator
    n_epochs = len(training.record.epochs)
    rng = np.random.default_rng([training.seeds[1], n_epochs])
    rows = rng.permutation(training.rows) if estimator.shuffle else training.rows
    taken = []
    for start in range(0, len(rows), training.batch_size):
        training.optimiser.rate = training.schedule.rate(n_epochs, start / len(rows))
        taken += _step(training, rows[start : start + training.batch_size], rng)
    losses, sizes, norms = zip(*training.gradient.fetched(taken), strict=True)
    loss = sum(map(mul, losses, sizes)) / sum(sizes)
    if not (np.isfinite(loss) and np.isfinite(training.model.parameters.flat).all()):
        raise FloatingPointError(_where_it_diverged(losses, norms))
    clipped = sum(norm > training.max_norm for norm in norms)
    _add_epoch(training, loss, sum(norms) / len(norms), clipped / len(norms))


def _where_it_diverged(losses, norms):
    """What is told of an epoch that is not finite: its first step that is not, and the gradients before it."""
    bad = np.flatnonzero(~np.isfinite(np.array(losses) + norms))
    step = bad[0] if len(bad) else len(losses) - 1  # of the last one, the weights are not
    text = f"step {step + 1} of {len(losses)}"
    return f"{text}, after gradients with norms of up to {max(norms[:step]):.3g} before clipping" if step else text


def _step(training, batch, rng):
    """A minibatch: loss, number of targets and norm of the gradient of its steps (one, or one a piece)."""
    dropout = _dropout(training, rng)
    steps = training.gradient.steps(training.sequences, batch, training.estimator.bptt_steps, dropout)
    return [(step.loss, step.size, _apply(training, step)) for step in steps]


def _dropout(training, rng):
    if not training.drops:
        return None
    estimator = training.estimator
    return Dropout(estimator.dropout, estimator.recurrent_dropout, int(rng.integers(2**31)))


def _apply(training, step):
    """Clip the gradient and step along it; returns its norm."""
    decay = training.estimator.alpha
    if training.estimator.solver != "adamw":
        decay /= step.size * training.weight_unit
    norm = training.optimiser.step(training.gradient.grads, training.max_norm, decay, step.tokens)
    training.gradient.refresh()
    return norm


def _add_epoch(training, loss, norm, clipped):
    """Record a whole epoch. Of epochs as good, the first counts as the best.

    After too many epochs without progress the schedule may lower the rate, and the count starts anew.
    """
    record, estimator = training.record, training.estimator
    epoch = Epoch(loss, norm, clipped, _score(training))
    value = epoch.loss if epoch.score is None else -epoch.score
    waited = 0 if value < record.best - estimator.tol else record.waited + 1
    if waited > estimator.n_iter_no_change and estimator.solver != "lbfgs" and training.schedule.slow_down():
        waited = 0
    training.add(epoch, value if value < record.best else record.best, waited)


def _score(training):
    """Score on the validation sequences, None without them."""
    validation = training.validation
    if validation is None:
        return None
    outputs = training.model.outputs(validation.sequences, training.n_threads)
    if not np.isfinite(outputs).all():
        raise FloatingPointError
    return training.estimator._validation_score(outputs, validation.targets, validation.weights)


def fitted_attributes(training):
    """What the fit leaves on the estimator, by name."""
    record, model, validated = training.record, training.model, training.validation is not None
    losses, scores = training.losses, [epoch.score for epoch in record.epochs]
    weights = model.parameters.zeros_like()
    weights.flat[:] = record.best_weights if validated else record.weights
    return {
        "weights_": {name: array.copy() for name, array in weights.arrays.items()},
        "n_outputs_": model.n_outputs,
        "n_iter_": len(losses),
        "t_": record.n_seen,
        "loss_curve_": losses,
        "loss_": losses[-1] if losses else np.inf,
        "best_loss_": None if validated else min(losses, default=np.inf),
        "validation_scores_": scores if validated else None,
        "best_validation_score_": max((s for s in scores if s is not None), default=None) if validated else None,
        "grad_norm_curve_": [epoch.norm for epoch in record.epochs],
        "clip_fraction_": [epoch.clipped for epoch in record.epochs],
        "_resume": _resume(training, validated),
    }


def _resume(training, validated):
    """What a later fit needs to go on from here, as arrays and plain numbers."""
    record = training.record
    unfinished = training.partial or training.ending in ("interrupted", "stopped")
    return {
        **record.going_on,
        "unfinished": unfinished,
        "best": float(record.best),
        "waited": record.waited,
        "data": _data_so_far(training) if unfinished else None,
        "n_seen": record.n_seen,
        "weight_unit": training.weight_unit,
        "weights": record.weights.copy() if validated else None,
    }


def _data_so_far(training):
    """`Training.data`, None after calls of `partial_fit` with different ones."""
    data, before = training.data(), training.resumed
    if training.partial and before is not None and before.epochs and before.going_on["data"] != data:
        return None
    return data


def to_go_on_with(estimator, partial):
    """What the last fit left for the next one. None: the last one came to its own end, and `fit` takes its weights.

    `partial_fit` goes on in any case, and counts its epochs anew after such a fit.
    """
    resume = getattr(estimator, "_resume", None)
    if resume is None or not (partial or _lacks_epochs(estimator, resume)):
        return None
    return resume


def _lacks_epochs(estimator, resume):
    return resume["unfinished"] and estimator.n_iter_ < estimator.max_iter


def resumed_record(estimator, resume, partial):
    """`Record` from which a fit goes on, None without ``resume``."""
    if resume is None:
        return None
    weights = estimator.weights_
    parameters = Parameters({name: array.shape for name, array in weights.items()}, weights["head_bias"].dtype)
    for name, array in parameters.arrays.items():
        array[...] = weights[name]
    best_weights = parameters.flat.copy()
    if not (resume["unfinished"] and (partial or _lacks_epochs(estimator, resume))):
        return Record(best_weights, best_weights, going_on=resume)
    weights = best_weights if resume["weights"] is None else resume["weights"].copy()
    scores = estimator.validation_scores_ or [None] * estimator.n_iter_
    curves = estimator.loss_curve_, estimator.grad_norm_curve_, estimator.clip_fraction_, scores
    epochs = tuple(Epoch(*values) for values in zip(*curves, strict=True))
    return Record(weights, best_weights, epochs, resume["best"], resume["waited"], resume, resume["n_seen"])
