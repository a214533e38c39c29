"""``python -m fastrecur.examples`` tells which examples there are."""

import subprocess
import sys

import pytest

from fastrecur.examples.__main__ import examples, main
from tests.examples.test_options import EXAMPLES


def test_all_examples_are_listed():
    assert examples().keys() == set(EXAMPLES)
    done = subprocess.run([sys.executable, "-m", "fastrecur.examples"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Run python -m fastrecur.examples.NAME" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == sorted(EXAMPLES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["stream"], r"takes no arguments, found 'stream'. Run python -m fastrecur.examples.stream\.$"),
        (["streams"], "takes no arguments, found 'streams'. .* where NAME is one of forecast, .*stream"),
    ],
)
def test_a_name_after_a_blank(given, message):
    with pytest.raises(SystemExit, match=message):
        main(given)
