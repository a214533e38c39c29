"""``python -m fastrecur.examples.long_dependencies``: how far back each cell can learn, and where its gradient ends.

The tutorial's claim, by measurement: a product of recurrent factors shrinks with the distance in time, the LSTM's cell
and the GRU's update gate carry the gradient. Four networks of one size learn the adding problem and copy memory over
growing distances, until they have solved it or their epochs are used up; beside each score stands how far the gradient
of the trained network reaches. By default small budgets, for under two minutes on two cores: what is not learned within
them is shown as not learned. ``--full`` takes more distances and epochs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fastrecur import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.datasets import make_adding_problem, make_copy_memory
from fastrecur.examples.figures import save_plot
from fastrecur.examples.options import Options, whole
from fastrecur.exceptions import ExplodingGradientWarning
from fastrecur.inspection import GradientFlowDisplay, gradient_flow
from fastrecur.inspection.figures import line_marks

#: Classifier, regressor and what differs from the defaults. The gated cells begin with biases for long memories
#: (Tallec and Ollivier 2018), the IRNN from the identity (Le 2015); ungated cells bear smaller steps only.
CELLS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "RNN": (RNNClassifier, RNNRegressor, {"learning_rate_init": 0.002}),
    "IRNN": (RNNClassifier, RNNRegressor, {"learning_rate_init": 0.0003, "nonlinearity": "relu", "init": "irnn"}),
    "LSTM": (LSTMClassifier, LSTMRegressor, {"learning_rate_init": 0.01, "init": "chrono"}),
    "GRU": (GRUClassifier, GRURegressor, {"learning_rate_init": 0.01, "init": "chrono"}),
}

#: Distances and epochs at most, as they are and in full.
QUICK, FULL = ((10, 50, 200, 400), 20), ((10, 20, 50, 100, 200, 400), 80)

#: Symbols of copy memory, and how many are to be remembered.
N_SYMBOLS, N_REMEMBERED = 4, 3

#: Sequences that say when to stop, and others for the score.
N_VALIDATION, N_TEST = 200, 200


@dataclass(frozen=True)
class Task:
    """A problem at any distance: its data, how the networks take it, and what counts as solved."""

    name: str
    score_name: str
    guess: float
    bound: float
    rises: bool
    make: Callable[[int, int], tuple[NDArray, NDArray]]
    kind: int
    parameters: dict[str, Any]
    fit_arguments: dict[str, Any]
    score: Callable[[NDArray, NDArray], float]
    targets: Literal["all", "last"]

    def solved(self, score: float) -> bool:
        """Whether a score is as good as is asked for."""
        return score > self.bound if self.rises else score < self.bound


@dataclass(frozen=True)
class Result:
    """What one network came to at one distance."""

    task: str
    cell: str
    distance: int
    score: float
    solved: bool
    exploded: bool
    epochs: int
    seconds: float
    flow: Any


def _remembered(y: NDArray) -> NDArray:
    return y[:, -N_REMEMBERED:]


TASKS = {
    "adding": Task(
        name="adding problem",
        score_name="mean squared error",
        guess=1 / 6,
        bound=0.01,
        rises=False,
        make=lambda n, distance: make_adding_problem(n, distance, random_state=0),
        kind=1,
        parameters={},
        fit_arguments={},
        score=lambda y, predicted: float(np.mean((predicted - y) ** 2)),
        targets="all",
    ),
    "copy": Task(
        name="copy memory",
        score_name="accuracy of what was to be remembered",
        guess=1 / N_SYMBOLS,
        bound=0.98,
        rises=True,
        make=lambda n, distance: make_copy_memory(n, distance, 0, n_symbols=N_SYMBOLS, length=N_REMEMBERED),
        kind=0,
        parameters={"return_sequences": True, "embedding_dim": 8},
        fit_arguments={"classes": np.arange(N_SYMBOLS + 1)},
        score=lambda y, predicted: float(np.mean(_remembered(y) == _remembered(predicted))),
        targets="last",
    ),
}


def learn(task: Task, cell: str, distance: int, *, epochs: int, n_sequences: int, hidden_size: int) -> Result:
    """Train one network until it has solved the task, or for so many epochs.

    Parameters
    ----------
    task : Task
    cell : str
        A name of `CELLS`.
    distance : int
        T of the adding problem, blanks of copy memory.
    epochs, n_sequences, hidden_size : int

    Returns
    -------
    result : Result
        The score is that of sequences that were kept out of training and of the choice when to stop, which is made on
        others; the flow is `gradient_flow` on them.
    """
    X, y = task.make(n_sequences + N_VALIDATION + N_TEST, distance)
    parts = [n_sequences, n_sequences + N_VALIDATION]
    (X_train, X_validation, X_test), (y_train, y_validation, y_test) = np.split(X, parts), np.split(y, parts)
    *kinds, differs = CELLS[cell]
    model: Any = kinds[task.kind](hidden_size, random_state=0, **task.parameters, **differs)
    began = time.perf_counter()
    for _ in range(epochs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.partial_fit(X_train, y_train, **task.fit_arguments)
        exploded = any(warning.category is ExplodingGradientWarning for warning in caught)
        if exploded or task.solved(task.score(y_validation, model.predict(X_validation))):
            break
    seconds = time.perf_counter() - began
    score = task.score(y_test, model.predict(X_test))
    flow = gradient_flow(model, X_test, y_test, targets=task.targets)
    return Result(task.name, cell, distance, score, task.solved(score), exploded, model.n_iter_, seconds, flow)


def results_table(results: Sequence[Result], tasks: Sequence[Task]) -> Table:
    """One line a task and network, one column a distance: the score, and how far the gradient reaches."""
    distances = sorted({result.distance for result in results})
    told = [
        f"{task.name}: {task.score_name} ({'over' if task.rises else 'under'} {task.bound:g} is solved, a guess has "
        f"{task.guess:.3g})"
        for task in tasks
    ]
    title = "\n".join([*told, "below each score: the effective memory"])
    table = Table("", "cell", *(f"{distance} steps" for distance in distances), title=title, title_justify="left")
    for task in tasks:
        found = [result for result in results if result.task == task.name]
        for k, cell in enumerate(dict.fromkeys(result.cell for result in found)):
            entries = (_entry(result) for result in found if result.cell == cell)
            table.add_row(task.name.split()[0] if k == 0 else "", cell, *entries)
        table.add_section()
    return table


def _entry(result: Result) -> str:
    score = f"{result.score:.3f}"
    if result.solved:
        score = f"[bold]{score}[/bold] {result.epochs} ep."
    else:
        score += " exploded" if result.exploded else " missed"
    reach, n_steps = result.flow.effective_memory, len(result.flow.by_lag)
    return f"{score}\n{'all steps' if reach == n_steps else f'{reach} step' + 's' * (reach != 1)}"


def _draw(figure: Any, results: Sequence[Result], tasks: Sequence[Task]) -> None:
    """Scores by distance, and beside them the gradient by lag at the longest distance: a line of axes a task."""
    axes = figure.subplots(len(tasks), 2, squeeze=False)
    for (left, right), task in zip(axes, tasks, strict=True):
        found = [result for result in results if result.task == task.name]
        longest = max(result.distance for result in found)
        for k, cell in enumerate(dict.fromkeys(result.cell for result in found)):
            own = [result for result in found if result.cell == cell]
            scores = [result.score for result in own]
            marker = "osD^"[k % 4]
            left.plot([result.distance for result in own], scores, marker=marker, label=cell, **line_marks(k))
        left.axhline(task.guess, color="0.5", linewidth=0.9, label="a guess")
        left.set(xscale="log", xlabel="distance: time steps", ylabel=task.score_name, title=task.name)
        if not task.rises:
            left.set_yscale("log")
        distances = sorted({result.distance for result in found})
        left.set_xticks(distances, [str(distance) for distance in distances])
        left.set_xticks([], minor=True)
        left.grid(True, alpha=0.3)
        left.legend(fontsize="small", handlelength=3)
        flows = {result.cell: result.flow for result in found if result.distance == longest}
        GradientFlowDisplay.from_flows(flows, ax=right)
        right.get_legend().remove()  # which would lie on the lines; the one to the left names them too
        right.set_title(f"gradient by lag, {longest} steps (grey: a thousandth)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line, those of ``--full`` filled in."""
    parser = Options("long_dependencies", __doc__)
    parser.add_argument("--full", action="store_true", help="more distances and epochs: about half an hour")
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help="adding, copy (default: both)"
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        choices=CELLS,
        default=list(CELLS),
        metavar="CELL",
        help="RNN, IRNN, LSTM, GRU (default: all)",
    )
    parser.add_argument(
        "--distances", nargs="+", type=whole(2), metavar="STEPS", help="steps from what is to be remembered to its use"
    )
    parser.add_count("--epochs", None, "epochs of each network at most")
    parser.add_count("--sequences", 2000, "sequences to train on")
    parser.add_count("--hidden-size", 32, "units of each network")
    options = parser.read(arguments)
    distances, epochs = FULL if options.full else QUICK
    options.distances = sorted(options.distances or distances)
    options.epochs = options.epochs or epochs
    return options


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Train, print the table, plot.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line.

    Returns
    -------
    results : list of Result
    """
    options = parse(arguments)
    console, results = Console(), []
    tasks = [TASKS[name] for name in options.tasks]
    budget = {"epochs": options.epochs, "n_sequences": options.sequences, "hidden_size": options.hidden_size}
    console.print(
        f"{options.hidden_size} hidden units, {options.sequences} sequences, {options.epochs} epochs at most.\n"
        "Effective memory: how many steps before the end the gradient falls under\n"
        "1/1000 of what it is there. 5 ep.: solved after five epochs.\n"
    )
    for task in tasks:
        for distance in options.distances:
            for cell in options.cells:
                with console.status(f"{task.name}, {distance} steps: {cell}"):
                    results.append(learn(task, cell, distance, **budget))
    console.print(results_table(results, tasks))
    n_solved, seconds = sum(result.solved for result in results), sum(result.seconds for result in results)
    console.print(f"{n_solved} of {len(results)} were learned within the budget, in {seconds:.0f} s of training.")
    save_plot(console, options.plot, lambda figure: _draw(figure, results, tasks), (10, 3.6 * len(tasks)))
    return results


if __name__ == "__main__":
    main()
