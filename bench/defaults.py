"""Test scores of settings of the estimators over many data sets: ``python -m bench.defaults --output FILE``.

Each fit is a line of JSON in FILE: data set, cell, all parameters, seed, score on the test part (accuracy, or R^2),
epochs, seconds. A fit that is there already is not made again, so that a run can be stopped and gone on with, and
extended by data sets, settings and seeds; ``--print`` makes none. The table has the fits that were asked for: the mean
score of the seeds, and beside it the mean number of epochs.

By default the settings of `SURVEY` are tried one at a time, the others being the estimators' defaults. ``--set
learning_rate_init=0.003,0.01 --set pooling=last,mean`` tries all combinations of these instead, ``--base
batch_size=64`` changes what the others are. Any parameter of the estimators may be set.

Features are standardised (``PerTimestep(StandardScaler())``) but for the adding problem and for text. Text is tokens
where ``embedding_dim`` is among the estimators' parameters, and else one-hot rows, several words to a feature.
"""

import argparse
import ast
import itertools
import json
import statistics
import time
import warnings
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastrecur
from bench import machine
from bench.data import DATA_SETS, cache_folder, load, one_hot
from fastrecur.preprocessing import PerTimestep

CELLS = ("RNN", "LSTM", "GRU")

SURVEY = {
    "learning_rate_init": [0.001, 0.002, 0.005, 0.01, 0.02],
    "batch_size": [8, 16, 32, 64, 128],
    "max_grad_norm": [0.25, 1.0, 5.0, None],
    "hidden_size": [32, 64, 128],
    "n_iter_no_change": [5, 10, 20],
    "tol": [1e-3, 1e-4, 1e-5],
    "max_iter": [50, 100, 200, 400],
}

#: Parameters that are no part of a setting: a fit's result does not depend on them, or they are recorded beside it.
ASIDE = ("random_state", "n_threads", "verbose")

EMBEDDING = {"embedding_dim": 32}


# --- settings --------------------------------------------------------------------------------------------------------


