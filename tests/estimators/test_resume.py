"""Fits that are stopped and go on: bit for bit what a fit without a stop gives. Callbacks of scikit-learn."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrecur import GRUClassifier, LSTMClassifier, LSTMRegressor
from fastrecur.estimators import full_batch
from fastrecur.preprocessing import PerTimestep
from tests.estimators.data import CLASSES, CLASSIFIERS, assert_same_weights, make_problem, quick

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

OPTIONS = {
    "plain": {},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.05},
    "rmsprop": {"solver": "rmsprop"},
    "adamw cosine": {"solver": "adamw", "learning_rate": "cosine"},
    "adaptive": {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.05},
    "dropout": {"dropout": 0.2, "recurrent_dropout": 0.2, "num_layers": 2},
    "truncated": {"bptt_steps": 3},
    "lbfgs": {"solver": "lbfgs"},
}


class Stop:
    """A callback that stops a fit after some epochs."""

    def __init__(self, n_epochs):
        self.left = n_epochs

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.left -= context.task_name == "epoch"
        return self.left == 0


class Interrupt(Stop):
    """The same with the keyboard."""

    def on_fit_task_end(self, estimator, context):
        if super().on_fit_task_end(estimator, context) and context.task_name == "epoch":
            raise KeyboardInterrupt
        return False


def assert_same_fit(estimator, whole):
    assert estimator.n_iter_ == whole.n_iter_
    assert estimator.loss_curve_ == whole.loss_curve_
    assert estimator.grad_norm_curve_ == whole.grad_norm_curve_
    assert estimator.validation_scores_ == whole.validation_scores_
    assert_same_weights(estimator, whole)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("cls", CLASSES)
def test_a_fit_stopped_by_a_callback_goes_on(cls, name):
    X, y = make_problem(cls)
    whole = quick(cls, max_iter=7, **OPTIONS[name]).fit(X, y)
    parts = quick(cls, max_iter=7, warm_start=True, **OPTIONS[name]).set_callbacks(Stop(3)).fit(X, y)
    assert parts.n_iter_ == 3
    parts = pickle.loads(pickle.dumps(parts.set_callbacks()))
    assert_same_fit(parts.fit(X, y), whole)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("cls", CLASSES)
def test_with_early_stopping_too(cls, solver):
    X, y = make_problem(cls)
    options = {"early_stopping": True, "max_iter": 9, "n_iter_no_change": 4, "learning_rate_init": 0.05}
    options["solver"] = solver
    whole = quick(cls, **options).fit(X, y)
    parts = quick(cls, warm_start=True, **options).set_callbacks(Stop(2)).fit(X, y)
    assert_same_fit(parts.set_callbacks().fit(X, y), whole)


def test_iterations_of_lbfgs_on_other_data_begin_anew():
    """From the weights of the fit that was stopped; what is stopped then goes on bit for bit once more."""
    X, y = make_problem(LSTMRegressor)
    half = X[:20], y[:20]
    options = {"solver": "lbfgs", "warm_start": True}
    first = quick(LSTMRegressor, max_iter=9, **options).set_callbacks(Stop(3)).fit(X, y).set_callbacks()
    parts = pickle.loads(pickle.dumps(first)).set_callbacks(Stop(2)).fit(*half).set_callbacks()
    assert parts.n_iter_ == 5
    whole = pickle.loads(pickle.dumps(first)).fit(*half)
    assert whole.loss_curve_[:3] == first.loss_curve_
    assert_same_fit(parts.fit(*half), whole)
    first._resume = None  # as after a fit that came to its own end
    assert first.set_params(max_iter=6).fit(*half).loss_curve_ == whole.loss_curve_[3:]


@pytest.mark.parametrize("cls", CLASSES)
def test_epochs_of_partial_fit_are_those_of_a_fit(cls):
    X, y = make_problem(cls)
    whole = quick(cls, max_iter=5).fit(X, y)
    parts = quick(cls, max_iter=5, warm_start=True)
    for epoch in range(3):
        assert parts.partial_fit(X, y).n_iter_ == epoch + 1
    assert_same_fit(parts.fit(X, y), whole)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_partial_fit_takes_labels_that_come_later(cls):
    X, y = make_problem(cls)
    labels = np.unique(y)
    estimator = quick(cls).partial_fit(X[:1], y[:1], classes=labels)
    np.testing.assert_array_equal(estimator.classes_, labels)
    estimator.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"not the same as on last call"):
        estimator.partial_fit(X, y, classes=[*labels, "other"])
    with pytest.raises(ValueError, match=r"classes holds.*other"):
        quick(cls).partial_fit(X, ["other", *y[1:]], classes=labels)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_fit_goes_on_with_another_measure_of_progress(cls):
    """Early stopping is switched on, or off, after a fit was stopped: what was best before does not count."""
    X, y = make_problem(cls)
    for before in (False, True):
        parts = quick(cls, max_iter=8, warm_start=True, early_stopping=before, n_iter_no_change=4)
        parts.set_callbacks(Stop(3)).fit(X, y)
        parts.set_callbacks().set_params(early_stopping=not before).fit(X, y)
        assert parts.n_iter_ > 4
        assert (parts.best_validation_score_ is None) == before


def test_other_data_have_another_best():
    """A fit that goes on with other data does not end because those before were easier."""
    X, y = make_problem(LSTMRegressor)
    for rows, n_more in (slice(None), 4), (slice(1, None), 20):
        parts = quick(LSTMRegressor, max_iter=25, warm_start=True, n_iter_no_change=3)
        parts.set_callbacks(Stop(5)).fit(X, y).set_callbacks()
        parts._resume["best"] = -1.0  # no loss is less
        parts._resume["waited"] = 0
        assert parts.fit(X[rows], y[rows]).n_iter_ == 5 + n_more


def test_iterations_of_lbfgs_that_diverge_on_other_data_begin_anew(monkeypatch):
    X, y = make_problem(LSTMRegressor)
    options = {"solver": "lbfgs", "warm_start": True, "max_iter": 8}
    first = quick(LSTMRegressor, **options).set_callbacks(Stop(3)).fit(X, y).set_callbacks()
    anew = pickle.loads(pickle.dumps(first))
    anew._resume = None  # as after a fit that came to its own end
    objective, asked = full_batch._objective, []

    def diverges_at_first(*arguments):
        def diverging(vector):
            asked.append(vector)
            raise FloatingPointError

        return objective(*arguments) if asked else diverging

    monkeypatch.setattr(full_batch, "_objective", diverges_at_first)
    assert first.fit(X, y).n_iter_ == 8
    assert len(asked) == 1
    assert anew.set_params(max_iter=5).fit(X, y).loss_curve_ == first.loss_curve_[3:]


def test_other_data_after_calls_of_partial_fit_have_another_best():
    X, y = make_problem(LSTMRegressor)
    options = {"max_iter": 90, "warm_start": True, "n_iter_no_change": 3, "learning_rate_init": 0.02}
    for last in ((X, y), (X[:4], np.zeros(4))):
        parts = quick(LSTMRegressor, **options)
        for _ in range(20):
            parts.partial_fit(X[:4], np.zeros(4))
        parts.partial_fit(*last)
        n_before = parts.n_iter_
        assert parts.fit(X, y).n_iter_ > n_before + 3


def test_other_data_have_another_best_score():
    X, y = make_problem(GRUClassifier)
    options = {"max_iter": 40, "warm_start": True, "early_stopping": True, "n_iter_no_change": 20}
    parts = quick(GRUClassifier, **options).set_callbacks(Stop(5)).fit(X, y).set_callbacks()
    before = parts.weights_["head_weight"].copy()
    parts._resume["best"] = -1.0  # all sequences of before were right
    rng = np.random.default_rng(0)
    parts.fit(X, rng.permutation(y))
    assert np.any(parts.weights_["head_weight"] != before)


def test_an_lbfgs_fit_interrupted_in_its_last_epoch_has_no_more():
    X, y = make_problem(GRUClassifier)
    options = {"solver": "lbfgs", "early_stopping": True, "tol": 1e-9, "n_iter_no_change": 1, "max_iter": 60}
    whole = quick(GRUClassifier, **options).fit(X, y)
    assert whole.n_iter_ < 60
    parts = quick(GRUClassifier, warm_start=True, **options).set_callbacks(Interrupt(whole.n_iter_))
    with pytest.warns(RuntimeWarning, match="interrupted"):
        parts.fit(X, y)
    assert_same_fit(parts.set_callbacks().fit(X, y), whole)


def test_sequences_are_counted_over_calls():
    X, y = make_problem(GRUClassifier)
    estimator = quick(GRUClassifier).partial_fit(X, y).partial_fit(X[:10], y[:10])
    assert estimator.t_ == len(X) + 10


def test_weights_keep_their_unit_from_call_to_call():
    X, y = make_problem(LSTMRegressor)
    options = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "max_grad_norm": None, "shuffle": False}
    once = quick(LSTMRegressor, learning_rate_init=1e-3, dtype="float64", **options).partial_fit(X, y)
    light, heavy = pickle.loads(pickle.dumps(once)), pickle.loads(pickle.dumps(once))
    before = once.weights_["head_weight"]
    light.partial_fit(X[:8], y[:8])
    heavy.partial_fit(X[:8], y[:8], sample_weight=np.full(8, 3.0))
    step = light.weights_["head_weight"] - before
    np.testing.assert_allclose(heavy.weights_["head_weight"] - before, 3.0 * step, rtol=1e-9)


def test_a_cosine_at_its_end_is_refused():
    X, y = make_problem(LSTMRegressor)
    estimator = quick(LSTMRegressor, learning_rate="cosine", max_iter=2).partial_fit(X, y).partial_fit(X, y)
    with pytest.raises(ValueError, match=r"cosine.*max_iter=2.*Raise"):
        estimator.partial_fit(X, y)
    assert estimator.set_params(max_iter=3).partial_fit(X, y).n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_each_epoch_that_begins_ends(solver):
    X, y = make_problem(GRUClassifier)

    class Counted(Stop):
        begun = ended = 0

        def on_fit_task_begin(self, estimator, context):
            self.begun += context.task_name == "epoch"

        def on_fit_task_end(self, estimator, context):
            self.ended += context.task_name == "epoch"

    counted = Counted(0)
    options = {"max_iter": 40, "tol": 0.05, "n_iter_no_change": 1, "dtype": "float64"}
    estimator = quick(GRUClassifier, solver=solver, **options).set_callbacks(counted).fit(X, y)
    assert counted.begun == counted.ended == estimator.n_iter_ < 40


@pytest.mark.parametrize("begun", [False, True], ids=["anew", "going on"])
def test_what_a_callback_keeps_of_an_epoch_stays_what_it_was(begun):
    X, y = make_problem(GRUClassifier)

    class Keep(Stop):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "epoch":
                self.kept.append(fitted_estimator)

    def fitted(max_iter, *callbacks):
        estimator = quick(GRUClassifier, max_iter=max_iter, warm_start=begun)
        if begun:
            estimator.set_callbacks(Stop(1)).fit(X, y)
        return estimator.set_callbacks(*callbacks).fit(X, y)

    keep = Keep(0)
    keep.kept = []
    fitted(6, keep)
    assert [estimator.n_iter_ for estimator in keep.kept] == list(range(2 if begun else 1, 7))
    for estimator in keep.kept[:-1]:  # the last one is that of the whole fit
        whole = fitted(estimator.n_iter_)
        assert_same_weights(estimator.partial_fit(X, y), whole.partial_fit(X, y))


def test_partial_fit_refuses_what_it_cannot_do():
    X, y = make_problem(LSTMRegressor)
    with pytest.raises(ValueError, match=r"partial_fit.*solver='lbfgs'"):
        quick(LSTMRegressor, solver="lbfgs").partial_fit(X, y)
    with pytest.raises(ValueError, match=r"'balanced'.*partial_fit.*Pass a dict"):
        quick(LSTMClassifier, class_weight="balanced").partial_fit(X, y > 0)
    with pytest.raises(ValueError, match=r"partial_fit.*early_stopping=False"):
        quick(LSTMRegressor, early_stopping=True).partial_fit(X, y)


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_scores_are_monitored_alone_in_a_pipeline_and_in_a_search():
    X, y = make_problem(GRUClassifier)
    monitor = ScoringMonitor(scoring="accuracy")
    estimator = quick(GRUClassifier, max_iter=3).set_callbacks(monitor).fit(X, y)
    epochs = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert epochs[-1] == estimator.score(X, y)
    weights = np.linspace(0.5, 2.0, len(y))
    estimator.fit(X, y, sample_weight=weights)
    last = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"][-1]
    assert last == pytest.approx(estimator.score(X, y, sample_weight=weights))
    piped = make_pipeline(PerTimestep(StandardScaler()), clone(estimator))
    monitor = ScoringMonitor(scoring="accuracy")
    piped.steps[-1][1].set_callbacks(monitor)
    piped.fit(X, y)
    assert sum(row["task_name"] == "epoch" for row in monitor.get_logs().data) == 3


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_stopped_in_its_last_epoch_has_no_more(early_stopping):
    """The interrupt stops it in the epoch in which it would have converged."""
    X, y = make_problem(LSTMClassifier)
    options = {"max_iter": 50, "tol": 10.0, "n_iter_no_change": 2, "early_stopping": early_stopping}
    whole = quick(LSTMClassifier, **options).fit(X, y)
    assert whole.n_iter_ == 4
    stopped = quick(LSTMClassifier, warm_start=True, **options).set_callbacks(Interrupt(4))
    with pytest.warns(RuntimeWarning, match="interrupted"):
        stopped.fit(X, y)
    resumed = stopped.set_callbacks().fit(X, y)
    assert resumed.n_iter_ == 4
    assert_same_weights(resumed, whole)


def test_a_fit_stopped_in_the_last_of_max_iter_epochs_lacks_none():
    X, y = make_problem(LSTMClassifier)
    options = {"max_iter": 4, "warm_start": True}
    whole = quick(LSTMClassifier, **options).fit(X, y)
    stopped = quick(LSTMClassifier, **options).set_callbacks(Stop(4)).fit(X, y).set_callbacks()
    assert_same_fit(stopped, whole)
    raised = pickle.loads(pickle.dumps(stopped)).set_params(max_iter=6).fit(X, y)
    assert_same_fit(raised, quick(LSTMClassifier, max_iter=6).fit(X, y))
    assert_same_fit(stopped.fit(X, y), whole.fit(X, y))
    assert stopped.n_iter_ == 4


def test_a_progress_bar_runs_in_a_search(capsys):
    X, y = make_problem(LSTMClassifier)
    search = GridSearchCV(quick(LSTMClassifier, max_iter=2), {"alpha": [0.0, 0.1]}, cv=2)
    search.set_callbacks(ProgressBar()).fit(X, y)
    assert "LSTMClassifier" in capsys.readouterr().out


def test_an_error_in_a_callback_leaves_the_estimator_unfitted():
    X, y = make_problem(LSTMClassifier)

    class Broken(Stop):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("broken")

    estimator = quick(LSTMClassifier).set_callbacks(Broken(1))
    with pytest.raises(RuntimeError, match="broken"):
        estimator.fit(X, y)
    assert not hasattr(estimator, "weights_")
    assert not hasattr(estimator, "_callback_fit_ctx")
    assert hasattr(estimator.set_callbacks().fit(X, y), "weights_")
