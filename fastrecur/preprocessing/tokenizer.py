"""`SequenceTokenizer`: phrases to sequences of integer tokens."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable
from itertools import count, pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastrecur.network.validation import check_choice, check_count, check_flag
from fastrecur.preprocessing.phrases import check_phrases
from fastrecur.sequences import check_sequences
from fastrecur.tokens import as_tokens

#: The token of all that the vocabulary lacks, and its names: a word, a character.
UNKNOWN = 0
_UNKNOWN_NAMES = {"word": "<unk>", "char": "\ufffd"}

_WORDS = r"<unk>|\w+(?:['\u2019]\w+)*|[^\w\s]"


class SequenceTokenizer(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    r"""Turn phrases into sequences of integer tokens, for an estimator with ``embedding_dim``.

    Token 0 is the unknown word: whatever `fit` did not see, or left out as too rare. The words of the vocabulary have
    the tokens from 1 on, the most frequent first, words of one frequency in the order of their characters.

    Parameters
    ----------
    level : {"word", "char"}, default="word"
        What becomes a token: a word, as ``token_pattern`` finds them, or a character, spaces included.
    max_tokens : int, default=None
        Size of the vocabulary at most, the unknown word included; the most frequent words are kept. At least 2; None
        keeps all.
    min_frequency : int, default=1
        How often a word must occur in the phrases of `fit` to be in the vocabulary.
    lowercase : bool, default=True
        Whether phrases are put into lower case first.
    token_pattern : str, default=r"<unk>|\w+(?:['\u2019]\w+)*|[^\w\s]"
        Regular expression of a word; what it does not match is left out. With one group in parentheses the group is
        the word; empty matches are none. The default finds words with their inner apostrophes, each sign of
        punctuation, and the name of the unknown word. Has no effect with ``level="char"``.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        The V words and their tokens, 0 to V - 1. Token 0 is called ``"<unk>"``, or U+FFFD with ``level="char"``; text
        that has this name in it has the unknown word there.

    Notes
    -----
    An estimator sizes its table of embeddings by the largest token that it is fitted on. Every word of the vocabulary
    occurs in the phrases of `fit` and the unknown word has the smallest token, so that in a pipeline the table has V
    rows and no phrase ever holds a token beyond it.

    The vector of the unknown word is trained only if the word occurs in `fit`, for which ``min_frequency`` of 2 or more
    or ``max_tokens`` see. With neither, a new word at prediction has the random vector that its row began with.

    A list of arrays has no form as a data frame: `set_output` changes nothing.

    Examples
    --------
    >>> from fastrecur.preprocessing import SequenceTokenizer
    >>> tokenizer = SequenceTokenizer().fit(["The cat sat.", "The dog didn't."])
    >>> tokenizer.vocabulary_
    {'<unk>': 0, '.': 1, 'the': 2, 'cat': 3, "didn't": 4, 'dog': 5, 'sat': 6}
    >>> tokens = tokenizer.transform(["The bird sat.", "Dog!"])
    >>> tokens
    [array([2, 0, 6, 1]), array([5, 0])]
    >>> tokenizer.inverse_transform(tokens)
    ['the <unk> sat .', 'dog <unk>']

    In a pipeline:

    >>> from sklearn.pipeline import make_pipeline
    >>> from fastrecur import LSTMClassifier
    >>> model = make_pipeline(SequenceTokenizer(min_frequency=2), LSTMClassifier(8, embedding_dim=4, random_state=0))
    >>> _ = model.fit(["not bad", "bad", "good", "not good"] * 8, [1, 0, 1, 0] * 8)
    >>> model.predict(["bad", "not bad", "quite bad"]).shape
    (3,)
    """

    def __init__(
        self,
        level: str = "word",
        max_tokens: int | None = None,
        min_frequency: int = 1,
        lowercase: bool = True,
        token_pattern: str = _WORDS,
    ) -> None:
        self.level = level
        self.max_tokens = max_tokens
        self.min_frequency = min_frequency
        self.lowercase = lowercase
        self.token_pattern = token_pattern

    def fit(self, X: Any, y: Any = None) -> SequenceTokenizer:
        """Learn the vocabulary.

        Parameters
        ----------
        X : list, tuple, array or Series of n str
            The phrases.
        y : object, default=None
            Not used: a pipeline passes it.

        Returns
        -------
        SequenceTokenizer
            The fitted object itself.

        Raises
        ------
        ValueError
            If a parameter will not do, X is empty, a phrase is missing or has no word in it, or no word is frequent
            enough to be in the vocabulary.
        TypeError
            If a parameter is of the wrong type, or X holds something else than strings.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer(level="char").fit(["abba", "a"]).vocabulary_
        {'\ufffd': 0, 'a': 1, 'b': 2}
        """
        self._learn(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> list[NDArray[np.int64]]:
        """Learn the vocabulary and return the tokens, in one pass over the phrases.

        Parameters
        ----------
        X : list, tuple, array or Series of n str
            The phrases.
        y : object, default=None
            Not used: a pipeline passes it.

        Returns
        -------
        list of n int64 arrays of shape (T_i,)
            The tokens.

        Raises
        ------
        ValueError, TypeError
            As `fit`.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer(max_tokens=2).fit_transform(["so so", "so what"])
        [array([1, 1]), array([1, 0])]
        """
        numbers, lengths = self._learn(X)
        return _split(numbers, lengths)

    def transform(self, X: Any) -> list[NDArray[np.int64]]:
        """Look up the tokens of phrases.

        Parameters
        ----------
        X : list, tuple, array or Series of n str
            The phrases. Words that are not in the vocabulary become token 0.

        Returns
        -------
        list of n int64 arrays of shape (T_i,)
            The tokens.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError
            If X is empty, or a phrase is missing or has no word in it.
        TypeError
            If X holds something else than strings.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer().fit(["to be or not to be"]).transform(["to see or not"])
        [array([2, 0, 4, 3])]
        """
        check_is_fitted(self)
        words_of = self._words_of()
        lookup = self.vocabulary_.get
        return _split(*_numbered(check_phrases(X), words_of, lambda words: map(lookup, words, repeat(UNKNOWN))))

    def inverse_transform(self, X: Any) -> list[str]:
        """Write phrases again from their tokens.

        Parameters
        ----------
        X : list of integer arrays of shape (T_i,), or integer array (n, T)
            Tokens from 0 to V - 1.

        Returns
        -------
        list of n str
            The words with single spaces between, or the characters. Case and spacing are lost where `transform` lost
            them, and an unknown word is ``"<unk>"``: the tokens of these phrases are X again with the default pattern.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If X holds strings, floats, or a number that is no token of the vocabulary.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer().fit(["to be or not to be"]).inverse_transform([[2, 0, 4, 3]])
        ['to <unk> or not']
        """
        check_is_fitted(self)
        if hasattr(X, "__iter__") and any(isinstance(x, str) for x in X):
            raise ValueError("X holds phrases, but inverse_transform needs tokens. Phrases become tokens by transform.")
        sequences = as_tokens(check_sequences(X), X, len(self.vocabulary_), "inverse_transform")
        words = self.get_feature_names_out()[sequences.values[:, 0]].tolist()
        ends = np.cumsum(sequences.lengths).tolist()
        between = " " if self.level == "word" else ""
        return [between.join(words[start:end]) for start, end in pairwise([0, *ends])]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Name the tokens.

        Parameters
        ----------
        input_features : object, default=None
            Not used: phrases have no features.

        Returns
        -------
        ndarray of V str
            The vocabulary: the word at index i is the word of token i.

        Raises
        ------
        NotFittedError
            If fit was not called.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer().fit(["to be or not to be"]).get_feature_names_out()
        array(['<unk>', 'be', 'to', 'not', 'or'], dtype=object)
        """
        check_is_fitted(self)
        return np.array(list(self.vocabulary_), dtype=object)  # in the order of their tokens

    def set_output(self, *, transform: str | None = None) -> SequenceTokenizer:
        """Accept a container for pipelines that set one for all their steps; tokens stay lists of arrays.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            None changes nothing, and neither do the others.

        Returns
        -------
        SequenceTokenizer
            The object itself.

        Raises
        ------
        ValueError
            If `transform` is another word.

        Examples
        --------
        >>> from fastrecur.preprocessing import SequenceTokenizer
        >>> SequenceTokenizer().set_output(transform="pandas").fit_transform(["so so"])
        [array([1, 1])]
        """
        check_choice("transform", transform, ("default", "pandas", "polars", None))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _learn(self, X: Any) -> tuple[NDArray[np.int64], list[int]]:
        """Set the vocabulary; return the tokens of all phrases, one after the other, and their numbers."""
        self._check_parameters()
        words_of = self._words_of()
        seen: dict[str, int] = _Numbering()
        unknown = seen[_UNKNOWN_NAMES[self.level]]
        numbers, lengths = _numbered(check_phrases(X), words_of, lambda words: map(seen.__getitem__, words))
        frequencies = np.bincount(numbers, minlength=len(seen))
        frequencies[unknown] = 0
        kept = self._kept(list(seen), frequencies)
        self.vocabulary_ = {_UNKNOWN_NAMES[self.level]: UNKNOWN} | dict(zip(kept, count(1), strict=False))
        tokens = np.zeros(len(seen), dtype=np.int64)
        tokens[[seen[word] for word in self.vocabulary_]] = np.arange(len(self.vocabulary_))
        return tokens[numbers], lengths

    def _kept(self, words: list[str], frequencies: NDArray) -> list[str]:
        """Return the words of the vocabulary, the most frequent first."""
        frequent = np.flatnonzero(frequencies >= self.min_frequency).tolist()
        if not frequent and not frequencies.any():
            raise ValueError(
                f"The vocabulary is empty: X has nothing but {words[0]!r}, the name of the unknown word. "
                "Pass phrases with other words."
            )
        if not frequent:
            most = int(frequencies.argmax())
            raise ValueError(
                f"The vocabulary is empty: min_frequency={self.min_frequency}, but the most frequent word, "
                f"{words[most]!r}, occurs {frequencies[most]} time(s). Lower min_frequency, or fit on more phrases."
            )
        ranked = sorted(frequent, key=lambda number: (-frequencies[number], words[number]))
        n_kept = None if self.max_tokens is None else self.max_tokens - 1
        return [words[number] for number in ranked[:n_kept]]

    def _check_parameters(self) -> None:
        check_choice("level", self.level, tuple(_UNKNOWN_NAMES))
        check_count("min_frequency", self.min_frequency)
        check_flag("lowercase", self.lowercase)
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens, least=0)
            if self.max_tokens < 2:
                raise ValueError(
                    f"max_tokens={self.max_tokens} leaves no vocabulary: the unknown word is one token. Allow 2 or "
                    "more, or None for all words."
                )

    def _words_of(self) -> Callable[[str], Iterable[str]]:
        """Return the function that takes a phrase apart."""
        if self.level == "char":
            return str.lower if self.lowercase else str
        find = _compiled(self.token_pattern).findall
        # Empty is what a group does not take part in, and what matches between two characters.
        if self.lowercase:
            return lambda phrase: filter(None, find(phrase.lower()))
        return lambda phrase: filter(None, find(phrase))


