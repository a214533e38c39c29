"""`GateDisplay`: the gates and states of one sequence over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from fastrecur.inspection.figures import GATES_MAP, SIGNED_MAP, inches, several_axes, whole_steps, with_none_below
from fastrecur.inspection.gates import SIGMOIDS, gate_activations
from fastrecur.network.validation import check_count

#: Labels of time steps that fit side by side, about, on an inch of the axis.
LABELS_PER_INCH = 4

#: The same of single characters, which are written smaller.
CHARACTERS_PER_INCH = 14


class GateDisplay:
    """Heat maps of the gates, the cell and the hidden states of one sequence, units from below, time to the right.

    Make it with `from_estimator`, or `from_activations`.

    Parameters
    ----------
    activations : dict of str to array of shape (T, H)
        By the names of `gate_activations`.
    labels : list of T str, optional
        Of the time steps: tokens. By default they are numbered from 0 on.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        One a map, from above.
    figure_ : matplotlib Figure
    images_ : list of matplotlib AxesImage

    Notes
    -----
    Gates: dark blue is 0, shut, and yellow 1, open (viridis). Candidate, cell and hidden state have a sign: blue is
    below 0, grey 0, yellow above (cividis), up to 1 for the candidate and up to the largest value for the states. Both
    maps rise evenly in lightness, for those too who do not tell red from green.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import LSTMClassifier
    >>> from fastrecur.inspection import GateDisplay
    >>> X = np.random.default_rng(0).normal(size=(40, 6, 2))
    >>> model = LSTMClassifier(8, early_stopping=True, random_state=0).fit(X, X[:, 0, 0] > 0)
    >>> display = GateDisplay.from_estimator(model, X, index=3)  # doctest: +SKIP
    >>> display.figure_.savefig("gates.png")  # doctest: +SKIP
    """

    def __init__(self, activations: Mapping[str, NDArray], *, labels: Sequence[str] | None = None) -> None:
        self.activations, self.labels = _of_one_sequence(activations), labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        index: int = 0,
        layer: int = -1,
        direction: str = "forward",
        names: Sequence[str] | None = None,
        units: ArrayLike | None = None,
        labels: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> GateDisplay:
        """Compute the gates of one sequence and plot them.

        Parameters
        ----------
        estimator : fitted estimator of fastrecur, or Pipeline that ends with one
        X : sequences, as in `fit`
        index : int, default=0
            Which sequence of X.
        layer : int, default=-1
        direction : {"forward", "reverse"}, default="forward"
            As in `gate_activations`.
        names : list of str, optional
            Which maps, in which order: names of `gate_activations`. All by default.
        units : array of int, optional
            Which hidden units, in which order. All by default.
        labels : list of T str, optional
            Labels of the time steps. By default the tokens, where X is text and a step of the pipeline has a
            ``vocabulary_`` (dict of str to int) that tells them; else numbers.
        ax : array of matplotlib Axes, optional
            One for each map. New ones by default.
        **kwargs
            For matplotlib's ``imshow``.

        Returns
        -------
        display : GateDisplay

        Raises
        ------
        ValueError, TypeError
            If an argument is none of the above, or X does not fit the estimator.
        ImportError
            If matplotlib is not installed.
        """
        check_count("index", index, least=0)
        if index >= len(X) > 0:  # that X is empty is told below
            raise ValueError(f"index={index} is none of the {len(X)} sequence(s) of X, 0 to {len(X) - 1}.")
        one = X.iloc[[index]] if hasattr(X, "iloc") else X[index : index + 1]
        activations = {
            name: values[0]
            for name, values in gate_activations(estimator, one, layer=layer, direction=direction).items()
        }
        if names is not None:
            if isinstance(names, str):
                raise TypeError(f"names must be a list of names, found the str {names!r}. Pass [{names!r}].")
            unknown = [name for name in names if name not in activations]
            if unknown or not len(names):
                raise ValueError(f"names must be some of {list(activations)}, found {list(names)}.")
            activations = {name: activations[name] for name in names}
        if units is not None:
            activations = {name: values[:, _units(units, values.shape[1])] for name, values in activations.items()}
        if labels is None:
            labels = _tokens(estimator, one)
        return cls.from_activations(activations, labels=labels, ax=ax, **kwargs)

    @classmethod
    def from_activations(
        cls,
        activations: Mapping[str, NDArray],
        *,
        labels: Sequence[str] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> GateDisplay:
        """Plot what `gate_activations` returned for one sequence.

        Parameters
        ----------
        activations : dict of str to array of shape (T, H)
        labels : list of T str, optional
        ax, **kwargs
            As in `from_estimator`.

        Returns
        -------
        display : GateDisplay

        Raises
        ------
        TypeError, ValueError
            If ``activations`` is no dict of arrays of one shape (T, H), or there is not a label for each time step.
        """
        n_steps = len(next(iter(_of_one_sequence(activations).values())))
        if labels is not None and np.ndim(labels) != 1:
            raise TypeError(f"labels must be a list of {n_steps} str, found a {type(labels).__name__}.")
        if labels is not None and len(labels) != n_steps:
            raise ValueError(f"labels must hold one str for each of {n_steps} time steps, found {len(labels)}.")
        return cls(activations, labels=labels).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> GateDisplay:
        """Draw the maps.

        Parameters
        ----------
        ax : array of matplotlib Axes, optional
            One for each map. New ones, one below the other, by default.
        **kwargs
            For matplotlib's ``imshow``.

        Returns
        -------
        self : GateDisplay
        """
        n_steps, n_units = next(iter(self.activations.values())).shape
        width = float(np.clip(1.8 + n_steps / LABELS_PER_INCH, 5.5, 12))
        each = float(np.clip(0.75 + n_units / 64, 0.95, 1.8))
        size = width, each * len(self.activations) + 0.7
        self.ax_, self.figure_ = several_axes(ax, len(self.activations), size, ", ".join(self.activations))
        self.images_ = []
        for axes, (name, values) in zip(self.ax_, self.activations.items(), strict=True):
            options = (
                {"aspect": "auto", "interpolation": "nearest", "origin": "lower"} | _colours(name, values) | kwargs
            )
            image = axes.imshow(values.T, **options)
            self.images_.append(image)
            bar = self.figure_.colorbar(image, ax=axes, pad=0.015, fraction=0.05, aspect=12)
            bar.ax.tick_params(labelsize="small")
            axes.set_ylabel(name)
            axes.set_yticks([0, n_units - 1] if n_units > 1 else [0])
            axes.tick_params(axis="y", labelsize="small")
        self._mark_steps(n_steps)
        return self

    def _mark_steps(self, n_steps):
        """Labels of the time steps below the maps that none lies below: as many as there is room for."""
        marked = with_none_below(self.ax_)
        for axes in self.ax_:
            if axes not in marked:
                axes.tick_params(axis="x", labelbottom=False)
            elif self.labels is None:
                axes.set_xlabel("time step")
        if self.labels is None:
            for axes in self.ax_:
                whole_steps(axes)
            return
        texts = [str(label) for label in self.labels]
        characters = max(map(len, texts)) == 1
        room = inches(self.ax_[-1])[0] * (CHARACTERS_PER_INCH if characters else 1.3 * LABELS_PER_INCH)
        steps = np.arange(0, n_steps, max(1, int(np.ceil(n_steps / room))))
        texts = [texts[t] for t in steps]
        options: dict[str, Any] = {"fontsize": "small"} if characters else {}
        if not characters and max(map(len, texts)) * len(texts) > 1.5 * room:
            options = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        for axes in self.ax_:
            axes.set_xticks(steps)
        for axes in marked:
            axes.set_xticklabels(texts, **options)


def _of_one_sequence(activations: Any) -> dict[str, NDArray]:
    """Return the maps of one sequence as arrays, all of one shape (T, H)."""
    if not isinstance(activations, Mapping):
        kind = type(activations).__name__
        raise TypeError(f"activations must be a dict of arrays of shape (T, H) by name, found a {kind}.")
    if not activations:
        raise ValueError("activations is empty. Pass what gate_activations returns, of one sequence.")
    found, shapes = {}, set()
    for name, values in activations.items():
        several = isinstance(values, list | tuple) and any(np.ndim(one) == 2 for one in values)
        array = np.empty((0, 0, 0)) if several else np.asarray(values)
        if array.ndim == 3:
            raise ValueError(
                f"activations[{name!r}] must have shape (T, H), of one sequence, found those of several. "
                "Pass {name: values[i] for name, values in activations.items()} for the sequence i."
            )
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(
                f"activations[{name!r}] must have shape (T, H) without empty axes, found shape {array.shape}."
            )
        found[name] = array
        shapes.add(array.shape)
    if len(shapes) > 1:
        raise ValueError(f"activations must be arrays of one shape (T, H), found shapes {sorted(shapes)}.")
    return found


def _colours(name: str, values: NDArray) -> dict[str, Any]:
    """Map and limits of the colours; those of states, which lie around 0, are as wide as their values."""
    if any(name in gates for gates in SIGMOIDS.values()):
        return {"cmap": GATES_MAP, "vmin": 0.0, "vmax": 1.0}
    limit = 1.0 if name == "candidate" else float(np.abs(values).max()) or 1.0
    return {"cmap": SIGNED_MAP, "vmin": -limit, "vmax": limit}


def _units(units: ArrayLike, n_units: int) -> NDArray:
    found = np.atleast_1d(np.asarray(units))
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found) or found.min() < 0 or found.max() >= n_units:
        raise ValueError(f"units must hold whole numbers from 0 to {n_units - 1}, found {units!r}.")
    return found


def _tokens(estimator: Any, X: Any) -> list[str] | None:
    """Words of the only sequence of X, where it is text and the pipeline tells them."""
    if not isinstance(X[0] if isinstance(X, list) else np.asarray(X)[0], str):
        return None
    for step in list(_steps(estimator))[:-1]:
        X, vocabulary = step.transform(X), getattr(step, "vocabulary_", None)
        if isinstance(vocabulary, Mapping):
            words = {token: word for word, token in vocabulary.items()}
            return [str(words.get(int(token), "?")) for token in np.ravel(X[0])]
    return None


def _steps(estimator: Any) -> Iterator[Any]:
    """What an estimator is made of, pipelines within pipelines taken apart."""
    if not isinstance(estimator, Pipeline):
        yield estimator
        return
    for _, step in estimator.steps:
        if step not in (None, "passthrough"):
            yield from _steps(step)
