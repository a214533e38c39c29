"""Displays: what is drawn is what was computed; axes that are given, names, and what is refused."""

import re
import sys

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier
from fastrecur.inspection import (
    GateDisplay,
    GradientFlowDisplay,
    LossCurveDisplay,
    figures,
    gradient_flow,
)
from tests.estimators.data import make_array, make_ragged
from tests.inspection.data import fitted

pytestmark = [
    pytest.mark.usefixtures("plt"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


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


def test_flows_of_several_calls_on_one_axis_can_be_told_apart(plt):
    X = make_array(n=20, n_steps=5)
    model, y = fitted(GRUClassifier, X)
    _, ax = plt.subplots()
    lines = [GradientFlowDisplay.from_estimator(model, X, y, name=name, ax=ax).lines_[0] for name in "ab"]
    assert len({line.get_color() for line in lines}) == len({line.get_linestyle() for line in lines}) == 2
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [texts[0], texts[-1], len(texts)] == ["a", "b", 3]  # and the end of the effective memory, once
    np.testing.assert_array_equal(ax.get_xticks() % 1, 0)


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
    with pytest.raises(TypeError, match="name must be a str or a list of str, found a int"):
        GradientFlowDisplay.from_estimator(model, X, y, name=3)
    with pytest.raises(TypeError, match=r"ax must be matplotlib Axes, found a list\. Pass None for new ones"):
        GradientFlowDisplay.from_estimator(model, X, y, ax=[])
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


def test_no_two_lines_look_alike():
    marks = [figures.line_marks(k) for k in range(49)]
    assert len({(one["color"], str(one["linestyle"])) for one in marks}) == 49
    for block in (marks[:7], marks[7:14]):
        assert len({one["color"] for one in block}) == len({str(one["linestyle"]) for one in block}) == 7


def test_legend_of_a_small_axes_lies_within_and_leaves_room(plt):
    figure, ax = plt.subplots(figsize=(3, 2.2), layout="constrained")
    by_lag = {f"bidirectional LSTM {k}": 10.0 ** -(k * np.arange(50)) for k in range(6)}
    GradientFlowDisplay(by_lag).plot(ax)
    figure.canvas.draw()
    legend, box = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert box.x0 <= legend.x0 < legend.x1 <= box.x1
    assert box.y0 <= legend.y0 < legend.y1 <= box.y1
    assert legend.width * legend.height < 0.5 * box.width * box.height


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


@pytest.mark.parametrize(
    ("norms", "clipped", "scale"),
    [
        ([0.9, 1.5], 1.0, "linear"),
        ([0.9, 1.5], None, "linear"),
        ([0.9, 9.5], None, "log"),
        ([0.9, 1.5], 100.0, "log"),
        ([90.0, 150.0], 1.0, "log"),
        ([0.0, 0.0], 1.0, "linear"),
    ],
)
def test_norm_and_clipping_line_are_told_apart(norms, clipped, scale):
    assert LossCurveDisplay([2.0, 1.0], norms, max_grad_norm=clipped).plot().ax_[1].get_yscale() == scale


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


# --- all of them -----------------------------------------------------------------------------------------------------


def test_axes_that_none_lies_below_are_labelled(plt):
    activations = {"update": np.zeros((5, 3)), "hidden": np.zeros((5, 3))}
    for shape, labelled in (((1, 2), [True, True]), ((2, 1), [False, True])):
        figure, axes = plt.subplots(*shape, layout="constrained")
        GateDisplay.from_activations(activations, labels=list("abcde"), ax=axes)
        figure.canvas.draw()
        shown = [[text.get_text() for text in ax.get_xticklabels() if text.get_visible()] for ax in axes]
        assert [texts == list("abcde") for texts in shown] == labelled
        figure, axes = plt.subplots(*shape, layout="constrained")
        GateDisplay.from_activations(activations, ax=axes)
        assert [bool(ax.get_xlabel()) for ax in axes] == labelled
        figure, axes = plt.subplots(*shape, layout="constrained")
        LossCurveDisplay([2.0, 1.0], [1.0, 1.0]).plot(axes)
        assert [bool(ax.get_xlabel()) for ax in axes] == labelled


def test_part_of_a_figure_will_do(plt):
    """A SubFigure has no size in inches of its own."""
    activations = {"hidden": np.zeros((4, 3))}
    left, right = plt.figure(layout="constrained").subfigures(1, 2)
    assert GradientFlowDisplay({"a": np.ones(3)}).plot(left.subplots()).figure_ is left
    axes = right.subplots(3)
    assert LossCurveDisplay([2.0, 1.0], [1.0, 1.0]).plot(axes[:2]).figure_ is right
    assert GateDisplay.from_activations(activations, labels=list("abcd"), ax=axes[2]).figure_ is right
    left.canvas.draw()


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
