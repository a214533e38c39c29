"""`GradientFlowDisplay`: the gradient by its distance from the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastrecur.inspection.figures import (
    SMALL_LEGEND,
    check_names,
    floor_of_log,
    inches,
    line_marks,
    one_axes,
    whole_steps,
)
from fastrecur.inspection.fitted import recurrent_estimator
from fastrecur.inspection.gradients import MEMORY, gradient_flow

#: Inches of an axes below which its texts are smaller: else the legend would cover the lines.
NARROW, LOW = 3.0, 2.0

#: Names of lines within matplotlib, by which a later display on the same axes knows them.
FLOW, END = "gradient flow", "end of the effective memory"


class GradientFlowDisplay:
    """Gradient by lag, of one network or of several on one logarithmic axis.

    Make it with `from_estimator`, or `from_flows` for what `gradient_flow` returned.

    Parameters
    ----------
    by_lag : dict of str to array of shape (T,)
        For each line its name and the norms of the gradient by distance from the end.
    relative : bool, default=True
        Whether each line is divided by its value at lag 0.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Artist

    Examples
    --------
    >>> from fastrecur import GRURegressor, RNNRegressor
    >>> from fastrecur.datasets import make_adding_problem
    >>> from fastrecur.inspection import GradientFlowDisplay
    >>> X, y = make_adding_problem(64, 40, random_state=0)
    >>> models = [cls(16, max_iter=50, tol=0.1, random_state=0).fit(X, y) for cls in (RNNRegressor, GRURegressor)]
    >>> display = GradientFlowDisplay.from_estimator(models, X, y)  # doctest: +SKIP
    >>> display.figure_.savefig("flow.png")  # doctest: +SKIP
    """

    def __init__(self, by_lag: Mapping[str, NDArray], *, relative: bool = True) -> None:
        self.by_lag, self.relative = dict(by_lag), relative

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        layer: int = -1,
        targets: Literal["all", "last"] = "all",
        relative: bool = True,
        name: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> GradientFlowDisplay:
        """Compute the gradient flow of one estimator or of several, and plot it.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline, list of them, or dict of them by name
        X : sequences, as in `fit`
        y : targets, as in `fit`
        layer : int, default=-1
        targets : {"all", "last"}, default="all"
            As in `gradient_flow`.
        relative : bool, default=True
            Divide each line by its value at lag 0.
        name : str or list of str, optional
            In the legend. By default the keys of a dict, or the names of the classes, the bidirectional ones in two
            lines.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            For matplotlib's ``plot``.

        Returns
        -------
        display : GradientFlowDisplay

        Raises
        ------
        ValueError, TypeError
            As `gradient_flow`; if there is no estimator, or not a name of its own for each.
        """
        if isinstance(estimator, Mapping):
            estimators = list(estimator.values())
            name = list(estimator) if name is None else name
        else:
            estimators = list(estimator) if isinstance(estimator, list | tuple) else [estimator]
        if not estimators:
            raise ValueError("estimator is empty. Pass at least one fitted estimator.")
        if name is None:
            names = _distinct([type(recurrent_estimator(one)).__name__ for one in estimators])
        else:
            names = check_names(name, len(estimators), "estimator(s)")
            twice = sorted({one for one in names if names.count(one) > 1})
            if twice:
                raise ValueError(f"name must tell the estimators apart, but {twice} occur more than once in {names}.")
        flows = [gradient_flow(one, X, y, layer=layer, targets=targets) for one in estimators]
        return cls.from_flows(dict(zip(names, flows, strict=True)), relative=relative, ax=ax, **kwargs)

    @classmethod
    def from_flows(
        cls, flows: Mapping[str, Any], *, relative: bool = True, ax: Any = None, **kwargs: Any
    ) -> GradientFlowDisplay:
        """Plot what `gradient_flow` returned.

        Parameters
        ----------
        flows : dict of str to Bunch
            By the names of the legend.
        relative, ax, **kwargs
            As in `from_estimator`.

        Returns
        -------
        display : GradientFlowDisplay

        Raises
        ------
        TypeError, ValueError
            If ``flows`` is no such dict, or empty.
        """
        _check_flows(flows)
        by_lag = {}
        for name, flow in flows.items():
            if "by_lag_reverse" in flow:
                by_lag[f"{name}, forward"], by_lag[f"{name}, reverse"] = flow.by_lag, flow.by_lag_reverse
            else:
                by_lag[name] = flow.by_lag
        return cls(by_lag, relative=relative).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> GradientFlowDisplay:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            For matplotlib's ``plot``.

        Returns
        -------
        self : GradientFlowDisplay
        """
        self.ax_, self.figure_ = one_axes(ax, (6.4, 4.0))
        self.lines_ = []
        drawn = [line.get_gid() for line in self.ax_.get_lines()]  # by other displays on the same axes
        for k, (name, by_lag) in enumerate(self.by_lag.items(), drawn.count(FLOW)):
            values = np.asarray(by_lag, np.float64)
            values = values / values[0] if self.relative and values[0] > 0 else values
            marks = line_marks(k) | {"label": name, "linewidth": 1.8, "gid": FLOW}
            if np.count_nonzero(values) < 2:  # all is lost at once: a line of one point is none
                marks["marker"] = "o"
            self.lines_ += self.ax_.plot(np.arange(len(values)), floor_of_log(values), **(marks | kwargs))
        self.ax_.set_yscale("log")
        width, height = inches(self.ax_)
        small = width < NARROW or height < LOW
        size = "x-small" if small else "medium"
        self.ax_.set_xlabel("lag: time steps before the end", fontsize=size)
        self.ax_.set_ylabel(("relative " if self.relative else "") + r"$\|\partial E/\partial h_t\|$", fontsize=size)
        self.ax_.tick_params(labelsize=size)
        self.ax_.grid(True, which="major", alpha=0.3)
        self.ax_.margins(x=0.01)
        whole_steps(self.ax_)
        if self.relative and END not in drawn:
            label = f"effective memory ends ({MEMORY:g})"
            self.ax_.axhline(MEMORY, color="0.45", linewidth=0.9, zorder=0, label=label, gid=END)
        usual = {"loc": "best", "framealpha": 0.85, "fontsize": "small", "handlelength": 3}
        self.ax_.legend(**(SMALL_LEGEND if small else usual))
        return self


def _check_flows(flows: Any) -> None:
    if not isinstance(flows, Mapping):
        kind = type(flows).__name__
        raise TypeError(f"flows must be a dict of what gradient_flow returned by name, found a {kind}.")
    if "by_lag" in flows:
        raise TypeError("flows must be a dict of Bunches by name, found one Bunch. Pass {name: flow}.")
    if not flows:
        raise ValueError("flows is empty. Pass at least one Bunch that gradient_flow returned, by name.")
    for name, flow in flows.items():
        if not isinstance(flow, Mapping) or "by_lag" not in flow:
            kind = type(flow).__name__
            raise TypeError(f"flows[{name!r}] must be a Bunch that gradient_flow returned, found a {kind}.")


def _distinct(names: list[str]) -> list[str]:
    """Number the names that occur more than once."""
    return [f"{name} {names[: k + 1].count(name)}" if names.count(name) > 1 else name for k, name in enumerate(names)]
