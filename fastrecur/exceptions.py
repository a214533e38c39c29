"""Warnings of `fit` about gradients that do not arrive, or arrive too large.

Both are scikit-learn's ConvergenceWarning: a filter for that one holds for them too.
"""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["ExplodingGradientWarning", "VanishingGradientWarning"]


class VanishingGradientWarning(ConvergenceWarning):
    """The gradient of the loss dies before it reaches the beginning of long sequences.

    What happens there cannot be learned then: see `fastrecur.inspection.gradient_flow` for where it dies, and
    `fastrecur.estimators.gradient_warnings` for the bounds.

    Examples
    --------
    >>> import warnings
    >>> from fastrecur.exceptions import VanishingGradientWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", VanishingGradientWarning)
    """


class ExplodingGradientWarning(ConvergenceWarning):
    """The loss or the weights were no longer finite, or the norm of the gradient grew past all bounds.

    In the first case the fit went back to the weights of the last whole epoch: see
    `fastrecur.estimators.gradient_warnings` for the bounds.

    Examples
    --------
    >>> import warnings
    >>> from fastrecur.exceptions import ExplodingGradientWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ExplodingGradientWarning)
    """
