"""Displays: what is drawn is what was computed; axes that are given, names, and what is refused."""

import re
import sys

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier
from fastrecur.inspection import GateDisplay, GradientFlowDisplay, LossCurveDisplay, gate_activations, gradient_flow
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import fitted

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def plt(monkeypatch):
    """Draw into memory; the figures are closed afterwards."""
    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


class Words(TransformerMixin, BaseEstimator):
    """Words separated by spaces as tokens, with a ``vocabulary_``."""

    def fit(self, X, y=None):
        self.vocabulary_ = {word: token for token, word in enumerate(sorted({w for x in X for w in x.split()}))}
        return self

    def transform(self, X):
        return [np.array([self.vocabulary_[word] for word in x.split()]) for x in X]


# --- the gradient's flow ---------------------------------------------------------------------------------------------


def test_flow_of_several_estimators_on_one_axis(plt):
    X = make_array(n=20)
    models = {"small": fitted(GRUClassifier, X)[0], "large": fitted(GRUClassifier, X, hidden_size=20)[0]}
    y = fitted(GRUClassifier, X)[1]
    _, ax = plt.subplots()
    display = GradientFlowDisplay.from_estimator(models, X, y, ax=ax, relative=False)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["small", "large"]
    for line, model in zip(display.lines_, models.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), gradient_flow(model, X, y).by_lag)
    marks = {(line.get_color(), line.get_linestyle()) for line in display.lines_}
    assert len({color for color, _ in marks}) == len({style for _, style in marks}) == 2
    display.figure_.canvas.draw()


def test_flow_relative_to_its_end():
    X = make_ragged(n=20)
    model, y = fitted(LSTMClassifier, X, bidirectional=True)
    display = GradientFlowDisplay.from_estimator(model, X, y, linewidth=3)
    labels = [line.get_label() for line in display.lines_]
    assert labels == ["LSTMClassifier, forward", "LSTMClassifier, reverse"]
    assert [line.get_ydata()[0] for line in display.lines_] == [1.0, 1.0]
    assert display.lines_[0].get_linewidth() == 3
    assert "relative" in display.ax_.get_ylabel()


def test_flow_names():
    X = make_array(n=20)
    model, y = fitted(GRUClassifier, X)
    other, _ = fitted(RNNClassifier, X)
    for given, name, expected in (
        ([model, other, model], None, ["GRUClassifier 1", "RNNClassifier", "GRUClassifier 2"]),
        (model, "mine", ["mine"]),
        ([model, other], ["a", "b"], ["a", "b"]),
    ):
        display = GradientFlowDisplay.from_estimator(given, X, y, name=name)
        assert [line.get_label() for line in display.lines_] == expected
    with pytest.raises(ValueError, match=re.escape("one name for each of 2 estimator(s), found 1: ['a']")):
        GradientFlowDisplay.from_estimator([model, other], X, y, name="a")
    with pytest.raises(ValueError, match="estimator is empty"):
        GradientFlowDisplay.from_estimator([], X, y)

    with pytest.raises(ValueError, match=re.escape("['x'] occur more than once in ['x', 'x']")):
        GradientFlowDisplay.from_estimator([model, other], X, y, name=["x", "x"])


def test_flows_are_bunches_by_name():
    X = make_array(n=20)
    model, y = fitted(GRUClassifier, X)
    flow = gradient_flow(model, X, y)
    assert [line.get_label() for line in GradientFlowDisplay.from_flows({"mine": flow}).lines_] == ["mine"]
    for given, error, text in (
        (flow, TypeError, "found one Bunch. Pass {name: flow}"),
        ([flow], TypeError, "flows must be a dict of what gradient_flow returned by name, found a list"),
        ({}, ValueError, "flows is empty"),
        ({"a": flow.by_lag}, TypeError, "flows['a'] must be a Bunch that gradient_flow returned, found a ndarray"),
    ):
        with pytest.raises(error, match=re.escape(text)):
            GradientFlowDisplay.from_flows(given)


def test_flow_that_is_lost_at_once_is_seen():
    X = make_array(n=20)
    model, y = fitted(RNNClassifier, X)
    model.weights_["weight_hh_l0"] *= 0.0
    (line,) = GradientFlowDisplay.from_estimator(model, X, y).lines_
    assert line.get_marker() == "o"
    assert np.isfinite(line.get_ydata()).sum() == 1  # a logarithmic axis has no place for 0


