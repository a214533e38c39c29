"""``python -m fastrecur.examples.forecast``: a series with intervals, and how forecasts of the past would have been.

By default of the airline passengers; ``--csv FILE --column NAME --season 24`` takes a series of yours. Beside the
forecasts stand those of the seasonal naive method, each made from what was known before it.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fastrecur import GRUForecaster, LSTMForecaster, RNNForecaster
from fastrecur.datasets import load_airline
from fastrecur.examples.csv_files import read_csv
from fastrecur.examples.figures import save_plot
from fastrecur.examples.options import Options, refuse
from fastrecur.examples.training import on_a_budget
from fastrecur.forecasting import SeasonalNaive, backtest

CELLS: dict[str, Any] = {"rnn": RNNForecaster, "lstm": LSTMForecaster, "gru": GRUForecaster}

#: Levels of the intervals: 80% lie between the first and the last.
QUANTILES = (0.1, 0.5, 0.9)


def read_column(path, column=None):
    """Numbers of a column of a CSV file with a header, the last one by default: (T,).

    Raises
    ------
    ValueError
        If the file is not CSV or empty, there is no such column, or something in it is no number: says in which line.
    OSError
        If the file cannot be read.
    """
    rows = read_csv(path)
    if len(rows) < 2:
        raise ValueError(f"{path} has {len(rows)} line(s). Give a header and a number in each line below.")
    _, header = rows.pop(0)
    name = header[-1] if column is None else column
    if name not in header:
        raise ValueError(f"{path} has no column {name!r}. It has {', '.join(header)}: name one with --column.")
    values = []
    for number, row in rows:
        try:
            values.append(float(row[header.index(name)]))
            if not np.isfinite(values[-1]):
                raise ValueError
        except (ValueError, IndexError):
            raise ValueError(f"Line {number} of {path} has no number in the column {name!r}. Fill it in.") from None
    return np.array(values)


def compare(series, forecaster, season, horizon, n_splits):
    """Rows of the table (name, MAE, RMSE, MASE, share within the interval, seconds) and the backtests by name."""
    rows, results = [], {}
    for name, model in (("seasonal naive", SeasonalNaive(season, horizon)), (type(forecaster).__name__, forecaster)):
        began = time.perf_counter()
        result = backtest(model, series, n_splits=n_splits, horizon=horizon, season_length=season)
        seconds = time.perf_counter() - began
        results[name] = result
        errors = [f"{np.mean(result[key]):.3g}" for key in ("mae", "rmse", "mase")]
        within = f"{_within(result):.0%}" if "quantiles" in result else ""
        rows.append((name, *errors, within, f"{seconds:.1f}"))
    return rows, results


def _within(result):
    """Share of the truth between the outer quantiles."""
    inside = [
        (q[:, 0, 0] <= truth.ravel()) & (truth.ravel() <= q[:, 0, -1])
        for q, truth in zip(result.quantiles, result.truth, strict=True)
    ]
    return np.mean(inside)


def _draw(figure, series, results, future):
    """Draw the end of the series, the forecasts of the past, and the one ahead."""
    axes = figure.subplots()
    horizon = len(future)
    n_splits = len(next(iter(results.values())).truth)
    begin = max(0, len(series) - (n_splits + 3) * horizon)
    axes.plot(np.arange(begin, len(series)), series[begin:], color="black", label="series")
    colours = {"seasonal naive": "tab:orange"}
    for name, result in results.items():
        colour = colours.get(name, "tab:blue")
        for split, predicted in enumerate(result.predictions):
            steps = len(series) - (n_splits - split) * horizon + np.arange(horizon)
            label = name if split == 0 else None
            axes.plot(steps, predicted, color=colour, linestyle="--", label=label)
            if "quantiles" in result:
                bounds = result.quantiles[split][:, 0, [0, -1]].T
                axes.fill_between(steps, *bounds, color=colour, alpha=0.2, linewidth=0)
    steps = len(series) + np.arange(horizon)
    axes.fill_between(steps, future[:, 0, 0], future[:, 0, -1], color="tab:green", alpha=0.2, linewidth=0)
    axes.plot(steps, future[:, 0, len(QUANTILES) // 2], color="tab:green", label=f"the next {horizon}, 80% interval")
    axes.set_xlabel("step")
    axes.legend()


def parse(arguments):
    """Options of the command line."""
    parser = Options("forecast", __doc__)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="file with a header (default: the airline passengers)")
    parser.add_argument("--column", metavar="NAME", help="column of the file (default: the last)")
    parser.add_count("--season", 12, "steps of a season")
    parser.add_count("--window", None, "steps that a forecast looks back (default: two seasons)")
    parser.add_count("--horizon", 12, "steps to forecast")
    parser.add_count("--splits", 4, "forecasts of the past")
    parser.add_argument("--cell", choices=CELLS, default="lstm", help="cell of the network (default: %(default)s)")
    options = parser.read(arguments)
    if options.column is not None and options.csv is None:
        parser.error("argument --column: needs --csv, the file that it is in")
    return options


def main(arguments=None):
    """Compare, forecast, print, plot."""
    options = parse(arguments)
    console = Console()
    try:
        series = load_airline() if options.csv is None else read_column(options.csv, options.column)
    except (OSError, ValueError) as error:
        refuse(error)
    window = options.window or 2 * options.season
    needed = max(window + options.horizon, options.season + 1) + options.splits * options.horizon
    if len(series) < needed:
        raise SystemExit(
            f"The series has {len(series)} steps, but --window {window}, --season {options.season} and "
            f"{options.splits} forecasts of --horizon {options.horizon} need {needed}. Lower one of them, or give a "
            "longer series."
        )
    forecaster = CELLS[options.cell](window, options.horizon, quantiles=list(QUANTILES), random_state=0)
    name = "airline passengers" if options.csv is None else options.csv.name
    console.print(
        f"[bold]{name}[/bold]: {len(series)} steps. The last {options.splits * options.horizon} are forecast, "
        f"{options.horizon} at a time, each fit knowing only what came before.",
        soft_wrap=True,
    )
    with console.status("Fitting; the first run compiles the kernels"), on_a_budget():
        rows, results = compare(series, forecaster, options.season, options.horizon, options.splits)
        future = forecaster.fit(series).predict_quantiles()
    table = Table("method", "MAE", "RMSE", "MASE", "within the 80% interval", "seconds")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print("What comes next (the first step of the series is 0):")
    ahead = Table("step", "median", "80% interval")
    for step, (low, median, high) in enumerate(future[:, 0], len(series)):
        ahead.add_row(str(step), f"{median:.4g}", f"{low:.4g} to {high:.4g}")
    console.print(ahead)
    save_plot(console, options.plot, lambda figure: _draw(figure, series, results, future), (10, 4.5))


if __name__ == "__main__":
    main()
