"""`attribution accuracy`: how many clicks two independent keys prove, and where the two disagree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
from rich.table import Table

from cli.formats import console, write_document
from cli.instants import minute, since_option


@click.command()
@since_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0, 100_000), help="Most incidents shown.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def accuracy(since: datetime | None, limit: int, output_format: str) -> None:
    """Show how many clicks two independent keys prove.

    One key says whose message it was that was clicked; listmonk's tracked link names campaign and reader by itself.
    Also shown: clicks on which the two disagree, how many events each key has attributed, and how many opens and clicks
    are like another one but for their event id.
    """
    from cli.database import connected
    from db.reporting import count_alike, count_by_key, list_disagreements, measure_accuracy, read_only

    with connected() as conn:
        read_only(conn)
        clicks = measure_accuracy(conn, since=since)
        incidents = list_disagreements(conn, limit=limit, since=since)
        keys = count_by_key(conn, since=since)
        alike = count_alike(conn, since=since)
    if output_format == "json":
        write_document(_document(since, clicks, incidents, keys, alike))
        return
    _show_clicks(clicks)
    _show_incidents(incidents)
    _show_keys(keys)
    _show_alike(alike)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _attributed(keys: Sequence[Any]) -> tuple[int, int]:
    """Return how many events are attributed, and how many there are."""
    total = sum(key.engagements + key.deliveries for key in keys)
    return sum(key.engagements + key.deliveries for key in keys if key.state == "attributed"), total


def _document(
    since: datetime | None, clicks: Any, incidents: Sequence[Any], keys: Sequence[Any], alike: int
) -> dict[str, Any]:
    attributed, total = _attributed(keys)
    return {
        "since": since,
        "clicks": {
            **clicks._asdict(),
            "proven_share": _share(clicks.agreeing, clicks.clicks),
            "agreement_share": _share(clicks.agreeing, clicks.two_keys),
        },
        "disagreements": [
            {
                "found_at": row.found_at,
                "event_id": row.event_id,
                "event_timestamp": row.event_timestamp,
                "internet_message_id": row.internet_message_id,
                "azure_message_id": row.azure_message_id,
                "message": {"campaign_id": row.message_campaign_id, "subscriber_id": row.message_subscriber_id},
                "link": {"campaign_id": row.link_campaign_id, "subscriber_id": row.link_subscriber_id},
            }
            for row in incidents
        ],
        "events": {
            "total": total,
            "attributed": attributed,
            "attributed_share": _share(attributed, total),
            "by_key": [key._asdict() for key in keys],
            "alike": alike,
        },
    }


def _show_clicks(clicks: Any) -> None:
    if not clicks.two_keys:
        console().print(
            f"Of {clicks.clicks:,} clicks, no click carries a second key: none was on a tracked link of listmonk's in"
            " a message that is tracked.\n"
            if clicks.clicks
            else "There are no clicks.\n"
        )
        return
    table = _numbers("clicks", "with two keys", "agreeing", "disagreeing", "proven", "of two keys agree")
    table.add_row(
        *(f"{count:,}" for count in clicks),
        _percent(clicks.agreeing, clicks.clicks),
        _percent(clicks.agreeing, clicks.two_keys),
    )
    console().print(table, "")


def _show_incidents(incidents: Sequence[Any]) -> None:
    if not incidents:
        return
    table = Table("found", "event", "clicked", "message says", "link says", box=None, pad_edge=False)
    for row in incidents:
        table.add_row(
            minute(row.found_at),
            row.event_id or "",
            minute(row.event_timestamp),
            _side(row.message_campaign_id, row.message_subscriber_id),
            _side(row.link_campaign_id, row.link_subscriber_id),
        )
    console().print(table, "")


def _side(campaign: int | None, subscriber: int | None) -> str:
    named = {"campaign": campaign, "subscriber": subscriber}
    return ", ".join(f"{what} {number}" for what, number in named.items() if number is not None)


def _show_keys(keys: Sequence[Any]) -> None:
    attributed, total = _attributed(keys)
    if not total:
        console().print("There are no events.")
        return
    table = Table("key", box=None, pad_edge=False)
    for name in ("engagement reports", "delivery reports", "of all"):
        table.add_column(name, justify="right")
    for key in keys:
        count = key.engagements + key.deliveries
        table.add_row(
            key.matched_by or f"({key.state})", f"{key.engagements:,}", f"{key.deliveries:,}", _percent(count, total)
        )
    console().print(table, f"{attributed:,} of {total:,} events are attributed: {_percent(attributed, total)}.")


def _show_alike(alike: int) -> None:
    if alike:
        console().print(
            f"\n{alike:,} opens and clicks are like another one in everything but their event id. Each is counted: two"
            " ids are two events. If there are many, Azure or a scanner tells acts twice."
        )


def _numbers(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    return table
