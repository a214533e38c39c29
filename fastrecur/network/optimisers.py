"""Solvers: what turns gradients into steps. Each keeps its moments as flat vectors beside the parameters."""

import math

import numpy as np

from fastrecur.kernels.cpu import updates


class Adam:
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015)."""

    def __init__(self, parameters, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.parameters, self.rate = parameters, rate
        self._options = beta_1, beta_2, epsilon
        self._first, self._second = np.zeros_like(parameters.flat), np.zeros_like(parameters.flat)
        self.n_steps = 0

    def step(self, grads, max_norm=math.inf, decay=0.0):
        """Take a step along the gradient, clipped to ``max_norm``, plus ``decay`` times the weights (not the biases).

        Returns
        -------
        norm : float
            Global L2 norm of the gradient before clipping.
        """
        self.n_steps += 1
        p = self.parameters
        return updates.adam_step(
            p.flat, grads.flat, max_norm, decay, p.n_weights, self._first, self._second, self.n_steps, self.rate,
            *self._options,
        )  # fmt: skip


class SGD:
    """Gradient descent with Nesterov's momentum (Sutskever et al., 2013)."""

    def __init__(self, parameters, rate, momentum=0.9):
        self.parameters, self.rate, self._momentum = parameters, rate, momentum
        self._velocity = np.zeros_like(parameters.flat)

    def step(self, grads, max_norm=math.inf, decay=0.0):
        """Take a step: see `Adam.step`."""
        p = self.parameters
        return updates.sgd_step(
            p.flat, grads.flat, max_norm, decay, p.n_weights, self._velocity, self.rate, self._momentum
        )


def make_optimiser(solver, parameters, rate, momentum):
    """`Adam` or `SGD`, by the name that the estimators know."""
    return Adam(parameters, rate) if solver == "adam" else SGD(parameters, rate, momentum)
