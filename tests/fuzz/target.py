"""What libFuzzer runs: ``python -m tests.fuzz.target PROPERTY`` and its own arguments. `make fuzz` starts it."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

#: What is instrumented, so that its branches guide the fuzzer. Nothing of it may be imported before.
_PACKAGES: Final = [
    "tasks.wire",
    "tasks.eventgrid",
    "tasks.drift",
    "tasks.messages",
    "worker",
    "db.listmonk",
    "db.bounces",
]


def main() -> None:
    """Fuzz one property until libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")  # not there on every platform, and without types
    with atheris.instrument_imports(include=_PACKAGES):
        from tests.fuzz.properties import PROPERTIES
    atheris.Setup([sys.argv[0], *arguments], PROPERTIES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
