"""What tests share: random problems of the kernels, packing, the reference run on them; estimators that check X;
what is left to Python's search for circles.

Letters: T time steps, B batch rows, N packed rows, F features, H hidden units, G gates.
"""

import gc
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from fastrecur.kernels import reference
from fastrecur.kernels.steps import step_table
from fastrecur.persistence.checks import LEFT_OUT
from fastrecur.sequences import check_sequences

CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru")

#: Gates of the weights, and columns of the record as a multiple of H.
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
RECORD = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 4}


@dataclass
class Problem:
    """One batch for one cell: the arguments of its kernels, in float64, with the reference's shapes.

    ``weights`` holds w_ih, w_hh, bias (GRU: bias_ih, bias_hh) in the order of the arguments; ``c`` and ``dc`` are
    None unless the cell is an LSTM; ``mask`` is that of the recurrent dropout. What a kernel must assign is NaN.
    """

    cell: str
    lengths: np.ndarray
    reverse: bool
    weights: dict
    x: np.ndarray
    steps: np.ndarray
    h: np.ndarray
    c: np.ndarray | None
    gates: np.ndarray
    dy: np.ndarray
    dh: np.ndarray
    dc: np.ndarray | None
    mask: np.ndarray | None = None


def make_problem(cell, lengths, n_features, n_hidden, reverse=False, seed=0):
    """Random problem of a cell: ``lengths`` (B,) never rising; normal inputs, states and gradients."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths, dtype=np.int64)
    n_rows, n_packed, n_gates = len(lengths), int(lengths.sum()), GATES[cell]

    def states():
        state = np.full((n_rows + n_packed, n_hidden), np.nan)
        state[:n_rows] = rng.normal(size=(n_rows, n_hidden))
        return state

    biases = ("bias_ih", "bias_hh") if cell == "gru" else ("bias",)
    weights = {
        "w_ih": rng.normal(size=(n_gates * n_hidden, n_features)) / np.sqrt(n_features),
        "w_hh": rng.normal(size=(n_gates * n_hidden, n_hidden)) / np.sqrt(n_hidden),
        **{name: 0.5 * rng.normal(size=n_gates * n_hidden) for name in biases},
    }
    return Problem(
        cell=cell,
        lengths=lengths,
        reverse=reverse,
        weights=weights,
        x=rng.normal(size=(n_packed, n_features)),
        steps=step_table(lengths, reverse),
        h=states(),
        c=states() if cell == "lstm" else None,
        gates=np.full((n_packed, RECORD[cell] * n_hidden), np.nan),
        dy=rng.normal(size=(n_packed, n_hidden)),
        dh=rng.normal(size=(n_rows, n_hidden)),
        dc=rng.normal(size=(n_rows, n_hidden)) if cell == "lstm" else None,
    )


def reference_forward(p):
    """Run the reference forward: fills ``p.h``, ``p.c`` and ``p.gates``."""
    weights = p.weights.values()
    if p.cell == "lstm":
        reference.lstm_forward(*weights, p.x, p.steps, p.h, p.c, p.gates, p.mask)
    elif p.cell == "gru":
        reference.gru_forward(*weights, p.x, p.steps, p.h, p.gates, p.mask)
    else:
        reference.rnn_forward(*weights, p.x, p.steps, p.h, p.cell == "rnn_relu", p.mask)


def reference_backward(p, dweights=None):
    """Run the reference backward after `reference_forward`: overwrites ``p.gates``, ``p.dh`` and ``p.dc``.

    Returns the gradients by the name of what they belong to: the weights' names (added to ``dweights``, zeros if
    None), "x", "h" and, for an LSTM, "c" (the initial states).
    """
    if dweights is None:
        dweights = {name: np.zeros_like(w) for name, w in p.weights.items()}
    dx = np.full_like(p.x, np.nan)
    given, out = (p.weights["w_ih"], p.weights["w_hh"], p.x, p.steps, p.h), (dx, *dweights.values())
    gradients = {**dweights, "x": dx, "h": p.dh}
    if p.cell == "lstm":
        gradients["c"] = p.dc
        reference.lstm_backward(*given, p.c, p.gates, p.dy, p.dh, p.dc, *out, p.mask)
    elif p.cell == "gru":
        reference.gru_backward(*given, p.gates, p.dy, p.dh, *out, p.mask)
    else:
        reference.rnn_backward(*given, p.gates, p.dy, p.dh, *out, p.cell == "rnn_relu", p.mask)
    return gradients


def packed_index(lengths):
    """Packed row of each valid step, shape (B, T), -1 where a row has ended: counted one by one."""
    index = np.full((len(lengths), max(lengths)), -1)
    n = 0
    for t in range(max(lengths)):
        for b in range(len(lengths)):
            if t < lengths[b]:
                index[b, t] = n
                n += 1
    return index


def final_states(p, state):
    """Final state of each row (B, H) from a state buffer of the problem: the last visited, or the initial one."""
    n_rows, index = len(p.lengths), packed_index(p.lengths)
    last = [b if t == 0 else n_rows + index[b, 0 if p.reverse else t - 1] for b, t in enumerate(p.lengths)]
    return state[last]


def pack(padded, lengths):
    """Packed rows (N, F) of a padded batch (B, T, F)."""
    time_major = np.swapaxes(padded, 0, 1)
    return time_major[np.arange(len(time_major))[:, None] < np.asarray(lengths)]


def unpack(packed, lengths, fill=0.0):
    """Padded batch (B, T, F) of packed rows (N, F), ``fill`` in the padding."""
    alive = np.arange(max(lengths))[:, None] < np.asarray(lengths)
    padded = np.full((*alive.shape, packed.shape[1]), fill, dtype=packed.dtype)
    padded[alive] = packed
    return np.swapaxes(padded, 0, 1)


def central_differences(array, evaluate, epsilon=1e-6):
    """Gradient of ``evaluate()`` with respect to each entry of ``array``, changed in place and restored."""
    gradient = np.empty_like(array)
    for entry in np.ndindex(array.shape):
        value = array[entry]
        array[entry] = value + epsilon
        above = evaluate()
        array[entry] = value - epsilon
        below = evaluate()
        array[entry] = value
        gradient[entry] = (above - below) / (2 * epsilon)
    return gradient


def objects(*elements):
    """An array of shape (n,) whose elements are objects."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def sequence_of(sequences, i):
    """Time steps of sequence i (T_i, F)."""
    return sequences.values[sequences.starts[i] : sequences.starts[i] + sequences.lengths[i]]


