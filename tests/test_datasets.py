"""The data sets against their definitions, restated here step by step, and what is refused."""

import itertools
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from fastrecur import sarcasm
from fastrecur.datasets import (
    REBER_SYMBOLS,
    TEMPORAL_ORDER_SYMBOLS,
    load_digits_sequences,
    make_adding_problem,
    make_copy_memory,
    make_reber,
    make_sarcasm,
    make_temporal_order,
)

MAKERS = [make_adding_problem, make_copy_memory, make_temporal_order, make_reber, make_sarcasm]

each_maker = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def spelled(X, symbols):
    return ["".join(symbols[token] for token in x) for x in X]


def counted(values):
    """Number of times of each value, by value."""
    return dict(zip(*(array.tolist() for array in np.unique(values, return_counts=True)), strict=True))


# All of them


@each_maker
def test_a_seed_is_a_data_set(make):
    (X, y), (again, y_again) = make(n_samples=20, random_state=3), make(n_samples=20, random_state=3)
    other, _ = make(n_samples=20, random_state=4)
    assert len(X) == len(y) == 20
    np.testing.assert_array_equal(y, y_again)
    assert all(np.array_equal(a, b) for a, b in zip(X, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(X, other, strict=True))
    from_state, _ = make(n_samples=20, random_state=np.random.RandomState(3))
    assert all(np.array_equal(a, b) for a, b in zip(X, from_state, strict=True))
    assert len(make(n_samples=1)[0]) == 1


@each_maker
def test_refuses_numbers_that_are_none(make):
    with pytest.raises(ValueError, match="n_samples must be at least 1, found 0"):
        make(n_samples=0)
    for wrong in (2.0, "3", None, True):
        with pytest.raises(TypeError, match=re.escape(f"n_samples must be an int of at least 1, found {wrong!r}")):
            make(n_samples=wrong)
    with pytest.raises(ValueError, match=r"random_state must be an int, a numpy.random.RandomState or None, found 'a'"):
        make(n_samples=2, random_state="a")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (make_adding_problem, {"n_timesteps": 1}, "n_timesteps must be at least 2, found 1"),
        (make_copy_memory, {"n_blanks": 0}, "n_blanks must be at least 1, found 0"),
        (make_copy_memory, {"n_symbols": 1}, "n_symbols must be at least 2, found 1"),
        (make_copy_memory, {"length": 0}, "length must be at least 1, found 0"),
        (make_temporal_order, {"n_timesteps": 9}, "n_timesteps must be at least 10, found 9"),
        (make_temporal_order, {"n_relevant": 4}, "n_relevant must be one of 2, 3, found 4"),
        (make_temporal_order, {"encoding": "words"}, "encoding must be one of 'onehot', 'tokens', found 'words'"),
        (make_reber, {"encoding": "words"}, "encoding must be one of 'onehot', 'tokens', found 'words'"),
        (make_reber, {"errors": "none"}, "errors must be one of 'any', 'ends', found 'none'"),
    ],
)
def test_refuses_what_makes_no_problem(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(n_samples=2, **options)


# The adding problem


@pytest.mark.parametrize("n_timesteps", [2, 3, 50])
def test_adding_problem(n_timesteps):
    X, y = make_adding_problem(500, n_timesteps, 0)
    assert X.shape == (500, n_timesteps, 2)
    assert y.shape == (500,)
    assert X.dtype == y.dtype == np.float64
    for x, target in zip(X, y, strict=True):
        marked = [t for t in range(n_timesteps) if x[t, 1] == 1]
        assert sorted(set(x[:, 1])) in ([0, 1], [1])
        assert len(marked) == 2
        assert marked[0] < n_timesteps // 2 <= marked[1]
        assert target == x[marked[0], 0] + x[marked[1], 0]
    assert X[:, :, 0].min() >= 0
    assert X[:, :, 0].max() < 1


def test_adding_problem_marks_every_step():
    X, y = make_adding_problem(20_000, 7, 0)
    share = X[:, :, 1].mean(axis=0)
    np.testing.assert_allclose(share, [1 / 3] * 3 + [1 / 4] * 4, atol=0.015)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, abs=0.005)


# Copy memory


@pytest.mark.parametrize(("n_blanks", "n_symbols", "length"), [(20, 8, 10), (1, 2, 1), (5, 3, 4)])
def test_copy_memory(n_blanks, n_symbols, length):
    X, y = make_copy_memory(300, n_blanks, 0, n_symbols=n_symbols, length=length)
    assert X.shape == y.shape == (300, n_blanks + 2 * length)
    assert X.dtype == y.dtype == np.int64
    blank, delimiter = n_symbols, n_symbols + 1
    for x, targets in zip(X.tolist(), y.tolist(), strict=True):
        remembered = x[:length]
        assert set(remembered) <= set(range(n_symbols))
        assert x == remembered + [blank] * (n_blanks - 1) + [delimiter] + [blank] * length
        assert targets == [blank] * (n_blanks + length) + remembered
    assert counted(X[:, :length]).keys() == set(range(n_symbols))


