"""What the score of an estimator hangs on: features, or time steps, exchanged between the sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from fastrecur.frames import kind_of_frame, make_frame
from fastrecur.inspection.scoring import make_scores
from fastrecur.network.validation import check_choice, check_count
from fastrecur.sequences import Sequences, array_or_elements, check_sequences


def permutation_importance(
    estimator: Any,
    X: Any,
    y: Any,
    by: Literal["feature", "timestep"] = "feature",
    *,
    align: Literal["start", "end"] = "start",
    scoring: Any = None,
    n_repeats: int = 5,
    n_jobs: int | None = None,
    random_state: Any = None,
    sample_weight: Any = None,
) -> Bunch:
    """How much of the score is lost when a feature, or a time step, is exchanged between the sequences [1]_.

    By feature, each sequence receives the whole course of the feature in another sequence; by time step, all features
    of the step in another one. Where sequences differ in length, the partner of a sequence is followed until it ends,
    then the partner's partner, and so on: what stands at a time step before stands there afterwards, in another order.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        Anything that scores sequences; a pipeline receives the exchanged X as a whole.
    X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
        Sequences of numbers or tokens. NaN may be in them where the estimator takes it. Of text pass the tokens,
        ``pipeline[:-1].transform(X)``, and the network, ``pipeline[-1]``.
    y : targets, as in `fit`
    by : {"feature", "timestep"}, default="feature"
    align : {"start", "end"}, default="start"
        By time step, of sequences of different lengths: whether steps are counted from the first one on, or from the
        last one back (0 is the last one).
    scoring : str, callable, list or dict, default=None
        A scorer, or several, as in scikit-learn's function of this name. None: the estimator's ``score``. Where each
        time step has a target, scikit-learn's scorers (by name, or from `make_scorer`) are given those of all sequences
        one after another, and the predictions alike, whether y is a list or an array; a callable (estimator, X, y) is
        given y as it is.
    n_repeats : int, default=5
    n_jobs : int or None, default=None
        Features or time steps at a time, through joblib.
    random_state : int, RandomState or None, default=None
    sample_weight : array of shape (n,), optional
        Weights of the sequences, for the scorer; of each of their time steps where these have targets.

    Returns
    -------
    result : Bunch, or dict of str to Bunch where ``scoring`` names several
        importances_mean, importances_std : float64 array of shape (F,) or (longest T,)
        importances : float64 array of shape (F, n_repeats) or (longest T, n_repeats)
            The score as it is less the score after each exchange.

    Raises
    ------
    ValueError, TypeError
        If an argument is none of the above, or the estimator is not fitted (NotFittedError); if the scorer does not
        take y or the predictions, or no sample_weight where there is one.

    Notes
    -----
    On a table (n, T), by time step, these are the very numbers of `sklearn.inspection.permutation_importance`.

    References
    ----------
    .. [1] Breiman, "Random forests", Machine Learning 45 (2001).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import GRUClassifier
    >>> from fastrecur.inspection import permutation_importance
    >>> X = np.random.default_rng(0).normal(size=(80, 6, 3))
    >>> y = X[:, 4, 1] > 0
    >>> model = GRUClassifier(8, tol=1e-2, random_state=0).fit(X, y)
    >>> int(permutation_importance(model, X, y, random_state=0).importances_mean.argmax())
    1
    >>> int(permutation_importance(model, X, y, by="timestep", random_state=0).importances_mean.argmax())
    4
    """
    check_choice("by", by, ("feature", "timestep"))
    check_choice("align", align, ("start", "end"))
    check_count("n_repeats", n_repeats)
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ValueError(f"n_jobs must be an int other than 0, or None, found {n_jobs!r}.")
    check_is_fitted(estimator)
    _refuse_text(estimator, X)
    exchange = _Exchange(X, by, align)
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max + 1)  # the same exchanges for all
    score = make_scores(estimator, scoring, X, y, sample_weight)
    baseline = score(X)
    scores = Parallel(n_jobs=n_jobs)(
        delayed(_scores)(score, exchange, which, n_repeats, seed) for which in range(exchange.n)
    )
    if isinstance(baseline, dict):
        return {
            name: _bunch(baseline[name], [[score[name] for score in repeats] for repeats in scores])
            for name in baseline
        }
    return _bunch(baseline, scores)


def _refuse_text(estimator: Any, X: Any) -> None:
    """Raise a TypeError for text, which has neither features nor time steps before a pipeline's first steps."""
    listed = isinstance(X, list | tuple) or getattr(X, "ndim", 0) == 1
    first = None if not listed or not len(X) else X.iloc[0] if hasattr(X, "iloc") else X[0]
    if not isinstance(first, str):
        return
    remedy = "Pass the tokens that a transformer makes of it."
    if isinstance(estimator, Pipeline):
        remedy = "Pass pipeline[:-1].transform(X) for X and pipeline[-1] for the estimator."
    raise TypeError(f"X is text, of which no feature or time step can be exchanged. {remedy}")


