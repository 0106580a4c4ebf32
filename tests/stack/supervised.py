"""A process that supervises shell scripts. Its arguments are a folder and, in turn, names and scripts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stack.processes import Program, Supervisor


def _show(name: str, line: str) -> None:
    sys.stdout.write(f"{name}: {line}\n")  # in one piece, as lines come from several threads
    sys.stdout.flush()


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    programs = [
        Program(name, ["/bin/sh", "-c", script], dict(os.environ), grace_seconds=2 if name == "stubborn" else 15)
        for name, script in zip(rest[::2], rest[1::2], strict=True)
    ]
    Supervisor(Path(folder), programs, _show).run(on_ready=lambda: _show("all", "ready"))
