"""Compiling ahead, and what is told of an installation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastrecur

ROOT = Path(fastrecur.__file__).parents[1]

#: Prints what is compiled, or loaded from disk, after warmup: in a process of its own, for this one has used kernels.
COMPILED = """
import importlib, pkgutil, warnings
import numpy as np
import fastrecur, fastrecur.kernels
from fastrecur import RNNClassifier, RNNRegressor
from numba.core.dispatcher import Dispatcher

def entry_points():
    for info in pkgutil.walk_packages(fastrecur.kernels.__path__, "fastrecur.kernels."):
        for both in vars(importlib.import_module(info.name)).values():
            for f in (getattr(both, "alone", both), getattr(both, "shared", None)):
                if isinstance(f, Dispatcher) and "nogil" in f.targetoptions:
                    yield f

warnings.simplefilter("ignore")
fastrecur.warmup(cells=["rnn"])
warm = {f: set(f.signatures) for f in entry_points()}
X = np.random.default_rng(0).normal(size=(90, 200, 3))
for x in (X, X.astype(np.float32), list(X), [row[: 20 + i] for i, row in enumerate(X)], X[:, :5], X[:, :, 0]):
    for model, y in ((RNNClassifier, np.arange(90) % 3), (RNNRegressor, np.arange(90.0))):
        for hidden_size in (7, 40):
            fitted = model(hidden_size, max_iter=2).fit(x, y)
            fitted.predict(x)
X.flags.writeable = False
fitted = RNNClassifier(max_iter=2).fit(X, np.arange(90) % 3)
fitted.predict_proba(X)
fitted.predict_step(X[:1, 0], fitted.initial_state())
many = np.repeat(X[:, :64], 12, axis=0)  # so many that several threads pack them
for x in (many, many.astype(np.float32)):
    fitted.predict(x)
for model, y in ((RNNClassifier, np.zeros((90, 200), int) + np.arange(200) % 3), (RNNRegressor, X)):
    model(max_iter=1, num_layers=2, bidirectional=True, return_sequences=True).fit(X, y).predict(X)
print(len(warm), sum(map(len, warm.values())))
for f in entry_points():
    for signature in set(f.signatures) - warm[f]:
        print("compiled:", f.py_func.__name__, signature)
"""


def test_after_warmup_a_fit_compiles_nothing():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPILED]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    counts, *compiled = result.stdout.splitlines()
    assert min(map(int, counts.split())) > 20
    assert compiled == []


@pytest.mark.parametrize(
    ("options", "message"), [({"cells": ["lsmt"]}, "cells .* 'lsmt'"), ({"dtypes": ["f4"]}, "dtypes .* 'f4'")]
)
def test_warmup_refuses_what_it_does_not_know(options, message):
    with pytest.raises(ValueError, match=message):
        fastrecur.warmup(**options)


def test_show_versions(capsys):
    fastrecur.show_versions()
    told = capsys.readouterr().out
    for name in ("Python", "numba", "scikit-learn", "instruction set", "tiles", "threads", "cache directory", "GPU"):
        assert f"{name}" in told
