"""Accuracy and time of the classifiers with default parameters on real data: ``python -m bench.real_data``.

The series lie as ``.ts`` text in the wheel of aeon, which pip fetches once, without installing it, into a folder of
the user's cache. Every classifier stands behind ``PerTimestep(StandardScaler())``. The split of JapaneseVowels,
ItalyPowerDemand, BasicMotions and GunPoint is the one they are published with; of the digits 30% are kept for the
test, another 30%, stratified, for each seed.

Beside them: a GRU in PyTorch on JapaneseVowels, of the same shape and on the same data, with the optimiser, learning
rate, batch size, clipping and number of epochs of `GRUClassifier` and packed sequences; and scikit-learn's
`MLPClassifier` on the digits as one row of 64.
"""

import argparse
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench import machine
from bench.data import ARCHIVE, DIGITS, cache_folder, fetch_archive, load
from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier
from fastrecur.preprocessing import PerTimestep

CELLS = (RNNClassifier, LSTMClassifier, GRUClassifier)


# --- models: each returns its test accuracy, epochs, and seconds of the fit -----------------------------------------


def fit_estimator(classifier, data):
    """An estimator of fastrecur."""
    X_train, X_test, y_train, y_test = data
    model = make_pipeline(PerTimestep(StandardScaler()), classifier)
    seconds = _seconds(lambda: model.fit(X_train, y_train))
    return model.score(X_test, y_test), classifier.n_iter_, seconds


def fit_mlp(seed, data):
    """`MLPClassifier` on flattened sequences of equal length."""
    X_train, X_test, y_train, y_test = data
    model = make_pipeline(StandardScaler(), MLPClassifier(random_state=seed))
    seconds = _seconds(lambda: model.fit(X_train.reshape(len(X_train), -1), y_train))
    return model.score(X_test.reshape(len(X_test), -1), y_test), model[-1].n_iter_, seconds


def fit_torch(seed, data, like, epochs):
    """GRU and dense layer in PyTorch with the sizes and options of the estimator ``like``, for as many epochs."""
    import torch
    from torch.nn.utils.rnn import pack_sequence

    X_train, X_test, y_train, y_test = data
    classes, labels = np.unique(y_train, return_inverse=True)
    labels = torch.from_numpy(labels)
    torch.manual_seed(seed)
    gru = torch.nn.GRU(X_train[0].shape[1], like.hidden_size)
    head = torch.nn.Linear(like.hidden_size, len(classes))
    parameters = [*gru.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=like.learning_rate_init)
    batch_size = 32 if like.batch_size == "auto" else like.batch_size
    scaler = PerTimestep(StandardScaler())

    def scaled(X):
        return [torch.as_tensor(x, dtype=torch.float32) for x in scaler.transform(X)]

    def logits(sequences):
        _, h = gru(pack_sequence(sequences, enforce_sorted=False))
        return head(h[-1])

    def fit():
        scaler.fit(X_train)
        sequences = scaled(X_train)
        for _ in range(epochs):
            for batch in torch.randperm(len(sequences)).split(batch_size):
                loss = torch.nn.functional.cross_entropy(logits([sequences[i] for i in batch]), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, like.max_grad_norm)
                optimiser.step()

    seconds = _seconds(fit)
    with torch.inference_mode():
        predicted = classes[logits(scaled(X_test)).argmax(dim=1).numpy()]
    return float(np.mean(predicted == y_test)), epochs, seconds


def _seconds(fit):
    began = time.perf_counter()
    fit()
    return time.perf_counter() - began


# --- the table -------------------------------------------------------------------------------------------------------


def measure(name, folder, seeds, n_threads):
    """Rows of the table for one data set: name of the model, results (accuracy, epochs, seconds) of all seeds."""
    data = {seed: load(name, folder, seed) for seed in seeds}
    for cell in CELLS:
        fit_estimator(cell(max_iter=1, n_threads=n_threads), data[seeds[0]])  # compiles
        results = [fit_estimator(cell(random_state=seed, n_threads=n_threads), data[seed]) for seed in seeds]
        yield cell.__name__, results
    if name == "JapaneseVowels" and _set_torch_threads(n_threads):
        # `results` are GRUClassifier's: the last of CELLS.
        fit_torch(seeds[0], data[seeds[0]], GRUClassifier(), 1)  # warms up, as above
        pairs = zip(seeds, results, strict=True)
        yield "GRU in PyTorch", [fit_torch(seed, data[seed], GRUClassifier(), r[1]) for seed, r in pairs]
    if name == DIGITS:
        yield "MLPClassifier", [fit_mlp(seed, data[seed]) for seed in seeds]


def _set_torch_threads(n_threads):
    """Whether PyTorch is installed; after fastrecur's first kernel, as OpenMP may reset the number then."""
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(n_threads)
    return True


def main():
    parser = argparse.ArgumentParser(description="Accuracy and time of the classifiers on real data.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--data", nargs="+", choices=[*ARCHIVE, DIGITS], default=[*ARCHIVE, DIGITS], metavar="NAME")
    parser.add_argument("--threads", type=int, default=1, help="of fastrecur and PyTorch; default: 1")
    parser.add_argument("--cache", type=Path, help="folder for the data, instead of one of the user's cache")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the column of epochs says it
    folder = options.cache or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    files = fetch_archive(folder) if set(options.data) & set(ARCHIVE) else None
    print("| data | model | test accuracy, mean (least) | epochs, mean | seconds a fit, median |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.data:
        for model, results in measure(name, folder, options.seeds, options.threads):
            accuracy, epochs, seconds = zip(*results, strict=True)
            print(
                f"| {name} | {model} | {statistics.fmean(accuracy):.1%} ({min(accuracy):.1%}) | "
                f"{statistics.fmean(epochs):.0f} | {statistics.median(seconds):.2f} |",
                flush=True,
            )
    print()
    print(*machine.describe(), sep="\n")
    source = f"; series from {files.name}" if files else ""
    print(f"seeds {' '.join(map(str, options.seeds))}, {options.threads} thread(s){source}")


if __name__ == "__main__":
    main()