# --- gates -----------------------------------------------------------------------------------------------------------


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
        ({"ax": [None]}, ValueError, "ax must be 4 axes, one for each of reset, update, candidate, hidden; found 1"),
    ],
)
def test_bad_arguments_of_gates(arguments, error, text):
    X = make_array(n=12)
    model, _ = fitted(GRUClassifier, X)
    with pytest.raises(error, match=re.escape(text)):
        GateDisplay.from_estimator(model, X, **arguments)


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


# --- the loss --------------------------------------------------------------------------------------------------------


def test_loss_norm_and_validation():
    X = make_array(n=60)
    model, _ = fitted(GRUClassifier, X, early_stopping=True, max_iter=6, max_grad_norm=0.5)
    display = LossCurveDisplay.from_estimator(model, name="GRU")
    above, below = display.ax_
    np.testing.assert_array_equal(above.lines[0].get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(below.lines[0].get_ydata(), model.grad_norm_curve_)
    np.testing.assert_array_equal(below.lines[1].get_ydata(), [0.5, 0.5])
    np.testing.assert_array_equal(display.validation_ax_.lines[0].get_ydata(), model.validation_scores_)
    best = display.validation_ax_.lines[1].get_ydata()[0]
    assert best == model.best_validation_score_
    clipped = f"clipped at 0.5 ({np.mean(model.clip_fraction_):.0%} of the steps)"
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["before clipping", clipped]
    assert above.get_title(loc="left") == "GRU"
    display.figure_.canvas.draw()


def test_loss_without_validation_and_clipping(plt):
    X = make_array(n=20)
    model, _ = fitted(GRUClassifier, X, max_grad_norm=None)
    _, axes = plt.subplots(2)
    display = LossCurveDisplay.from_estimator(make_pipeline(model), ax=axes, scale="log", linewidth=3)
    assert display.validation_ax_ is None
    assert axes[0].get_yscale() == "log"
    assert axes[0].lines[0].get_linewidth() == 3
    assert len(axes[1].lines) == 1
    with pytest.raises(
        ValueError, match="ax must be 2 axes, one for each of the loss and the gradient's norm; found 1"
    ):
        LossCurveDisplay.from_estimator(model, ax=axes[0])
    with pytest.raises(ValueError, match="scale must be one of 'linear', 'log', found 'square'"):
        LossCurveDisplay.from_estimator(model, scale="square")
    with pytest.raises(ValueError, match="not fitted"):
        LossCurveDisplay.from_estimator(GRUClassifier())


def test_a_fit_of_one_epoch_is_seen():
    X = make_array(n=20)
    model, _ = fitted(GRUClassifier, X, max_iter=1)
    assert LossCurveDisplay.from_estimator(model).ax_[0].lines[0].get_marker() == "o"


def test_epochs_are_whole_numbers():
    epochs = np.arange(1, 5)
    display = LossCurveDisplay(1 / epochs, 1 / epochs).plot()
    for axes in display.ax_:
        assert all(tick == int(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("scores", [None, [0.2, 0.4, 0.6, 0.8]])
def test_texts_of_small_axes_do_not_overlap(scores, plt):
    epochs = np.arange(1, 5)
    figure, axes = plt.subplots(2, figsize=(3, 2.5), layout="constrained")
    given = {"validation_scores": scores, "max_grad_norm": 0.3, "clip_fraction": [0.5], "name": "LSTMClassifier"}
    display = LossCurveDisplay(1 / epochs, 1 / epochs, **given).plot(axes)
    figure.canvas.draw()
    for ax in (display.validation_ax_ or axes[0], axes[1]):
        legend, box = ax.get_legend().get_window_extent(), ax.get_window_extent()
        assert box.x0 <= legend.x0
        assert legend.x1 <= box.x1
        assert box.y0 <= legend.y0
        assert legend.y1 <= box.y1


def test_a_fit_without_a_whole_epoch_is_an_error_that_says_so():
    X = make_array(n=20)
    options = {"nonlinearity": "relu", "solver": "sgd", "learning_rate_init": 1e30, "max_grad_norm": None}
    model, _ = fitted(RNNClassifier, X, **options)
    assert model.loss_curve_ == []
    with pytest.raises(ValueError, match="loss_curve is empty: the fit has no whole epoch to draw"):
        LossCurveDisplay.from_estimator(model)


# --- matplotlib is an extra ------------------------------------------------------------------------------------------


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    X = make_array(n=20)
    model, y = fitted(GRUClassifier, X)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: GradientFlowDisplay.from_estimator(model, X, y),
        lambda: GateDisplay.from_estimator(model, X),
        lambda: LossCurveDisplay.from_estimator(model),
    ):
        with pytest.raises(ImportError, match=re.escape('pip install "fastrecur[plot]"')):
            draw()
