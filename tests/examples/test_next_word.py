"""The example of the next word: what it prints and returns, completions, and what is refused."""

import re

import numpy as np
import pytest

from fastrecur.examples import next_word
from fastrecur.preprocessing import SequenceTokenizer

SMALL = ["--words", "4000", "--epochs", "1", "--hidden", "8", "--order", "2", "--length", "4", "--no-plot"]


@pytest.fixture(scope="module")
def fitted():
    """A text of two sentences that alternate, and rare words: tokenizer and LSTM."""
    text = ["the cat sat on the mat . a dog ran in the park ."] * 60 + ["rare words"]
    tokenizer = SequenceTokenizer(min_frequency=2)
    tokens = np.concatenate(tokenizer.fit_transform(text))
    model, _ = next_word.fit_text(tokens, hidden=16, epochs=30, n_streams=4)
    return tokenizer, model


def test_small_settings(capsys):
    result = next_word.main(
        [*SMALL, "--distances", "2", "5", "--lists", "100", "--list-epochs", "1", "--prompt", "If the"]
    )
    printed = capsys.readouterr().out
    assert list(result.perplexity) == ["words alone", "Kneser-Ney", "LSTM", "both"]
    assert all(1 < value < len(result.tokenizer.vocabulary_) for value in result.perplexity.values())
    assert result.perplexity["both"] <= max(result.perplexity["Kneser-Ney"], result.perplexity["LSTM"])
    for name, value in result.perplexity.items():
        assert re.search(rf"{name} .* {value:.1f} ", printed), name
    assert list(result.completions) == ["If the"]
    assert result.completions["If the"].startswith("if the ")
    assert result.completions["If the"] in printed
    assert list(result.shopping) == ["RNN", "LSTM", 'LSTM, init="chrono"']
    assert all(list(accuracies) == [2, 5] for accuracies in result.shopping.values())
    assert "2 words" in printed


def test_a_file_of_which_nothing_is_rare(tmp_path, capsys):
    """No unknown word is learned then, and those of the held-out text are not scored."""
    path = tmp_path / "text.txt"
    pairs = [f"{x}{y}" for x in "abcdef" for y in "uvwxyz"]
    lines = [f"{a} {pair} word" for a in ("one", "two", "three", "four", "five") for pair in pairs]
    lines[95] = "unheard of"
    path.write_text("\n".join(lines))
    result = next_word.main([str(path), *SMALL, "--distances"])
    assert np.isfinite(list(result.perplexity.values())).all()
    assert result.shopping == {}
    assert "2 held-out words that no model has seen were left out" in capsys.readouterr().out


def test_word_probabilities_are_those_of_the_words(fitted):
    tokenizer, model = fitted
    texts = tokenizer.transform(["the cat sat", "a dog unheard"])
    found = next_word.word_probabilities(model, texts)
    expected = []
    for text in texts:
        state = model.initial_state()
        for before, token in zip([0, *text[:-1]], text, strict=True):
            probabilities, state = model.predict_proba_step(np.array([before]), state)
            expected.append(probabilities[0, model.classes_ == token].item())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# Completions


def test_the_most_likely_words(fitted):
    tokenizer, model = fitted
    written = next_word.complete(model, tokenizer, "The cat", n_words=6, temperature=0)
    assert written == "the cat sat on the mat . a"
    assert next_word.complete(model, tokenizer, "the cat", 6, temperature=5.0, top_k=1) == written


def test_temperature_and_top_k(fitted):
    tokenizer, model = fitted
    cold = {next_word.complete(model, tokenizer, "the", 3, 0.1, None, seed) for seed in range(10)}
    hot = {next_word.complete(model, tokenizer, "the", 3, 50.0, None, seed) for seed in range(10)}
    assert len(cold) < 5 < len(hot)
    assert "<unk>" not in " ".join(hot)
    two = {next_word.complete(model, tokenizer, "the", 1, 50.0, 2, seed) for seed in range(20)}
    assert len(two) == 2
    assert next_word.complete(model, tokenizer, "the", 9, 1.0, None, 3) == next_word.complete(
        model, tokenizer, "the", 9, 1.0, None, 3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": " "}, "Phrase 0 of X is empty"),
        ({"temperature": -1}, "temperature must be 0 or more, found -1"),
        ({"temperature": float("nan")}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be at least 1, or None"),
    ],
)
def test_completions_that_will_not_do(fitted, arguments, message):
    tokenizer, model = fitted
    with pytest.raises(ValueError, match=message):
        next_word.complete(model, tokenizer, **{"prompt": "the", **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--words", "0"],
        ["--epochs", "0"],
        ["--temperature", "-1"],
        ["--top-k", "0"],
        ["--distances", "0"],
        ["--order", "0"],
    ],
)
def test_arguments_that_will_not_do(arguments, capsys):
    with pytest.raises(SystemExit):
        next_word.main(arguments)
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["", "   "])
def test_a_prompt_that_will_not_do_is_found_before_the_training(prompt, monkeypatch):
    monkeypatch.setattr(next_word, "fit_text", lambda *_: pytest.fail("trained"))
    with pytest.raises(SystemExit, match=r"--prompt '.*' has no word in it"):
        next_word.main([*SMALL, "--prompt", "A function", "--prompt", prompt])


def test_a_text_without_a_word_that_comes_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(next_word, "fit_text", lambda *_: pytest.fail("trained"))
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"word{i}" for i in range(300)))
    with pytest.raises(SystemExit, match="ValueError: The vocabulary is empty: min_frequency=2"):
        next_word.main([str(path)])


def test_a_file_that_will_not_do(tmp_path):
    with pytest.raises(SystemExit, match="FileNotFoundError"):
        next_word.main(["nowhere.txt"])
    path = tmp_path / "text.txt"
    path.write_text("too short")
    with pytest.raises(SystemExit, match="different paragraphs"):
        next_word.main([str(path)])


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    next_word.main([*SMALL, "--distances", "2", "--lists", "100", "--list-epochs", "1", "--plot", str(path)])
    assert path.stat().st_size > 1000
