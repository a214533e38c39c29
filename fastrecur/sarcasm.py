"""Phrases of a good and a bad event and a comment, whose sincerity depends on which event the comment is about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrecur.network.validation import check_count, check_random_state

#: What may happen: subjects, what they did that was good, what they did that was bad.
_EVENTS = (
    (
        ("the train", "my bus", "our flight", "the last ferry", "the night tram"),
        ("was right on time", "came early", "had free seats for everyone", "got us home before dark"),
        ("was late again", "broke down on the bridge", "left without us", "got stuck in a tunnel for two hours"),
    ),
    (
        ("my boss", "the new manager", "our director", "the head office"),
        ("gave everybody the afternoon off", "praised the whole team", "approved my holiday", "raised my salary"),
        ("moved the deadline to sunday", "lost my report", "cut our budget", "asked me to work over christmas"),
    ),
    (
        ("the printer", "my laptop", "the old lift", "the coffee machine", "my phone"),
        ("worked like new", "behaved all day", "started at once", "survived the update"),
        ("stopped working", "jammed before the meeting", "caught fire", "died in the middle of everything"),
    ),
    (
        ("the neighbours", "the kids upstairs", "the students next door"),
        ("baked us a cake", "watered my plants all summer", "carried my bags up the stairs", "kept perfectly quiet"),
        ("drilled holes until midnight", "partied until three", "stole my bicycle", "parked in front of my garage"),
    ),
    (
        ("my sister", "an old friend", "grandma", "my cousin", "uncle ben"),
        (
            "sent me flowers",
            "came to visit",
            "called just to say hello",
            "cooked my favourite dinner",
            "paid for lunch",
        ),
        ("forgot my birthday", "crashed my car", "cancelled our trip", "spoiled the ending of the film"),
    ),
    (
        ("our team", "the local club", "my favourite player"),
        ("won the final", "scored in the last minute", "broke the record", "beat the champions"),
        ("lost nine to nil", "missed the penalty", "was sent off", "finished last"),
    ),
    (
        ("the dentist", "the doctor", "the mechanic", "the inspector"),
        ("found nothing wrong", "took only five minutes", "was gentle and kind", "charged less than expected"),
        ("found four new problems", "kept me waiting for ages", "sent a huge bill", "made it much worse"),
    ),
    (
        ("the landlord", "the plumber", "the electrician"),
        ("repaired the sink for free", "painted the hall", "fixed the heating", "apologised and lowered the rent"),
        ("flooded the kitchen", "raised the rent", "cut off the hot water", "knocked a hole in the wall"),
    ),
    (
        ("the cat", "our puppy", "the parrot", "my rabbit"),
        ("learned a new trick", "slept on my lap", "recovered from the operation", "greeted me at the door"),
        ("scratched the sofa", "ate my homework", "chewed through the cable", "threw up on the carpet"),
    ),
    (
        ("the soup", "my pizza", "the breakfast", "her pie"),
        ("was hot and fresh", "tasted like home", "came with extra cheese", "smelled delicious"),
        ("was stone cold", "arrived burnt", "had a hair in it", "gave me a stomach ache"),
    ),
    (
        ("the bank", "my insurance", "the tax office", "the airline"),
        ("refunded every cent", "answered within a day", "waived the fee", "upgraded me for nothing"),
        ("charged me twice", "rejected my claim", "lost my papers", "put me on hold for an hour"),
    ),
    (
        ("the hotel", "our apartment", "the campsite"),
        ("had a view of the sea", "was spotless", "gave us the best room", "stayed calm and cool"),
        ("was full of bugs", "had no running water", "smelled of wet socks", "sold our room to others"),
    ),
)

_TIMES = ("", "", "", " today", " yesterday", " this morning", " this week", " on monday", " on friday")

#: Between the two events.
_LINKS = ("and", "but", "yet", "while", "although", "whereas")

#: Comments in praise and in complaint: before an event, after it, and at the very beginning or end of the phrase.
_COMMENTS = (
    (
        ("how lovely that", "what a joy that", "i am so glad that", "i love it that", "it made my day that"),
        ("which was wonderful", "which i really enjoyed", "which was just perfect", "for which i am grateful"),
        ("great", "fantastic", "just what i needed", "best day ever", "how nice", "thank you so much"),
    ),
    (
        ("how awful that", "what a pity that", "i am so annoyed that", "i hate it that", "it ruined my mood that"),
        ("which was terrible", "which i really regret", "which was just horrible", "for which i could cry"),
        ("damn", "disgusting", "just my luck", "worst day ever", "how sad", "no thank you"),
    ),
)


def make_sarcasm(n_samples: int = 100, random_state: Any = None) -> tuple[list[str], NDArray[np.int64]]:
    """Phrases that are sarcastic or sincere, and no bag of words tells which.

    A phrase has a good event, a bad event and a comment, in praise or in complaint, on the event beside it: "the train
    was late again which was wonderful but grandma sent me flowers". It is sarcastic where the comment praises the
    bad event or complains of the good one. The comment stands before or after an event ("how lovely that ...", "...
    which was terrible"), or, as an interjection ("great"), at the beginning or end of the phrase.

    All is drawn uniformly and independently: the two events from twelve groups, the comment, the link between the
    events, which event comes first and which of the two places the comment is at. Of the four arrangements of the same
    words two are sarcastic and two sincere: whatever the words, both labels are as probable, and a model of bags of
    words cannot beat chance. To tell them takes the tone of the comment, the kind of the event beside it, and whether
    the one fits the other.

    Parameters
    ----------
    n_samples : int, default=100
        n, phrases.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    phrases : list of n str
        Lower-case words with single spaces between, without punctuation.
    labels : int64 array of shape (n,)
        1 where the phrase is sarcastic, 0 where it is sincere.

    Raises
    ------
    TypeError, ValueError
        If n_samples is not an integer or too small.

    Notes
    -----
    Made for this library, after the contrast of a positive sentiment and a negative situation that [1]_ finds in
    sarcastic messages.

    References
    ----------
    .. [1] Riloff et al., "Sarcasm as contrast between a positive sentiment and negative situation", EMNLP 2013.

    Examples
    --------
    >>> from fastrecur.datasets import make_sarcasm
    >>> phrases, labels = make_sarcasm(n_samples=3, random_state=1)
    >>> for phrase, label in zip(phrases, labels):
    ...     print(label, phrase)
    0 the local club beat the champions this morning which was wonderful but the breakfast arrived burnt
    0 the hotel had a view of the sea but my phone died in the middle of everything which i really regret
    0 worst day ever uncle ben spoiled the ending of the film on monday and the cat greeted me at the door this week
    """
    check_count("n_samples", n_samples)
    rng, n = check_random_state(random_state), int(n_samples)
    good, bad = (_events(quality, n, rng) for quality in (0, 1))
    links = rng.choice(_LINKS, size=n)
    complains, kinds, good_first, comment_last = (rng.randint(high, size=n) for high in (2, 3, 2, 2))
    comments = [_draw(_COMMENTS[tone][kind], rng) for tone, kind in zip(complains, kinds, strict=True)]
    phrases = []
    for i in range(n):
        events = [good[i], bad[i]] if good_first[i] else [bad[i], good[i]]
        phrases.append(_phrase(events, links[i], comments[i], kinds[i], comment_last[i]))
    about_good = good_first != comment_last
    return phrases, (about_good == complains).astype(np.int64)


def _events(quality: int, n: int, rng: np.random.RandomState) -> list[str]:
    """Events, good (0) or bad (1): subject, predicate, perhaps a time."""
    groups = [_EVENTS[group] for group in rng.randint(len(_EVENTS), size=n)]
    return [_draw(group[0], rng) + " " + _draw(group[1 + quality], rng) + _draw(_TIMES, rng) for group in groups]


def _draw(texts: tuple[str, ...], rng: np.random.RandomState) -> str:
    return texts[rng.randint(len(texts))]


def _phrase(events: list[str], link: str, comment: str, kind: int, comment_last: int) -> str:
    """Two events with the link between; the comment before (0) or after (1) one of them, or outside of both (2)."""
    before = kind == 0 or (kind == 2 and not comment_last)
    parts = list(events)
    event = parts[comment_last]
    parts[comment_last] = f"{comment} {event}" if before else f"{event} {comment}"
    return f"{parts[0]} {link} {parts[1]}"
