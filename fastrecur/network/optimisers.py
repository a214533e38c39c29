"""Solvers: what turns gradients into steps. Each keeps its moments as flat vectors beside the parameters.

Of a table of embeddings a batch uses some rows only. A step on ``rows`` leaves the others as they are, their moments
too, and shrinks them by no penalty: the lazy way of PyTorch's SparseAdam, whose cost does not grow with the
vocabulary. A row that comes back after n steps goes on with the moments that it had, as if the steps between had not
been; only Adam's correction of its moments counts all steps.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastrecur.kernels.cpu import updates
from fastrecur.network.parameters import TABLE


def copied(array, spare=None):
    """Copy of an array, in ``spare`` if that is given."""
    if spare is None:
        return array.copy()
    np.copyto(spare, array)
    return spare


class Optimiser:
    """What the solvers share.

    Parameters
    ----------
    parameters : Parameters
        Changed in place by each step.
    rate : float
        Learning rate: may be set before each step.

    Attributes
    ----------
    n_steps : int
        Steps taken.
    """

    _kernel: Callable
    _moment_names: ClassVar[tuple[str, ...]]

    def __init__(self, parameters, rate):
        self.parameters, self.rate, self.n_steps = parameters, float(rate), 0
        n_rows, n_columns = parameters.shapes.get(TABLE, (0, 1))
        self._layout, self._every_row = (parameters.n_weights, parameters.n_dense, n_columns), np.arange(n_rows)
        self._moments = {name: np.zeros_like(parameters.flat) for name in self._moment_names}

    def step(self, grads, max_norm=math.inf, decay=0.0, rows=None):
        """Take a step along the gradient.

        Parameters
        ----------
        grads : Parameters
            Left alone. The first R rows of its table are the gradient of ``rows``; the others may hold anything.
        max_norm : float
            The gradient is clipped to this global L2 norm.
        decay : float
            Penalty on weights and rows of the table, not on biases: L2 (times the parameter it is added to the
            clipped gradient), for `AdamW` the decoupled one (rate times it is what shrinks the parameter).
        rows : int64 array of shape (R,), optional
            Rows of the table that have a gradient, each once. All, in their order, by default.

        Returns
        -------
        norm : float
            Global L2 norm of the gradient, of these rows only, before clipping.
        """
        self.n_steps += 1
        return type(self)._kernel(
            self.parameters.flat, grads.flat, self._layout, self._every_row if rows is None else rows,
            float(max_norm), float(decay), *self._moments.values(), float(self.rate), *self._options(),
        )  # fmt: skip

    def _options(self):
        """Last arguments of the kernel."""
        raise NotImplementedError

    def state(self, spare=None):
        """All that the next steps need beside the parameters: "rate", "n_steps" and copies of the moments, by name.

        Of ``spare``, a state that no one needs any more, the arrays are written anew: fresh memory costs more.
        """
        moments = {name: copied(moment, spare and spare[name]) for name, moment in self._moments.items()}
        return {"rate": float(self.rate), "n_steps": self.n_steps, **moments}

    def load_state(self, state):
        """Go on where `state` was taken, bit for bit, if the parameters are those of then."""
        expected = {"rate", "n_steps", *self._moments}
        if set(state) != expected:
            raise ValueError(f"{type(self).__name__} needs a state of {sorted(expected)}, not of {sorted(state)}.")
        for name, moment in self._moments.items():
            if np.shape(state[name]) != moment.shape:
                raise ValueError(f"{name} has shape {np.shape(state[name])}, but the parameters have {moment.shape}.")
        self.rate, self.n_steps = float(state["rate"]), int(state["n_steps"])
        for name, moment in self._moments.items():
            moment[:] = state[name]


class Adam(Optimiser):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015)."""

    _kernel = updates.adam_step
    _moment_names = "first", "second"
    _decoupled = False

    def __init__(self, parameters, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        super().__init__(parameters, rate)
        self._constants = beta_1, beta_2, epsilon

    def _options(self):
        return self.n_steps, *self._constants, self._decoupled


class AdamW(Adam):
    """Adam, its penalty apart from the gradient (Loshchilov and Hutter, "Decoupled weight decay", 2019)."""

    _decoupled = True


class RMSprop(Optimiser):
    """RMSprop (Tieleman and Hinton, "Lecture 6.5", 2012)."""

    _kernel = updates.rmsprop_step
    _moment_names = ("square",)

    def __init__(self, parameters, rate, smoothing=0.99, epsilon=1e-8):
        super().__init__(parameters, rate)
        self._constants = smoothing, epsilon

    def _options(self):
        return self._constants


class SGD(Optimiser):
    """Gradient descent with Nesterov's momentum (Sutskever et al., 2013); plain without momentum."""

    _kernel = updates.sgd_step
    _moment_names = ("velocity",)

    def __init__(self, parameters, rate, momentum=0.9):
        super().__init__(parameters, rate)
        self._momentum = float(momentum)

    def _options(self):
        return (self._momentum,)


#: Stochastic solvers by the names that the estimators know.
SOLVERS: dict[str, Any] = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def make_optimiser(solver, parameters, rate, momentum=0.9):
    """A solver of `SOLVERS` by its name; the momentum is for "sgd" alone."""
    options = {"momentum": momentum} if solver == "sgd" else {}
    return SOLVERS[solver](parameters, rate, **options)
