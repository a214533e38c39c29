"""Solvers on the device: the parameters and the moments lie there."""

import math

import numpy as np

from fastrecur.kernels.cuda import losses, runtime, updates
from fastrecur.network.optimisers import SGD, Adam, AdamW, RMSprop
from fastrecur.network.parameters import TABLE

_STEPS = {Adam: updates.adam_step, AdamW: updates.adam_step, RMSprop: updates.rmsprop_step, SGD: updates.sgd_step}


class DeviceOptimiser:
    """Has the role of a `fastrecur.network.optimisers.Optimiser`; its state is one of the host, for either of both.

    Parameters
    ----------
    on_host : Optimiser
        Knows the constants, the rate, the count of steps, and what a state is. Its moments are those of the last
        `state` or `load_state`.
    flat : device array
        The parameters, changed by each step.
    log : Log
        Receives the norms.
    """

    def __init__(self, on_host, flat, log):
        self._on_host, self._flat, self._log = on_host, flat, log
        parameters = on_host.parameters
        self._layout = parameters.n_weights, parameters.n_dense, parameters.shapes.get(TABLE, (0, 0))[1]
        self._moments = [runtime.to_device(moment) for moment in on_host._moments.values()]
        self._parts = runtime.empty((losses.SUM_BLOCKS,), np.float64)

    @property
    def rate(self):
        """Learning rate: may be set before each step."""
        return self._on_host.rate

    @rate.setter
    def rate(self, rate):
        self._on_host.rate = rate

    def step(self, gradient, max_norm=math.inf, decay=0.0, rows=None):
        """Take a step along a gradient on the device; returns the place of its norm in the log.

        Parameters
        ----------
        gradient : device array of one axis
            Of the dense parameters, then of ``rows`` of the table.
        max_norm, decay
            See `Optimiser.step`.
        rows : int32 device array of shape (R,), optional
        """
        on_host, log = self._on_host, self._log
        on_host.n_steps += 1
        place, place_among_all = log.place()
        losses.norm(gradient, self._parts, log.numbers, place)
        rows = runtime.no_array(1, "int32") if rows is None else rows
        given = self._flat, gradient, rows, *self._layout, log.numbers, place, float(max_norm)
        _STEPS[type(on_host)](given, float(decay), *self._moments, float(on_host.rate), *on_host._options())
        return place_among_all

    def state(self, spare=None):
        """As `Optimiser.state`: NumPy arrays."""
        for moment, on_host in zip(self._moments, self._on_host._moments.values(), strict=True):
            runtime.to_host(moment, on_host)
        return self._on_host.state(spare)

    def load_state(self, state):
        """Go on where a state was taken, on whatever device."""
        self._on_host.load_state(state)
        for moment, on_host in zip(self._moments, self._on_host._moments.values(), strict=True):
            moment.copy_to_device(on_host)
