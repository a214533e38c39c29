"""``python -m fastrecur.examples.next_word``: predict the next word, from the last few and from one said long before.

First an LSTM learns a text, that of Python's own documentation or a file, beside an n-gram model with Kneser-Ney
smoothing: perplexity on stretches that were held out, and prompts completed. Then the long-range task: a shopping list
that is read early and asked for late.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.utils import Bunch, check_random_state

from fastrecur import LSTMClassifier
from fastrecur.examples.corpus import read_corpus
from fastrecur.examples.figures import save_plot
from fastrecur.examples.kneser_ney import KneserNey
from fastrecur.examples.options import Options, refuse, whole
from fastrecur.examples.shopping import compare
from fastrecur.examples.training import timed_fit
from fastrecur.preprocessing import SequenceTokenizer
from fastrecur.preprocessing.tokenizer import UNKNOWN

#: What stands before the first word of a text.
_START = UNKNOWN

#: What is completed unless something else is asked for.
PROMPTS = ["If the object is", "The value of the expression", "A function is"]


def main(arguments: Sequence[str] | None = None) -> Bunch:
    """Train, compare, print.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line; by default those of the process.

    Returns
    -------
    Bunch
        ``perplexity`` (by name of the model), ``completions`` (by prompt), ``shopping`` (accuracy by name of the model
        and distance), ``model`` (the LSTM of the text) and ``tokenizer``.
    """
    options = _parse(arguments)
    console, prompts = Console(), options.prompt or PROMPTS
    tokenizer = SequenceTokenizer(max_tokens=10_000, min_frequency=2)
    try:
        train, held_out = read_corpus(options.text, options.words)
        learned = np.concatenate(tokenizer.fit_transform(train))
    except (OSError, ValueError) as error:
        refuse(error)
    _check_prompts(tokenizer, prompts)
    tests = tokenizer.transform(held_out)
    n_tests, n_words = sum(map(len, tests)), len(tokenizer.vocabulary_)
    console.print(
        f"The next word in {options.text or 'the documentation of Python'}: {len(learned):,} words to learn from, "
        f"{n_tests:,} held out, a vocabulary of {n_words:,}. Words that occur once are one word, <unk>.",
        soft_wrap=True,
        markup=False,
    )
    with console.status("LSTM (the first run compiles kernels for some seconds)"):
        model, seconds = fit_text(learned, options.hidden, options.epochs, options.seed)
    perplexity = _compare(console, model, seconds, learned, tests, n_words, options.order)
    completions = _complete(console, model, tokenizer, prompts, options)
    shopping = _go_shopping(console, options) if options.distances else {}
    save_plot(console, options.plot, lambda figure: _draw(figure, perplexity, shopping), (9, 4))
    return Bunch(perplexity=perplexity, completions=completions, shopping=shopping, model=model, tokenizer=tokenizer)


def fit_text(
    tokens: NDArray[np.int64], hidden: int = 128, epochs: int = 10, seed: int = 0, n_streams: int = 16
) -> tuple[LSTMClassifier, float]:
    """Train an LSTM to predict each word of a text from those before it.

    The text is cut into ``n_streams`` long sequences, which are read side by side; the gradient goes 25 words back, the
    states all the way (truncated back-propagation through time).

    Returns
    -------
    model : LSTMClassifier
        With ``return_sequences``: one distribution of the next word after each word.
    seconds : float
    """
    model = LSTMClassifier(
        hidden,
        embedding_dim=hidden,
        return_sequences=True,
        bptt_steps=25,
        batch_size=n_streams,
        dropout=0.4,
        learning_rate_init=0.01,
        learning_rate="cosine",
        max_iter=epochs,
        tol=0,
        random_state=seed,
    )
    before = np.concatenate([[_START], tokens[:-1]])
    seconds = timed_fit(model, np.array_split(before, n_streams), np.array_split(tokens, n_streams))
    return model, seconds


def word_probabilities(model: LSTMClassifier, texts: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Probability of each word of each text, given those before it; 0 for tokens that the model has never seen."""
    parts = []
    for text in texts:
        probabilities = model.predict_proba([np.concatenate([[_START], text[:-1]])])[0]
        columns = np.searchsorted(model.classes_, text).clip(max=len(model.classes_) - 1)
        found = probabilities[np.arange(len(text)), columns]
        parts.append(np.where(model.classes_[columns] == text, found, 0.0))
    return np.concatenate(parts).astype(np.float64)


