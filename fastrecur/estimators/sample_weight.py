"""Weights of the sequences, as callers give them."""

from decimal import Decimal
from numbers import Real

import numpy as np

from fastrecur.masks import refuse_masked

#: The largest weight of a sequence lies between this and its inverse.
LEAST_WEIGHT = 1e-100


def sequence_weights(sample_weight, n_sequences):
    """Weights of the sequences as they were given, float64 (n,); ones for None, equal ones for a number.

    Raises
    ------
    ValueError
        That names sample_weight, if it is not one finite number of 0 or more for each sequence, if none is positive, or
        if the largest is so far from 1 that its squares would overflow.

    Examples
    --------
    >>> from fastrecur.estimators.sample_weight import sequence_weights
    >>> sequence_weights([1, 0, 2], 3)
    array([1., 0., 2.])
    >>> sequence_weights([1, 0], 3)
    Traceback (most recent call last):
        ...
    ValueError: sample_weight has 2 weight(s), but X has 3 sequence(s). Pass one weight a sequence.
    """
    if sample_weight is None:
        return np.ones(n_sequences)
    weights = _as_numbers(sample_weight, n_sequences)
    if weights.ndim > 1:
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X has {n_sequences} sequence(s). Pass an array of shape "
            f"({n_sequences},), one weight a sequence."
        )
    if weights.ndim == 1 and len(weights) != n_sequences:
        raise ValueError(
            f"sample_weight has {len(weights)} weight(s), but X has {n_sequences} sequence(s). Pass one weight a "
            "sequence."
        )
    weights = np.array(np.broadcast_to(weights, n_sequences))
    _check_range(weights)
    return weights


def _as_numbers(sample_weight, n_sequences):
    """float64 array of any shape."""
    refuse_masked(sample_weight, "sample_weight")
    wanted = f"sample_weight must be {n_sequences} numbers, one a sequence"
    try:
        weights = np.asarray(sample_weight)
    except ValueError as error:
        raise ValueError(f"{wanted}, found lists or arrays of different lengths.") from error
    if weights.dtype.kind not in "fiub":
        for value in weights.flat:
            if weights.dtype != object or not isinstance(value, Real | Decimal):
                raise ValueError(f"{wanted}, found {_shown(value)}.")
    return weights.astype(np.float64)


def _shown(value):
    """What to call a value in an error: itself if it is short."""
    value = value.item() if isinstance(value, np.generic) else value
    return repr(value) if value is None or isinstance(value, str | complex) else f"a {type(value).__name__}"


def _check_range(weights):
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        value = weights[wrong[0]]
        kind = "NaN" if np.isnan(value) else "infinity" if value > 0 else f"{value:g}, which is negative,"
        raise ValueError(
            f"sample_weight has {kind} for sequence {wrong[0]}. Pass a finite weight of 0 or more for each sequence."
        )
    largest = weights.max()
    if largest == 0:
        raise ValueError("sample_weight is all zero. Give at least one sequence a positive weight.")
    if not LEAST_WEIGHT <= largest <= 1 / LEAST_WEIGHT:
        raise ValueError(
            f"sample_weight has {largest:g} for its largest value, which is too far from 1 to compute with. "
            "Scale it: only ratios of weights matter, and their size beside alpha."
        )
