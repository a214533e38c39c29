"""Streams: sequences that come one time step at a time."""

import numpy as np

from fastrecur.masks import refuse_masked
from fastrecur.network.pooling import RunningPool


class Stream:
    """The state of some streams after some time steps. It never changes: `step` returns a new one.

    Parameters
    ----------
    model : Model
    of_fit : object
        What tells the fitted estimator from others.
    n_sequences : int

    Attributes
    ----------
    hidden : array of shape (L, n_sequences, H), or None before the first step
    cell : array of shape (L, n_sequences, H), or None: the LSTM's
    n_steps : int
        Time steps seen.
    """

    def __init__(self, model, of_fit, n_sequences):
        self._model, self.of_fit, self.n_sequences, self.n_steps = model, of_fit, n_sequences, 0
        self._state, self._pool = None, RunningPool(model.pooling or "last")

    @property
    def hidden(self):
        """States h of all layers."""
        return self._state and self._state[0]

    @property
    def cell(self):
        """Cell states of the LSTM."""
        return self._state[1] if self._state is not None and len(self._state) > 1 else None

    def step(self, x_t):
        """Outputs of the head (n_sequences, K) after one more time step, and the new `Stream`."""
        model = self._model
        new = object.__new__(Stream)
        new._model, new.of_fit = model, self.of_fit
        new.n_sequences, new.n_steps = self.n_sequences, self.n_steps + 1
        new._state = model.step(self._checked(x_t), self._state)
        new._pool = self._pool.add(new._state[0][-1], new.n_steps)
        return model.head_outputs(new._pool.pooled(new.n_steps, model.dtype)), new

    def _checked(self, x_t):
        refuse_masked(x_t, "x_t")
        model = self._model
        try:
            x = np.asarray(x_t)
        except ValueError as error:
            raise ValueError("x_t must be an array, found rows of different lengths.") from error
        n_features = 1 if model.n_tokens else model.n_features
        wanted = self.n_sequences, n_features
        if x.ndim == 1 and x.size == self.n_sequences * n_features and 1 in wanted:
            x = x.reshape(wanted)
        if x.shape != wanted:
            raise ValueError(
                f"x_t must have shape {wanted}, one time step of each of {self.n_sequences} stream(s), found {x.shape}."
            )
        if x.dtype.kind not in ("iub" if model.n_tokens else "fiub"):
            raise ValueError(f"x_t must hold {'integer tokens' if model.n_tokens else 'numbers'}, found {x.dtype}.")
        if model.n_tokens:
            if x.min() < 0 or x.max() >= model.n_tokens:
                raise ValueError(f"x_t holds a token that is not one of 0 to {model.n_tokens - 1}: {x.ravel()}.")
        else:
            with np.errstate(over="ignore"):
                fits = np.isfinite(x.astype(model.dtype)).all()
            if not fits:
                raise ValueError(f"x_t contains NaN, infinity, or a value that {model.dtype} cannot hold. Impute it.")
        return x
