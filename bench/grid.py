"""The grid of shapes, and what the project asks for in each of its cells."""

from dataclasses import dataclass

import numpy as np

CELLS = ("LSTM", "GRU", "RNN")

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Shape:
    """Batch, time steps, features, hidden units, layers. Ragged ones have ``steps`` at most."""

    name: str
    rows: int
    steps: int
    features: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    shortest: int | None = None
    skew: float = 1.0

    @property
    def directions(self):
        return 2 if self.bidirectional else 1

    @property
    def ragged(self):
        return self.shortest is not None

    @property
    def text(self):
        """Batch, steps, features, hidden units, and what else there is to say."""
        steps = f"{self.shortest} to {self.steps}" if self.ragged else self.steps
        extra = f", {self.layers} layers" * (self.layers > 1) + ", bidirectional" * self.bidirectional
        return f"{self.rows}, {steps}, {self.features}, {self.hidden}{extra}"

    def lengths(self, n_rows=None):
        """Lengths of the sequences in random order, None where all are equal: evenly spread unless ``skew`` > 1."""
        if not self.ragged:
            return None
        n_rows = self.rows if n_rows is None else n_rows
        spread = np.linspace(0.0, 1.0, n_rows) ** self.skew * (self.steps - self.shortest)
        return np.random.default_rng(0).permutation(self.shortest + np.rint(spread).astype(np.int64))

    @property
    def n_steps(self):
        """Time steps of all sequences."""
        return int(self.lengths().sum()) if self.ragged else self.rows * self.steps

    def flops(self, cell):
        """Operations of a forward pass over all steps: 2 B T G H (F + H), a layer and direction.

        A multiply-add counts for two; what the gates take beyond the products counts for nothing. A training step
        with dx has three times as many: W^T dz has as many as W x, and so has the sum of the weight gradients.
        """
        widths = [self.features] + [self.directions * self.hidden] * (self.layers - 1)
        return sum(2 * self.n_steps * GATES[cell] * self.hidden * (f + self.hidden) * self.directions for f in widths)


GRID = {
    shape.name: shape
    for shape in (
        Shape("S1", 32, 24, 1, 25),
        Shape("S2", 128, 140, 1, 64),
        Shape("S3", 32, 400, 2, 30),
        Shape("S4", 32, 50, 8, 32),
        Shape("S5", 64, 128, 9, 32, layers=2),
        Shape("M1", 32, 100, 16, 64),
        Shape("M2", 64, 100, 32, 128),
        Shape("M3", 64, 100, 123, 320),  # Braun 2018
        Shape("M4", 128, 50, 64, 256),
        Shape("L1", 64, 25, 512, 512),  # DeepBench
        Shape("I1", 1, 100, 16, 32),
        Shape("I2", 1, 150, 256, 256),
        Shape("B1", 64, 100, 32, 64, bidirectional=True),
        Shape("R1", 64, 29, 12, 64, shortest=7),
        Shape("R2", 256, 500, 8, 64, shortest=10, skew=4.0),  # half of them under 41 steps
    )
}


@dataclass(frozen=True)
class Requirement:
    """What every cell of a table and their geometric mean must reach, or with ``at_most`` not exceed."""

    every: float | None = None
    mean: float | None = None
    at_most: bool = False

    def falls_short(self, value):
        return _falls_short(value, self.every, self.at_most)

    def mean_falls_short(self, value):
        return _falls_short(value, self.mean, self.at_most)


def _falls_short(value, bound, at_most):
    return bound is not None and (value > bound if at_most else value < bound)


FORWARD = {"LSTM": Requirement(1.0, 2.0), "GRU": Requirement(1.05, 2.0), "RNN": Requirement(1.3, 4.0)}
TRAINING = {"LSTM": Requirement(1.3, 2.0), "GRU": Requirement(1.6, 5.0), "RNN": Requirement(1.6, 5.0)}
PEAK_FORWARD, PEAK_TRAINING = Requirement(0.80, 0.88), Requirement(0.70, 0.78)
SECOND_THREAD = Requirement(1.75, 1.85)
FIT, PREDICT = Requirement(1.5, 3.0), Requirement(1.2, 2.0)
STEP_KERNEL, STEP_PYTHON = Requirement(1.0, at_most=True), Requirement(10.0, at_most=True)
RAGGED = Requirement(1.25, at_most=True)
TRAINING_MEMORY = Requirement(1.2, at_most=True)
IMPORT, FILLED_CACHE, EMPTY_CACHE = (Requirement(seconds, at_most=True) for seconds in (1.2, 2.0, 15.0))
