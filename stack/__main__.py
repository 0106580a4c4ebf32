"""`python -m stack FOLDER` removes every stack in FOLDER, wherever its data lie, and ends what was left running."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.errors import StackError
from stack.services import remove


def _main(folder: Path) -> None:
    for state in sorted(folder.glob("*/lock")):
        remove(state.parent)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]))
    except StackError as error:
        sys.exit(str(error))
