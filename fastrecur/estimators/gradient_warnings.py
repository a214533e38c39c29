"""Warnings of gradients that vanish or explode: what is measured after a fit, and where the bounds lie.

Vanishing. A gradient that is small at the beginning of a sequence is no fault by itself: where the answer lies at the
end, there is nothing to learn there. What is told is that nothing *can* be learned there, however much there is. Hence
two conditions. The sequences are long: `LONG` time steps at least. And in each of up to `SAMPLED` of the longest ones,
no gradient of a state of the first layer within the first tenth reaches `VANISHED` of the largest one of the sequence.
Against that, float32 resolves 1e-7: what is added to a weight's gradient is lost already at 1e-8. A tanh RNN with
recurrent weights of spectral radius 0.8 comes down to 1e-26 in 270 steps, and an LSTM whose forget gates stay at
sigmoid(1), where they begin, to 1e-37; an LSTM that had learned the adding problem over 200 steps kept 1e-1.

A fit does not know where the answer lies. Measured on the sum of the last five of 300 steps (600 sequences, 25 epochs,
three seeds): R^2 of 0.95 to 0.99, and shares under `VANISHED` in eight of nine fits at the defaults. Hence the "if" in
the text, and hence `LONG`: of fits on 100 and on 150 steps (this sum, the adding problem, BasicMotions and GunPoint,
the three cells, init "default" and "pytorch", three or five seeds) 30 of 132 came under `VANISHED`, of which 15 had
learned what there was to learn. On the 150 steps of GunPoint an RNN at its defaults, which learns nothing there, has a
share between 1 and 1e-40, by the seed and the size of the batches.

Measured on the CPU, wherever the fit was. Not measured: after `partial_fit` (a fit has no end there), where
``bptt_steps`` is shorter than the longest sequence and cuts the gradient off by itself, and where the fit was
interrupted or its loss was not finite.

Exploding. The loss or the weights are not finite; or, in any epoch, the mean norm of the gradients before clipping was
over `EXPLODED`, or over `GROWN` and `GROWN` times what is usual: the norm of the first epoch or, where it is smaller,
of the median epoch (with clipping a gradient may explode in the first epoch and be small ever after). A loss near 0 has
gradients near 0: they may grow by such a factor and be small. Measured on seven data sets of `bench.data` (25 epochs,
features standardised and not), the largest mean norm of an epoch was 53 at the defaults, of all cells; ReLU networks
with init "irnn" had up to 3e9 in the first epoch, and 2 to 150 in the median one.
"""

from typing import Any, NamedTuple

import numpy as np

from fastrecur.estimators.caller import warn_caller
from fastrecur.exceptions import ExplodingGradientWarning, VanishingGradientWarning
from fastrecur.kernels.cpu.losses import QuantileTargets
from fastrecur.network.flow import state_gradients
from fastrecur.network.gradient import Targets
from fastrecur.network.model import Model

#: See the module's docstring.
LONG, SAMPLED, VANISHED = 200, 16, 1e-12
GROWN, EXPLODED = 1e3, 1e6


class Vanished(NamedTuple):
    """What was measured: the longest sequence's time steps, and the largest share of the gradient in a first tenth."""

    n_steps: int
    share: float


def warn_of_gradients(training: Any) -> None:
    """Warn the caller of `fit`, once of each: after `warn_of_ending`, which tells of what is not finite."""
    if training.partial or training.ending in ("interrupted", "diverged"):
        return
    text = _exploded(training)
    if text is not None:
        warn_caller(text, ExplodingGradientWarning)
    found = vanished(training)
    if found is not None:
        warn_caller(_vanished_text(training, found), VanishingGradientWarning)


def diverged_text(training: Any) -> str:
    """Text of the warning of a loss, or of weights, that are not finite."""
    epochs = training.record.epochs
    kept = "of the epoch before" if epochs else "that the fit began with"
    where = ", ".join(filter(None, (f"in epoch {len(epochs) + 1}", training.diverged_at)))
    text = f"The loss or the weights were no longer finite {where}: the weights {kept} are kept."
    if epochs:
        text += f" Its loss was {epochs[-1].loss:.3g}, its mean gradient norm {epochs[-1].norm:.3g} before clipping."
    return f"{text} {_remedy(training)}"


