"""What comes before the estimators: sequences, phrases and series made ready, and other libraries' layouts."""

from fastrecur.preprocessing.frames import sequences_from_frame
from fastrecur.preprocessing.padding import from_channels_first, pad_sequences, unpad_sequences
from fastrecur.preprocessing.per_timestep import PerTimestep
from fastrecur.preprocessing.tokenizer import SequenceTokenizer
from fastrecur.preprocessing.windows import SlidingWindow

__all__ = [
    "PerTimestep",
    "SequenceTokenizer",
    "SlidingWindow",
    "from_channels_first",
    "pad_sequences",
    "sequences_from_frame",
    "unpad_sequences",
]
