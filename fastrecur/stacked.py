"""Sequences as `fastrecur.sequences.check_sequences` makes them of X: one stack of time steps.

The letters: n sequences, T time steps, F features, S time steps of all sequences together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of one number of features, stacked: what `check_sequences` makes of X.

    Parameters
    ----------
    values : ndarray of shape (S, F), float32 or float64, C-contiguous
        The time steps of all sequences, sequence after sequence. A view of the input where its memory allows, so it
        may be read-only and is not to be written to.
    starts : ndarray of shape (n,), int64
        The row of `values` at which each sequence starts.
    lengths : ndarray of shape (n,), int64
        The number of time steps of each sequence, at least 1.
    layout : {"table", "array", "ragged"}
        How X came: (n, T), one feature a step; (n, T, F); or a list.
    scalar_steps : bool, default=False
        Whether X left the feature axis out, as a table and a list of (T_i,) arrays do. F is 1 then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.sequences import check_sequences
    >>> sequences = check_sequences([np.zeros((3, 2)), np.ones((1, 2))])
    >>> sequences.starts, sequences.lengths, sequences.n_features, sequences.layout
    (array([0, 3]), array([3, 1]), 2, 'ragged')
    """

    values: NDArray[np.floating]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    layout: str
    scalar_steps: bool = False

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.lengths)

    @property
    def n_features(self) -> int:
        """Number of features of a time step, F."""
        return self.values.shape[1]

    @property
    def max_length(self) -> int:
        """Length of the longest sequence in time steps."""
        return int(self.lengths.max())

    def take(self, indices: ArrayLike) -> Sequences:
        """Choose sequences, without a copy of their values.

        Parameters
        ----------
        indices : array-like of int or bool
            Which sequences, in which order, as NumPy indexes an axis of length n.

        Returns
        -------
        Sequences
            The chosen ones. `values` is the same array as before, so a row that no sequence refers to may be in it.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrecur.sequences import check_sequences
        >>> check_sequences(np.zeros((4, 5))).take([3, 0]).starts
        array([15,  0])
        """
        indices = np.asarray(indices)
        return replace(self, starts=self.starts[indices], lengths=self.lengths[indices])

    def unstack(self, rows: NDArray) -> NDArray | list[NDArray]:
        """Put one row a time step back into the layout of X.

        Parameters
        ----------
        rows : ndarray of shape (S, ...)
            One row for each time step of these sequences, sequence after sequence.

        Returns
        -------
        ndarray of shape (n, T, ...) or list of n ndarrays of shape (T_i, ...)
            Views of `rows`: a list where X was a list.

        Raises
        ------
        ValueError
            If the number of rows is not the number of time steps.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrecur.sequences import check_sequences
        >>> check_sequences([[1, 2, 3], [4]]).unstack(np.arange(4))
        [array([0, 1, 2]), array([3])]
        """
        ends = np.cumsum(self.lengths)
        if len(rows) != ends[-1]:
            raise ValueError(f"rows has {len(rows)} rows, but the sequences have {ends[-1]} time steps in all.")
        if self.layout != "ragged":
            return rows.reshape(len(self), -1, *rows.shape[1:])
        bounds = [0, *ends.tolist()]
        return [rows[start:end] for start, end in pairwise(bounds)]
