"""Fits of the examples, whose epochs are a budget."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.exceptions import ConvergenceWarning


@contextmanager
def on_a_budget() -> Iterator[None]:
    """Do not warn of a loss that was still falling: so many epochs were asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def timed_fit(model: Any, X: Any, y: Any) -> float:
    """Fit a model on a budget; returns seconds."""
    start = time.perf_counter()
    with on_a_budget():
        model.fit(X, y)
    return time.perf_counter() - start
