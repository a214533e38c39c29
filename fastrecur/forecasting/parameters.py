"""The parameters of the forecasters."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fastrecur.estimators.parameters import Choice, Count, NetworkParameters


@dataclass(eq=False, repr=False, kw_only=True)
class ForecasterParameters(NetworkParameters):
    """What forecasters have besides, and the defaults that differ. `fastrecur.forecasting.documentation` explains them.

    ``return_sequences`` and ``embedding_dim`` are no parameters: a forecast has one target a window, and no tokens.
    """

    window: int = field(default=24, kw_only=False)
    horizon: int = field(default=1, kw_only=False)
    strategy: str = "direct"
    quantiles: Any = None
    scaling: str | None = "window"
    linear: bool = True
    hidden_size: int = field(default=32, kw_only=True)
    early_stopping: bool = True
    return_sequences: bool = field(default=False, init=False)
    embedding_dim: int | None = field(default=None, init=False)

    _parameter_constraints: ClassVar[dict] = {
        "window": [Count()],
        "horizon": [Count()],
        "strategy": [Choice("direct", "recursive")],
        "quantiles": ["array-like", None],
        "scaling": [Choice("window", "series"), None],
        "linear": ["boolean"],
    }
