"""`fit` and `predict` of the estimators against the same network in PyTorch and skorch."""

import importlib.util
import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from bench import grid, timing
from bench.networks import ESTIMATORS, LEARNING_RATE, MAX_NORM, Data, Network, TorchLoop, TorchPrediction, skorch_epoch
from bench.report import CheckFailedError, Table, checked, guarded, ratio

OURS, TORCH, SKORCH = "fastrecur", "PyTorch", "skorch"

FIT_SHAPES, PREDICT_SHAPES = ("S4", "S5", "M1", "M2", "R1", "R2"), ("S1", "S4", "M1", "M2", "R1")

#: Sequences of an epoch and of a prediction, and the seconds that a call of a prediction should not exceed.
FIT_ROWS, PREDICT_ROWS, PREDICT_SECONDS = 1024, 10_000, 3.0

#: A fit has one epoch or as many more as take this many seconds, 20 at most: the difference is what is timed.
FIT_SECONDS, MOST_EPOCHS = 0.25, 20


RAGGED = "PyTorch packs ragged batches or runs them with their padding, whichever is faster."


def estimator_of(cell, shape, threads, **options):
    """Estimator of a cell for a shape, with the settings of the loops in PyTorch."""
    settings = {"num_layers": shape.layers, "bidirectional": shape.bidirectional, "batch_size": shape.rows}
    settings |= {"learning_rate_init": LEARNING_RATE, "max_grad_norm": MAX_NORM, "n_threads": threads}
    return ESTIMATORS[cell](shape.hidden, random_state=0, alpha=0.0, n_iter_no_change=1000, **settings, **options)


# --- fit -------------------------------------------------------------------------------------------------------------


def fit(options):
    """An epoch of a fit: batches, gradients, clipping, Adam."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # labels are noise, and max_iter ends the fit
    peers = [TORCH] + [SKORCH] * (importlib.util.find_spec("skorch") is not None)
    notes = [
        f"An epoch of {FIT_ROWS:,} sequences in batches of B, clipping and Adam included: a longer fit minus one of"
    ]
    notes += [
        "one epoch; beside it a loop in PyTorch on prepared tensors, and skorch. The ratio is to the faster.",
        RAGGED,
    ]
    groups = {cell: grid.FIT for cell in options.cells}
    detail = f"ms, {' : '.join([OURS, *peers])}"
    table = Table("Fit", notes, ("shape", "B, T, F, H", "threads"), groups, detail)
    for shape, threads in options.lines(names=FIT_SHAPES):
        for cell in options.cells:
            figure = guarded(_fit, cell, shape, threads, peers, options)
            table.add((shape.name, shape.text, threads), cell, figure)
    return table


def _fit(cell, shape, threads, peers, options):
    data = Data(shape, FIT_ROWS)
    estimator_of(cell, shape, threads, max_iter=1).fit(data.X, data.y)  # may set PyTorch's number of threads
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    loop = TorchLoop(Network(cell, shape), data, shape.rows)
    loop.choose_packing()
    pack = loop.network.pack
    error = _check_fit(cell, shape, threads, data, pack)
    measures = {OURS: epoch_of(cell, shape, threads, data), TORCH: timing.Block(loop.epoch, 1, 0, timing.REST)}
    if SKORCH in peers:
        measures[SKORCH] = timing.Block(skorch_epoch(cell, shape, data, shape.rows, pack), 1, 0, timing.REST)
    for measure in measures.values():
        measure()
    seconds = timing.in_turn(measures, options.rounds, threads)
    check_epochs(seconds[OURS])
    assert torch.get_num_threads() == threads
    return ratio(seconds, *measures, error=error, unit=1e3)


def epoch_of(cell, shape, threads, data):
    """Function that times an epoch of `fit`: a longer fit minus one of one epoch."""

    def seconds(epochs):
        estimator = estimator_of(cell, shape, threads, max_iter=epochs)
        return timing.seconds_of(lambda: estimator.fit(data.X, data.y))

    seconds(1)
    more = min(MOST_EPOCHS, max(1, round(FIT_SECONDS / seconds(1))))

    def measure():
        time.sleep(timing.REST)
        return (seconds(1 + more) - seconds(1)) / more

    return measure


def check_epochs(seconds):
    """Refuse rounds of `epoch_of` whose median is no time."""
    if not statistics.median(seconds) > 0.0:
        raise CheckFailedError("the longer fit was not the longer one: the machine is not quiet")


def _check_fit(cell, shape, threads, data, pack):
    """From the same weights, an epoch without shuffling has the same mean loss on both sides."""
    estimator = estimator_of(cell, shape, threads, max_iter=1, shuffle=False, warm_start=True)
    estimator.fit(data.X, data.y)
    network = Network(cell, shape, pack)
    network.load(estimator.weights_)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(cell == "GRU" or "bias_hh" not in name)  # one bias there
    loss = TorchLoop(network, data, shape.rows, shuffle=False).epoch()
    estimator.fit(data.X, data.y)
    return checked("the losses of an epoch in PyTorch and fastrecur", abs(estimator.loss_ - loss) / loss, 1e-4)


# --- predict ---------------------------------------------------------------------------------------------------------


def predict(options):
    """`predict` of a fitted estimator."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    notes = [f"{PREDICT_ROWS:,} sequences, fewer (n) where a call would take more than {PREDICT_SECONDS:g} s; PyTorch"]
    notes += ["under no_grad in batches of 256 on prepared tensors, ragged ones sorted by length beforehand.", RAGGED]
    groups = {cell: grid.PREDICT for cell in options.cells}
    keys = ("shape", "T, F, H", "threads")
    table = Table("Predict", notes, keys, groups, f"ms, {OURS} : {TORCH}")
    for shape, threads in options.lines(names=PREDICT_SHAPES):
        line = shape.name, shape.text.partition(", ")[2], threads
        for cell in options.cells:
            table.add(line, cell, guarded(_predict, cell, shape, threads, options))
    return table


def _predict(cell, shape, threads, options):
    few = Data(shape, 256)
    estimator = estimator_of(cell, shape, threads, max_iter=1).fit(few.X, few.y)
    torch.set_num_threads(threads)
    network = Network(cell, shape)
    network.load(estimator.weights_)
    trials = TorchPrediction(network, few), lambda: estimator.predict(few.X)
    for trial in trials:
        trial()
    slowest = max(map(timing.seconds_of, trials)) / len(few)
    n_rows = min(PREDICT_ROWS, max(256, int(PREDICT_SECONDS / slowest)))
    data = Data(shape, n_rows)
    prediction = TorchPrediction(network, data)
    error = _check_predict(estimator, data, prediction)
    sides = {OURS: lambda: estimator.predict(data.X), TORCH: prediction}
    seconds = timing.in_turn(timing.blocks(sides), options.rounds, threads)
    assert torch.get_num_threads() == threads
    figure = ratio(seconds, *sides, error=error, unit=1e3)
    figure.detail += f" (n {n_rows:,})" * (n_rows < PREDICT_ROWS)
    return figure


def _check_predict(estimator, data, prediction):
    """Class probabilities within 1e-5 of PyTorch's."""
    theirs = torch.softmax(prediction.outputs(), dim=1)[torch.argsort(prediction.order)].numpy()
    error = np.abs(estimator.predict_proba(data.X) - theirs).max()
    return checked("probabilities in PyTorch and fastrecur", error, 1e-5)
