"""Sequences to learn from: the field's synthetic problems, as their papers define them, digits by rows, a series."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from fastrecur.airline import load_airline
from fastrecur.network.validation import check_choice, check_count, check_random_state
from fastrecur.sarcasm import make_sarcasm

__all__ = [
    "load_airline",
    "load_digits_sequences",
    "make_adding_problem",
    "make_copy_memory",
    "make_reber",
    "make_sarcasm",
    "make_temporal_order",
]

Encoding = Literal["onehot", "tokens"]

#: Symbols of `make_temporal_order` and of `make_reber`: token i is the letter at place i.
TEMPORAL_ORDER_SYMBOLS = "EBabcdXY"
REBER_SYMBOLS = "BTPSXVE"

#: Per number of X and Y: percent of T between which each lies, and the classes in the order XX.., .., YY...
_ORDER_PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
_ORDER_CLASSES = {2: "QRSU", 3: "QRSUVABC"}

#: Reber's grammar: the two ways on from each node, a symbol and the next node. What enters node 0 is B; E leaves 5.
_REBER = (
    (("T", 1), ("P", 2)),
    (("S", 1), ("X", 3)),
    (("T", 2), ("V", 4)),
    (("X", 2), ("S", 5)),
    (("P", 3), ("V", 5)),
)


def make_adding_problem(
    n_samples: int = 100, n_timesteps: int = 100, random_state: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sequences of numbers, two of them marked; the target is the sum of the two.

    Feature 0 is drawn uniformly from [0, 1) at each step; feature 1 is 1 at two steps and 0 elsewhere. One mark is
    drawn uniformly from the first T // 2 steps, the other from the rest.

    Parameters
    ----------
    n_samples : int, default=100
        n, sequences.
    n_timesteps : int, default=100
        T, from 2 on.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    X : float64 array of shape (n, T, 2)
    y : float64 array of shape (n,)
        Who always says 1 has a mean squared error of 1/6, the variance of y.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or too small.

    References
    ----------
    .. [1] Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 4 (with values
       in [-1, 1], ragged lengths, both marks in the first half, and the sum scaled).
    .. [2] Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015
       (values, target and length as here).
    .. [3] Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", ICML 2016 (one mark in each half).

    Examples
    --------
    >>> from fastrecur.datasets import make_adding_problem
    >>> X, y = make_adding_problem(n_samples=3, n_timesteps=50, random_state=0)
    >>> X.shape, y.shape
    ((3, 50, 2), (3,))
    >>> bool(X[0, X[0, :, 1] == 1, 0].sum() == y[0])
    True
    """
    check_count("n_samples", n_samples)
    check_count("n_timesteps", n_timesteps, least=2)
    rng = check_random_state(random_state)
    X = np.zeros((n_samples, n_timesteps, 2))
    X[:, :, 0] = rng.uniform(size=(n_samples, n_timesteps))
    rows, half = np.arange(n_samples), n_timesteps // 2
    first, second = rng.randint(half, size=n_samples), rng.randint(half, n_timesteps, size=n_samples)
    X[rows, first, 1] = X[rows, second, 1] = 1.0
    return X, X[rows, first, 0] + X[rows, second, 0]