def vanished(training: Any) -> Vanished | None:
    """Measure whether the gradient dies before the first tenth of long sequences; None where it does not."""
    sequences, rows = training.sequences, training.rows
    lengths = sequences.lengths[rows]
    cut = training.estimator.bptt_steps
    if lengths.max() < LONG or (cut is not None and cut < lengths.max()):
        return None
    longest = rows[np.argsort(-lengths, kind="stable")[:SAMPLED]]
    longest = longest[sequences.lengths[longest] >= LONG]
    model, targets = _fitted_model(training), _targets_of(training, longest)
    found = state_gradients(model, sequences.take(longest), targets, 1, layer=0)  # too little work for more threads
    norms = found.hidden.max(axis=0)
    share = max(_share(norms[start : start + length]) for start, length in _spans(sequences, longest))
    return Vanished(int(lengths.max()), share) if share < VANISHED else None


def _fitted_model(training):
    """The network that the fit leaves, on the CPU, whatever device it was trained on."""
    record = training.record
    model = Model(training.model.cell, **training.estimator._architecture)
    model.parameters.flat[:] = record.weights if training.validation is None else record.best_weights
    model.refresh()
    return model


def _targets_of(training, rows):
    """Targets, all of the same weight, of the sequences ``rows`` as `Sequences.take` numbers them.

    Targets of time steps stay as they are: their places are those of the steps in the stack of all sequences.
    """
    loss, values, weights = training.targets
    if training.model.pooling is not None:
        weights = weights[rows]
        quantiles = isinstance(values, QuantileTargets)
        values = values._replace(values=values.values[rows]) if quantiles else values[rows]
    return Targets(loss, values, np.ones_like(weights))


def _spans(sequences, rows):
    return zip(sequences.starts[rows].tolist(), sequences.lengths[rows].tolist(), strict=True)


def _share(norms):
    """Largest norm of the first tenth over the largest of all; 1 where there is no gradient at all."""
    largest = norms.max()
    return float(norms[: len(norms) // 10].max() / largest) if 0 < largest < np.inf else 1.0


def _vanished_text(training, found):
    cell, estimator, remedies = training.model.cell, training.estimator, ["shorter sequences"]
    if cell == "rnn":
        if estimator.init == "pytorch":
            remedies.insert(0, 'init="default" (orthogonal)')
        if estimator.init != "irnn":
            relu = estimator.nonlinearity == "relu"
            remedies.insert(0, 'init="irnn"' if relu else 'nonlinearity="relu" with init="irnn"')
        remedies.insert(0, "an LSTM or a GRU")
    elif estimator.init != "chrono":
        remedies.insert(0, 'init="chrono"')
    reach = f"more than {found.share:.1g} of its largest norm" if found.share else "any of it"
    return (
        f"The gradient dies on its way back through {found.n_steps} time steps: in none of the longest sequences does "
        f"{reach} reach the first tenth, so that nothing there can be learned. "
        f"If what happens there matters, try {', or '.join(remedies)}. "
        "fastrecur.inspection.gradient_flow shows where it dies."
    )


def _exploded(training):
    norms = [epoch.norm for epoch in training.record.epochs]
    if not norms:
        return None
    worst, usual = int(np.argmax(norms)), min(norms[0], float(np.median(norms)))
    if norms[worst] <= EXPLODED and norms[worst] <= GROWN * max(usual, 1.0):
        return None
    told = "in the first one" if usual == norms[0] else "in the median epoch"
    return (
        f"The gradient explodes: its mean norm before clipping was {norms[worst]:.3g} in epoch {worst + 1}, and "
        f"{usual:.3g} {told}. {_remedy(training)}"
    )


def _remedy(training):
    """What would do against a gradient that explodes."""
    if training.estimator.solver == "lbfgs":  # which reads neither max_grad_norm nor learning_rate_init
        text = 'Scale X, raise alpha, shorten the sequences or take solver="adam", which clips the gradient'
    else:
        cut = training.estimator.bptt_steps
        text = "Set max_grad_norm" if np.isinf(training.max_norm) else f"Lower max_grad_norm={training.max_norm:g}"
        text += ", lower learning_rate_init, scale X, shorten the sequences or "
        text += "set bptt_steps" if cut is None else f"lower bptt_steps={cut}"
    if training.model.cell == "rnn":
        text += ", or take an LSTM or a GRU"
    return text + "."
