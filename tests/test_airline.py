"""The airline passengers: known sums, months, errors."""

import sys

import numpy as np
import pandas as pd
import pytest

from fastrecur.datasets import load_airline


def test_passengers():
    passengers = load_airline()
    assert (passengers.shape, passengers.dtype) == ((144,), np.float64)
    assert passengers.sum() == 40363
    yearly = [1520, 1676, 2042, 2364, 2700, 2867, 3408, 3939, 4421, 4572, 5140, 5714]
    np.testing.assert_array_equal(passengers.reshape(12, 12).sum(axis=1), yearly)


def test_frame():
    passengers = load_airline(as_frame=True)
    assert passengers[pd.Period("1960-07")] == 622
    np.testing.assert_array_equal(passengers, load_airline())


def test_errors(monkeypatch):
    with pytest.raises(TypeError, match="as_frame must be True or False"):
        load_airline(as_frame="yes")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        load_airline(as_frame=True)