class SequenceTags:
    """The tags of every estimator of sequences."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        return tags


class StepMean(SequenceTags, TransformerMixin, BaseEstimator):
    """The mean time step of each sequence: (n, F)."""

    def fit(self, X, y=None):
        check_sequences(X, estimator=self)
        return self

    def transform(self, X):
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False)
        return np.add.reduceat(sequences.values, sequences.starts) / sequences.lengths[:, np.newaxis]


class MeanTarget(SequenceTags, RegressorMixin, BaseEstimator):
    """The mean of y, whatever X holds."""

    def fit(self, X, y):
        sequences = check_sequences(X, estimator=self)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = check_array(column_or_1d(y, warn=True), ensure_2d=False, input_name="y")
        check_consistent_length(sequences, y)
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        check_is_fitted(self)
        return np.full(len(check_sequences(X, estimator=self, reset=False)), self.mean_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


def threading_layer(name):
    """Environment of a process of two threads on a threading layer of Numba's, which finds pip's tbb by the path."""
    library = os.pathsep.join([str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    return {"NUMBA_THREADING_LAYER": name, "NUMBA_NUM_THREADS": "2", "LD_LIBRARY_PATH": library}


def assert_same_value(a, b):
    """Equal plain values and arrays: the same types, dtypes, shapes and keys all the way down; NaN equals NaN."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype.kind == "O":
            assert_same_value(a.ravel().tolist(), b.ravel().tolist())
        else:
            assert a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert_same_value(list(a.items()), list(b.items()))
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same_value(left, right)
    elif isinstance(a, np.random.RandomState):
        assert_same_value(a.get_state(), b.get_state())
    elif isinstance(a, np.generic):
        assert_same_value(np.asarray(a), np.asarray(b))
    elif isinstance(a, float):
        assert repr(a) == repr(b)
    else:
        assert a == b


def assert_same_estimator(loaded, estimator):
    """An estimator out of a file has the parameters and attributes of the one saved, but for those that stay out."""
    assert type(loaded) is type(estimator)
    kept = {name: value for name, value in vars(estimator).items() if not name.startswith(LEFT_OUT)}
    assert vars(loaded).keys() == kept.keys()
    for name in kept:
        assert_same_value(getattr(loaded, name), kept[name])
    assert_same_value(loaded.get_params(), estimator.get_params())


@contextmanager
def search_for_garbage(on):
    """Whether Python searches for objects that only refer to each other."""
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if before else gc.disable)()


@contextmanager
def nothing_left_of(cls):
    """What comes about here of a class is gone at the end without such a search."""

    def n_alive():
        return sum(type(item) is cls for item in gc.get_objects())

    with search_for_garbage(False):
        before = n_alive()
        yield
        assert n_alive() == before
