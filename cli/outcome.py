"""What a replay or an import has done, as a few lines for whoever ran it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tasks.batch import Drained

#: One line: what, how many, and of which kinds.
Line = tuple[str, int, str]


def events(drained: Drained, *, known: int) -> list[Line]:
    """Return what became of events, the lines that always stand."""
    return [
        ("new events, attributed", sum(drained.attributed.values()), _kinds(drained.attributed)),
        ("new events, parked", drained.parked, "their messages are not tracked"),
        ("events that were known", known, ""),
        ("malformed", sum(drained.quarantined.values()), _kinds(drained.quarantined)),
    ]


def show(lines: Iterable[Line]) -> None:
    """Print a table of ``lines``."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for what, count, kinds in lines:
        table.add_row(what, f"{count:,}", kinds if count else "")
    Console().print(table)


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items(), key=lambda each: -each[1]))
