"""`GateDisplay`: what is drawn is what was computed, the labels of the time steps, and what is refused."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline, make_pipeline

from fastrecur import GRUClassifier, LSTMClassifier
from fastrecur.inspection import GateDisplay, gate_activations
from fastrecur.preprocessing import SequenceTokenizer
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import fitted

pytestmark = [
    pytest.mark.usefixtures("plt"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


class Words(TransformerMixin, BaseEstimator):
    """Words separated by spaces as tokens, with a ``vocabulary_``."""

    def fit(self, X, y=None):
        self.vocabulary_ = {word: token for token, word in enumerate(sorted({w for x in X for w in x.split()}))}
        return self

    def transform(self, X):
        return [np.array([self.vocabulary_[word] for word in x.split()]) for x in X]


def test_ticks_at_whole_steps():
    X = make_array(n=12, n_steps=3)
    display = GateDisplay.from_estimator(fitted(LSTMClassifier, X)[0], X)
    display.figure_.canvas.draw()
    np.testing.assert_array_equal(display.ax_[-1].get_xticks() % 1, 0)


@pytest.mark.parametrize("make", [make_array, make_ragged])
def test_gates_of_one_sequence(make):
    X = make(n=12)
    model, _ = fitted(LSTMClassifier, X)
    display = GateDisplay.from_estimator(model, X, index=4)
    assert [ax.get_ylabel() for ax in display.ax_] == [
        "forget", "input", "candidate", "output", "cell", "hidden",
    ]  # fmt: skip
    gates = gate_activations(model, X)
    for image, name in zip(display.images_, gates, strict=True):
        np.testing.assert_allclose(image.get_array(), gates[name][4].T, atol=1e-12)
        low, high = image.get_clim()
        assert (low, high) == (0, 1) if name in ("forget", "input", "output") else low == -high
    assert display.images_[2].get_clim() == (-1, 1)
    assert display.ax_[-1].get_xlabel() == "time step"
    display.figure_.canvas.draw()


def test_gates_of_some_units_on_given_axes(plt):
    X = make_array(n=12)
    model, _ = fitted(GRUClassifier, X, num_layers=2, bidirectional=True)
    figure, axes = plt.subplots(1, 2)
    display = GateDisplay.from_estimator(
        model, X, names=["update", "hidden"], units=[5, 0], layer=0, direction="reverse", ax=axes, alpha=0.5
    )
    assert display.figure_ is figure
    update = gate_activations(model, X, layer=0, direction="reverse")["update"]
    np.testing.assert_allclose(display.images_[0].get_array(), update[0][:, [5, 0]].T)
    assert display.images_[0].get_alpha() == 0.5
    alone = GateDisplay.from_estimator(model, X, names=["hidden"], units=3, ax=plt.subplots()[1])
    assert alone.images_[0].get_array().shape == (1, 8)


def test_tokens_stand_on_the_axis_where_x_is_text():
    X = ["so very good", "good", "not good at all"] * 8
    model = make_pipeline(Words(), LSTMClassifier(4, embedding_dim=3, max_iter=2, random_state=0))
    model.fit(X, np.arange(24) % 2)
    display = GateDisplay.from_estimator(model, X, index=2)
    assert [text.get_text() for text in display.ax_[-1].get_xticklabels()] == ["not", "good", "at", "all"]
    assert display.labels == ["not", "good", "at", "all"]
    assert GateDisplay.from_estimator(model[-1], model[0].transform(X), index=2).labels is None
    tokens = GateDisplay.from_estimator(model[-1], model[0].transform(X), labels=["so", "very", "good"])
    assert tokens.ax_[-1].get_xticklabels()[1].get_text() == "very"


def test_tokens_of_pipelines_within_pipelines():
    X = ["so very good", "good", "not good at all"] * 8
    network = LSTMClassifier(4, embedding_dim=3, max_iter=2, random_state=0)
    for steps in (
        [("words", make_pipeline(Words())), ("none", "passthrough"), ("network", network)],
        [("all", make_pipeline(Words(), network))],
        [("words", Words()), ("rest", make_pipeline(network))],
    ):
        model = Pipeline(steps).fit(X, np.arange(24) % 2)
        assert GateDisplay.from_estimator(model, X, index=2).labels == ["not", "good", "at", "all"]


def test_a_word_that_is_unknown_is_shown_as_what_the_network_reads():
    X = ["so very good", "good", "not good at all"] * 8
    model = make_pipeline(SequenceTokenizer(), LSTMClassifier(4, embedding_dim=3, max_iter=2, random_state=0))
    model.fit(X, np.arange(24) % 2)
    assert GateDisplay.from_estimator(model, ["not excellent"]).labels == ["not", "<unk>"]


def test_a_hundred_characters_are_all_there():
    display = GateDisplay.from_activations({"hidden": np.zeros((100, 3))}, labels=["e"] * 100)
    display.figure_.canvas.draw()
    labels = display.ax_[-1].get_xticklabels()
    assert len(labels) == 100
    assert labels[0].get_rotation() == 0
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_labels_of_a_series():
    labels = pd.Series(list("abc"), index=[7, 8, 9])
    display = GateDisplay.from_activations({"hidden": np.zeros((3, 2))}, labels=labels)
    assert [text.get_text() for text in display.ax_[0].get_xticklabels()] == ["a", "b", "c"]


def test_many_labels_leave_some_out():
    activations = {"hidden": np.zeros((400, 3))}
    display = GateDisplay.from_activations(activations, labels=[f"word{t}" for t in range(400)])
    labels = [text.get_text() for text in display.ax_[-1].get_xticklabels()]
    assert labels[0] == "word0"
    assert 10 < len(labels) < 80


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"index": 12}, ValueError, "index=12 is none of the 12 sequence(s)"),
        ({"index": -1}, ValueError, "index must be at least 0"),
        ({"index": 1.0}, TypeError, "index must be an int"),
        ({"names": ["open"]}, ValueError, "names must be some of ['reset', 'update', 'candidate', 'hidden']"),
        ({"names": []}, ValueError, "names must be some of"),
        ({"names": "hidden"}, TypeError, "names must be a list of names, found the str 'hidden'. Pass ['hidden']"),
        ({"units": [7]}, ValueError, "units must hold whole numbers from 0 to 6, found [7]"),
        ({"units": [0.5]}, ValueError, "units must hold whole numbers"),
        ({"labels": ["a"]}, ValueError, "labels must hold one str for each of 8 time steps, found 1"),
        ({"labels": 8}, TypeError, "labels must be a list of 8 str, found a int"),
        ({"labels": "eight st"}, TypeError, "labels must be a list of 8 str, found a str"),
        ({"ax": list("abcd")}, TypeError, "ax must be matplotlib Axes, found a str. Pass None"),
        ({"ax": [None]}, ValueError, "ax must be 4 axes, one for each of reset, update, candidate, hidden; found 1"),
    ],
)
def test_bad_arguments_of_gates(arguments, error, text):
    X = make_array(n=12)
    model, _ = fitted(GRUClassifier, X)
    with pytest.raises(error, match=re.escape(text)):
        GateDisplay.from_estimator(model, X, **arguments)


def test_no_sequence_at_all():
    X = make_array(n=12)
    with pytest.raises(ValueError, match=r"X is empty"):
        GateDisplay.from_estimator(fitted(GRUClassifier, X)[0], X[:0])


@pytest.mark.parametrize("make", [make_array, make_ragged])
def test_activations_of_several_sequences_are_refused(make):
    X = make(n=12)
    gates = gate_activations(fitted(GRUClassifier, X)[0], X)
    with pytest.raises(ValueError, match=r"activations\['reset'\] must have shape \(T, H\), of one sequence"):
        GateDisplay.from_activations(gates)
    display = GateDisplay.from_activations({name: values[2] for name, values in gates.items()})
    np.testing.assert_array_equal(display.images_[-1].get_array(), gates["hidden"][2].T)


@pytest.mark.parametrize(
    ("activations", "error", "text"),
    [
        ({}, ValueError, "activations is empty"),
        (np.zeros((3, 2)), TypeError, "activations must be a dict of arrays of shape (T, H) by name, found a ndarray"),
        ({"hidden": np.zeros(3)}, ValueError, "activations['hidden'] must have shape (T, H) without empty axes"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((3, 4))}, ValueError, "one shape (T, H), found shapes [(3, 2), (3, 4)]"),
    ],
    ids=range(4),
)
def test_bad_activations(activations, error, text):
    with pytest.raises(error, match=re.escape(text)):
        GateDisplay.from_activations(activations)
