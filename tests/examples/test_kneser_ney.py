"""The n-gram model against its definition, restated here count by count."""

import numpy as np
import pytest

from fastrecur.examples.kneser_ney import KneserNey

TEXT = np.random.default_rng(0).choice(6, size=400, p=[0.05, 0.4, 0.2, 0.2, 0.1, 0.05]).tolist()


def grams(n):
    return [tuple(TEXT[i : i + n]) for i in range(len(TEXT) - n + 1)]


def naive(word, history, order, n_words):
    """By counting anew for each probability."""
    if order == 0:
        return 1 / n_words
    history = tuple(history)[len(history) - order + 1 :] if order > 1 else ()
    if len(history) < order - 1:
        return naive(word, history, len(history) + 1, n_words)
    seen = grams(order) if order == ORDER else [gram[1:] for gram in set(grams(order + 1))]
    for longer in range(order + 2, ORDER + 1):  # continuations of continuations
        assert {gram[longer - order - 1 :] for gram in set(grams(longer))} <= set(grams(order + 1))
    if order < ORDER:
        kinds = set(grams(ORDER))
        while len(next(iter(kinds))) > order + 1:
            kinds = {gram[1:] for gram in kinds}
        seen = [gram[1:] for gram in kinds]
    counts = {gram: seen.count(gram) for gram in set(seen)}
    times = [sum(c == n for c in counts.values()) for n in range(5)]
    if all(times[1:]):
        y = times[1] / (times[1] + 2 * times[2])
        off = [0] + [min(max(n - (n + 1) * y * times[n + 1] / times[n], 0), n) for n in (1, 2, 3)]
    else:
        off = [0, 0.75, 0.75, 0.75]
    after = {gram: c for gram, c in counts.items() if gram[:-1] == history}
    shorter = naive(word, history[1:], order - 1, n_words)
    if not after:
        return shorter
    count = after.get((*history, word), 0)
    kept = max(count - off[min(count, 3)], 0)
    return (kept + sum(off[min(c, 3)] for c in after.values()) * shorter) / sum(after.values())


ORDER = 3


def test_definition():
    model = KneserNey(ORDER).fit(TEXT, n_words=8)
    for history in ([], [1], [2, 1], [0, 5], [5, 0], [7, 1], [7, 7], [1, 2, 3, 4]):
        for word in range(8):
            assert model.probability(word, history) == pytest.approx(naive(word, history, ORDER, 8), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_and_none_is_zero(order):
    model = KneserNey(order).fit(TEXT, n_words=8)
    for history in ([], [1], [2, 1, 1, 1], [7, 7, 7, 7]):
        found = [model.probability(word, history) for word in range(8)]
        assert sum(found) == pytest.approx(1, abs=1e-12)
        assert min(found) > 0


def test_probabilities_of_a_text():
    model = KneserNey(3).fit(TEXT, n_words=8)
    found = model.probabilities([1, 2, 7, 1], before=[3])
    expected = [model.probability(w, h) for w, h in ((1, [3]), (2, [3, 1]), (7, [1, 2]), (1, [2, 7]))]
    assert found.tolist() == expected
    assert model.probabilities([1, 2])[0] == model.probability(1, [])


def test_longer_memory_pays_where_there_is_something_to_remember():
    text = [0, 1, 2, 0, 3, 4] * 30
    perplexity = [np.exp(-np.log(KneserNey(order).fit(text, 5).probabilities(text)).mean()) for order in (1, 2, 3)]
    assert perplexity[0] > 2 * perplexity[1] > 2 * perplexity[2] / 1.1


def test_no_order():
    with pytest.raises(ValueError, match="order must be at least 1, found 0"):
        KneserNey(0)
