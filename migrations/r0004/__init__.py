"""The parts of revision 0004. They are history: what later releases need differently, later revisions change."""

from __future__ import annotations

from pathlib import Path


def read(filename: str) -> str:
    """Return the whole of a file next to this module."""
    return (Path(__file__).parent / filename).read_text(encoding="utf-8")