def parse_setting(text):
    """Name and values of ``name=value,value``; a value that is no Python literal is a string."""
    name, found, values = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE[,VALUE...], found {text!r}")
    return name, [_literal(value) for value in values.split(",")]


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def settings(base, grid):
    """Dicts of parameters: all combinations of ``grid``, or without one `SURVEY`, one parameter at a time."""
    if grid:
        return [base | dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    singles = [base | {name: value} for name, values in SURVEY.items() for value in values]
    return [base, *singles]


def estimator(data, cell, setting):
    """The cell's estimator for a data set."""
    kind = DATA_SETS[data].kind
    cls = getattr(fastrecur, cell + ("Regressor" if kind == "regression" else "Classifier"))
    if kind == "text" and "embedding_dim" in cls().get_params():
        setting = EMBEDDING | setting
    return cls(**setting)


def parameters(model):
    """What a fit is known by: all parameters but those aside."""
    return {name: value for name, value in model.get_params().items() if name not in ASIDE}


# --- fits ------------------------------------------------------------------------------------------------------------


def measure(data, cell, setting, seed, parts, n_threads):
    """One fit, as a dict for the file."""
    model = estimator(data, cell, setting).set_params(random_state=seed, n_threads=n_threads)
    X_train, X_test, y_train, y_test = parts
    if DATA_SETS[data].kind == "text" and "embedding_dim" not in model.get_params():
        X_train, X_test = one_hot(X_train), one_hot(X_test)
    pipeline = make_pipeline(PerTimestep(StandardScaler()), model) if DATA_SETS[data].scaled else model
    began = time.perf_counter()
    pipeline.fit(X_train, y_train)
    return {
        "data": data,
        "cell": cell,
        "parameters": parameters(model),
        "seed": seed,
        "score": float(pipeline.score(X_test, y_test)),
        "epochs": model.n_iter_,
        "seconds": round(time.perf_counter() - began, 3),
        "loss": float(model.loss_),
    }


def key(data, cell, known_by, seed):
    """What tells one fit from all others."""
    return data, cell, json.dumps(known_by, sort_keys=True), seed


def read(file):
    """Fits of a file, by `key`."""
    lines = file.read_text().splitlines() if file.is_file() else []
    fits = [json.loads(line) for line in lines]
    return {key(fit["data"], fit["cell"], fit["parameters"], fit["seed"]): fit for fit in fits}


def run(options, wanted, fits):
    """Make the fits that are wanted and not there; each is in the file as soon as it is made."""
    missing = [one for one in wanted if key(one[0], one[1], parameters(estimator(*one[:3])), one[3]) not in fits]
    parts, last = None, None
    with options.output.open("a") as file:
        for count, (data, cell, setting, seed) in enumerate(missing, start=1):
            if (data, seed) != last:
                parts, last = load(data, options.cache, seed), (data, seed)
            fit = measure(data, cell, setting, seed, parts, options.threads)
            known = key(data, cell, fit["parameters"], seed)
            fits[known] = fit
            print(json.dumps(fit), file=file, flush=True)
            line = f"{count}/{len(missing)} {data} {cell} seed {seed} {describe(setting)}: {fit['score']:.4f}"
            print(line, f"{fit['epochs']} epochs", f"{fit['seconds']:.1f} s", flush=True)


# --- the table -------------------------------------------------------------------------------------------------------


def describe(setting):
    """A setting in words."""
    return ", ".join(f"{name}={value}" for name, value in setting.items()) or "defaults"


def table(options, trials, fits):
    """Markdown, a line a cell and setting; the last columns are the mean of the scores and the seconds of all fits."""
    yield f"| cell | setting | {' | '.join(options.data)} | mean | seconds |"
    yield "| --- " * (len(options.data) + 4) + "|"
    for cell, setting in itertools.product(options.cells, trials):
        figures, means, seconds = [], [], 0.0
        for data in options.data:
            known_by = parameters(estimator(data, cell, setting))
            found = [fit for seed in options.seeds if (fit := fits.get(key(data, cell, known_by, seed)))]
            figures.append(_figure(found, len(options.seeds)))
            means += [statistics.fmean(fit["score"] for fit in found)] if found else []
            seconds += sum(fit["seconds"] for fit in found)
        mean = f"{100 * statistics.fmean(means):.2f}" if len(means) == len(options.data) else ""
        yield f"| {cell} | {describe(setting)} | {' | '.join(figures)} | {mean} | {seconds:.1f} |"


def _figure(fits, n_seeds):
    if not fits:
        return ""
    score, epochs = (statistics.fmean(fit[name] for fit in fits) for name in ("score", "epochs"))
    seeds = "" if len(fits) == n_seeds else f" [{len(fits)}]"
    return f"{100 * score:.1f} ({epochs:.0f}){seeds}"


def parse_options():
    parser = argparse.ArgumentParser(description="Test scores of settings of the estimators over many data sets.")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines; is gone on with")
    parser.add_argument("--set", type=parse_setting, action="append", default=[], metavar="NAME=VALUE[,VALUE...]")
    parser.add_argument("--base", type=parse_setting, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--data", nargs="+", choices=DATA_SETS, default=list(DATA_SETS), metavar="NAME")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--threads", type=int, default=1, help="scores do not depend on it; default: 1")
    parser.add_argument("--cache", type=Path, help="folder for the data, instead of one of the user's cache")
    parser.add_argument("--print", action="store_true", dest="only_print", help="the table of the fits that are there")
    options = parser.parse_args()
    options.cache = options.cache or cache_folder()
    options.cache.mkdir(parents=True, exist_ok=True)
    return options


def main():
    options = parse_options()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs says it
    trials = settings({name: value for name, (value, *_) in options.base}, dict(options.set))
    fits = read(options.output)
    if not options.only_print:
        by_parts = itertools.product(options.data, options.seeds, options.cells, trials)
        run(options, [(data, cell, setting, seed) for data, seed, cell, setting in by_parts], fits)
        print()
    print(*table(options, trials, fits), sep="\n")
    print()
    print("mean test score in %: accuracy, or R^2 of the regressions; mean epochs in brackets; seconds of all fits")
    print(*machine.describe(), sep="\n")
    print(f"seeds {' '.join(map(str, options.seeds))}, {options.threads} thread(s)")


if __name__ == "__main__":
    main()
