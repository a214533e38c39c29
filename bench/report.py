"""Markdown tables of figures: one line a shape, one column a group, what falls short marked, the means at the end."""

import statistics
from dataclasses import dataclass, field

from bench import timing
from bench.grid import Requirement


class CheckFailedError(Exception):
    """The two sides do not compute the same: there is no figure."""


def checked(what, error, tolerance):
    """The largest difference as a float, or `CheckFailedError`. NaN fails."""
    if not error <= tolerance:
        raise CheckFailedError(f"{what} differ by {error:.1e}, more than {tolerance:.1e}")
    return float(error)


@dataclass
class Figure:
    """A ratio, a share, or seconds; ``detail`` is what it was made of, ``error`` what its check found.

    No value behind a failed check.
    """

    value: float | None
    detail: str = ""
    noisy: bool = False
    error: float = 0.0
    failure: str = ""


def ratio(seconds, ours, *peers, error=0.0, unit=1e6):
    """How many times our median the median of the fastest peer is; the detail has all medians, times ``unit``."""
    medians = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    fastest = min(peers, key=medians.__getitem__)
    detail = " : ".join(_short(medians[name] * unit) for name in (ours, *peers))
    if len(peers) > 1:
        detail = f"{fastest}; {detail}"
    return Figure(medians[fastest] / medians[ours], detail, timing.is_noisy(*seconds.values()), error)


def _short(number):
    """Three digits, and all of those before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def guarded(measure, *args):
    """The figure of ``measure(*args)``, or what its check found instead."""
    try:
        return measure(*args)
    except CheckFailedError as failure:
        return Figure(None, failure=str(failure))


@dataclass
class Table:
    """Figures by line and group.

    ``keys`` are the heads of a line's first columns, ``groups`` the requirement of each column of figures, ``detail``
    the head of the column of details (empty: none), ``form`` how a figure is printed.
    """

    title: str
    notes: list
    keys: tuple
    groups: dict
    detail: str = ""
    form: str = "{:.2f}x"
    lines: dict = field(default_factory=dict)

    def add(self, line, group, figure):
        self.lines.setdefault(tuple(line), {})[group] = figure

    def figures(self):
        return [figure for line in self.lines.values() for figure in line.values()]

    @property
    def n_failed(self):
        return sum(bool(figure.failure) for figure in self.figures())

    def markdown(self):
        """The lines of text."""
        error = max(figure.error for figure in self.figures())
        checked_first = [f"Checked first: largest difference {error:.1e}."] if error else []
        yield from (f"### {self.title}", "", *self.notes, *checked_first, "")
        heads = [h for group in self.groups for h in ([group, self.detail] if self.detail else [group])]
        yield from _head(*self.keys, *heads)
        for line, figures in self.lines.items():
            yield row(*line, *(text for group in self.groups for text in self._columns(group, figures.get(group))))
        yield ""
        yield from self._summary()
        n_noisy = sum(figure.noisy for figure in self.figures())
        if n_noisy:
            yield ""
            yield f"~ {n_noisy} of {len(self.figures())} figures: the median of a side is {timing.NOISY:g} times its"
            yield "fastest round or more. Something else used the machine: to be measured again."
        yield ""

    def _columns(self, group, figure):
        if figure is None:
            texts = ["", ""]
        elif figure.failure:
            texts = [f"check failed: {figure.failure}", ""]
        else:
            short = self.groups[group].falls_short(figure.value)
            texts = ["~" * figure.noisy + _marked(self.form.format(figure.value), short), figure.detail]
        return texts if self.detail else texts[:1]

    def _summary(self):
        worst = "most" if any(requirement.at_most for requirement in self.groups.values()) else "least"
        yield from _head("", "geometric mean", "asked for", worst, "asked for", "short")
        for group, requirement in self.groups.items():
            for part, values in self._parts(group).items():
                yield row(", ".join(filter(None, (group, part))), *self._means(values, requirement))

    def _parts(self, group):
        """Values of a group, by number of threads where the table has it."""
        parts = {}
        for line, figures in self.lines.items():
            figure = figures.get(group)
            if figure is not None and not figure.failure:
                threads = line[self.keys.index("threads")] if "threads" in self.keys else None
                part = f"{threads} thread{'s' * (threads > 1)}" if threads else ""
                parts.setdefault(part, []).append(figure.value)
        return parts

    def _means(self, values, requirement: Requirement):
        mean, worst = timing.geometric_mean(values), max(values) if requirement.at_most else min(values)
        n_short = sum(map(requirement.falls_short, values))
        return (
            _marked(self.form.format(mean), requirement.mean_falls_short(mean)),
            self._bound(requirement.mean),
            _marked(self.form.format(worst), requirement.falls_short(worst)),
            self._bound(requirement.every),
            f"{n_short} of {len(values)}",
        )

    def _bound(self, bound):
        return "" if bound is None else self.form.format(bound)


def _marked(text, short):
    return f"**{text} short**" if short else text


def _head(*columns):
    return row(*columns), row(*["---"] * len(columns))


def row(*columns):
    return "| " + " | ".join(map(str, columns)) + " |"