def _bunch(baseline: float, scores: list) -> Bunch:
    importances = baseline - np.array(scores, np.float64)
    return Bunch(
        importances_mean=importances.mean(axis=1), importances_std=importances.std(axis=1), importances=importances
    )


def _scores(score, exchange, which, n_repeats, seed):
    """Scores after each exchange of one feature or time step."""
    return [score(X) for X in exchange.repeats(which, n_repeats, seed)]


class _Exchange:
    """X with one feature or time step exchanged between the sequences, in the form in which it came."""

    def __init__(self, X: Any, by: str, align: str) -> None:
        self._X, self._by, self._align = X, by, align
        self._sequences = check_sequences(X, allow_nan=True)
        self._dtype = _dtype(X)
        self.n = self._sequences.n_features if by == "feature" else self._sequences.max_length

    def repeats(self, which: int, n_repeats: int, seed: int) -> Iterator[Any]:
        """Yield X so many times; each exchange goes on from the one before, as scikit-learn's do."""
        random_state = np.random.RandomState(seed)
        values = self._sequences.values.copy()
        order = np.arange(len(self._sequences))
        for _ in range(n_repeats):
            random_state.shuffle(order)
            for rows, donors in self._rows(which, order):
                if self._by == "feature":
                    values[rows, which] = values[donors, which]
                else:
                    values[rows] = values[donors]
            yield _as_given(self._X, self._sequences, values.astype(self._dtype))

    def _rows(self, which: int, order: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
        """Rows of the stack that receive, and the rows that they receive from."""
        sequences = self._sequences
        starts, lengths = sequences.starts, sequences.lengths
        if self._by == "timestep":
            alive = lengths > which
            partner = _partners(order, alive)
            place = starts + which if self._align == "start" else starts + lengths - 1 - which
            yield place[alive], place[partner[alive]]
            return
        begin = 0
        for end in np.unique(lengths):
            alive = lengths >= end
            partner, steps = _partners(order, alive), np.arange(begin, end)
            yield (starts[alive, None] + steps).ravel(), (starts[partner[alive], None] + steps).ravel()
            begin = end


def _partners(order: NDArray, alive: NDArray) -> NDArray:
    """Follow the order of each sequence until it comes to one that is still alive: a permutation of those."""
    partner = order.copy()
    while not alive[partner[alive]].all():
        ended = alive & ~alive[partner]
        partner[ended] = order[partner[ended]]
    return partner


def _dtype(X: Any) -> Any:
    """Of what X holds: tokens stay integers."""
    X, elements = array_or_elements(X)
    dtypes = [np.asarray(part).dtype for part in ([X] if elements is None else elements)]
    dtype = np.result_type(*dtypes)
    return np.float64 if dtype.kind == "O" else dtype


def _as_given(X: Any, sequences: Sequences, values: NDArray) -> Any:
    """Rows of values as X came: an array, a list, or a data frame with its names."""
    changed: Any = sequences.unstack(values[:, 0] if sequences.scalar_steps else values)
    elements = array_or_elements(X)[1]
    if elements is None:
        return _framed(changed, X)
    return [_framed(part, element) for part, element in zip(changed, elements, strict=True)]


def _framed(array: NDArray, given: Any) -> Any:
    """Array (T, F) as a DataFrame where one was given, with its names."""
    kind = kind_of_frame(given) if hasattr(given, "columns") else None
    return array if kind is None else make_frame(kind, array, given.columns, getattr(given, "index", None))
