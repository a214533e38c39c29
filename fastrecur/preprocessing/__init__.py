"""What comes before the estimators: transformers of sequences."""

from fastrecur.preprocessing.per_timestep import PerTimestep

__all__ = ["PerTimestep"]
