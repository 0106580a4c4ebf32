"""What libFuzzer runs: ``python -m tests.fuzz.target PROPERTY`` and its own arguments. `make fuzz` starts it."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
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
    """Fuzz one property until libFuzzer ends the process. What breaks it is written into the folder ``found``."""
    name, found, *arguments = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")  # not there on every platform, and without types
    with atheris.instrument_imports(include=_PACKAGES):
        from tests.fuzz.properties import PROPERTIES

    def check(data: bytes) -> None:
        try:
            PROPERTIES[name](data)
        except BaseException:  # libFuzzer writes it as well, mostly
            Path(found, hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
