"""Text to learn the next word from: that of Python's own documentation, or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

#: Paragraphs in a stretch; of ten stretches one is held out.
_STRETCH = 10


def read_corpus(path: str | Path | None = None, n_words: int = 100_000) -> tuple[list[str], list[str]]:
    """Read a text and hold a part of it out.

    A paragraph that comes again, as many do in the documentation, is left out, so that nothing is held out that has
    been learned by heart; so are paragraphs without a letter. Of each ten stretches of ten paragraphs the last is held
    out.

    Parameters
    ----------
    path : str or path-like, default=None
        Text file in UTF-8, with blank lines between its paragraphs, or with one a line. None takes the topics of
        ``pydoc_data`` in the standard library, what ``help()`` shows.
    n_words : int, default=100_000
        The text is cut after the paragraph in which it has so many words, as spaces divide them.

    Returns
    -------
    train, held_out : list of str
        Stretches of paragraphs, a paragraph a line.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no text in UTF-8, or has less than a hundred paragraphs.
    """
    paragraphs = list(_shortened(_new(_paragraphs(path)), n_words))
    stretches = ["\n".join(paragraphs[start : start + _STRETCH]) for start in range(0, len(paragraphs), _STRETCH)]
    held_out = stretches[9::10]
    if not held_out:
        raise ValueError(
            f"{path or 'pydoc_data.topics'} has {len(paragraphs)} different paragraphs within {n_words} words, of the "
            "hundred or more that are due. Take a longer text, or more words of it."
        )
    return [stretch for index, stretch in enumerate(stretches) if index % 10 != 9], held_out


def _paragraphs(path: str | Path | None) -> Iterable[str]:
    if path is None:
        from pydoc_data.topics import topics

        return (paragraph for text in topics.values() for paragraph in re.split(r"\n\s*\n", text))
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}.") from error
    paragraphs = re.split(r"\n\s*\n", text)
    return paragraphs if len(paragraphs) >= 10 * _STRETCH else text.split("\n")


def _new(paragraphs: Iterable[str]) -> Iterable[str]:
    """Paragraphs with a letter, each once, on one line."""
    seen = set()
    for paragraph in paragraphs:
        line = " ".join(paragraph.split())
        if line not in seen and re.search(r"[^\W\d_]", line):
            seen.add(line)
            yield line


def _shortened(paragraphs: Iterable[str], n_words: int) -> Iterable[str]:
    total = 0
    for paragraph in paragraphs:
        if total >= n_words:
            return
        total += len(paragraph.split())
        yield paragraph