def test_copy_memory_is_arjovskys_by_default():
    X, y = make_copy_memory(1000, 20, 0)
    assert X.shape == y.shape == (1000, 40)
    counts = counted(X[:, :10])
    assert counts.keys() == set(range(8))
    assert all(abs(count - 1250) < 150 for count in counts.values())


# Temporal order


@pytest.mark.parametrize("n_timesteps", [10, 37, 100])
@pytest.mark.parametrize("n_relevant", [2, 3])
def test_temporal_order(n_relevant, n_timesteps):
    X, y = make_temporal_order(2000, n_timesteps, 0, n_relevant=n_relevant, encoding="tokens")
    names = "QRSU" if n_relevant == 2 else "QRSUVABC"
    classes = dict(zip(itertools.product("XY", repeat=n_relevant), names, strict=True))
    bounds = [(0.1, 0.2), (0.5, 0.6)] if n_relevant == 2 else [(0.1, 0.2), (0.33, 0.43), (0.66, 0.76)]
    seen = [set() for _ in bounds]
    for text, label in zip(spelled(X, TEMPORAL_ORDER_SYMBOLS), y, strict=True):
        assert re.fullmatch("E[abcdXY]+B", text)
        assert n_timesteps <= len(text) <= 1.1 * n_timesteps
        places = [place for place, symbol in enumerate(text) if symbol in "XY"]
        assert classes[tuple(text[place] for place in places)] == label
        for (low, high), place, steps in zip(bounds, places, seen, strict=True):
            assert int(low * n_timesteps + 1e-9) <= place <= high * n_timesteps + 1e-9
            steps.add(place)
    for (low, high), steps in zip(bounds, seen, strict=True):
        assert steps == set(range(int(low * n_timesteps + 1e-9), int(high * n_timesteps + 1e-9) + 1))
    assert {len(x) for x in X} == set(range(n_timesteps, n_timesteps * 11 // 10 + 1))
    counts = counted(y)
    assert counts.keys() == set(classes.values())
    assert all(abs(count - 2000 / len(classes)) < 100 for count in counts.values())


def test_temporal_order_has_the_papers_numbers():
    X, _ = make_temporal_order(3000, random_state=0, encoding="tokens")
    places = np.array([np.flatnonzero(x >= 6) for x in X])
    lengths = [len(x) for x in X]
    assert (min(lengths), max(lengths)) == (100, 110)
    assert places.min(axis=0).tolist() == [10, 50]
    assert places.max(axis=0).tolist() == [20, 60]
    counts = counted(np.concatenate([x[(x >= 2) & (x < 6)] for x in X]))
    assert max(counts.values()) < 1.03 * min(counts.values())


# The embedded Reber grammar


def reber_strings(longest):
    """All strings of Reber's grammar of up to so many symbols: its regular expression, filled in."""
    nodes = {0: [("T", 1), ("P", 2)], 1: [("S", 1), ("X", 3)], 2: [("T", 2), ("V", 4)], 3: [("X", 2), ("S", 5)]}
    nodes |= {4: [("P", 3), ("V", 5)]}
    found, open_strings = set(), [("B", 0)]
    while open_strings:
        text, node = open_strings.pop()
        if node == 5:
            found.add(text + "E")
        elif len(text) < longest - 1:
            open_strings += [(text + symbol, following) for symbol, following in nodes[node]]
    return found


FROM_3 = "(?:XT*VP)*(?:S|XT*VV)"
REBER = re.compile(f"B(?:TS*X{FROM_3}|PT*V(?:V|P{FROM_3}))E")


def is_embedded(text):
    return bool(re.fullmatch(r"B(T|P).*\1E", text)) and bool(REBER.fullmatch(text[2:-2]))


def test_the_two_statements_of_the_grammar_agree():
    strings = reber_strings(9)
    assert min(map(len, strings)) == 5
    for length in range(5, 8):  # all strings that begin and end as they should
        for middle in itertools.product("TPSXV", repeat=length - 2):
            text = "B" + "".join(middle) + "E"
            assert bool(REBER.fullmatch(text)) == (text in strings), text
    assert all(map(REBER.fullmatch, strings))


@pytest.mark.parametrize("errors", ["any", "ends"])
def test_reber(errors):
    X, y = make_reber(2001, 0, errors=errors, encoding="tokens")
    assert y.dtype == np.int64
    assert counted(y) == {0: 1001, 1: 1000}
    assert not (np.diff(y[:200]) == 0).all()
    texts = spelled(X, REBER_SYMBOLS)
    assert min(map(len, texts)) == 9
    assert np.mean([len(text) for text in texts]) == pytest.approx(12, abs=0.3)
    for text, valid in zip(texts, y, strict=True):
        assert is_embedded(text) == valid
        if not valid and errors == "ends":
            assert is_embedded(text[:-2] + text[1] + "E")
        elif not valid:
            mended = (text[:i] + symbol + text[i + 1 :] for i in range(len(text)) for symbol in REBER_SYMBOLS)
            assert any(map(is_embedded, mended))


def test_reber_writes_all_short_strings():
    X, y = make_reber(6000, 0, encoding="tokens")
    texts = {text for text, valid in zip(spelled(X, REBER_SYMBOLS), y, strict=True) if valid}
    wanted = {f"B{c}{inner}{c}E" for c in "TP" for inner in reber_strings(8)}
    assert {text for text in texts if len(text) <= 12} == wanted


def test_reber_errors_are_anywhere():
    X, y = make_reber(4000, 0, encoding="tokens")
    wrong = [text for text, valid in zip(spelled(X, REBER_SYMBOLS), y, strict=True) if not valid]
    assert {text[0] for text in wrong} == set(REBER_SYMBOLS)
    assert {text[-1] for text in wrong} == set(REBER_SYMBOLS)
    assert {text[-2] for text in wrong} == set(REBER_SYMBOLS)


# Encodings


@pytest.mark.parametrize("make", [make_temporal_order, make_reber])
def test_one_hot_steps_are_the_tokens(make):
    (X, y), (tokens, labels) = make(50, random_state=0), make(50, random_state=0, encoding="tokens")
    np.testing.assert_array_equal(y, labels)
    for x, numbers in zip(X, tokens, strict=True):
        assert x.shape == (len(numbers), 8 if make is make_temporal_order else 7)
        assert x.dtype == np.float64
        assert numbers.dtype == np.int64
        np.testing.assert_array_equal(x.argmax(axis=1), numbers)
        np.testing.assert_array_equal(np.sort(x, axis=1)[:, -2:], [[0, 1]] * len(x))
    X[0][:] = 7  # each sequence is an array of its own
    assert X[1].max() == 1


# Digits


def test_digits():
    X, y = load_digits_sequences()
    images, digits = load_digits(return_X_y=True)
    np.testing.assert_array_equal(X.reshape(1797, 64) * 16, images)
    np.testing.assert_array_equal(y, digits)
    assert X.shape == (1797, 8, 8)
    assert X.flags.c_contiguous
    assert (X.min(), X.max()) == (0, 1)


# Sarcasm


def all_texts(quality):
    """All events of a quality (0 good, 1 bad), without their times."""
    return {f"{who} {what}" for group in sarcasm._EVENTS for who in group[0] for what in group[1 + quality]}


def read(phrase):
    """What a phrase says, taken apart by the lists: tone of the comment and quality of the event beside it."""
    places = {}
    for quality in (0, 1):
        (event,) = (text for text in all_texts(quality) if text in phrase)
        places[quality] = phrase.index(event)
    first, second = sorted(places, key=places.get)
    found = [
        (tone, kind, phrase.index(comment))
        for tone, kinds in enumerate(sarcasm._COMMENTS)
        for kind, comments in enumerate(kinds)
        for comment in comments
        if re.search(rf"\b{comment}\b", phrase)
    ]
    ((tone, kind, place),) = found
    if kind == 1:  # behind the second event, or between the two
        about = second if place > places[second] else first
    else:  # at the very beginning, or not
        about = first if place == 0 else second
    return tone, about


def test_sarcasm_says_what_its_labels_say():
    phrases, labels = make_sarcasm(3000, 0)
    assert labels.dtype == np.int64
    for phrase, label in zip(phrases, labels, strict=True):
        tone, about = read(phrase)
        assert label == (tone != about), phrase
        assert re.fullmatch("[a-z]+( [a-z]+)*", phrase)


def test_sarcasm_is_varied():
    phrases, labels = make_sarcasm(5000, 0)
    words = {word for phrase in phrases for word in phrase.split()}
    assert 300 <= len(words) <= 500
    assert len(set(phrases)) > 4990
    assert 0.48 < labels.mean() < 0.52


def test_each_bag_of_words_occurs_with_both_labels(monkeypatch):
    # One subject, one event of each quality: few enough phrases that all are drawn.
    monkeypatch.setattr(
        sarcasm, "_EVENTS", tuple((who[:1], good[:1], bad[:1]) for who, good, bad in sarcasm._EVENTS[:2])
    )
    monkeypatch.setattr(sarcasm, "_TIMES", ("",))
    monkeypatch.setattr(sarcasm, "_LINKS", ("but",))
    bags: dict = {}
    for phrase, label in zip(*make_sarcasm(10_000, 0), strict=True):
        bags.setdefault(tuple(sorted(phrase.split())), set()).add((phrase, int(label)))
    n_comments = sum(len(comments) for kinds in sarcasm._COMMENTS for comments in kinds)
    assert len(bags) == 4 * n_comments
    for arrangements in bags.values():
        assert sorted(label for _, label in arrangements) == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bags_of_words_stay_at_chance(seed):
    phrases, labels = make_sarcasm(2000, seed)
    model = make_pipeline(CountVectorizer(token_pattern=r"\S+"), LogisticRegression(max_iter=1000))
    assert 0.4 < cross_val_score(model, phrases, labels, cv=5).mean() < 0.6
