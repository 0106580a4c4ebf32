"""`attribution quarantine`: what could not be read, and why."""

from __future__ import annotations

import sys
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table


@click.group(invoke_without_command=True)
@click.option("--reason", help="Only of this reason.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Most rows shown.")
@click.pass_context
def quarantine(context: click.Context, reason: str | None, limit: int) -> None:
    """Show what could not be read, and why.

    Without a subcommand it counts by reason and lists the newest, without their bodies. docs/quarantine.md tells what
    to do about each reason.
    """
    if context.invoked_subcommand is not None:
        return
    from cli.database import connected
    from db.quarantine import count_by_reason, list_quarantine

    with connected() as conn:
        counts = count_by_reason(conn)
        rows = list_quarantine(conn, reason=reason, limit=limit)
    console = Console()
    if not counts:
        console.print("Nothing is in quarantine.")
        return
    summary = Table("kind", "reason", "bodies", "latest", box=None, pad_edge=False)
    for count in counts:
        summary.add_row(count.kind, count.reason, str(count.bodies), _instant(count.latest_received_at))
    newest = Table("number", "kind", "reason", "detail", "received", "bytes", box=None, pad_edge=False)
    for row in rows:
        newest.add_row(
            str(row.id),
            row.kind,
            row.reason,
            row.detail or "",
            _instant(row.received_at),
            str(row.body_bytes),
        )
    console.print(summary, "", newest)


@quarantine.command()
@click.argument("number", type=int)
def show(number: int) -> None:
    """Write the bytes of one row to standard output, as they came. They may hold an address."""
    from cli.database import connected
    from db.quarantine import show_body

    with connected() as conn:
        body = show_body(conn, number)
    if body is None:
        raise click.UsageError(f"There is no number {number} in quarantine.")
    sys.stdout.buffer.write(body)


def _instant(at: datetime | None) -> str:
    return "before this system" if at is None else f"{at:%Y-%m-%d %H:%M:%S %Z}"
