"""The progress bar of `verbose`."""

import pytest

from fastrecur import GRURegressor, LSTMClassifier
from tests.estimators.data import assert_same_weights, make_problem, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("verbose", [True, 1])
def test_verbose_shows_a_bar(verbose, capsys):
    X, y = make_problem(LSTMClassifier)
    estimator = quick(LSTMClassifier, verbose=verbose, early_stopping=True, max_iter=4).fit(X, y)
    shown = capsys.readouterr().out
    assert "4/4" in shown
    assert f"loss {estimator.loss_:.4g}" in shown
    assert f"validation {estimator.validation_scores_[-1]:.4f}" in shown
    assert "sequences/s" in shown


def test_silence_is_the_default(capsys):
    X, y = make_problem(LSTMClassifier)
    quick(LSTMClassifier).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_changes_no_bit(capsys):
    X, y = make_problem(GRURegressor)
    assert_same_weights(quick(GRURegressor, verbose=True).fit(X, y), quick(GRURegressor).fit(X, y))
