"""The example of sarcasm: what it prints and returns, files of one's own, and what is refused."""

import csv
import re

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastrecur.datasets import make_sarcasm
from fastrecur.examples import sarcasm


@pytest.fixture
def write(tmp_path):
    def write(rows, header=("text", "label")):
        path = tmp_path / "phrases.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return str(path)

    return write


def test_made_phrases(capsys):
    result = sarcasm.main(["--phrases", "4000", "--epochs", "6", "--no-plot"])
    printed = capsys.readouterr().out
    assert (result.n_train, result.n_test) == (3200, 800)
    assert result.accuracy["LSTM"] >= 0.95
    assert abs(result.accuracy["logistic regression"] - 0.5) < 0.06
    assert abs(result.accuracy["most frequent label"] - 0.5) < 0.02
    for name, accuracy in result.accuracy.items():
        assert re.search(rf"{name} .*{accuracy:.1%}", printed), name
    assert "3,200 phrases to learn from, 800 held out" in printed
    assert "Held-out phrases" in printed
    assert result.model.predict(["great my bus was late again and grandma sent me flowers"])[0] in (
        "sarcastic",
        "sincere",
    )


def test_a_file(write, capsys):
    phrases, labels = make_sarcasm(100, random_state=0)
    rows = [(phrase, ["yes", "no [b]"][label]) for phrase, label in zip(phrases, labels, strict=True)]
    result = sarcasm.main([write(rows), "--epochs", "1", "--hidden", "4", "--no-plot"])
    assert result.model.classes_.tolist() == ["no [b]", "yes"]
    assert (result.n_train, result.n_test) == (80, 20)
    assert "phrases.csv" in capsys.readouterr().out


def test_columns_in_any_order_beside_others(write):
    phrases, labels = sarcasm.read_phrases(
        write([("0", "7", "a, b")] * 5 + [("1", "8", "c")] * 5, ("label", "id", "text"))
    )
    assert phrases == ["a, b"] * 5 + ["c"] * 5
    assert labels.tolist() == ["0"] * 5 + ["1"] * 5


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("a", "0")], ("text", "class"), "has no column 'label', only text, class"),
        ([], ("words", "label"), "has no column 'text'"),
        ([], ("text", "label"), "two labels or more.*found no rows"),
        ([("a", "0")] * 9, ("text", "label"), r"two labels or more.*found '0' \(9 rows\)"),
        ([("a", "0")] * 9 + [("b", "1")], ("text", "label"), r"found '0' \(9 rows\), '1' \(1 rows\)"),
        ([("a", "0"), (" ", "1")], ("text", "label"), r"Line 3 of .* lacks its text or its label"),
        ([("a",)], ("text", "label"), r"Line 2 of .* lacks"),
    ],
)
def test_files_that_will_not_do(write, rows, header, message):
    path = write(rows, header)
    with pytest.raises(ValueError, match=message):
        sarcasm.read_phrases(path)
    with pytest.raises(SystemExit, match=message):
        sarcasm.main([path])


@pytest.mark.parametrize(
    "arguments", [["--phrases", "10"], ["--epochs", "0"], ["--hidden", "1"], ["--seed", "-1"], ["--unheard", "of"]]
)
def test_arguments_that_will_not_do(arguments, capsys):
    with pytest.raises(SystemExit):
        sarcasm.main(arguments)
    assert "error: " in capsys.readouterr().err


def test_an_empty_vocabulary_is_found_before_the_training(write, monkeypatch):
    monkeypatch.setattr(sarcasm, "timed_fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(SystemExit, match="The vocabulary is empty: min_frequency=2"):
        sarcasm.main([write([(f"word{i}", str(i % 2)) for i in range(12)])])


def test_a_file_that_is_not_there():
    with pytest.raises(SystemExit, match="FileNotFoundError"):
        sarcasm.main(["nowhere.csv"])


def test_verdicts_end_with_the_prediction():
    phrases, labels = make_sarcasm(100, random_state=0)
    model = sarcasm.make_lstm(hidden=4, epochs=1)
    with pytest.warns(ConvergenceWarning, match="still falling"):
        model.fit(phrases, labels)
    words, probabilities = sarcasm.verdicts(model, "great unheard stuff")
    assert words == ["great", "<unk>", "<unk>"]
    np.testing.assert_array_equal(probabilities[-1], model.predict_proba(["great unheard stuff"])[0])
    assert probabilities.shape == (3, 2)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(tmp_path, capsys, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{suffix}"
    sarcasm.main(["--phrases", "60", "--epochs", "1", "--hidden", "2", "--plot", str(path)])
    assert path.stat().st_size > 1000
    assert "The plot is in" in capsys.readouterr().out
