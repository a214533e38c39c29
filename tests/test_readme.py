"""The README's examples run as they stand."""

import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text("utf-8"), re.DOTALL)


def test_examples_are_found():
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("code", EXAMPLES, ids=["pipeline", "layer"])
def test_example(code, capsys):
    names: dict = {}
    exec(code, names)
    if "X_test" in names:
        assert float(capsys.readouterr().out) > 0.95
    else:
        assert names["dx"].shape == names["x"].shape
