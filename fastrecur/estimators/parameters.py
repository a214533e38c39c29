"""The parameters of the estimators: defaults, what each may be, and which do not go together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions


class Count(Interval):
    """Constraint of a parameter: an integer from 1 on. True, an integer to Python, is none."""

    def __init__(self):
        super().__init__(Integral, 1, None, closed="left")

    def is_satisfied_by(self, val):
        """Whether this is such a number."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


class Choice(StrOptions):
    """Constraint of a parameter: one of several strings, which errors tell in this order."""

    def __init__(self, *choices):
        super().__init__(set(choices))
        self._choices = choices

    def __str__(self):
        return ("one of " if len(self._choices) > 1 else "") + ", ".join(map(repr, self._choices))


_POSITIVE, _SHARE = Interval(Real, 0, None, closed="neither"), Interval(Real, 0, 1, closed="left")


@dataclass(eq=False, repr=False, kw_only=True)
class NetworkParameters:
    """Parameters of all estimators. `fastrecur.estimators.documentation` explains them."""

    hidden_size: int = field(default=64, kw_only=False)
    num_layers: int = 1
    bidirectional: bool = False
    pooling: str = "last"
    return_sequences: bool = False
    embedding_dim: int | None = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    init: str = "default"
    solver: str = "adam"
    learning_rate_init: float = 0.005
    learning_rate: str = "constant"
    momentum: float = 0.9
    alpha: float = 1e-4
    batch_size: int | str = "auto"
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: int = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    max_grad_norm: float | None = 1.0
    bptt_steps: int | None = None
    shuffle: bool = True
    random_state: Any = None
    warm_start: bool = False
    verbose: bool | int = False
    n_threads: int | None = None
    device: str = "cpu"
    dtype: str = "float32"

    _parameter_constraints: ClassVar[dict] = {
        "hidden_size": [Count()],
        "num_layers": [Count()],
        "bidirectional": ["boolean"],
        "pooling": [Choice("last", "mean", "max")],
        "return_sequences": ["boolean"],
        "embedding_dim": [Count(), None],
        "dropout": [_SHARE],
        "recurrent_dropout": [_SHARE],
        "init": [Choice("default", "irnn", "chrono", "pytorch")],
        "solver": [Choice("adam", "adamw", "sgd", "rmsprop", "lbfgs")],
        "learning_rate_init": [_POSITIVE],
        "learning_rate": [Choice("constant", "adaptive", "cosine")],
        "momentum": [_SHARE],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Choice("auto"), Count()],
        "max_iter": [Count()],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Count()],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "max_grad_norm": [_POSITIVE, None],
        "bptt_steps": [Count(), None],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "n_threads": [Count(), None],
        "device": [Choice("cpu", "cuda", "auto")],
        "dtype": [Choice("float32", "float64")],
    }

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        constraints = [vars(base).get("_parameter_constraints", {}) for base in reversed(cls.__mro__)]
        cls._parameter_constraints = {name: allowed for part in constraints for name, allowed in part.items()}


@dataclass(eq=False, repr=False, kw_only=True)
class ElmanParameters(NetworkParameters):
    """Parameters that the Elman RNN has besides."""

    nonlinearity: str = "tanh"

    _parameter_constraints: ClassVar[dict] = {
        "nonlinearity": [Choice("tanh", "relu")],
    }


@dataclass(eq=False, repr=False, kw_only=True)
class LSTMParameters(NetworkParameters):
    """Parameters that the LSTM has besides."""

    forget_bias: float = 1.0

    _parameter_constraints: ClassVar[dict] = {
        "forget_bias": [Interval(Real, None, None, closed="neither")],
    }


@dataclass(eq=False, repr=False, kw_only=True)
class ClassifierParameters(NetworkParameters):
    """Parameters that a classifier has besides."""

    class_weight: Mapping | str | None = None

    _parameter_constraints: ClassVar[dict] = {
        "class_weight": [Mapping, Choice("balanced"), None],
    }


def check_combination(estimator, cell):
    """Refuse parameters of which each is right alone, but which do not go together.

    Raises
    ------
    ValueError
        That names both and says what would do.
    """
    p = estimator
    for wrong, text in (
        (
            p.bptt_steps is not None and p.bidirectional,
            f"bptt_steps={p.bptt_steps} cuts the sequences in pieces and carries the states on, but bidirectional=True "
            "reads them from their ends too. Set bptt_steps=None or bidirectional=False.",
        ),
        (
            p.return_sequences and p.pooling != "last",
            f"return_sequences=True has a target at each time step, so that pooling={p.pooling!r} over the time steps "
            "has no meaning. Leave pooling='last', or set return_sequences=False.",
        ),
        (
            p.init == "chrono" and cell == "rnn",
            "init='chrono' sets the biases of gates, and the Elman RNN has none. Take init='irnn' (with "
            "nonlinearity='relu') or 'default', or an LSTM or GRU.",
        ),
        (
            p.solver == "lbfgs" and (p.dropout > 0 or p.recurrent_dropout > 0),
            f"solver='lbfgs' needs a loss that does not change from call to call, but dropout={p.dropout} and "
            f"recurrent_dropout={p.recurrent_dropout} draw masks. Set both to 0 or take solver='adam'.",
        ),
        (
            p.solver == "lbfgs" and p.bptt_steps is not None,
            f"solver='lbfgs' needs the whole gradient, but bptt_steps={p.bptt_steps} cuts it. Set bptt_steps=None or "
            "take solver='adam'.",
        ),
    ):
        if wrong:
            raise ValueError(text)
