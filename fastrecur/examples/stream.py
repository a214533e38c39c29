"""``python -m fastrecur.examples.stream``: a live feed, one step at a time. Values far from their forecasts are alarms.

A GRU is trained on the past of a sensor with daily and weekly cycles, then reads with ``predict_step`` a feed into
which faults were put: a step costs the same after a minute and after a year. Beside it stands the plain rule that a
value should be near that of a day before.
"""

import time
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from fastrecur import GRURegressor
from fastrecur.examples.figures import save_plot
from fastrecur.examples.options import Options
from fastrecur.examples.training import on_a_budget

#: Steps of a day, and of the sequences that the network is trained on.
DAY, LENGTH = 24, 168

#: An error is an alarm if so many of a detector's errors on the past were smaller.
USUAL = 0.998


class Outcome(NamedTuple):
    """Of a detector: faults found, alarms where there was none, mean absolute error of the good steps, microseconds."""

    found: int
    false: int
    error: float
    microseconds: float


def make_feed(n_steps, rng):
    """Readings (n_steps,): a daily cycle, higher on five days of seven, that comes early and late by turns; noise."""
    t = np.arange(n_steps)
    shift = 2.5 * np.sin(2 * np.pi * t / (9.3 * DAY))
    daily = np.sin(2 * np.pi * (t + shift) / DAY) + 0.4 * np.sin(4 * np.pi * (t + shift) / DAY)
    working = np.where(t // DAY % 7 < 5, 1.0, 0.5)
    return 10 + 3 * working * daily + 0.15 * rng.normal(size=n_steps)


def put_faults(feed, n_faults, rng):
    """Copy of a feed with readings that are off by 1.5 to 3, never two within 8 steps, and which they are."""
    feed, at = feed.copy(), DAY + 8 * rng.choice((len(feed) - DAY) // 8, n_faults, replace=False)
    feed[at] += rng.choice([-1, 1], n_faults) * rng.uniform(1.5, 3.0, n_faults)
    faulty = np.zeros(len(feed), bool)
    faulty[at] = True
    return feed, faulty


def train(past, seed=0):
    """A network that predicts the next reading at each step, the mean and deviation it scales with, its limit."""
    mean, deviation = past.mean(), past.std()
    scaled = (past - mean) / deviation
    begins = np.arange(0, len(scaled) - LENGTH - 1, DAY)
    X = np.stack([scaled[b : b + LENGTH] for b in begins])[:, :, np.newaxis]
    y = np.stack([scaled[b + 1 : b + LENGTH + 1] for b in begins])
    model = GRURegressor(32, return_sequences=True, max_iter=40, learning_rate="cosine", random_state=seed).fit(X, y)
    errors = np.abs(model.predict(X)[:, DAY:] - y[:, DAY:]) * deviation
    return model, mean, deviation, float(np.quantile(errors, USUAL))


def watch(feed, model, mean, deviation, limit):
    """Alarms and forecasts (T,) of a feed, read one step at a time.

    Instead of a reading that raised an alarm the network is shown its own forecast, so that a fault does not lead
    astray what comes after it.
    """
    state, forecast = model.initial_state(), mean
    alarms, forecasts = np.zeros(len(feed), bool), np.empty(len(feed))
    for t, reading in enumerate(feed):
        forecasts[t] = forecast
        alarms[t] = t >= DAY and abs(reading - forecast) > limit
        seen = forecast if alarms[t] else reading
        output, state = model.predict_step(np.array([[(seen - mean) / deviation]]), state)
        forecast = output.item() * deviation + mean
    return alarms, forecasts


def watch_days(feed, past):
    """As `watch`, with the reading of a day before for a forecast."""
    limit = np.quantile(np.abs(past[DAY:] - past[:-DAY]), USUAL)
    forecasts = np.concatenate([past[-DAY:], feed[:-DAY]])
    return np.abs(feed - forecasts) > limit, forecasts


def outcome(feed, faulty, alarms, forecasts, seconds):
    """What a detector came to, after the first day."""
    feed, faulty, alarms, forecasts = (array[DAY:] for array in (feed, faulty, alarms, forecasts))
    error = float(np.abs(feed - forecasts)[~faulty].mean())
    return Outcome(int((alarms & faulty).sum()), int((alarms & ~faulty).sum()), error, seconds / len(feed) * 1e6)


def _draw(figure, feed, faulty, alarms, forecasts):
    """Draw the last two weeks of a feed: readings, forecasts, the faults and the alarms."""
    steps = np.arange(max(DAY, len(feed) - 14 * DAY), len(feed))
    axes = figure.subplots()
    axes.plot(steps, feed[steps], color="black", linewidth=0.9, label="readings")
    axes.plot(steps, forecasts[steps], color="tab:blue", linestyle="--", linewidth=0.9, label="forecasts")
    for marked, marker, colour, label in ((faulty, "o", "tab:orange", "faults"), (alarms, "x", "tab:red", "alarms")):
        at = steps[marked[steps]]
        axes.scatter(at, feed[at], marker=marker, color=colour, zorder=3, label=label)
    axes.set(xlabel="step", ylabel="reading", title="predict_step on a live feed")
    axes.legend(ncols=4, fontsize="small")


def parse(arguments):
    """Options of the command line."""
    parser = Options("stream", __doc__)
    parser.add_count("--steps", 4000, "steps of the feed")
    parser.add_count("--faults", 60, "faults that are put into the feed", least=0)
    parser.add_count("--past", 4000, "steps to train on", least=LENGTH + DAY)
    parser.add_count("--seed", 0, "seed of all that is random", least=0)
    options = parser.read(arguments)
    least = DAY + 8 * max(1, options.faults)
    if options.steps < least:
        parser.error(f"argument --steps: must be at least {least} for {options.faults} faults, found {options.steps}")
    return options


def main(arguments=None):
    """Train, watch, print, plot."""
    options = parse(arguments)
    console, rng = Console(), np.random.default_rng(options.seed)
    whole = make_feed(options.past + options.steps, rng)
    past, (feed, faulty) = whole[: options.past], put_faults(whole[options.past :], options.faults, rng)
    console.print(
        f"A sensor with {DAY} readings a day: {len(past)} of the past to learn from, then {len(feed)} one at a time, "
        f"{options.faults} of them wrong.",
        soft_wrap=True,
    )
    with console.status("Training; the first run compiles the kernels"):
        began = time.perf_counter()
        with on_a_budget():
            trained = train(past, options.seed)
        seconds = time.perf_counter() - began
    console.print(f"Trained in {seconds:.1f} s; an error above {trained[3]:.2f} is an alarm.")
    table = Table("forecast", "faults found", "false alarms", "mean error", "us a step")
    for name, detector in (
        ("that of a day before", lambda: watch_days(feed, past)),
        ("predict_step", lambda: watch(feed, *trained)),
    ):
        detector()  # compiles
        began = time.perf_counter()
        alarms, forecasts = detector()
        result = outcome(feed, faulty, alarms, forecasts, time.perf_counter() - began)
        found, false = f"{result.found} of {options.faults}", str(result.false)
        table.add_row(name, found, false, f"{result.error:.2f}", f"{result.microseconds:.1f}")
    console.print(table)
    save_plot(console, options.plot, lambda figure: _draw(figure, feed, faulty, alarms, forecasts), (10, 4))


if __name__ == "__main__":
    main()
