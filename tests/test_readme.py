"""The README's examples run as they stand."""

import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text("utf-8"), re.DOTALL)

PRINTED = {
    "pipeline": r"0\.9[5-9]",
    "steps": r"(0\.9[7-9]|1\.0)",
    "layer": "",
    "text": r"(0\.9[5-9]|1\.0)",
    "forecast": r"\(12, 1, 3\)",
    "inspection": (
        r"RNNRegressor: R\^2 -?0\.0\d, memory [1-4]?\d of 50 steps\n"
        r"LSTMRegressor: R\^2 (0\.9\d|1\.00), memory 50 of 50 steps"
    ),
}


def test_examples_are_found():
    assert len(EXAMPLES) == len(PRINTED)


@pytest.mark.parametrize(("code", "printed"), list(zip(EXAMPLES, PRINTED.values(), strict=False)), ids=PRINTED)
def test_example(code, printed, capsys):
    exec(code, {})
    assert re.match(printed, capsys.readouterr().out)