class _Numbering(dict):
    """Words and their numbers, in the order of their first look-up."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _compiled(pattern: Any) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise TypeError(f"token_pattern must be a str, a regular expression of a word, found {pattern!r}.")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"token_pattern={pattern!r} is no regular expression: {error}.") from error
    if compiled.groups > 1:
        raise ValueError(
            f"token_pattern={pattern!r} has {compiled.groups} groups, and the word can be only one of them. Write the "
            "others (?:...)."
        )
    if compiled.match(""):
        raise ValueError(f"token_pattern={pattern!r} matches nothing at all as a word. Take + in place of *.")
    return compiled


def _numbered(
    phrases: list[str], words_of: Callable[[str], Iterable[str]], numbers_of: Callable[[Iterable[str]], Iterable[int]]
) -> tuple[NDArray[np.int64], list[int]]:
    """Return the numbers of the words of all phrases, one after the other, and how many each phrase has."""
    numbers, ends = array("q"), [0]
    for index, phrase in enumerate(phrases):
        numbers.extend(numbers_of(words_of(phrase)))
        if len(numbers) == ends[-1]:
            why = "is empty" if not phrase.strip() else "has no word that token_pattern finds"
            raise ValueError(
                f"Phrase {index} of X {why}: {phrase[:60]!r}. A sequence needs one time step or more: leave such "
                "phrases out, and their targets."
            )
        ends.append(len(numbers))
    return np.frombuffer(numbers, dtype=np.int64), np.diff(ends).tolist()


def _split(numbers: NDArray[np.int64], lengths: list[int]) -> list[NDArray[np.int64]]:
    bounds = [0, *np.cumsum(lengths).tolist()]
    return [numbers[start:end] for start, end in pairwise(bounds)]
