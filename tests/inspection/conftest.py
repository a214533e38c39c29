"""Figures of the tests of displays."""

import matplotlib as mpl
import pytest


@pytest.fixture
def plt(monkeypatch):
    """Draw into memory; the figures are closed afterwards."""
    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
