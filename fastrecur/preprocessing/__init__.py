"""What comes before the estimators: transformers of sequences and phrases."""

from fastrecur.preprocessing.per_timestep import PerTimestep
from fastrecur.preprocessing.tokenizer import SequenceTokenizer

__all__ = ["PerTimestep", "SequenceTokenizer"]
