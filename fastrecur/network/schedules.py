"""Learning rates over the course of a fit.

>>> schedule = make_schedule("cosine", 0.01, max_iter=4)
>>> [round(schedule.rate(epoch), 5) for epoch in range(5)]
[0.01, 0.00854, 0.005, 0.00146, 0.0]
"""

import math

#: The rate below which "adaptive" does not go on, as in scikit-learn's MLPClassifier.
LEAST_RATE = 1e-6


class Constant:
    """The same rate throughout.

    Parameters
    ----------
    init : float
        Rate of the first step.
    max_iter : int
        Epochs of the whole fit.
    """

    def __init__(self, init, max_iter):
        self._init, self._max_iter = float(init), int(max_iter)

    def rate(self, epoch, share=0.0):
        """Learning rate of a step.

        Parameters
        ----------
        epoch : int
            Whole epochs before this one.
        share : float
            Share of this epoch that is done, from 0 to below 1.

        Returns
        -------
        rate : float
        """
        return self._init

    def slow_down(self):
        """Lower the rate after epochs without progress.

        Returns
        -------
        slowed : bool
            Whether the fit goes on, with a new count of the epochs without progress. False: it ends.
        """
        return False

    def state(self):
        """What `load_state` needs to go on from here: a dict of plain numbers."""
        return {}

    def load_state(self, state):
        """Go on where `state` was taken."""


class Cosine(Constant):
    """From the initial rate down to 0 along half a cosine (Loshchilov and Hutter, "SGDR", 2017), step by step."""

    def rate(self, epoch, share=0.0):
        """Learning rate of a step: see `Constant.rate`. It stays 0 behind the last epoch."""
        progress = min((epoch + share) / self._max_iter, 1.0)
        return self._init * (1.0 + math.cos(math.pi * progress)) / 2.0


class Adaptive(Constant):
    """A fifth of the rate whenever progress ends, as in MLPClassifier, until it is 1e-6 or less and progress ends."""

    def __init__(self, init, max_iter):
        super().__init__(init, max_iter)
        self._rate = self._init

    def rate(self, epoch, share=0.0):
        """Learning rate of a step: see `Constant.rate`."""
        return self._rate

    def slow_down(self):
        """Divide the rate by 5, unless it is 1e-6 or less: see `Constant.slow_down`."""
        if self._rate <= LEAST_RATE:
            return False
        self._rate /= 5.0
        return True

    def state(self):
        """The rate of now."""
        return {"rate": self._rate}

    def load_state(self, state):
        """Go on where `state` was taken."""
        self._rate = float(state["rate"])


#: Values of the estimators' ``learning_rate``.
SCHEDULES = {"constant": Constant, "adaptive": Adaptive, "cosine": Cosine}


def make_schedule(name, init, max_iter):
    """A schedule of `SCHEDULES` by its name: see `Constant`."""
    return SCHEDULES[name](init, max_iter)
