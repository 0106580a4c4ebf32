"""`attribution stats`: the results of each campaign."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
from rich.table import Table

from cli.formats import NUMBER, console, write_document, write_rows
from cli.instants import minute, since_option

#: The columns of the view campaign_stats, which are those of CSV and JSON, too.
COLUMNS = (
    "campaign_id",
    "sent",
    "delivered",
    "bounced_hard",
    "bounced_soft",
    "bounced_complaint",
    "opens",
    "unique_opens",
    "clicks",
    "unique_clicks",
    "unsubscribe_clicks",
    "parked",
    "first_event_at",
    "last_event_at",
    "population_rate",
)


@click.command()
@click.option(
    "--campaign", "campaigns", type=NUMBER, metavar="N", multiple=True, help="Only this campaign; may be repeated."
)
@since_option
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
def stats(campaigns: tuple[int, ...], since: datetime | None, output_format: str) -> None:
    """Show the results of each campaign: bounces, opens, clicks.

    docs/results.md says what each column counts.
    """
    from cli.database import connected
    from db.parking import count_expired, count_parked
    from db.reporting import campaign_stats, read_only

    with connected() as conn:
        read_only(conn)
        rows = campaign_stats(conn, campaigns=campaigns or None, since=since)
        parked, expired = count_parked(conn), count_expired(conn)
    for missing in sorted({*campaigns} - {row.campaign_id for row in rows}):
        click.echo(f"Campaign {missing}: no message and no event{' since then' if since else ''}.", err=True)
    if output_format == "csv":
        write_rows("csv", COLUMNS, rows)
    elif output_format == "json":
        write_document(
            {
                "since": since,
                "campaigns": [row._asdict() for row in rows],
                "waiting": {
                    "parked": parked.events,
                    "expired": expired.events,
                    "expired_is_exact": expired.exact,
                    "oldest_parked_at": parked.oldest_at,
                },
            }
        )
    else:
        _show(rows)
        console().print(
            f"Waiting now, of whatever campaign: {parked.events:,} parked"
            + (f" (the oldest since {minute(parked.oldest_at)})" if parked.oldest_at else "")
            + f", {expired} expired."
        )


def _show(rows: Sequence[Any]) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("campaign", "sent", "delivered", "bounced\nhard", "\nsoft", "\ncomplaint", "opens", "\nunique"):
        table.add_column(name, justify="right")
    for name in ("clicks", "\nunique", "unsubscribe\nclicks", "parked"):
        table.add_column(name, justify="right")
    table.add_column("first event")
    table.add_column("last event")
    table.add_column("Message-ID\nknown", justify="right")
    for row in rows:
        table.add_row(
            str(row.campaign_id),
            *(f"{count:,}" for count in row[1:12]),
            minute(row.first_event_at),
            minute(row.last_event_at),
            "" if row.population_rate is None else f"{row.population_rate:.1%}",
        )
    console().print(table)
