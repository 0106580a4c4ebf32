"""`attribution incidents`: what an operator must see and the system does not decide; and the end of an alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from sqlalchemy import Row

KINDS: Final = ("keys_disagree", "message_id_replaced", "poison", "drift", "id_missing")
#: Those that are about one event.
_OF_EVENTS: Final = ("keys_disagree", "message_id_replaced")


@click.group(invoke_without_command=True)
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind; all if left out.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Most incidents shown.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def incidents(context: click.Context, kind: str | None, limit: int, output_format: str) -> None:
    """Show keys that disagree, replaced Message-IDs, drift, alarms.

    An incident changes no number: it is evidence for people to look at. docs/rewrites.md tells how a replaced
    Message-ID is found out, docs/drift.md what raises an alarm, and that one of them slows the drain.
    """
    if context.invoked_subcommand is None:
        _list(kind, limit, output_format)


@incidents.command()
def dismiss() -> None:
    """End the alarms: the drain goes on at full speed within seconds, whatever it cannot read.

    The names that Azure has begun to use count as known from now on. An alarm that was dismissed does not come again
    for the length of its window, ATTRIBUTION_ALARM_WINDOW.
    """
    from cli.database import connected
    from db.drift import dismiss_alarms

    with connected() as conn:
        ended, accepted = dismiss_alarms(conn)
    alarms = f"{len(ended)} {'alarm' if len(ended) == 1 else 'alarms'} ended"
    names = f"{accepted} {'name' if accepted == 1 else 'names'} accepted"
    click.echo(f"{alarms}, {names}.")


def _list(kind: str | None, limit: int, output_format: str) -> None:
    from cli.database import connected
    from cli.formats import console, printable, write_document
    from cli.incident_words import alarm_sentence
    from cli.instants import minute
    from cli.why_words import incident_sentence
    from db.drift import names_of
    from db.reporting import read_only
    from db.rewrites import count_incidents, list_incidents

    with connected() as conn:
        read_only(conn)
        counts = count_incidents(conn)
        rows = [dict(row._mapping) for row in list_incidents(conn, kind=kind, limit=limit)]
        names = names_of(conn, [row["subject_id"] for row in rows if row["kind"] == "drift"])
    if output_format == "json":
        _name(rows, names)
        write_document({"counts": counts, "incidents": rows})
        return
    total = counts.get(kind, 0) if kind else sum(counts.values())
    for row in rows:
        if row["kind"] in _OF_EVENTS:
            event = printable(row["event_id"] or "") or f"row {row['subject_id']}, which is gone"
            sentence = f"event {event}: {incident_sentence(row)}"
        else:
            sentence = printable(alarm_sentence(row, names.get(row["subject_id"])))
        console().print(f"{minute(row['found_at'])}  {sentence}.", soft_wrap=True)
    if any(row["kind"] == "message_id_replaced" for row in rows):
        console().print(
            "With the header `x-ms-acsemail-validate-message-id: true` ACS refuses such a mail instead, so that the"
            " mailer notices at once.",
            soft_wrap=True,
        )
    left = f", {len(rows):,} shown" if len(rows) < total else ""
    console().print(f"{total:,} {'incident' if total == 1 else 'incidents'}{left}.")


def _name(rows: Sequence[dict[str, Any]], names: Mapping[int, Row[Any]]) -> None:
    """Add to each incident of drift the name that it is about."""
    for row in rows:
        if row["kind"] == "drift" and row["subject_id"] in names:
            row["name"] = names[row["subject_id"]].name
