"""`LossCurveDisplay`: how a fit went, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastrecur.inspection.figures import (
    SMALL_LEGEND,
    floor_of_log,
    inches,
    line_marks,
    several_axes,
    whole_steps,
    with_none_below,
)
from fastrecur.inspection.fitted import recurrent_estimator

#: Inches of an axes below which its texts are smaller and its legend lies within.
NARROW, LOW = 4.0, 1.2


class LossCurveDisplay:
    """Loss and validation score above, the gradient's norm with the line at which it is clipped below.

    Make it with `from_estimator`.

    Parameters
    ----------
    loss_curve : array of shape (n_epochs,)
        Mean loss of each epoch.
    grad_norm_curve : array of shape (n_epochs,)
        Mean norm of the gradient before clipping.
    validation_scores : array of shape (n_epochs,), optional
        Accuracy or R^2 on the sequences kept out.
    max_grad_norm : float, optional
        Where the norm is clipped.
    clip_fraction : array of shape (n_epochs,), optional
        Share of the steps that were clipped.
    name : str, optional
        Above the figure.

    Attributes
    ----------
    ax_ : ndarray of 2 matplotlib Axes
        The loss and the norm.
    validation_ax_ : matplotlib Axes or None
        The score's, at the right of the loss.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import GRUClassifier
    >>> from fastrecur.inspection import LossCurveDisplay
    >>> X = np.random.default_rng(0).normal(size=(80, 6, 2))
    >>> model = GRUClassifier(8, early_stopping=True, random_state=0).fit(X, X[:, 4, 1] > 0)
    >>> display = LossCurveDisplay.from_estimator(model)  # doctest: +SKIP
    >>> display.figure_.savefig("fit.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        loss_curve: ArrayLike,
        grad_norm_curve: ArrayLike,
        *,
        validation_scores: ArrayLike | None = None,
        max_grad_norm: float | None = None,
        clip_fraction: ArrayLike | None = None,
        name: str | None = None,
    ) -> None:
        self.loss_curve, self.grad_norm_curve = loss_curve, grad_norm_curve
        self.validation_scores, self.max_grad_norm = validation_scores, max_grad_norm
        self.clip_fraction, self.name = clip_fraction, name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, scale: str = "linear", name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Plot the curves of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        scale : {"linear", "log"}, default="linear"
            Of the loss. (The norm's is logarithmic where it spans, with the line of clipping, more than a power of
            ten.)
        name : str, optional
            Above the figure; the estimator's class by default.
        ax : array of 2 matplotlib Axes, optional
            New ones, one below the other, by default.
        **kwargs
            For matplotlib's ``plot`` of the loss and the norm.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        TypeError, NotFittedError
            If the estimator is none of fastrecur's, or is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        found = recurrent_estimator(estimator)
        display = cls(
            found.loss_curve_,
            found.grad_norm_curve_,
            validation_scores=found.validation_scores_,
            max_grad_norm=found.max_grad_norm if found.solver != "lbfgs" else None,
            clip_fraction=found.clip_fraction_,
            name=type(found).__name__ if name is None else name,
        )
        return display.plot(ax=ax, scale=scale, **kwargs)

    def plot(self, ax: Any = None, *, scale: str = "linear", **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : array of 2 matplotlib Axes, optional
        scale : {"linear", "log"}, default="linear"
        **kwargs
            For matplotlib's ``plot`` of the loss and the norm.

        Returns
        -------
        self : LossCurveDisplay

        Raises
        ------
        ValueError
            If there is no epoch to draw.
        """
        if scale not in ("linear", "log"):
            raise ValueError(f"scale must be one of 'linear', 'log', found {scale!r}.")
        if len(np.asarray(self.loss_curve)) == 0:
            raise ValueError(
                "loss_curve is empty: the fit has no whole epoch to draw, as where the loss was not finite in the "
                "first one (see the ExplodingGradientWarning of fit). Fit with a lower learning_rate_init or scaled X."
            )
        self.ax_, self.figure_ = several_axes(ax, 2, (6.4, 4.8), "the loss and the gradient's norm")
        epochs = np.arange(1, len(np.asarray(self.loss_curve)) + 1)
        self._draw_loss(epochs, scale, kwargs)
        self._draw_norm(epochs, kwargs)
        for axes in self.ax_:
            whole_steps(axes)
        for axes in with_none_below(self.ax_):
            axes.set_xlabel("epoch", fontsize=self._text(axes)[0])
        return self

    def _text(self, axes):
        """Font size of an axes, and what its legend needs to lie within small ones (nothing for others)."""
        width, height = inches(axes)
        if width >= NARROW and height >= LOW:
            return "medium", {}
        axes.tick_params(labelsize="x-small")
        return "x-small", SMALL_LEGEND

    def _draw_loss(self, epochs, scale, kwargs):
        axes = self.ax_[0]
        lines = axes.plot(epochs, self.loss_curve, **(line_marks(0) | _points(epochs) | {"label": "loss"} | kwargs))
        size, within = self._text(axes)
        axes.set_yscale(scale)
        axes.set_ylabel("loss", fontsize=size)
        axes.grid(True, alpha=0.3)
        if self.name:
            axes.set_title(self.name, fontsize=size, loc="left")
        self.validation_ax_ = None
        if self.validation_scores is not None:
            scores = np.asarray(self.validation_scores, np.float64)
            self.validation_ax_ = right = axes.twinx()
            lines += right.plot(epochs, scores, **(line_marks(5) | _points(epochs) | {"label": "validation score"}))
            right.lines[-1].set_linestyle("--")
            best = int(np.nanargmax(scores))
            lines += right.plot(
                epochs[best], scores[best], "o", color="#D55E00", markersize=8, fillstyle="none", label="best"
            )
            right.set_ylabel("validation score", fontsize=size)
            right.tick_params(labelsize=size)
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": len(lines), "borderaxespad": 0.2}
        above |= {"frameon": False, "fontsize": "small", "handlelength": 2.5, "columnspacing": 1.2}
        front = self.validation_ax_ if within and self.validation_ax_ else axes  # else its lines cross the legend
        front.legend(handles=lines, **(within or above))

    def _draw_norm(self, epochs, kwargs):
        axes = self.ax_[1]
        size, within = self._text(axes)
        norms = floor_of_log(self.grad_norm_curve)
        axes.plot(epochs, norms, **(line_marks(2) | _points(epochs) | {"label": "before clipping"} | kwargs))
        axes.lines[-1].set_linestyle("-")
        shown = norms[norms > 0]
        if self.max_grad_norm is not None:
            shown = np.append(shown, self.max_grad_norm)
        if len(shown) and shown.max() > 10 * shown.min():  # far apart, one of them would lie on the frame
            axes.set_yscale("log")
        if self.max_grad_norm is not None:
            label = f"clipped at {self.max_grad_norm:g}"
            if self.clip_fraction is not None:
                label += "\n" if within else " "
                label += f"({np.mean(np.asarray(self.clip_fraction)):.0%} of the steps)"
            axes.axhline(self.max_grad_norm, color="black", linestyle=":", linewidth=1.5, label=label)
        axes.set_ylabel("gradient's norm", fontsize=size)
        axes.grid(True, alpha=0.3)
        axes.legend(**(within or {"loc": "best", "framealpha": 0.85, "fontsize": "small", "handlelength": 3}))


def _points(epochs):
    """A line of one point is none: mark it."""
    return {"marker": "o"} if len(epochs) == 1 else {}
