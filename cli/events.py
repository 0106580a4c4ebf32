"""`attribution events`: every event of a campaign, a person or a message."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import click

from cli.formats import NUMBER, write_rows
from cli.instants import since_option

COLUMNS = (
    "event_id",
    "kind",
    "status",
    "internet_message_id",
    "azure_message_id",
    "campaign_id",
    "subscriber_id",
    "event_timestamp",
    "received_at",
    "state",
    "matched_by",
    "url",
    "uncounted",
    "bounce_type",
    "user_agent",
)


@click.command()
@click.option("--campaign", type=NUMBER, metavar="N", help="Events of this campaign.")
@click.option("--subscriber", type=NUMBER, metavar="N", help="Events of this subscriber.")
@click.option("--message", metavar="MESSAGE_ID", help="Events of this message: its Message-ID, or Azure's id of it.")
@since_option
@click.option("--format", "output_format", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
def events(
    campaign: int | None, subscriber: int | None, message: str | None, since: datetime | None, output_format: str
) -> None:
    """Write each event of a campaign, a person or a message.

    Oldest first. Of several choices an event has to fit all. JSON is one object a line. The rows name people and what
    they clicked; mind where you put them. docs/results.md tells the columns.
    """
    from cli.database import connected
    from db.reporting import read_only, stream_events

    if campaign is None and subscriber is None and message is None:
        raise click.UsageError("Say whose events: --campaign, --subscriber or --message.")
    chosen = None if message is None else _message_id(message)
    with connected() as conn:
        read_only(conn)
        rows = stream_events(conn, campaign=campaign, subscriber=subscriber, message=chosen, since=since)
        write_rows(output_format, COLUMNS, rows)


def _message_id(text: str) -> str | UUID:
    """Return either id of a message in its one spelling. A UUID is Azure's id, unless it stands in brackets."""
    from worker.message_id import MessageIdInvalid, normalise_message_id

    try:
        return UUID(text)
    except ValueError:
        pass
    try:
        return normalise_message_id(text)
    except MessageIdInvalid as error:
        raise click.UsageError(f"That is no Message-ID: {error}.") from None
