"""How events that wait are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from cli.formats import printable

_COLUMNS: Final = ("event", "kind", "message", "since", "attempts", "next attempt", "why")
_IDS: Final = frozenset({"event", "message"})
#: Least width of a column of sentences.
_SENTENCE: Final = 24
#: Wider than any table.
_ENDLESS: Final = 100_000


def show_events(screen: Console, rows: list[tuple[str, Any]], limit: int) -> None:
    """Print waiting events, each with the name of its table, the oldest ``limit``: as a table, if it is wide enough.

    Ids are to be copied, so none is ever folded: where the table's would be, each event has lines of its own.
    """
    rows.sort(key=lambda each: each[1].created_at)
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        if name in _IDS:
            table.add_column(name, no_wrap=True)
        else:
            table.add_column(name, overflow="fold", min_width=len(name) if name != "why" else _SENTENCE)
    told = [_cells(name, row) for name, row in rows[:limit]]
    for cells in told:
        table.add_row(*cells)
    if table.__rich_measure__(screen, screen.options.update(max_width=_ENDLESS)).minimum <= screen.width:
        screen.print(table)
        return
    for event, kind, message, since, attempts, next_attempt, why in told:
        screen.print(event, soft_wrap=True)
        screen.print(f"  {message}", soft_wrap=True)
        screen.print(f"  {kind}, {since}; attempts: {attempts}, next attempt: {next_attempt}; {why}", soft_wrap=True)


def _cells(table: str, row: Any) -> tuple[str, ...]:
    return (
        printable(row.event_id or f"row {row.id}"),
        "delivery" if "delivery" in table else "engagement",
        printable(row.internet_message_id or str(row.azure_message_id)),
        ago(row.created_at),
        str(row.attempts),
        _in(row.next_attempt_at) if row.next_attempt_at else f"expired {ago(row.expired_at)}",
        _reason(row),
    )


def _reason(row: Any) -> str:
    """Say why an event waits, in words."""
    expired_reason = row.expired_reason if row.state == "expired" else None  # else it was retried since
    if expired_reason == "operator":
        return "an operator expired it"
    if row.internet_message_id is None:
        why = "the event carries Azure's id only, and no message tracked, nor any delivery report, has named it"
    else:
        why = "no message with this Message-ID is tracked"
    return f"{why} until the deadline" if expired_reason else why


def ago(at: datetime | None) -> str:
    """Say how long ago that was."""
    return "unknown" if at is None else f"{_span(datetime.now(UTC) - at)} ago"


def _in(at: datetime) -> str:
    wait = at - datetime.now(UTC)
    return "now" if wait <= timedelta(0) else f"in {_span(wait)}"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"
