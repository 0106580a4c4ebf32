"""The parts of revision 0001. They are history: what later releases need differently, later revisions change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

TRACKING = "azure_message_tracking"
ENGAGEMENT = "azure_engagement_events"
DELIVERY = "azure_delivery_events"


def load(filename: str, *, table: str = "") -> Mapping[str, str]:
    """Return the named statements of a file next to this module, ``{table}`` filled in.

    A statement, or several that share a transaction, runs from its ``-- name:`` line to the next one.
    """
    text = (Path(__file__).parent / filename).read_text(encoding="utf-8").replace("{table}", table)
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def read(filename: str) -> str:
    """Return the whole of a file next to this module."""
    return (Path(__file__).parent / filename).read_text(encoding="utf-8")
