"""What phrases may come as, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NoReturn

import numpy as np
from scipy.sparse import issparse

_FORMS = "a list, an array or a Series of strings"


def check_phrases(X: Any) -> list[str]:
    """Return the phrases of X as a list.

    Parameters
    ----------
    X : list, tuple, array, Series or other iterable of n str
        The phrases.

    Returns
    -------
    list of n str
        The phrases, at least one. That each has a word in it is not checked here.

    Raises
    ------
    ValueError
        If X is a single string, empty, of more than one axis, or a phrase is missing (None or NaN).
    TypeError
        If X is not iterable, or an element is not a string.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastrecur.preprocessing.phrases import check_phrases
    >>> check_phrases(pd.Series(["one", "two"]))
    ['one', 'two']
    >>> check_phrases(["one", 2])
    Traceback (most recent call last):
        ...
    TypeError: Phrase 1 of X is 2 (int), not a string. Pass a list, an array or a Series of strings.
    """
    if isinstance(X, str | bytes):
        raise ValueError(f"X is a single {type(X).__name__}, {X[:60]!r}. Pass {_FORMS}: [X] is a list of one phrase.")
    shape = getattr(X, "shape", None)
    if issparse(X) or isinstance(X, Mapping | Set) or not hasattr(X, "__iter__") or shape == ():
        raise TypeError(f"X is of type {type(X).__name__}. Pass {_FORMS}.")
    if isinstance(shape, tuple) and len(shape) > 1:
        raise ValueError(f"X has shape {shape}, but phrases have one axis. Pass {_FORMS}, such as one column of X.")
    phrases = list(X)
    if not phrases:
        raise ValueError("X is empty: 0 sample(s) while a minimum of 1 is required. Pass at least one phrase.")
    if not all(isinstance(phrase, str) for phrase in phrases):
        _refuse(next((index, phrase) for index, phrase in enumerate(phrases) if not isinstance(phrase, str)))
    return phrases


def _refuse(found: tuple[int, Any]) -> NoReturn:
    """Say what the phrase is that is no string."""
    index, phrase = found
    if phrase is None or type(phrase).__name__ == "NAType" or (isinstance(phrase, float) and np.isnan(phrase)):
        raise ValueError(f"Phrase {index} of X is missing ({phrase!r}). Leave it out, and its target.")
    if isinstance(phrase, bytes):
        raise TypeError(f"Phrase {index} of X is of bytes, {phrase[:60]!r}. Decode it: phrase.decode('utf-8').")
    if isinstance(phrase, list | tuple | np.ndarray):
        raise TypeError(
            f"Phrase {index} of X is a sequence of type {type(phrase).__name__}, not a string. Tokens go to the "
            "estimator as they are; join words by spaces: ' '.join(phrase)."
        )
    raise TypeError(f"Phrase {index} of X is {phrase!r} ({type(phrase).__name__}), not a string. Pass {_FORMS}.")
