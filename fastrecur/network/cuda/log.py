"""Numbers that the device leaves for the end of an epoch: losses and norms."""

import numpy as np

from fastrecur.kernels.cuda import runtime

#: Numbers that the device holds before they are fetched.
SIZE = 2**12


class Log:
    """float64 numbers, in the order in which they were asked for. Each is written by one launch.

    Attributes
    ----------
    numbers : float64 device array
        `place` says where in it the next number is to go.
    """

    def __init__(self):
        self.numbers = runtime.empty((SIZE,), np.float64)
        self._pinned = runtime.pinned_empty((SIZE,), np.float64)
        self._fetched = []
        self._n_held = 0

    def place(self):
        """Place in `numbers` for one more, and its place among all that `fetch` returns."""
        if self._n_held == SIZE:
            self._take_in()
        self._n_held += 1
        return self._n_held - 1, len(self._fetched) + self._n_held - 1

    def fetch(self):
        """All numbers since the last call, which begins anew."""
        self._take_in()
        fetched, self._fetched = self._fetched, []
        return fetched

    def _take_in(self):
        """Wait for the device; pinned memory takes its numbers without another copy by the driver."""
        self._fetched += runtime.to_host(self.numbers, self._pinned)[: self._n_held].tolist()
        self._n_held = 0
