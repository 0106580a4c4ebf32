"""How events that wait are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Column, Table


def show_events(rows: list[tuple[str, Any]], limit: int) -> None:
    """Print a table of waiting events, each with the name of its table: the oldest ``limit``."""
    rows.sort(key=lambda each: each[1].created_at)
    if not rows:
        return
    columns = ("event", "kind", "message", "since", "attempts", "next attempt", "why")
    shown = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
    for name, row in rows[:limit]:
        shown.add_row(
            row.event_id or f"row {row.id}",
            "delivery" if "delivery" in name else "engagement",
            row.internet_message_id or str(row.azure_message_id),
            ago(row.created_at),
            str(row.attempts),
            _in(row.next_attempt_at) if row.next_attempt_at else f"expired {ago(row.expired_at)}",
            _reason(row),
        )
    Console().print(shown)


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