def complete(
    model: LSTMClassifier,
    tokenizer: SequenceTokenizer,
    prompt: str,
    n_words: int = 20,
    temperature: float = 0.7,
    top_k: int | None = 20,
    random_state: Any = None,
) -> str:
    """Write a text on, word by word.

    Parameters
    ----------
    model : LSTMClassifier
        Of `fit_text`.
    tokenizer : SequenceTokenizer
        Whose tokens it was trained on.
    prompt : str
        What stands there already.
    n_words : int, default=20
        To be added. The unknown word is never among them.
    temperature : float, default=0.7
        By which the logarithms of the probabilities are divided before a word is drawn: below 1 likely words are
        preferred, 0 always takes the most likely.
    top_k : int, default=20
        Only the so many most likely words are drawn from; None for all.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    str
        The prompt as the tokenizer reads it, and the words.

    Raises
    ------
    ValueError
        If the prompt has no word, ``temperature`` is negative or ``top_k`` is below 1.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 or more, found {temperature!r}.")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, or None for all words, found {top_k!r}.")
    rng = check_random_state(random_state)
    tokens = tokenizer.transform([prompt])[0].tolist()
    state = model.initial_state()
    for token in [_START, *tokens]:
        probabilities, state = model.predict_proba_step(np.array([token]), state)
    for _ in range(n_words):
        tokens.append(_drawn(probabilities[0], model.classes_, temperature, top_k, rng))
        probabilities, state = model.predict_proba_step(np.array([tokens[-1]]), state)
    return tokenizer.inverse_transform([tokens])[0]


def _drawn(
    probabilities: NDArray, classes: NDArray, temperature: float, top_k: int | None, rng: np.random.RandomState
) -> int:
    """Draw one of the classes."""
    weights = np.where(classes == _START, 0.0, probabilities).astype(np.float64)
    best = np.argsort(-weights, kind="stable")[:top_k]
    if temperature == 0:
        return int(classes[best[0]])
    with np.errstate(divide="ignore"):
        weights = np.exp((np.log(weights[best]) - np.log(weights[best[0]])) / temperature)
    return int(classes[rng.choice(best, p=weights / weights.sum())])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Options("next_word", __doc__)
    parser.add_argument("text", nargs="?", help="a text file (default: the topics of pydoc_data)")
    parser.add_count("--words", 100_000, "words after which the text is cut", least=100)
    parser.add_count("--epochs", 10, "epochs of the LSTM of the text")
    parser.add_count("--hidden", 128, "units of that LSTM")
    parser.add_count("--order", 5, "words that the n-gram model looks at, the next one included")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="to be completed; may be given several times")
    parser.add_count("--length", 20, "words that complete a prompt")
    parser.add_argument(
        "--temperature", type=float, default=0.7, metavar="X", help="of the completions (default: %(default)s)"
    )
    parser.add_count("--top-k", 20, "most likely words that the next one is drawn from")
    parser.add_argument(
        "--distances",
        type=whole(),
        nargs="*",
        default=[10, 50, 200],
        metavar="N",
        help="words from the shopping list to the question (default: 10 50 200; none leaves the task out)",
    )
    parser.add_count("--lists", 2000, "shopping lists to learn from", least=100)
    parser.add_count("--list-epochs", 15, "epochs over these")
    parser.add_count("--seed", 0, "seed of all that is random", least=0)
    options = parser.read(arguments)
    if not 0 <= options.temperature < np.inf:
        parser.error(f"argument --temperature: must be 0 or more, found {options.temperature}")
    return options


def _check_prompts(tokenizer: SequenceTokenizer, prompts: list[str]) -> None:
    """A prompt without a word would only be found out after the training."""
    for prompt in prompts:
        try:
            tokenizer.transform([prompt])
        except ValueError as error:
            raise SystemExit(f"--prompt {prompt!r} has no word in it. Give the beginning of a sentence.") from error


def _compare(
    console: Console,
    model: LSTMClassifier,
    seconds: float,
    learned: NDArray[np.int64],
    tests: list[NDArray[np.int64]],
    n_words: int,
    order: int,
) -> dict[str, float]:
    """Print perplexities on the held-out texts; returns them by name."""
    lstm = word_probabilities(model, tests)
    table = Table("model", "sees", "held-out perplexity", "seconds")
    found = {}
    scored = lstm > 0  # False for the unknown word where nothing was rare in what was learned
    for name, sees, depth in (("words alone", "nothing", 1), ("Kneser-Ney", f"{order - 1} words before", order)):
        start = time.perf_counter()
        ngrams = KneserNey(depth).fit(learned.tolist(), n_words)
        counted = np.concatenate([ngrams.probabilities(text.tolist(), [_START]) for text in tests])
        found[name] = _perplexity(counted[scored])
        table.add_row(name, sees, f"{found[name]:.1f}", f"{time.perf_counter() - start:.1f}")
    found["LSTM"] = _perplexity(lstm[scored])
    table.add_row("LSTM", "all words before", f"{found['LSTM']:.1f}", f"{seconds:.1f}")
    found["both"] = _perplexity((lstm[scored] + counted[scored]) / 2)
    table.add_row("both", "the mean of the last two", f"{found['both']:.1f}", "")
    console.print(table)
    if not scored.all():
        console.print(f"{np.count_nonzero(~scored)} held-out words that no model has seen were left out.")
    return found


def _perplexity(probabilities: NDArray) -> float:
    return float(np.exp(-np.log(probabilities).mean()))


def _complete(
    console: Console,
    model: LSTMClassifier,
    tokenizer: SequenceTokenizer,
    prompts: list[str],
    options: argparse.Namespace,
) -> dict[str, str]:
    console.print(f"\nPrompts completed at temperature {options.temperature:g}, top-k {options.top_k}:")
    settings = (options.length, options.temperature, options.top_k, options.seed)
    completions = {prompt: complete(model, tokenizer, prompt, *settings) for prompt in prompts}
    for completed in completions.values():
        console.print(f"  {completed}", soft_wrap=True, markup=False)
    return completions


def _go_shopping(console: Console, options: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Print the long-range task; returns accuracies by name and distance."""
    console.print(
        '\n"ann needs fish and bob needs tea . ... . bob needs": the next word is what the list says. Accuracy on new '
        "phrases, by the words between list and question; a guess is right in 12.5%, in 56% who forgets who was asked:",
        soft_wrap=True,
    )
    found: dict[str, dict[int, float]] = {}
    with console.status("RNN and LSTM, list by list"):
        results = list(compare(options.distances, options.lists, epochs=options.list_epochs, seed=options.seed))
    for distance, name, accuracy in results:
        found.setdefault(name, {})[distance] = accuracy
    table = Table("model", *(f"{distance} words" for distance in options.distances))
    for name, accuracies in found.items():
        table.add_row(name, *(f"{accuracy:.1%}" for accuracy in accuracies.values()))
    console.print(table)
    return found


def _draw(figure: Any, perplexity: dict[str, float], shopping: dict[str, dict[int, float]]) -> None:
    """Plot the perplexities, and the accuracies by distance."""
    if not shopping:
        bars = figure.subplots()
    else:
        bars, lines = figure.subplots(1, 2)
        for name, accuracies in shopping.items():
            lines.plot(list(accuracies), list(accuracies.values()), "o-", label=name)
        lines.axhline(1 / 8, color="gray", linestyle=":", label="a guess")
        lines.set(xlabel="words between list and question", ylabel="accuracy", ylim=(0, 1.02), xscale="log")
        lines.set_xticks(list(accuracies), list(map(str, accuracies)), minor=False)
        lines.minorticks_off()
        lines.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize="small")
    bars.barh(list(perplexity)[::-1], list(perplexity.values())[::-1])
    bars.bar_label(bars.containers[0], fmt="%.1f", padding=2)
    bars.margins(x=0.15)
    bars.set(xlabel="perplexity on held-out text (less is better)")


if __name__ == "__main__":
    main()
