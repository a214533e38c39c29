"""The long-range task."""

import numpy as np
import pytest

from fastrecur.examples.shopping import ITEMS, compare, make_models, make_shopping


def test_the_next_word_is_what_the_list_says():
    phrases, next_words = make_shopping(200, 12, random_state=0)
    for phrase, next_word in zip(phrases, next_words, strict=True):
        words = phrase.split()
        start, end = words.index("."), len(words) - words[::-1].index(".") - 1
        assert end - start - 1 == 12
        needs = {words[0]: words[2], words[4]: words[6]}
        assert needs[words[-2]] == next_word
        assert not set(words[start:]) & set(ITEMS)
    assert set(next_words) == set(ITEMS)
    assert {phrase.split()[-2] for phrase in phrases} == {"ann", "bob"}


def test_a_seed_is_a_data_set():
    assert make_shopping(5, 3, random_state=1) == make_shopping(5, 3, random_state=1)
    assert make_shopping(5, 3, random_state=1) != make_shopping(5, 3, random_state=2)


def test_lstm_remembers():
    results = list(compare([4], n_train=1500, n_test=200, epochs=20))
    assert [name for _, name, _ in results] == list(make_models())
    assert {distance for distance, _, _ in results} == {4}
    accuracy = {name: value for _, name, value in results}
    assert accuracy['LSTM, init="chrono"'] > 0.8
    assert accuracy["LSTM"] > 0.8


@pytest.mark.parametrize("name", list(make_models()))
def test_models_share_their_settings(name):
    first, model = make_models(3, 7)["RNN"][-1], make_models(3, 7)[name][-1]
    own = {"nonlinearity", "forget_bias", "init"}
    theirs = {k: v for k, v in model.get_params().items() if k not in own}
    assert theirs == {k: v for k, v in first.get_params().items() if k not in own}
    assert np.array_equal(model.max_iter, 3)
