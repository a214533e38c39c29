"""SequenceTokenizer: the vocabulary, unknown words, the way back, pipelines, and what is refused."""

import pickle
import re
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import set_config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

from fastrecur import LSTMClassifier
from fastrecur.datasets import make_sarcasm
from fastrecur.preprocessing import SequenceTokenizer
from tests.helpers import objects

PHRASES = ["The cat sat on the mat.", "the dog didn't sit!", "A cat, a dog"]


def lists(tokens):
    return [part.tolist() for part in tokens]


# The vocabulary


def test_frequent_words_come_first_and_ties_in_the_order_of_their_characters():
    tokenizer = SequenceTokenizer().fit(PHRASES)
    words = re.findall(r"[a-z']+|[.,!]", " ".join(PHRASES).lower())
    ranked = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    assert list(tokenizer.vocabulary_) == ["<unk>"] + [word for word, _ in ranked]
    assert list(tokenizer.vocabulary_.values()) == list(range(len(ranked) + 1))
    assert tokenizer.get_feature_names_out().tolist() == list(tokenizer.vocabulary_)
    assert tokenizer.vocabulary_ == SequenceTokenizer().fit(PHRASES[::-1]).vocabulary_


def test_tokens_are_the_places_of_the_words():
    tokenizer = SequenceTokenizer()
    tokens = tokenizer.fit_transform(PHRASES)
    assert all(part.dtype == np.int64 for part in tokens)
    names = tokenizer.get_feature_names_out()
    assert names[tokens[1]].tolist() == ["the", "dog", "didn't", "sit", "!"]
    assert lists(tokenizer.transform(PHRASES)) == lists(tokens)


@pytest.mark.parametrize("level", ["word", "char"])
@pytest.mark.parametrize(("max_tokens", "min_frequency"), [(None, 1), (5, 1), (None, 2), (3, 2), (1000, 3)])
def test_fit_transform_is_fit_and_transform(level, max_tokens, min_frequency):
    phrases, _ = make_sarcasm(50, random_state=0)
    tokenizer = SequenceTokenizer(level, max_tokens, min_frequency)
    at_once = tokenizer.fit_transform(phrases)
    assert lists(clone(tokenizer).fit(phrases).transform(phrases)) == lists(at_once)
    frequencies = Counter(token for part in at_once for token in part.tolist())
    assert len(tokenizer.vocabulary_) <= (max_tokens or np.inf)
    assert all(frequencies[token] >= min_frequency for token in range(1, len(tokenizer.vocabulary_)))


def test_rare_words_and_those_beyond_the_limit_are_unknown():
    assert lists(SequenceTokenizer(max_tokens=3).fit_transform(["a a a b b c"])) == [[1, 1, 1, 2, 2, 0]]
    assert lists(SequenceTokenizer(min_frequency=3).fit_transform(["a a a b b c"])) == [[1, 1, 1, 0, 0, 0]]


def test_unknown_words_have_one_token():
    tokenizer = SequenceTokenizer().fit(PHRASES)
    assert lists(tokenizer.transform(["bird cat 鳥", "☃"])) == [[0, tokenizer.vocabulary_["cat"], 0], [0]]


def test_the_name_of_the_unknown_word_is_the_unknown_word():
    tokenizer = SequenceTokenizer().fit(["the <unk> sat <unk> <unk>"])
    assert lists(tokenizer.transform(["<unk> sat", "<UNK>"])) == [[0, 1], [0]]
    assert SequenceTokenizer("char").fit(["a\ufffd"]).vocabulary_ == {"\ufffd": 0, "a": 1}


# The parameters


def test_characters():
    tokenizer = SequenceTokenizer(level="char", token_pattern="no matter (")
    assert lists(tokenizer.fit_transform(["Ab a", "\n"])) == [[1, 4, 3, 1], [2]]
    assert tokenizer.inverse_transform(tokenizer.transform(["a b?"])) == ["a b\ufffd"]


def test_case():
    assert "The" in SequenceTokenizer(lowercase=False).fit(PHRASES).vocabulary_
    assert "T" in SequenceTokenizer("char", lowercase=False).fit(PHRASES).vocabulary_
    assert "T" not in SequenceTokenizer("char").fit(PHRASES).vocabulary_


@pytest.mark.parametrize(
    ("pattern", "words"),
    [(r"\S+", ["a-b", "c's", "d."]), (r"\w+", ["a", "b", "c", "s", "d"]), (r"(\w+)-", ["a"]), (r"(?:\w-)+", ["a-"])],
)
def test_token_pattern(pattern, words):
    tokenizer = SequenceTokenizer(token_pattern=pattern)
    tokens = tokenizer.fit_transform(["a-b c's d."])
    assert tokenizer.get_feature_names_out()[tokens[0]].tolist() == words


# The way back


