"""An n-gram model of words with interpolated Kneser-Ney smoothing: what a recurrent one has to beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


class KneserNey:
    """Interpolated Kneser-Ney smoothing with three discounts an order ("modified").

    The probability of word w after the words h is

        p(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + b(h) p(w | h without its first word),

    where c counts in the training text in the highest order, and in the lower ones how many different words came
    before. The discount D depends on whether the count is 1, 2 or more, and b(h) is the share that was taken off. Below
    the single words all are equally likely.

    Parameters
    ----------
    order : int, default=3
        Words of the longest n-gram: the one predicted and those before it.

    References
    ----------
    .. [1] Kneser and Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995.
    .. [2] Chen and Goodman, "An empirical study of smoothing techniques for language modeling", Computer Speech and
       Language 13 (1999): the interpolated form and the three discounts.

    Examples
    --------
    >>> from fastrecur.examples.kneser_ney import KneserNey
    >>> model = KneserNey(order=2).fit([1, 2, 1, 2, 1, 3], n_words=4)
    >>> after_1 = [model.probability(word, [1]) for word in range(4)]
    >>> round(sum(after_1), 12), after_1.index(max(after_1))
    (1.0, 2)
    """

    def __init__(self, order: int = 3) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, found {order}.")
        self.order = order

    def fit(self, tokens: Iterable[int], n_words: int) -> KneserNey:
        """Count.

        Parameters
        ----------
        tokens : iterable of int
            The text, words numbered from 0 to ``n_words - 1``.
        n_words : int
            Size of the vocabulary.

        Returns
        -------
        KneserNey
            The object itself.
        """
        text = tuple(tokens)
        self.n_words = n_words
        counts = Counter(zip(*(text[start:] for start in range(self.order)), strict=False))
        self._levels = [_Level(counts)]
        for _ in range(self.order - 1):  # of how many different words each shorter n-gram is the continuation
            counts = Counter(gram[1:] for gram in counts)
            self._levels.append(_Level(counts))
        return self

    def probability(self, word: int, before: Sequence[int]) -> float:
        """Probability of ``word`` after the words ``before``, of which the last ``order - 1`` count."""
        history = tuple(before[max(0, len(before) - self.order + 1) :])
        probability = 1 / self.n_words
        for length in range(len(history) + 1):  # from the single words up
            level = self._levels[self.order - 1 - length]
            probability = level.interpolated(history[len(history) - length :], word, probability)
        return probability

    def probabilities(self, tokens: Sequence[int], before: Sequence[int] = ()) -> NDArray[np.float64]:
        """Probability of each token of a text, given those before it; ``before`` stands before the first."""
        text, n_before = [*before, *tokens], len(before)
        context = self.order - 1
        return np.array([self.probability(text[i], text[max(0, i - context) : i]) for i in range(n_before, len(text))])


class _Level:
    """n-grams of one length."""

    def __init__(self, counts: Counter[tuple[int, ...]]) -> None:
        self.counts = counts
        self.discounts = _discounts(Counter(counts.values()))
        self.totals: defaultdict[tuple[int, ...], int] = defaultdict(int)
        self.taken_off: defaultdict[tuple[int, ...], float] = defaultdict(float)
        for gram, count in counts.items():
            self.totals[gram[:-1]] += count
            self.taken_off[gram[:-1]] += self.discounts[min(count, 3)]

    def interpolated(self, history: tuple[int, ...], word: int, shorter: float) -> float:
        total = self.totals.get(history, 0)
        if not total:  # nothing ever came after this history
            return shorter
        count = self.counts.get((*history, word), 0)
        kept = count - self.discounts[min(count, 3)]
        return (kept + self.taken_off[history] * shorter) / total


def _discounts(times: Counter[int]) -> tuple[float, float, float, float]:
    """Discounts of counts 0, 1, 2 and more, from how many n-grams occur once, twice, ... (equation 17 of [2])."""
    if not all(times[count] for count in (1, 2, 3, 4)):
        return 0.0, 0.75, 0.75, 0.75  # too few n-grams to tell
    share = times[1] / (times[1] + 2 * times[2])
    one, two, more = (count - (count + 1) * share * times[count + 1] / times[count] for count in (1, 2, 3))
    return 0.0, min(max(one, 0.0), 1.0), min(max(two, 0.0), 2.0), min(max(more, 0.0), 3.0)
