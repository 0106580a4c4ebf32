"""`attribution backfill`: what the replaced system did not write down is learnt from its log, then repaired."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from db.journal import Journal
    from db.results import Results
    from tasks.backfill import Backfilled


@click.command()
@click.option("--dry-run", is_flag=True, help="Do the same work, show its numbers, and keep nothing of it.")
@click.option(
    "--pause", default=0.0, show_default=True, type=click.FloatRange(0, 60), help="Seconds of rest between batches."
)
@click.option("--show-unproven", is_flag=True, help="List each row that cannot be proven, by its id.")
def backfill(dry_run: bool, pause: float, show_unproven: bool) -> None:
    """Learn from the replaced system's log, then repair.

    Reads its table webhook_logs, gives the messages it tracked the Message-IDs they were sent with, each proven by an
    event, attributes what waited for them, and corrects what was credited by a guess. It works in small transactions
    while everything else goes on; interrupted, the same command goes on where it stopped. A dry run is one transaction
    that is rolled back, and keeps the rows it would change locked until then.
    """
    from cli.operating import operating
    from cli.repair import carry_out, conclude, show_plan
    from db.rehearsal import rehearse
    from tasks.backfill import require_logs
    from tasks.context import make_results
    from tasks.repair import begin, my_turn, plan

    rest = timedelta(0 if dry_run else pause)
    with operating("attribution backfill", for_batches=False) as (engine, settings), my_turn(engine):
        require_logs(engine)
        results = make_results(settings)
        with rehearse(engine) if dry_run else nullcontext(engine) as work:
            journal, kept = begin(work, "backfill", {})
            done = _read(work, journal, results, rest, kept)
            planned = plan(work, results)
            _show(work, journal, done)
            show_plan(planned, each=show_unproven)
            carry_out(work, journal, planned, rest)
            if not dry_run:
                conclude(work, journal, planned, done.summary())
    if dry_run:
        click.echo("A dry run: nothing was changed.")


def _read(engine: Engine, journal: Journal, results: Results, pause: timedelta, kept: object) -> Backfilled:
    from cli.progress import progress
    from tasks.backfill import Backfilled, begin_reading
    from tasks.backfill import backfill as read_batches

    done = Backfilled.of_summary(kept) if isinstance(kept, dict) else Backfilled()
    after, until = begin_reading(engine, journal, resumed=isinstance(kept, dict))
    with progress("reading the log", until - after) as follow:
        try:
            follow(read_batches(engine, journal, results, done, after=after, until=until, pause=pause))
        except KeyboardInterrupt:
            click.echo("\nStopped. What was learnt stays; the same command goes on from here.", err=True)
            raise click.exceptions.Exit(130) from None
    return done


def _show(engine: Engine, journal: Journal, done: Backfilled) -> None:
    from cli.outcome import show
    from db.journal import DELIVERIES, ENGAGEMENTS, TRACKING, count_reasons

    with engine.begin() as conn:
        rows = count_reasons(conn, journal.run_id)

    def of_events(reason: str) -> int:
        return rows.get((reason, DELIVERIES), 0) + rows.get((reason, ENGAGEMENTS), 0)

    lines = [
        ("requests read", done.bodies, f"{done.events:,} events in them, {done.unreadable:,} parts unreadable"),
        ("Message-IDs filled in", rows.get(("id_filled_by_mailers_rule", TRACKING), 0), "by the mailer's rule"),
        ("Message-IDs filled in", rows.get(("id_filled_by_azure_id", TRACKING), 0), "by Azure's id"),
        ("Message-IDs that were known", done.known, "once for each batch that names them"),
        ("conflicts", done.conflicts, "nothing is overwritten"),
        ("stored events told which event they are", of_events("event_named"), ""),
        ("waiting events attributed", of_events("released"), ""),
    ]
    show(line for line in lines if line[1] or line is lines[0])
    for conflict in done.listed:
        against = " and ".join(
            [
                *([f"it has, or is offered, {conflict.held}"] if conflict.held else []),
                *([f"row {conflict.holder} has a claim to it"] if conflict.holder else []),
            ]
        )
        click.echo(f"row {conflict.row_id} does not get {conflict.proposed}: {against}", err=True)
