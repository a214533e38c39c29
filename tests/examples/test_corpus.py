"""The text: cut, freed of repetitions, and a part held out."""

import pytest

from fastrecur.examples.corpus import read_corpus

PARAGRAPHS = [f"Paragraph number {number} has\nsix words." for number in range(250)]


def write(folder, text, encoding="utf-8"):
    path = folder / "text.txt"
    path.write_text(text, encoding=encoding)
    return path


def test_a_tenth_is_held_out(tmp_path):
    train, held_out = read_corpus(write(tmp_path, "\n\n".join(PARAGRAPHS)))
    assert len(train) == 23
    assert held_out[0].split("\n") == [f"Paragraph number {number} has six words." for number in range(90, 100)]
    assert sorted(" ".join(p.split()) for p in PARAGRAPHS) == sorted("\n".join(train + held_out).split("\n"))


def test_repetitions_and_rules_are_left_out(tmp_path):
    text = "\n\n".join([*PARAGRAPHS, "*****", "1 2 3", *PARAGRAPHS])
    expected = read_corpus(write(tmp_path, "\n\n".join(PARAGRAPHS)))
    assert read_corpus(write(tmp_path, text)) == expected


def test_lines_where_there_are_no_paragraphs(tmp_path):
    lines = [f"line {number}" for number in range(120)]
    train, held_out = read_corpus(write(tmp_path, "\n".join(lines)))
    assert held_out == ["\n".join(lines[90:100])]
    assert len(train) == 11


def test_the_text_is_cut(tmp_path):
    train, held_out = read_corpus(write(tmp_path, "\n\n".join(PARAGRAPHS)), n_words=599)
    assert len("\n".join(train + held_out).split()) == 600


def test_the_documentation_of_python():
    train, held_out = read_corpus(n_words=20_000)
    assert 15_000 < len(" ".join(train).split()) < 20_000
    assert len(" ".join(held_out).split()) > 500


@pytest.mark.parametrize("text", ["", "one paragraph", "\n\n".join(PARAGRAPHS[:80])])
def test_too_short(tmp_path, text):
    with pytest.raises(ValueError, match=r"text.txt has \d+ different paragraphs within 100000 words.*longer text"):
        read_corpus(write(tmp_path, text))


def test_what_is_no_text(tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        read_corpus(path)
    with pytest.raises(OSError, match="missing"):
        read_corpus(tmp_path / "missing")
