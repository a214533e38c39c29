"""The long-range task of the next word: a shopping list that is read early and asked for late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import check_random_state

from fastrecur import LSTMClassifier, RNNClassifier
from fastrecur.examples.training import timed_fit
from fastrecur.preprocessing import SequenceTokenizer

ITEMS = ("apples", "bread", "cheese", "eggs", "fish", "milk", "rice", "tea")
PEOPLE = ("ann", "bob")

_SMALL_TALK = (
    "the bus was late again and it rained all day so we talked about our old school some music that new film his "
    "garden her job their holidays a dog or two"
)


def make_shopping(n_samples: int, distance: int, random_state: Any = None) -> tuple[list[str], list[str]]:
    """Phrases that end where the next word is something said long before.

    Each says what Ann and what Bob needs, then come ``distance`` words of small talk, then it asks what one of the two
    needs: the next word is that item.

    Parameters
    ----------
    n_samples : int
        n, phrases.
    distance : int
        Words between the list and the question.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    phrases : list of n str
    next_words : list of n str
        Of eight items. Who knows the list but not the question is right in 9 of 16, who knows nothing in 1 of 8.

    Examples
    --------
    >>> from fastrecur.examples.shopping import make_shopping
    >>> phrases, next_words = make_shopping(1, 4, random_state=0)
    >>> phrases[0], next_words[0]
    ('ann needs fish and bob needs tea . the late holidays late . bob needs', 'tea')
    """
    rng = check_random_state(random_state)
    words = _SMALL_TALK.split()
    phrases, next_words = [], []
    for _ in range(n_samples):
        needs = rng.choice(ITEMS, size=len(PEOPLE))
        listed = " and ".join(f"{person} needs {item}" for person, item in zip(PEOPLE, needs, strict=True))
        asked = rng.randint(len(PEOPLE))
        phrases.append(f"{listed} . {' '.join(rng.choice(words, size=distance))} . {PEOPLE[asked]} needs")
        next_words.append(str(needs[asked]))
    return phrases, next_words


def make_models(epochs: int = 15, seed: int = 0) -> dict[str, Pipeline]:
    """Pipelines of phrases to the next word, by name: the same settings but for the cell and its initial weights."""
    options: dict[str, Any] = {
        "embedding_dim": 16,
        "learning_rate_init": 0.01,
        "max_iter": epochs,
        "tol": 0,
        "random_state": seed,
    }
    networks = {
        "RNN": RNNClassifier(32, **options),
        "LSTM": LSTMClassifier(32, **options),
        'LSTM, init="chrono"': LSTMClassifier(32, init="chrono", **options),
    }
    return {name: make_pipeline(SequenceTokenizer(), network) for name, network in networks.items()}


def compare(
    distances: list[int], n_train: int = 2000, n_test: int = 500, epochs: int = 15, seed: int = 0
) -> Iterator[tuple[int, str, float]]:
    """Train each model at each distance; yields distance, name and the accuracy on new phrases."""
    for distance in distances:
        phrases, next_words = make_shopping(n_train, distance, random_state=seed)
        new_phrases, expected = make_shopping(n_test, distance, random_state=seed + 1)
        for name, model in make_models(epochs, seed).items():
            timed_fit(model, phrases, next_words)
            yield distance, name, float(model.score(new_phrases, expected))
