"""Any scorer of scikit-learn, also of an estimator that has a target at each time step."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.sample_weight import sequence_weights
from fastrecur.estimators.targets import check_finite_targets, stack_targets

#: Methods that scikit-learn's scorers call.
RESPONSES = ("predict", "predict_proba", "predict_log_proba", "decision_function")


class Scores:
    """What a scorer says of an estimator: ``scores(X)`` is a float, or a dict of floats of several scorers."""

    def __init__(self, estimator: Any, scorer: Any, y: Any, sample_weight: Any) -> None:
        self._estimator, self._scorer, self._y, self._weights = estimator, scorer, y, sample_weight

    def __call__(self, X: Any) -> Any:
        """Scores of X."""
        return _score(self._scorer, self._estimator, X, self._y, self._weights)


class StepScores(Scores):
    """The same of an estimator with a target at each time step.

    Scorers of scikit-learn know arrays of one target a sample. They receive the targets of all sequences, one sequence
    after another, and the predictions alike; the weight of a sequence is that of each of its steps. Other callables
    receive the estimator, X, y and sample_weight as they are.
    """

    def __init__(self, estimator: Any, scorer: Any, y: Any, sample_weight: Any, lengths: NDArray) -> None:
        super().__init__(estimator, scorer, y, sample_weight)
        self._step_y, self._step_weights = stack_targets(y, lengths), None
        check_finite_targets(self._step_y, lengths)
        if sample_weight is not None:
            self._step_weights = np.repeat(sequence_weights(sample_weight, len(lengths)), lengths)

    def __call__(self, X: Any) -> Any:
        """Scores of X, sequences of the same lengths as ever."""
        steps = _Steps(self._estimator)
        found = {name: self._of_steps(scorer, steps, X) for name, scorer in _each(self._scorer).items()}
        return found if isinstance(self._scorer, _MultimetricScorer) else found[""]

    def _of_steps(self, scorer: Any, steps: _Steps, X: Any) -> Any:
        if isinstance(scorer, _BaseScorer):
            return _score(scorer, steps, X, self._step_y, self._step_weights)
        return _score(scorer, self._estimator, X, self._y, self._weights)


class _Steps:
    """Stands in for an estimator before scorers: predicts the time steps of all sequences, one after another.

    Of one X: what a method has predicted is kept, however many scorers ask.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._found: dict[str, NDArray] = {}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # scikit-learn's errors tell its name
        return type(self._estimator)

    def __sklearn_tags__(self) -> Any:
        return get_tags(self._estimator)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._estimator, name)
        if name not in RESPONSES:
            return method

        @functools.wraps(method)
        def response(X: Any) -> NDArray:
            if name not in self._found:
                self._found[name] = np.concatenate(list(method(X)))
            return self._found[name]

        return response


def make_scores(estimator: Any, scoring: Any, X: Any, y: Any, sample_weight: Any) -> Scores:
    """`Scores` of an estimator, or `StepScores`, whichever it needs.

    Parameters
    ----------
    estimator : fitted estimator
    scoring : str, callable, list, tuple, set, dict or None
        As of `sklearn.metrics.check_scoring`.
    X : sequences
        Others may be scored later, of the same lengths.
    y : targets
    sample_weight : array of shape (n,) or None

    Raises
    ------
    ValueError
        If scoring is none of the above, or takes no sample_weight where there is one; if an estimator of time steps
        finds not one target for each of them in y, or not one weight for each sequence in sample_weight.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import GRUClassifier
    >>> from fastrecur.inspection.scoring import make_scores
    >>> X = [np.random.default_rng(i).normal(size=(3 + i % 4, 2)) for i in range(40)]
    >>> y = [x[:, 0] > 0 for x in X]
    >>> model = GRUClassifier(8, tol=1e-2, return_sequences=True, random_state=0).fit(X, y)
    >>> found = make_scores(model, ["accuracy", "roc_auc"], X, y, None)(X)
    >>> found["accuracy"] == model.score(X, y), found["roc_auc"] > 0.9
    (True, True)
    """
    scorer = check_scoring(estimator, scoring=list(scoring) if isinstance(scoring, tuple | set) else scoring)
    each = _each(scorer).values()
    if sample_weight is not None and not any(map(_takes_weights, each)):
        raise ValueError(f"scoring={scoring!r} takes no sample_weight. Pass None, or another scorer.")
    if not _has_step_targets(estimator) or not any(isinstance(one, _BaseScorer) for one in each):
        return Scores(estimator, scorer, y, sample_weight)
    lengths = np.array([len(steps) for steps in estimator.predict(X)])
    return StepScores(estimator, scorer, y, sample_weight, lengths)


def _has_step_targets(estimator: Any) -> bool:
    """Whether the estimator, at the end of pipelines or found by a search, predicts time steps."""
    while not isinstance(estimator, RecurrentEstimator):
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return False
    return estimator._has_step_targets


def _each(scorer: Any) -> dict[str, Any]:
    """Scorers by name."""
    return scorer._scorers if isinstance(scorer, _MultimetricScorer) else {"": scorer}


def _takes_weights(scorer: Any) -> bool:
    """Whether a scorer takes sample_weight; a callable of the caller's may."""
    return not hasattr(scorer, "_accept_sample_weight") or scorer._accept_sample_weight()


def _score(scorer: Any, estimator: Any, X: Any, y: Any, weights: Any) -> Any:
    given = {} if weights is None or not _takes_weights(scorer) else {"sample_weight": weights}
    return scorer(estimator, X, y, **given)
