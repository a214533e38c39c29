"""Ctrl-C at any line of a fit: the estimator is that of the last whole epoch, or as it was before."""

import copy
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from fastrecur import LSTMClassifier
from fastrecur.estimators import base, training
from tests.estimators.data import assert_same_bits, make_ragged, make_targets

X = make_ragged(n=20)
Y = make_targets(LSTMClassifier, X)
EPOCHS = 2
FILES = {training.__file__, base.__file__}


def make(**parameters):
    options = {"hidden_size": 3, "batch_size": 10, "early_stopping": True, "validation_fraction": 0.25}
    return LSTMClassifier(**{**options, "max_iter": EPOCHS, "random_state": 0, **parameters})


@contextmanager
def interrupt_at(line):
    """Ctrl-C before the given line, counted from 0, of those that `fit` and the training run; yields their count."""
    count = [0]

    def trace(frame, event, _):
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            count[0] += 1
            if count[0] == line + 1:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


@pytest.fixture(scope="module")
def whole():
    """Fits of 0, 1, ... whole epochs."""
    with warnings.catch_warnings(action="ignore"):
        initial = make(max_iter=1, learning_rate_init=1e-300, alpha=0.0).fit(X, Y)
        initial.loss_curve_ = initial.validation_scores_ = []
        return [initial] + [make(max_iter=n).fit(X, Y) for n in range(1, EPOCHS + 1)]


def assert_whole(estimator, whole):
    """It is one of the fits of whole epochs, in all its parts."""
    expected = whole[len(estimator.loss_curve_)]
    assert estimator.loss_curve_ == expected.loss_curve_
    assert estimator.validation_scores_ == expected.validation_scores_
    assert estimator.n_iter_ == len(estimator.grad_norm_curve_) == len(expected.loss_curve_)
    assert estimator.weights_.keys() == expected.weights_.keys()
    for name, array in estimator.weights_.items():
        np.testing.assert_array_equal(array, expected.weights_[name])


@pytest.fixture(scope="module")
def other():
    """An estimator that was fitted on other features and labels."""
    with warnings.catch_warnings(action="ignore"):
        return make(max_iter=1).fit([x[:, :2] for x in X], np.resize(["a", "b"], 20))


def assert_consistent(other, whole, line):
    """After a refit with an interrupt at a line; returns how many lines there are."""
    estimator, raised = copy.copy(other).set_params(max_iter=EPOCHS), False
    before = dict(vars(estimator))
    with warnings.catch_warnings(action="ignore"), interrupt_at(line) as count:
        try:
            estimator.fit(X, Y)
        except KeyboardInterrupt:
            raised = True
    if raised and estimator.weights_ is other.weights_:
        assert vars(estimator).keys() == before.keys()
        assert all(value is before[name] for name, value in vars(estimator).items())
    else:
        assert_whole(estimator, whole)
        assert_same_bits(estimator.classes_, whole[1].classes_)
    return count[0]


def test_an_interrupt_at_any_line_leaves_a_whole_fit_or_the_one_before(other, whole):
    n_lines = assert_consistent(other, whole, -1)
    assert n_lines > 100
    for line in range(n_lines):
        assert_consistent(other, whole, line)


def test_a_second_interrupt_at_any_line_leaves_a_whole_fit_or_the_one_before(other, whole, monkeypatch):
    """The first comes in the second epoch, after a step that has changed the weights."""
    step, n_steps = training._step, []

    def interrupted(*arguments):
        result = step(*arguments)
        n_steps.append(None)
        if len(n_steps) == 3:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(training, "_step", interrupted)
    n_lines = assert_consistent(other, whole, -1)
    assert len(n_steps) == 3
    for line in range(n_lines):
        n_steps.clear()
        assert_consistent(other, whole, line)
