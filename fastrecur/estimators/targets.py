"""Targets of time steps: stacked as the sequences are."""

import numpy as np

from fastrecur.sequences import array_or_elements


def stack_targets(y, lengths):
    """One target a time step, sequence after sequence.

    Parameters
    ----------
    y : array of shape (n, T) or (n, T, K), or list of arrays of shape (T_i,) or (T_i, K)
    lengths : int64 array of shape (n,)
        Time steps of each sequence of X.

    Returns
    -------
    stacked : array of shape (S,) or (S, K)

    Raises
    ------
    ValueError
        If y has not one target for each time step of X.

    Examples
    --------
    >>> from fastrecur.estimators.targets import stack_targets
    >>> stack_targets([[0, 1, 1], [1]], [3, 1])
    array([0, 1, 1, 1])
    """
    y, elements = array_or_elements(y)
    if elements is None and np.ndim(y) == 0:
        raise ValueError(f"y must be an array (n, T) or a list of (T_i,) arrays, found a {type(y).__name__}.")
    elements = [np.asarray(element) for element in (np.asarray(y) if elements is None else elements)]
    if len(elements) != len(lengths):
        raise ValueError(
            f"y has {len(elements)} sequence(s) of targets, but X has {len(lengths)} sequence(s): inconsistent numbers "
            "of samples. With return_sequences=True pass one target for each time step of each sequence."
        )
    for index, (element, length) in enumerate(zip(elements, lengths, strict=True)):
        if element.ndim not in (1, 2):
            raise ValueError(
                f"y[{index}] has shape {element.shape}. With return_sequences=True each element of y must have shape "
                "(T_i,), or (T_i, K) for regression: one target a time step."
            )
        if len(element) != length:
            raise ValueError(
                f"y[{index}] has {len(element)} target(s), but sequence {index} of X has {length} time step(s). With "
                "return_sequences=True pass one target a time step."
            )
    shapes = {element.shape[1:] for element in elements}
    if len(shapes) > 1:
        raise ValueError(f"y mixes targets of shapes {sorted(shapes)} a time step. Give each the same number.")
    if len({element.dtype.kind in "US" for element in elements}) > 1:
        raise ValueError("y mixes strings and numbers. Give all sequences targets of one kind.")
    return np.concatenate(elements)
