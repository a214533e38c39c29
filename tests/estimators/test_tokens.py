"""`embedding_dim`: sequences of integer tokens."""

import numpy as np
import pytest

from fastrecur import GRUClassifier, LSTMClassifier
from tests.estimators.data import CLASSES, CLASSIFIERS, assert_same_bits, tiny

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make(cls, n=60):
    """Ragged tokens 0..9; the target is whether (or how often) 3 is among them."""
    rng = np.random.default_rng(0)
    X = [rng.integers(10, size=length) for length in rng.integers(2, 12, size=n)]
    counts = np.array([np.count_nonzero(x == 3) for x in X])
    return X, counts > 0 if cls in CLASSIFIERS else counts.astype(float)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd", "rmsprop", "lbfgs"])
@pytest.mark.parametrize("cls", CLASSES)
def test_every_solver_learns_from_tokens(cls, solver):
    X, y = make(cls)
    options = {"learning_rate_init": {"sgd": 0.2}.get(solver, 0.02), "max_iter": 60, "pooling": "max"}
    estimator = tiny(cls, hidden_size=12, embedding_dim=6, solver=solver, random_state=0, **options).fit(X, y)
    assert estimator.weights_["embedding"].shape == (10, 6)
    assert estimator.score(X, y) > (0.9 if cls in CLASSIFIERS else 0.7)


def test_every_form_of_tokens():
    rng = np.random.default_rng(1)
    table = rng.integers(10, size=(20, 5))
    estimator = tiny(LSTMClassifier, embedding_dim=3, max_iter=2, random_state=0).fit(table, np.arange(20) % 2)
    expected = estimator.predict_proba(table)
    for same in (table.tolist(), list(table), table[:, :, np.newaxis], table.astype(np.uint8)):
        assert_same_bits(estimator.predict_proba(same), expected)
    assert estimator.predict([[1, 2], [3]]).shape == (2,)


@pytest.mark.parametrize("cls", CLASSES)
def test_tokens_that_will_not_do(cls):
    X, y = make(cls)
    estimator = tiny(cls, embedding_dim=3, max_iter=1, random_state=0)
    for wrong, message in (
        (["to be", "or not"] * 5, "X holds strings .* SequenceTokenizer turns text into tokens"),
        ([["to", "be"], ["or"]] * 5, "Sequence 0 of X holds strings .* SequenceTokenizer turns text into tokens"),
        ([x.astype(float) for x in X], r"X holds floats.*embedding_dim needs integer"),
        ([x - 1 for x in X], r"negative token -1 at sequence \d+, step \d+"),
        ([np.column_stack([x, x]) for x in X], r"2 features.*embedding_dim"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(wrong, y)
    assert not hasattr(estimator, "weights_")
    estimator.fit(X, y)
    with pytest.raises(ValueError, match=r"unknown token 10 at sequence 1, step 0.*10 tokens, 0 to 9"):
        estimator.predict([[1, 2], [10]])
    estimator.set_params(warm_start=True).fit(X[:5], y[:5] if cls not in CLASSIFIERS else [True, False] * 2 + [True])
    with pytest.raises(ValueError, match="unknown token 11"):
        estimator.fit([np.array([11]), *X[1:]], y)


@pytest.mark.parametrize("huge", [2**53, 2**63, 2**64 - 1])
def test_tokens_that_no_table_could_hold(huge):
    """As floats, as which X is read, they are not exact; as int64 they would be negative."""
    X = [np.array([1, 2], np.uint64)] * 7 + [np.array([huge], np.uint64)]
    for given in (X, [[int(token) for token in x] for x in X]):
        with pytest.raises(ValueError, match=r"the token .* at sequence 7, step 0"):
            tiny(LSTMClassifier, embedding_dim=3).fit(given, [0, 1] * 4)


def test_a_vocabulary_that_cannot_fit_in_memory():
    with pytest.raises(
        ValueError, match=r"1000000000001 tokens .*embedding_dim=\d+, .* GiB.*Lower embedding_dim or the tokens"
    ):
        tiny(LSTMClassifier, embedding_dim=3).fit([[1, 2], [10**12]], [0, 1])


@pytest.mark.parametrize("width", [1, 3])
def test_a_network_of_features_does_not_go_on_with_tokens(width):
    X, y = make(LSTMClassifier)
    estimator = tiny(LSTMClassifier, warm_start=True).fit([x.astype(float) for x in X], y)
    for fit, verb in ((estimator.fit, "warm_start=True"), (estimator.partial_fit, "partial_fit")):
        with pytest.raises(ValueError, match=f"{verb}.*embedding_dim was changed since, from None to {width}"):
            fit(X, y) if estimator.set_params(embedding_dim=width) else None
    tokens = tiny(LSTMClassifier, embedding_dim=width, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=f"from {width} to None"):
        tokens.set_params(embedding_dim=None).fit(X, y)


def test_a_step_leaves_the_rows_of_other_tokens_alone():
    """Of 1,000 tokens a batch uses a few: the others keep their initial bits."""
    X, y = make(GRUClassifier)
    X = [*X, np.array([999])]
    y = [*y, True]
    first = tiny(GRUClassifier, embedding_dim=3, max_iter=1, random_state=0, alpha=1.0).fit(X, y)
    drawn = tiny(GRUClassifier, embedding_dim=3, max_iter=1, random_state=0, learning_rate_init=1e-30).fit(X, y)
    assert_same_bits(first.weights_["embedding"][10:999], drawn.weights_["embedding"][10:999])
    assert (first.weights_["embedding"][:10] != drawn.weights_["embedding"][:10]).all()
