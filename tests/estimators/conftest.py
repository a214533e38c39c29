"""Fixtures of the estimators' tests."""

import pytest

from fastrecur.estimators import base


@pytest.fixture
def no_network(monkeypatch):
    """An error comes before any work: no network is made."""

    def refuse(*_):
        pytest.fail("a network was made before the input was refused")

    monkeypatch.setattr(base, "Model", refuse)
