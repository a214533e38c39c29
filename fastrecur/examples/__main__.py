"""``python -m fastrecur.examples``: which examples there are, and how to run one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

COMMAND = "python -m fastrecur.examples"


def examples() -> dict[str, str]:
    """What each example does, by its name: the first line of its module, without the command that it begins with."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        line = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        command, _, text = line.partition("``: ")
        if command == f"``{COMMAND}.{path.stem}":
            found[path.stem] = text[0].upper() + text[1:]
    return found


def main(arguments: list[str]) -> None:
    """List the examples; refuse a name that stands behind a blank rather than a dot."""
    found = examples()
    if arguments:
        name = arguments[0] if arguments[0] in found else f"NAME, where NAME is one of {', '.join(found)}"
        raise SystemExit(f"{COMMAND} takes no arguments, found {arguments[0]!r}. Run {COMMAND}.{name}.")
    width = max(map(len, found))
    print(f"Run {COMMAND}.NAME; with --help it says what it takes.\n")
    for name, text in found.items():
        print(f"  {name:<{width}}  {text}")


if __name__ == "__main__":
    main(sys.argv[1:])
