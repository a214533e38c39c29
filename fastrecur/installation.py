"""What is installed here and for which processor, and how to compile ahead."""

from __future__ import annotations

import importlib.metadata
import platform
import warnings
from collections.abc import Sequence

import numba
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastrecur.estimators import estimators
from fastrecur.kernels.compile import cache_directory
from fastrecur.kernels.cpu.target import INSTRUCTION_SET, TALL_2, TALL_3, TALL_4, VECTOR_BYTES
from fastrecur.kernels.threads import available_threads
from fastrecur.network.validation import check_choice

_CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
_PACKAGES = ("fastrecur", "numba", "llvmlite", "numpy", "scipy", "scikit-learn", "safetensors", "rich")


def warmup(cells: Sequence[str] = ("rnn", "lstm", "gru"), dtypes: Sequence[str] = ("float32",)) -> None:
    """Compile what `fit`, `predict` and streams need, so that the first of them does not wait for it.

    The kernels are kept on disk: once for an installation and a processor is enough, in the building of a container
    image, say. It takes some 35 seconds for the first cell and 15 for the next ones; where the kernels lie on disk
    already, they are loaded. Left out are embeddings, dropout, solvers other than Adam and pooling other than "last":
    each compiles for up to a second when it is first met; and what several threads do together for a single sequence of
    a large network, or for a layer of 4 MB of weights and more.

    Parameters
    ----------
    cells : sequence of {"rnn", "lstm", "gru"}
    dtypes : sequence of {"float32", "float64"}
        Of the computation (the estimators' ``dtype``).

    Raises
    ------
    ValueError
        If a cell or dtype is unknown.

    Examples
    --------
    >>> import fastrecur
    >>> fastrecur.warmup(cells=["gru"])
    """
    for cell in cells:
        check_choice("cells", cell, _CELLS)
    for dtype in dtypes:
        check_choice("dtypes", dtype, ("float32", "float64"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for cell in cells:
            for dtype in dtypes:
                for kind, labels in (("Classifier", np.arange(64) % 2), ("Regressor", np.arange(64.0))):
                    _use(getattr(estimators, _CELLS[cell] + kind), labels, dtype)


def _use(estimator: type, labels: np.ndarray, dtype: str) -> None:
    """Fit and predict, on one thread and on several, in every form that Numba tells from others."""
    # Work for several threads, and enough time steps to look for gradients that vanish.
    lengths = range(208, 144, -1)
    for n_threads, kept in ((1, np.float32), (None, np.float64)):
        options = {"batch_size": 64, "max_iter": 1, "dtype": dtype, "n_threads": n_threads}
        X, frozen = [np.zeros((length, 8), kept) for length in lengths], np.zeros((64, 208, 8), kept)
        frozen.flags.writeable = False  # as of memory maps and data frames
        model = estimator(32, **options).fit(X, labels)
        getattr(model, "predict_proba", model.predict)(X)
        model.predict(frozen)
        for given in (np.float32, np.float64):
            many = np.zeros((1024, 80, 8), given)  # so many that several threads pack them, in pieces of 64 steps
            model.predict(many)
            model.predict(list(many))
            many.flags.writeable = False
            model.predict(many)
        model.predict_step(frozen[:1, 0], model.initial_state())
        estimator(32, num_layers=2, bidirectional=True, **options).fit(X, labels)
        estimator(32, return_sequences=True, **options).fit(X, [np.resize(labels, length) for length in lengths])
        many_classes = [np.arange(length) % 32 for length in lengths]  # so many that several threads share the head
        estimator(32, return_sequences=True, **options).fit(X, many_classes).predict(X)


def show_versions() -> None:
    """Print the versions, the processor's instruction set and tiles, the threads, the kernels' directory, the GPU.

    Examples
    --------
    >>> import fastrecur
    >>> fastrecur.show_versions()  # doctest: +SKIP
    """
    facts = {
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{package: _version(package) for package in _PACKAGES},
        "instruction set": f"{INSTRUCTION_SET}, vectors of {8 * VECTOR_BYTES} bits",
        "tiles (rows x vectors)": f"RNN {TALL_2} x 2, GRU {TALL_3} x 3, LSTM {TALL_4} x 4",
        "threads": f"{available_threads()} by default, layer: {_threading_layer()}",
        "cache directory": cache_directory() or "none: each process compiles anew",
        "GPU": _gpu(),
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:>{width}}: {fact}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (run from a checkout?)"


def _gpu() -> str:
    from fastrecur.kernels.cuda import runtime  # which imports CUDA

    return f"{runtime.device_name()} ({runtime.PACKAGE})" if runtime.PACKAGE else runtime.device_name()


def _threading_layer() -> str:
    try:
        return numba.threading_layer()
    except ValueError:
        return "not started"