def make_copy_memory(
    n_samples: int = 100, n_blanks: int = 20, random_state: Any = None, *, n_symbols: int = 8, length: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens to be remembered over a stretch of blanks and then repeated; one target a time step.

    With T for ``n_blanks``, K for ``n_symbols`` and S for ``length``, a sequence is S tokens drawn uniformly from
    0..K-1, then T - 1 blanks (token K), then the delimiter (token K + 1), then S blanks. Its targets are T + S blanks
    and then the first S tokens in their order.

    Parameters
    ----------
    n_samples : int, default=100
        n, sequences.
    n_blanks : int, default=20
        T, steps between the last token to be remembered and the first to be repeated, the delimiter among them; from
        1 on.
    random_state : int, RandomState or None, default=None
    n_symbols : int, default=8
        K, from 2 on.
    length : int, default=10
        S, from 1 on.

    Returns
    -------
    X : int64 array of shape (n, T + 2 S)
        Tokens from 0 to K + 1.
    y : int64 array of shape (n, T + 2 S)
        Classes from 0 to K, one a time step. Who remembers nothing has, at best, a cross entropy of
        S log(K) / (T + 2 S) a step.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or too small.

    References
    ----------
    .. [1] Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", ICML 2016 (as here).
    .. [2] Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
       modeling", 2018 (the delimiter repeated to the end).

    Examples
    --------
    >>> from fastrecur.datasets import make_copy_memory
    >>> X, y = make_copy_memory(n_samples=1, n_blanks=4, length=3, random_state=0)
    >>> X
    array([[4, 7, 5, 8, 8, 8, 9, 8, 8, 8]])
    >>> y
    array([[8, 8, 8, 8, 8, 8, 8, 4, 7, 5]])
    """
    for name, value in (("n_samples", n_samples), ("n_blanks", n_blanks), ("length", length)):
        check_count(name, value)
    check_count("n_symbols", n_symbols, least=2)
    remembered = check_random_state(random_state).randint(n_symbols, size=(n_samples, length))
    X = np.full((n_samples, n_blanks + 2 * length), n_symbols, dtype=np.int64)
    y = X.copy()
    X[:, :length] = remembered
    X[:, length + n_blanks - 1] = n_symbols + 1
    y[:, length + n_blanks :] = remembered
    return X, y


def make_temporal_order(
    n_samples: int = 100,
    n_timesteps: int = 100,
    random_state: Any = None,
    *,
    n_relevant: int = 2,
    encoding: Encoding = "onehot",
) -> tuple[list[NDArray], NDArray[np.str_]]:
    """Sequences of symbols that are classified by the order of the few X and Y in them.

    A sequence begins with E, ends with B and holds letters drawn uniformly from a, b, c, d between, but for two or
    three places that hold X or Y, each with probability 1/2. Its number of steps is drawn uniformly from T to 1.1 T.
    The places, counted from 0, are drawn uniformly from 0.1 T to 0.2 T and 0.5 T to 0.6 T, ends included; where there
    are three, from 0.1 T to 0.2 T, 0.33 T to 0.43 T and 0.66 T to 0.76 T (all rounded down). With T = 100 these are
    the problems 6a (``n_relevant=2``, also called 2-bit) and 6b (``n_relevant=3``, 3-bit) of [1]_.

    Parameters
    ----------
    n_samples : int, default=100
        n, sequences.
    n_timesteps : int, default=100
        T, from 10 on.
    random_state : int, RandomState or None, default=None
    n_relevant : {2, 3}, default=2
        Places with X or Y.
    encoding : {"onehot", "tokens"}, default="onehot"
        Eight features a step, or the symbol's number: its place in "EBabcdXY".

    Returns
    -------
    X : list of n float64 arrays of shape (T_i, 8), or int64 arrays of shape (T_i,)
    y : array of str of shape (n,)
        XX is Q, XY R, YX S, YY U; of three XXX is Q, XXY R, XYX S, XYY U, YXX V, YXY A, YYX B, YYY C.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or too small, or a choice is not among those named.

    References
    ----------
    .. [1] Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 6.

    Examples
    --------
    >>> from fastrecur.datasets import make_temporal_order
    >>> X, y = make_temporal_order(n_samples=2, n_timesteps=10, random_state=1, encoding="tokens")
    >>> ["".join("EBabcdXY"[token] for token in x) for x in X]
    ['EaYbdXdaabB', 'EXacbXacbcB']
    >>> y.tolist()
    ['S', 'Q']
    """
    check_count("n_samples", n_samples)
    check_count("n_timesteps", n_timesteps, least=10)
    check_count("n_relevant", n_relevant)
    check_choice("n_relevant", n_relevant, tuple(_ORDER_PLACES))
    check_choice("encoding", encoding, ("onehot", "tokens"))
    rng = check_random_state(random_state)
    begin, end, *distractors, x_token, _ = range(len(TEMPORAL_ORDER_SYMBOLS))
    longest = n_timesteps * 11 // 10
    lengths = rng.randint(n_timesteps, longest + 1, size=n_samples)
    tokens = rng.choice(distractors, size=(n_samples, longest)).astype(np.int64)
    order, rows = rng.randint(2, size=(n_samples, n_relevant)), np.arange(n_samples)
    for place, (low, high) in enumerate(_ORDER_PLACES[n_relevant]):
        steps = rng.randint(n_timesteps * low // 100, n_timesteps * high // 100 + 1, size=n_samples)
        tokens[rows, steps] = x_token + order[:, place]
    tokens[:, 0], tokens[rows, lengths - 1] = begin, end
    labels = np.array(list(_ORDER_CLASSES[n_relevant]))
    return _encoded(tokens, lengths, len(TEMPORAL_ORDER_SYMBOLS), encoding), labels[order @ _binary(n_relevant)]


def make_reber(
    n_samples: int = 100,
    random_state: Any = None,
    *,
    errors: Literal["any", "ends"] = "any",
    encoding: Encoding = "onehot",
) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Strings of the embedded Reber grammar, and strings that an error keeps out of it.

    Reber's grammar writes B, goes through six nodes and writes E: from node 0 by T to 1 or by P to 2, from 1 by S to 1
    or by X to 3, from 2 by T to 2 or by V to 4, from 3 by X to 2 or by S to 5, from 4 by P to 3 or by V to 5, each with
    probability 1/2; from 5 by E to the end. The embedded grammar is B T (a string of Reber's) T E or B P (such a
    string) P E, each with probability 1/2: the last symbol but one must be the second one, however much lies between.

    Parameters
    ----------
    n_samples : int, default=100
        n, strings: n // 2 valid ones and the rest with an error, in random order.
    random_state : int, RandomState or None, default=None
    errors : {"any", "ends"}, default="any"
        What makes a string wrong. "any": one symbol, anywhere, is replaced by one of the six others; place and symbol
        are drawn uniformly, and drawn again while the string is still in the grammar. "ends": the last symbol but one,
        T or P, is replaced by the other of the two, so that only memory of the second symbol tells.
    encoding : {"onehot", "tokens"}, default="onehot"
        Seven features a step, or the symbol's number: its place in "BTPSXVE".

    Returns
    -------
    X : list of n float64 arrays of shape (T_i, 7), or int64 arrays of shape (T_i,)
        T_i is 9 at least, 12 on average.
    y : int64 array of shape (n,)
        1 where the string is in the embedded grammar, 0 where it is not.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer or too small, or a choice is not among those named.

    References
    ----------
    .. [1] Reber, "Implicit learning of artificial grammars", Journal of Verbal Learning and Verbal Behavior 6 (1967).
    .. [2] Fahlman, "The recurrent cascade-correlation architecture", NIPS 1990.
    .. [3] Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 1 (to predict
       the symbols that may come next, rather than to tell valid strings).

    Examples
    --------
    >>> from fastrecur.datasets import make_reber
    >>> X, y = make_reber(n_samples=4, random_state=0, encoding="tokens")
    >>> for x, valid in zip(X, y):
    ...     print("".join("BTPSXVE"[token] for token in x), valid)
    BPBTSSSXXTSVPXVVEPE 0
    BPBPTVVEPE 1
    BPBTSXXVVEPE 1
    BPBTXSEPT 0
    """
    check_count("n_samples", n_samples)
    check_choice("errors", errors, ("any", "ends"))
    check_choice("encoding", encoding, ("onehot", "tokens"))
    rng = check_random_state(random_state)
    tokens, lengths = _embedded_strings(n_samples, rng)
    y = rng.permutation((np.arange(n_samples) < n_samples // 2).astype(np.int64))
    wrong = np.flatnonzero(y == 0)
    if errors == "ends":
        place = lengths[wrong] - 2
        tokens[wrong, place] = REBER_SYMBOLS.index("T") + REBER_SYMBOLS.index("P") - tokens[wrong, place]
    else:
        valid = tokens.copy()
        while len(wrong):  # strings that are still in the grammar
            place = rng.randint(lengths[wrong])
            shift = rng.randint(1, len(REBER_SYMBOLS), size=len(wrong))
            tokens[wrong] = valid[wrong]
            tokens[wrong, place] = (valid[wrong, place] + shift) % len(REBER_SYMBOLS)
            wrong = wrong[_accepted(tokens[wrong], lengths[wrong])]
    return _encoded(tokens, lengths, len(REBER_SYMBOLS), encoding), y


def load_digits_sequences() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Handwritten digits of 8 by 8 pixels as sequences of 8 rows: scikit-learn's digits [1]_, scaled.

    Returns
    -------
    X : float64 array of shape (1797, 8, 8)
        Time step t is row t of the picture, from above; its features are the pixels of the row, from 0 to 1.
    y : int64 array of shape (1797,)
        The digit.

    References
    ----------
    .. [1] Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998 (the
       test part).

    Examples
    --------
    >>> from fastrecur.datasets import load_digits_sequences
    >>> X, y = load_digits_sequences()
    >>> X.shape, float(X.min()), float(X.max()), sorted(set(y.tolist()))
    ((1797, 8, 8), 0.0, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    digits = load_digits()
    return digits.images / 16, digits.target.astype(np.int64)


def _binary(n_digits: int) -> NDArray[np.int64]:
    """Weights of the digits of a binary number, the first the largest."""
    return 2 ** np.arange(n_digits - 1, -1, -1)


def _encoded(tokens: NDArray[np.int64], lengths: NDArray, n_symbols: int, encoding: Encoding) -> list[NDArray]:
    """Rows of ``tokens`` (n, longest) cut to their lengths, as tokens (T_i,) or as rows of the identity (T_i, K)."""
    flat = tokens[np.arange(tokens.shape[1]) < lengths[:, np.newaxis]]
    steps = np.eye(n_symbols)[flat] if encoding == "onehot" else flat
    return [part.copy() for part in np.split(steps, np.cumsum(lengths)[:-1])]


def _embedded_automaton() -> NDArray[np.int64]:
    """Next state by state and symbol, (n_states, 7), of the embedded Reber grammar; -1 where a symbol is an error.

    State 0 is the beginning and the last state the end. Each of the two inner grammars has states of its own, which
    remember the second symbol: one before it, one a node, one after it.
    """
    end = 2 + 2 * 8 + 1
    following = np.full((end + 1, len(REBER_SYMBOLS)), -1, dtype=np.int64)

    def connect(state: int, symbol: str, next_state: int) -> None:
        following[state, REBER_SYMBOLS.index(symbol)] = next_state

    connect(0, "B", 1)
    for symbol, before in (("T", 2), ("P", 10)):
        connect(1, symbol, before)
        connect(before, "B", before + 1)
        for node, ways in enumerate(_REBER):
            for way, next_node in ways:
                connect(before + 1 + node, way, before + 1 + next_node)
        connect(before + 6, "E", before + 7)
        connect(before + 7, symbol, end - 1)
    connect(end - 1, "E", end)
    return following


def _embedded_strings(n: int, rng: np.random.RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Strings of the embedded Reber grammar, tokens (n, longest) with zeros behind the ends, and their lengths."""
    following = _embedded_automaton()
    end = len(following) - 1
    ways = np.array([np.flatnonzero(row >= 0)[[0, -1]] for row in following[:end]] + [[0, 0]])
    state, lengths = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    columns = []
    while (running := state != end).any():
        symbol = ways[state, rng.randint(2, size=n)]
        columns.append(symbol)
        state = np.where(running, following[state, symbol], end)
        lengths += running
    return np.stack(columns, axis=1), lengths


def _accepted(tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of the strings, tokens (n, longest), is in the embedded Reber grammar."""
    following = _embedded_automaton()
    state = np.zeros(len(tokens), dtype=np.int64)
    for step, symbol in enumerate(tokens.T):
        # State -1, an error, has the end's row, of errors alone.
        state = np.where(step < lengths, following[state, symbol], state)
    return state == len(following) - 1
