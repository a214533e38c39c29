"""Forecast a series with intervals, and see how the forecasts of the past would have been.

``python -m fastrecur.examples.forecast`` takes the airline passengers; ``--csv FILE --column NAME --season 24`` takes a
series of yours. Beside the forecasts stand those of the seasonal naive method, each made from what was known before it.
"""

import argparse
import csv
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning

from fastrecur import GRUForecaster, LSTMForecaster, RNNForecaster
from fastrecur.datasets import load_airline
from fastrecur.forecasting import SeasonalNaive, backtest

CELLS: dict[str, Any] = {"rnn": RNNForecaster, "lstm": LSTMForecaster, "gru": GRUForecaster}

#: Levels of the intervals: 80% lie between the first and the last.
QUANTILES = (0.1, 0.5, 0.9)


def read_column(path, column=None):
    """Numbers of a column of a CSV file with a header, the last one by default: (T,).

    Raises
    ------
    ValueError
        If the file is empty, there is no such column, or something in it is no number: says in which line.
    OSError
        If the file cannot be read.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        rows = [(reader.line_num, row) for row in reader if row]
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


def plot(series, results, future, path):
    """Save a picture of the end of the series, of the forecasts of the past, and of the one ahead.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('The plot needs matplotlib: pip install "fastrecur[plot]"') from error
    figure = Figure(figsize=(10, 4.5), layout="constrained")
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
    figure.savefig(path, dpi=120)


def main(arguments=None):
    """Compare, forecast, print, plot."""
    parser = argparse.ArgumentParser(description="Forecast a series beside the seasonal naive method.")
    parser.add_argument("--csv", type=Path, help="a file with a header; default: the airline passengers")
    parser.add_argument("--column", help="of the file; default: the last")
    parser.add_argument("--season", type=int, default=12, help="steps of a season; default: 12")
    parser.add_argument("--window", type=int, help="steps that a forecast looks back; default: two seasons")
    parser.add_argument("--horizon", type=int, default=12, help="steps to forecast; default: 12")
    parser.add_argument("--splits", type=int, default=4, help="forecasts of the past; default: 4")
    parser.add_argument("--cell", choices=CELLS, default="lstm", help="default: lstm")
    parser.add_argument("--plot", type=Path, default=Path("forecast.png"), help="default: forecast.png")
    options = parser.parse_args(arguments)
    for name in ("season", "window", "horizon", "splits"):
        number = getattr(options, name)
        if number is not None and number < 1:
            parser.error(f"--{name} must be at least 1, found {number}")
    console = Console()
    try:
        series = load_airline() if options.csv is None else read_column(options.csv, options.column)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    window = options.window or 2 * options.season
    needed = max(window + options.horizon, options.season + 1) + options.splits * options.horizon
    if len(series) < needed:
        raise SystemExit(
            f"The series has {len(series)} steps, but --window {window}, --season {options.season} and "
            f"{options.splits} forecasts of --horizon {options.horizon} need {needed}. Lower one of them, or give a "
            "longer series."
        )
    forecaster = CELLS[options.cell](window, options.horizon, quantiles=list(QUANTILES), random_state=0)
    warnings.simplefilter("ignore", ConvergenceWarning)
    name = "airline passengers" if options.csv is None else options.csv.name
    console.print(
        f"[bold]{name}[/bold]: {len(series)} steps. The last {options.splits * options.horizon} are forecast, "
        f"{options.horizon} at a time, each fit knowing only what came before.",
        soft_wrap=True,
    )
    with console.status("Fitting; the first run compiles the kernels"):
        rows, results = compare(series, forecaster, options.season, options.horizon, options.splits)
        future = forecaster.fit(series).predict_quantiles()
    table = Table("method", "MAE", "RMSE", "MASE", "within the 80% interval", "seconds")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"The next {options.horizon}, median (80% interval):")
    console.print(", ".join(f"{median:.4g} ({low:.4g} to {high:.4g})" for low, median, high in future[:, 0]))
    try:
        plot(series, results, future, options.plot)
        console.print(f"Plot: {options.plot}")
    except ImportError as error:
        console.print(str(error), markup=False)


if __name__ == "__main__":
    main()
