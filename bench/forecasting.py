"""Accuracy of forecasts at horizon 12, ours beside plain alternatives: ``python -m bench.forecasting``.

Each series ends in ``--splits`` forecasts of 12 steps, every one made by a model that was fitted to what came before it
alone (`fastrecur.forecasting.backtest`). All models but the naive one look back over two seasons and, so that a trend
does them no harm, see a window relative to its mean. Beside the seasonal naive forecast: scikit-learn's `RidgeCV` (with
the penalties of the linear part of our forecasters) and `HistGradientBoostingRegressor` (one a step of the horizon) on
windows; and an LSTM in PyTorch of the same form, optimiser, batches, clipping and early stopping, which has no linear
part: it is to be held against ``LSTMForecaster(linear=False)``.

The series lie in the wheels of statsmodels and pmdarima, which pip fetches once, without installing them.
"""

import argparse
import ast
import copy
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from threadpoolctl import threadpool_limits

from bench import machine
from bench.data import cache_folder, fetch, read_table
from fastrecur import GRUForecaster, LSTMForecaster, RNNForecaster
from fastrecur.datasets import load_airline
from fastrecur.forecasting import SeasonalNaive, backtest
from fastrecur.forecasting.linear import ALPHAS
from fastrecur.preprocessing import SlidingWindow

HORIZON = 12


# --- series ----------------------------------------------------------------------------------------------------------


def _airline(folder):
    return load_airline()


def _sunspots(folder):
    return np.array([float(activity) for _, activity in read_table(folder, "sunspots.csv")])


def _elnino(folder):
    """Temperature of the sea, by months."""
    return np.array([float(value) for row in read_table(folder, "elnino.csv") for value in row[1:]])


