"""Fixtures of the estimators' tests."""

import itertools

import pytest

from fastrecur.estimators import base
from tests.estimators.data import CLASSES, DEPTHS, LAYOUTS, Case, make_estimator, make_targets


@pytest.fixture
def no_network(monkeypatch):
    """An error comes before any work: no network is made."""

    def refuse(*_):
        pytest.fail("a network was made before the input was refused")

    monkeypatch.setattr(base, "make_model", refuse)


@pytest.fixture(
    scope="module",
    params=[
        (cls, layout, depth)
        for cls, layout, depth in itertools.product(CLASSES, LAYOUTS, DEPTHS)
        if depth == "plain" or layout in ("array", "ragged")
    ],
    ids=lambda param: f"{param[0].__name__}-{param[1]}-{param[2]}",
)
def case(request):
    cls, layout, depth = request.param
    X = LAYOUTS[layout]()
    y = make_targets(cls, X)
    return Case(make_estimator(cls, depth).fit(X, y), X, y)