def test_inverse_transform():
    tokenizer = SequenceTokenizer(min_frequency=2)
    tokens = tokenizer.fit_transform(PHRASES)
    written = tokenizer.inverse_transform(tokens)
    assert written[0] == "the cat <unk> <unk> the <unk> <unk>"
    assert lists(tokenizer.transform(written)) == lists(tokens)
    assert tokenizer.inverse_transform(np.array([[1, 0], [0, 0]]))[1] == "<unk> <unk>"


def test_phrases_of_words_come_back():
    phrases, _ = make_sarcasm(30, random_state=1)
    for level in ("word", "char"):
        tokenizer = SequenceTokenizer(level)
        assert tokenizer.inverse_transform(tokenizer.fit_transform(phrases)) == phrases


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.0]], "X holds floats .*, but inverse_transform needs integer tokens.* Convert X to integers"),
        ([[[1, 2]]], "X has 2 features a time step, but inverse_transform needs one integer token a time step"),
        ([[-1]], "negative token -1 at sequence 0, step 0"),
        (
            [[1], [1, 99]],
            r"unknown token 99 at sequence 1, step 1: the vocabulary has \d+ tokens.* Pass what transform",
        ),
        (["the cat"], "X holds phrases, but inverse_transform needs tokens.* by transform"),
        (np.array(["the cat"]), "X holds phrases"),
        ([["the", "cat"]], "X holds strings"),
        ([[]], "length 0"),
    ],
)
def test_no_way_back(X, message):
    with pytest.raises(ValueError, match=message) as caught:
        SequenceTokenizer().fit(PHRASES).inverse_transform(X)
    assert "embedding_dim" not in str(caught.value)  # a parameter of estimators


# What phrases may come as


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        np.array,
        lambda phrases: objects(*phrases),
        lambda phrases: np.array(phrases, dtype=np.dtypes.StringDType()),
        pd.Series,
        lambda phrases: pd.Series(phrases, index=list("xyz"), dtype="string"),
        lambda phrases: pd.Series(phrases, dtype="category"),
        pl.Series,
        iter,
    ],
    ids=["tuple", "U", "object", "StringDType", "pandas", "pandas string", "pandas category", "polars", "iterator"],
)
def test_containers(container):
    expected = SequenceTokenizer().fit_transform(PHRASES)
    tokenizer = SequenceTokenizer()
    assert lists(tokenizer.fit_transform(container(PHRASES))) == lists(expected)
    assert lists(tokenizer.transform(container(PHRASES))) == lists(expected)
    assert all(type(word) is str for word in tokenizer.vocabulary_)


@pytest.mark.parametrize(
    ("X", "kind", "message"),
    [
        ("one phrase", ValueError, r"single str, 'one phrase'.*\[X\]"),
        (b"one phrase", ValueError, "single bytes"),
        ([], ValueError, "X is empty: 0 sample"),
        (np.array([], dtype=str), ValueError, "X is empty: 0 sample"),
        (5, TypeError, "X is of type int. Pass a list"),
        (None, TypeError, "X is of type NoneType"),
        ({"a": 1}, TypeError, "X is of type dict"),
        (np.array("a"), TypeError, "X is of type ndarray"),
        (pd.DataFrame({"text": PHRASES}), ValueError, r"shape \(3, 1\).*one column"),
        (["a", ""], ValueError, "Phrase 1 of X is empty: ''.*leave such phrases out"),
        (["a", " \n"], ValueError, "Phrase 1 of X is empty"),
        (["a", 5], TypeError, r"Phrase 1 of X is 5 \(int\), not a string"),
        (np.arange(3), TypeError, r"Phrase 0 of X is .*0.* \(int64\), not a string"),
        (["a", b"b"], TypeError, "Phrase 1 of X is of bytes, b'b'. Decode it"),
        (["a", None], ValueError, r"Phrase 1 of X is missing \(None\)"),
        (pd.Series(["a", None]), ValueError, "Phrase 1 of X is missing"),
        (pd.Series(["a", None], dtype="string"), ValueError, "Phrase 1 of X is missing"),
        (pl.Series(["a", None]), ValueError, "Phrase 1 of X is missing"),
        ([np.array([1, 2])], TypeError, "Phrase 0 of X is a sequence of type ndarray.*Tokens go to the estimator"),
        ([["the", "cat"]], TypeError, r"Phrase 0 of X is a sequence of type list.*' '.join"),
    ],
)
def test_what_is_no_phrase(X, kind, message):
    fitted = SequenceTokenizer().fit(PHRASES)
    for call in (SequenceTokenizer().fit, SequenceTokenizer().fit_transform, fitted.transform):
        with pytest.raises(kind, match=message):
            call(X)