def _co2(folder):
    """Means of four weeks, 13 a year; weeks without a measurement are interpolated."""
    values = np.array([float(value or "nan") for _, value in read_table(folder, "co2.csv")])
    weeks, known = np.arange(len(values)), np.isfinite(values)
    filled = np.interp(weeks, weeks[known], values[known])
    return filled[: len(filled) // 4 * 4].reshape(-1, 4).mean(axis=1)


def _equipment(folder):
    """Turnover of manufacturers of electrical equipment, by months."""
    return np.array([float(value) for _, value in read_table(folder, "elec_equip.csv")])


def _electricity(folder):
    """Demand for electricity in England and Wales over twelve weeks of 2000, by hours (from half-hours)."""
    text = (fetch("pmdarima", ["taylor.py"], folder) / "taylor.py").read_text()
    array = text[text.rindex("np.array(") + len("np.array(") :]
    return np.array(ast.literal_eval(array[: array.index("]") + 1]), np.float64).reshape(-1, 2).mean(axis=1)


@dataclass(frozen=True)
class Task:
    """``read(folder)`` gives the series; ``season`` and ``window`` are steps."""

    read: object
    season: int
    window: int


TASKS = {
    "airline": Task(_airline, 12, 24),
    "sunspots": Task(_sunspots, 11, 22),
    "elnino": Task(_elnino, 12, 24),
    "co2": Task(_co2, 13, 26),
    "equipment": Task(_equipment, 12, 24),
    "electricity": Task(_electricity, 168, 168),
}


# --- plain alternatives ----------------------------------------------------------------------------------------------


class OnWindows(BaseEstimator):
    """Any regressor of several targets as a forecaster of one series, on windows relative to their mean."""

    def __init__(self, regressor, window, horizon):
        self.regressor, self.window, self.horizon = regressor, window, horizon

    def fit(self, series, exog=None):
        windows = SlidingWindow(self.window, self.horizon)
        self.mean_, self.deviation_ = series.mean(), series.std()
        scaled = (series - self.mean_) / self.deviation_
        X, y = windows.fit_transform(scaled)
        level = X.mean(axis=1, keepdims=True)
        self.regressor_ = clone(self.regressor).fit(X - level, y.reshape(len(y), -1) - level)
        self.last_ = windows.last_window(scaled)
        return self

    def predict(self, horizon=None, exog=None):
        level = self.last_.mean()
        return (self.regressor_.predict(self.last_ - level).ravel() + level) * self.deviation_ + self.mean_


class TorchLSTM(BaseEstimator):
    """LSTM and dense layer in PyTorch with the options of a forecaster ``like`` it, early stopping included."""

    def __init__(self, like):
        self.like = like

    def fit(self, X, y):
        import torch

        like = self.like
        torch.manual_seed(like.random_state)
        X, y = (torch.as_tensor(array, dtype=torch.float32) for array in (X[:, :, np.newaxis], y))
        n_validation = int(np.ceil(like.validation_fraction * len(X)))
        n_train = len(X) - n_validation
        n_train = n_train - like.horizon + 1 if n_train >= like.horizon else n_train
        self.mean_, self.scale_ = y.mean(0), y.std(0)
        y = (y - self.mean_) / self.scale_
        self.lstm_ = torch.nn.LSTM(1, like.hidden_size, batch_first=True)
        self.head_ = torch.nn.Linear(like.hidden_size, y.shape[1])
        modules = torch.nn.ModuleList([self.lstm_, self.head_])
        optimiser = torch.optim.Adam(modules.parameters(), lr=like.learning_rate_init)
        best, waited = np.inf, 0
        for _ in range(like.max_iter):
            for batch in torch.randperm(n_train).split(32):
                loss = ((self._outputs(X[batch]) - y[batch]) ** 2).mean() / 2
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(modules.parameters(), like.max_grad_norm)
                optimiser.step()
            with torch.inference_mode():
                error = float(((self._outputs(X[-n_validation:]) - y[-n_validation:]) ** 2).mean())
            waited = 0 if error < best - like.tol else waited + 1
            if error < best:
                best, weights = error, copy.deepcopy(modules.state_dict())
            if waited > like.n_iter_no_change:
                break
        modules.load_state_dict(weights)
        return self

    def _outputs(self, X):
        return self.head_(self.lstm_(X)[0][:, -1])

    def predict(self, X):
        import torch

        with torch.inference_mode():
            outputs = self._outputs(torch.as_tensor(X[:, :, np.newaxis], dtype=torch.float32))
            return (outputs * self.scale_ + self.mean_).numpy()


# --- the table -------------------------------------------------------------------------------------------------------


def models(task, seed, n_threads):
    """Forecasters by name; those of the first lines do not hang on the seed."""
    options = {"random_state": seed, "n_threads": n_threads}
    like = LSTMForecaster(task.window, HORIZON, linear=False, **options)
    trees = MultiOutputRegressor(HistGradientBoostingRegressor(random_state=0))
    return {
        "seasonal naive": SeasonalNaive(task.season, HORIZON),
        "RidgeCV": OnWindows(RidgeCV(ALPHAS), task.window, HORIZON),
        "HistGradientBoosting": OnWindows(trees, task.window, HORIZON),
        "LSTM in PyTorch": OnWindows(TorchLSTM(like), task.window, HORIZON),
        "LSTMForecaster(linear=False)": like,
        "RNNForecaster": RNNForecaster(task.window, HORIZON, **options),
        "LSTMForecaster": LSTMForecaster(task.window, HORIZON, **options),
        "GRUForecaster": GRUForecaster(task.window, HORIZON, **options),
    }


SEEDLESS = ("seasonal naive", "RidgeCV", "HistGradientBoosting")


def measure(task, folder, seeds, n_splits, n_threads):
    """Name of the model, mean absolute errors of the seeds, MASE (mean), and seconds of a fit and forecast (mean)."""
    series = task.read(folder)
    for name in models(task, 0, 1):
        results, began = [], time.perf_counter()
        used = seeds[:1] if name in SEEDLESS else seeds
        for seed in used:
            model = models(task, seed, n_threads)[name]
            results.append(backtest(model, series, n_splits=n_splits, horizon=HORIZON, season_length=task.season))
        seconds = (time.perf_counter() - began) / len(used) / n_splits
        yield name, [r.mae.mean() for r in results], np.mean([r.mase.mean() for r in results]), seconds


def main():
    parser = argparse.ArgumentParser(description="Accuracy of forecasts at horizon 12.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--data", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    parser.add_argument("--splits", type=int, default=5, help="forecasts of each series; default: 5")
    parser.add_argument("--threads", type=int, default=1, help="of fastrecur and PyTorch; default: 1")
    parser.add_argument("--cache", type=Path, help="folder for the data, instead of one of the user's cache")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    folder = options.cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for cell in (RNNForecaster, LSTMForecaster, GRUForecaster):
        cell(2, 1, max_iter=1).fit(np.arange(20.0) % 3)  # compiles
    import torch  # after fastrecur's first kernel, as OpenMP may reset the number of threads then

    torch.set_num_threads(options.threads)
    print("| series | model | MAE / seasonal naive's, mean (worst seed) | MASE | seconds a fit and forecast |")
    print("| --- | --- | --- | --- | --- |")
    threadpool_limits(options.threads)  # of HistGradientBoostingRegressor's OpenMP
    for name in options.data:
        naive = None
        for model, errors, mase, seconds in measure(
            TASKS[name], folder, options.seeds, options.splits, options.threads
        ):
            naive = errors[0] if naive is None else naive
            relative = f"{np.mean(errors) / naive:.3f} ({np.max(errors) / naive:.3f})"
            print(f"| {name} | {model} | {relative} | {mase:.3f} | {seconds:.2f} |", flush=True)
    print()
    print(*machine.describe(), sep="\n")
    print(f"horizon {HORIZON}, {options.splits} forecasts a series, seeds {' '.join(map(str, options.seeds))}")


if __name__ == "__main__":
    main()
