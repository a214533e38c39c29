"""``python -m fastrecur.examples.sarcasm``: is a phrase meant as it says? The order of its words decides.

Raw phrases go through `SequenceTokenizer` into an LSTM, beside logistic regressions on the same phrases, and a fifth of
them is held out. They are those of `fastrecur.datasets.make_sarcasm`, in which no bag of words tells, or the reader's
own: a CSV file with the columns ``text`` and ``label``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import Bunch

from fastrecur import LSTMClassifier
from fastrecur.datasets import make_sarcasm
from fastrecur.examples.csv_files import read_csv
from fastrecur.examples.figures import save_plot
from fastrecur.examples.options import Options, refuse
from fastrecur.examples.training import timed_fit
from fastrecur.preprocessing import SequenceTokenizer

_ALL_WORDS = r"(?u)\b\w+\b"  # CountVectorizer's own pattern leaves words of one letter out


def read_phrases(path: str | Path) -> tuple[list[str], NDArray]:
    """Read phrases and labels.

    Parameters
    ----------
    path : str or path-like
        Of a CSV file in UTF-8, with a header that names the columns ``text`` and ``label``.

    Returns
    -------
    phrases : list of n str
    labels : array of n str

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not CSV, a column is not there, a row lacks a value, or there are not two labels that occur five times
        or more.
    """
    rows = read_csv(path)
    header = rows.pop(0)[1] if rows else []
    lacking = [name for name in ("text", "label") if name not in header]
    if lacking:
        raise ValueError(f"{path} has no column {lacking[0]!r}, only {', '.join(header) or 'none'}. Rename one.")
    phrases, labels = [], []
    for number, row in rows:
        fields = dict(zip(header, row, strict=False))
        phrase, label = fields.get("text", "").strip(), fields.get("label", "").strip()
        if not phrase or not label:
            raise ValueError(f"Line {number} of {path} lacks its text or its label. Fill it or leave it out.")
        phrases.append(phrase)
        labels.append(label)
    counts = Counter(labels)
    if len(counts) < 2 or min(counts.values()) < 5:
        found = ", ".join(f"{label!r} ({count} rows)" for label, count in counts.most_common()) or "no rows"
        raise ValueError(f"{path}: two labels or more of five rows or more each are due, found {found}.")
    return phrases, np.array(labels)


def make_lstm(hidden: int = 64, epochs: int = 10, seed: int = 0) -> Pipeline:
    """Pipeline of raw phrases to labels."""
    return make_pipeline(
        SequenceTokenizer(min_frequency=2),  # rare words train the vector of the unknown ones
        LSTMClassifier(hidden, embedding_dim=hidden // 2, pooling="max", max_iter=epochs, random_state=seed),
    )


def make_baselines() -> dict[str, tuple[str, Any]]:
    """Models beside it, by name: what each sees, and the pipeline."""
    regression = LogisticRegression(max_iter=1000)
    return {
        "most frequent label": ("nothing", make_pipeline(CountVectorizer(token_pattern=_ALL_WORDS), DummyClassifier())),
        "logistic regression": (
            "a bag of words",
            make_pipeline(CountVectorizer(token_pattern=_ALL_WORDS), regression),
        ),
        "the same on n-grams": (
            "up to three in a row",
            make_pipeline(CountVectorizer(token_pattern=_ALL_WORDS, ngram_range=(1, 3)), regression),
        ),
    }


def verdicts(model: Pipeline, phrase: str) -> tuple[list[str], NDArray]:
    """Read a phrase word by word.

    Parameters
    ----------
    model : Pipeline
        Of `make_lstm`, fitted.
    phrase : str

    Returns
    -------
    words : list of T str
    probabilities : array of shape (T, K)
        Of each class after each word: the last row is ``predict_proba`` of the whole.
    """
    tokenizer, network = model[0], model[-1]
    tokens = tokenizer.transform([phrase])[0]
    state, rows = network.initial_state(), []
    for token in tokens:
        probabilities, state = network.predict_proba_step(np.array([token]), state)
        rows.append(probabilities[0])
    return tokenizer.get_feature_names_out()[tokens].tolist(), np.stack(rows)


def main(arguments: Sequence[str] | None = None) -> Bunch:
    """Train, compare, print.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line; by default those of the process.

    Returns
    -------
    Bunch
        ``accuracy`` (by name of the model, on held-out phrases), ``n_train``, ``n_test``, ``model`` (the pipeline).
    """
    options = _parse(arguments)
    console = Console()
    model = make_lstm(options.hidden, options.epochs, options.seed)
    try:
        phrases, labels = _load(options, console)
        train, test, y_train, y_test = train_test_split(phrases, labels, test_size=0.2, random_state=0, stratify=labels)
        clone(model[0]).fit(train)  # a vocabulary that is empty would only be found out after the baselines
    except (OSError, ValueError) as error:
        refuse(error)
    console.print(f"{len(train):,} phrases to learn from, {len(test):,} held out.\n", soft_wrap=True)
    table = Table("model", "sees", "held-out accuracy", "seconds")
    accuracy = {}
    for name, (sees, estimator) in {**make_baselines(), "LSTM": ("words in their order", model)}.items():
        with console.status(f"{name} (the first run compiles kernels for some seconds)"):
            seconds = timed_fit(estimator, train, y_train)
            accuracy[name] = estimator.score(test, y_test)
        table.add_row(name, sees, f"{accuracy[name]:.1%}", f"{seconds:.1f}")
    console.print(table)
    _show(console, model, test, y_test)
    save_plot(console, options.plot, lambda figure: _draw(figure, model, test), (9, 4))
    return Bunch(accuracy=accuracy, n_train=len(train), n_test=len(test), model=model)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Options("sarcasm", __doc__)
    parser.add_argument("csv", nargs="?", help="a CSV file with the columns text and label (default: made phrases)")
    parser.add_count("--phrases", 6000, "phrases that are made without a file", least=50)
    parser.add_count("--epochs", 10, "epochs of the LSTM")
    parser.add_count("--hidden", 64, "units of the LSTM", least=2)
    parser.add_count("--seed", 0, "seed of the phrases and the LSTM", least=0)
    return parser.read(arguments)


def _load(options: argparse.Namespace, console: Console) -> tuple[list[str], NDArray]:
    if options.csv is not None:
        console.print(f"The phrases of {options.csv}.", soft_wrap=True, markup=False)
        return read_phrases(options.csv)
    console.print(
        "[bold]Sarcasm[/bold]: phrases of a good and a bad event and a comment. Praise of the bad one, or complaint "
        "about the good one, is sarcastic; the same words in another order are sincere.",
        soft_wrap=True,
    )
    phrases, labels = make_sarcasm(options.phrases, random_state=options.seed)
    return phrases, np.array(["sincere", "sarcastic"])[labels]


def _show(console: Console, model: Pipeline, test: list[str], y_test: NDArray) -> None:
    """Print some held-out phrases, mistakes first, and what the LSTM takes them for."""
    predicted = model.predict(test)
    wrong = np.flatnonzero(predicted != y_test)
    console.print(f"\nHeld-out phrases, {len(wrong)} of {len(test)} taken for what they are not:")
    for index in np.concatenate([wrong[:2], np.flatnonzero(predicted == y_test)[:4]])[:4].tolist():
        mark = "" if predicted[index] == y_test[index] else f" (it is {y_test[index]})"
        console.print(f"  {predicted[index]}{mark}: {test[index][:200]}", soft_wrap=True, markup=False)


def _draw(figure: Any, model: Pipeline, test: list[str]) -> None:
    """Plot the loss by epoch, and one phrase a class as it is read: the probability of what it is taken for."""
    losses, reading = figure.subplots(1, 2, width_ratios=(1, 2))
    network = model[-1]
    losses.plot(range(1, len(network.loss_curve_) + 1), network.loss_curve_, "o-")
    losses.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    predicted = model.predict(test)
    for label in network.classes_[:4]:
        chosen = np.flatnonzero(predicted == label)
        if not len(chosen):
            continue
        words, probabilities = verdicts(model, test[chosen[0]])
        curve = probabilities[:, network.classes_ == label][:, 0]
        reading.plot(range(1, len(words) + 1), curve, "o-", label=f"{label}: {' '.join(words)[:70]}")
    reading.set(xlabel="words read", ylabel="probability of the final verdict", ylim=(-0.02, 1.02))
    for axes in (losses, reading):
        axes.xaxis.get_major_locator().set_params(integer=True)
    reading.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize="x-small")


if __name__ == "__main__":
    main()
