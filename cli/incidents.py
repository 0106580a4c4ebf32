"""`attribution incidents`: keys that disagree, and Message-IDs that ACS has replaced."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--kind", type=click.Choice(["keys_disagree", "message_id_replaced"]), help="Only of this kind; both if left out."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Most incidents shown.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def incidents(kind: str | None, limit: int, output_format: str) -> None:
    """Show keys that disagree, and Message-IDs that ACS has replaced.

    An incident changes no number: it is evidence for people to look at. docs/rewrites.md tells how a replaced
    Message-ID is found out.
    """
    from cli.database import connected
    from cli.formats import console, printable, write_document
    from cli.instants import minute
    from cli.why_words import incident_sentence
    from db.reporting import read_only
    from db.rewrites import count_incidents, list_incidents

    with connected() as conn:
        read_only(conn)
        counts = count_incidents(conn)
        rows = [dict(row._mapping) for row in list_incidents(conn, kind=kind, limit=limit)]
    if output_format == "json":
        write_document({"counts": counts, "incidents": rows})
        return
    total = counts.get(kind, 0) if kind else sum(counts.values())
    for row in rows:
        event = printable(row["event_id"] or "") or f"row {row['subject_id']}, which is gone"
        console().print(f"{minute(row['found_at'])}  event {event}: {incident_sentence(row)}.", soft_wrap=True)
    if any(row["kind"] == "message_id_replaced" for row in rows):
        console().print(
            "With the header `x-ms-acsemail-validate-message-id: true` ACS refuses such a mail instead, so that the"
            " mailer notices at once.",
            soft_wrap=True,
        )
    left = f", {len(rows):,} shown" if len(rows) < total else ""
    console().print(f"{total:,} {'incident' if total == 1 else 'incidents'}{left}.")
