"""`attribution replay`: what is missing comes back from the archive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.instants import instant, read_instant

if TYPE_CHECKING:
    from db.archive import Window
    from tasks.replay import Replayed

_WHEN = "a date, a date with a time, or a span before now such as 7d or 24h. UTC unless it says so."


@click.command()
@click.option("--since", metavar="WHEN", required=True, callback=read_instant, help=f"Bodies that came since: {_WHEN}")
@click.option("--until", metavar="WHEN", callback=read_instant, help="And before that. Now, if it is not given.")
@click.option("--dry-run", is_flag=True, help="Do the same work, show its numbers, and keep nothing of it.")
def replay(since: datetime, until: datetime | None, dry_run: bool) -> None:
    """Run archived events and trackings through the pipeline again.

    Whatever is there already is known, and stays as it is. What is missing comes back: an event with the campaign of
    its message, or parked if that is not tracked. So a replay may be run as often as you like, and stopped at any time.
    """
    from cli.operating import operating
    from cli.progress import progress
    from db.archive import Window, count_archived, find_span
    from tasks import replay as replaying
    from tasks.runs import begin_run, conclude

    window = Window(since, until or datetime.now(UTC))
    if window.since >= window.until:
        raise click.UsageError("--since has to be before --until.")
    with operating("attribution replay") as (engine, settings):
        with engine.begin() as conn:
            archived, span = count_archived(conn, window), find_span(conn)
        if not archived.bodies:
            click.echo(f"Nothing of that time is in the archive, {_holds(span)}.")
            return
        replayed = replaying.Replayed()
        parameters = {"since": instant(window.since), "until": instant(window.until)}
        with (
            begin_run(engine, settings, "replay", parameters, dry_run=dry_run) as run,
            progress("rehearsing" if dry_run else "replaying", float(archived.raw_bytes)) as follow,
        ):
            try:
                follow(replaying.replay(engine, run, window, replayed))
            except KeyboardInterrupt:
                _stopped(window, dry_run=dry_run)
                raise click.exceptions.Exit(130) from None
            conclude(run, replayed.summary())
        _show(replayed, dry_run=dry_run)
        if replayed.unreadable:
            raise click.exceptions.Exit(1)


def _holds(span: Window | None) -> str:
    if span is None:
        return "which is empty"
    return f"which holds what came from {instant(span.since)} to {instant(span.until)}"


def _show(replayed: Replayed, *, dry_run: bool) -> None:
    from cli.outcome import events, show

    drained = replayed.drained
    messages: list[tuple[str, int, str]] = [
        ("new trackings", drained.tracked, f"which released {drained.released:,} events" if drained.released else ""),
        (
            "trackings that were known",
            drained.known,
            f"of which {drained.completed:,} were completed" if drained.completed else "",
        ),
        ("trackings that were refused", drained.refused, "tracked for another campaign or subscriber"),
    ]
    show([("bodies replayed", replayed.bodies, ""), *messages, *events(drained, known=drained.duplicates)])
    if dry_run:
        click.echo("A dry run: nothing was changed.")
    if replayed.unreadable:
        rows = ", ".join(map(str, replayed.unreadable[:10])) + (" …" if len(replayed.unreadable) > 10 else "")
        click.echo(
            f"{len(replayed.unreadable)} rows of attribution_archive cannot be read, being damaged or of a later"
            f" release, and were left out: id {rows}.",
            err=True,
        )


def _stopped(window: Window, *, dry_run: bool) -> None:
    """Say how to go on: from the beginning, for what came at one time lies in several rows of the archive."""
    if dry_run:
        click.echo("\nStopped. It was a dry run: nothing was changed.", err=True)
        return
    command = f"attribution replay --since {instant(window.since)} --until {instant(window.until)}"
    click.echo(f"\nStopped. What was replayed stays, and is known the next time. To go on: {command}", err=True)