def test_a_phrase_without_a_word():
    with pytest.raises(ValueError, match=r"Phrase 1 of X has no word that token_pattern finds: '\?!'"):
        SequenceTokenizer(token_pattern=r"\w+").fit(["a", "?!"])


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"level": "line"}, ValueError, "level must be one of 'word', 'char', found 'line'"),
        ({"max_tokens": 0}, ValueError, "max_tokens=0 leaves no vocabulary.*Allow 2 or more"),
        ({"max_tokens": 1}, ValueError, "max_tokens=1 leaves no vocabulary"),
        ({"max_tokens": -3}, ValueError, "max_tokens must be at least 0, found -3"),
        ({"max_tokens": 10.0}, TypeError, "max_tokens must be an int"),
        ({"min_frequency": 0}, ValueError, "min_frequency must be at least 1"),
        ({"min_frequency": 0.5}, TypeError, "min_frequency must be an int"),
        ({"min_frequency": 4}, ValueError, "vocabulary is empty: min_frequency=4.*'the', occurs 3 time"),
        ({"lowercase": "yes"}, TypeError, "lowercase must be True or False"),
        ({"token_pattern": "("}, ValueError, r"token_pattern='\(' is no regular expression"),
        ({"token_pattern": None}, TypeError, "token_pattern must be a str"),
        ({"token_pattern": "(a)(b)"}, ValueError, "has 2 groups"),
        ({"token_pattern": r"\w*"}, ValueError, "matches nothing at all"),
    ],
)
def test_parameters_that_will_not_do(parameters, kind, message):
    tokenizer = SequenceTokenizer(**parameters)
    with pytest.raises(kind, match=message):
        tokenizer.fit(PHRASES)
    assert not hasattr(tokenizer, "vocabulary_")


def test_a_vocabulary_of_nothing_but_the_unknown_word():
    with pytest.raises(ValueError, match="vocabulary is empty: X has nothing but '<unk>'"):
        SequenceTokenizer().fit(["<unk> <unk>"])


# scikit-learn


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learn_checks(check):
    """Those that pass no X of numbers, which a transformer of strings refuses."""
    check("SequenceTokenizer", SequenceTokenizer())


def test_tags():
    tags = get_tags(SequenceTokenizer())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit


def test_not_fitted():
    for call in (SequenceTokenizer().transform, SequenceTokenizer().inverse_transform):
        with pytest.raises(NotFittedError):
            call(PHRASES)
    with pytest.raises(NotFittedError):
        SequenceTokenizer().get_feature_names_out()


def test_fit_leaves_the_parameters_and_survives_pickle():
    tokenizer = SequenceTokenizer(max_tokens=4)
    before = dict(tokenizer.get_params())
    tokens = tokenizer.fit_transform(PHRASES)
    assert tokenizer.get_params() == before
    assert lists(pickle.loads(pickle.dumps(tokenizer)).transform(PHRASES)) == lists(tokens)


def test_set_output_leaves_lists_of_arrays():
    expected = lists(SequenceTokenizer().fit_transform(PHRASES))
    assert lists(SequenceTokenizer().set_output(transform="pandas").fit_transform(PHRASES)) == expected
    try:
        set_config(transform_output="pandas")
        assert lists(SequenceTokenizer().fit_transform(PHRASES)) == expected
    finally:
        set_config(transform_output="default")
    with pytest.raises(ValueError, match="transform must be one of"):
        SequenceTokenizer().set_output(transform="arrow")


# Before an estimator


def quick(**parameters):
    return LSTMClassifier(4, embedding_dim=3, max_iter=2, tol=0, random_state=0, **parameters)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tokenizer", [SequenceTokenizer(), SequenceTokenizer("char"), SequenceTokenizer(max_tokens=9)])
def test_the_table_of_embeddings_has_a_row_for_every_word_and_the_unknown(tokenizer):
    phrases, labels = make_sarcasm(40, random_state=0)
    model = make_pipeline(tokenizer, quick(early_stopping=True)).fit(phrases, labels)
    assert model[-1].weights_["embedding"].shape == (len(model[0].vocabulary_), 3)
    assert model.predict(["nobody expects ☃ this vocabulary", *phrases]).shape == (41,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_search_over_a_pipeline():
    phrases, labels = make_sarcasm(40, random_state=0)
    search = GridSearchCV(
        make_pipeline(SequenceTokenizer(), quick()),
        {"sequencetokenizer__level": ["word", "char"], "sequencetokenizer__max_tokens": [None, 20]},
        cv=2,
        error_score="raise",
    )
    assert np.isfinite(search.fit(np.array(phrases), labels).cv_results_["mean_test_score"]).all()


def test_a_column_of_a_frame():
    frame = pd.DataFrame({"text": PHRASES, "other": [1, 2, 3]})
    assert lists(SequenceTokenizer().fit_transform(frame["text"])) == lists(SequenceTokenizer().fit_transform(PHRASES))


@pytest.mark.parametrize(("pattern", "words"), [(r"(\w+)|[!?]", {"no", "yes"}), (r"\w+|\b", {"no", "yes"})])
def test_empty_matches_are_no_words(pattern, words):
    tokenizer = SequenceTokenizer(token_pattern=pattern).fit(["no! no?", "yes"])
    assert set(tokenizer.get_feature_names_out()[1:]) == words
    with pytest.raises(ValueError, match="Phrase 0 of X has no word that token_pattern finds"):
        tokenizer.transform(["!!"])
