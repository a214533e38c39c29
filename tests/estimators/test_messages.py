"""Errors say what was found without showing all of it."""

import numpy as np
import pandas as pd
import pytest

from fastrecur import LSTMRegressor

COMPLEX = np.ones((300, 20)) + 1j


@pytest.mark.parametrize(
    ("X", "y"),
    [(COMPLEX, np.ones(300)), (COMPLEX.tolist(), np.ones(300)), (pd.DataFrame(COMPLEX), np.ones(300)),
     (COMPLEX.real, COMPLEX)],
    ids=["X", "X in lists", "X in a data frame", "y"],
)  # fmt: skip
def test_complex_numbers(X, y):
    with pytest.raises(ValueError, match="Complex data not supported") as caught:
        LSTMRegressor().fit(X, y)
    assert len(str(caught.value)) < 250
    assert "1.+1.j" not in str(caught.value)
