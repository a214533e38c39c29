"""Warnings of `fit` about gradients that do not arrive, or arrive too large.

Both are scikit-learn's ConvergenceWarning: a filter for that one holds for them too.
"""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["ExplodingGradientWarning", "VanishingGradientWarning"]


class VanishingGradientWarning(ConvergenceWarning):
    """The gradient of the loss dies before it reaches the beginning of long sequences.

    At the end of a fit, where there are sequences of 200 time steps or more: in each of the 16 longest ones, no
    gradient of a state of the first layer in the first tenth of the time steps reaches 1e-12 of the largest one of the
    sequence. What happens there cannot be learned then. Where it does not matter, because the answer lies near the end,
    a network may have learned all there is, and the warning comes all the same: ignore it.
    `fastrecur.inspection.gradient_flow` shows where the gradient dies.

    Examples
    --------
    >>> import warnings
    >>> from fastrecur.exceptions import VanishingGradientWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", VanishingGradientWarning)
    """


class ExplodingGradientWarning(ConvergenceWarning):
    """The loss or the weights were no longer finite, or the norm of the gradient grew past a bound.

    In the first case the fit ends and goes back to the weights of the last whole epoch. In the second one, told at the
    end of a fit, the mean norm of the gradients before clipping was over 1e6 in an epoch, or over 1000 and more than
    1000 times that of the first epoch or of the median epoch.

    Examples
    --------
    >>> import warnings
    >>> from fastrecur.exceptions import ExplodingGradientWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ExplodingGradientWarning)
    """
