"""`attribution repair`: what was credited to the wrong campaign is shown, corrected, and can be restored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from db.journal import Journal
    from db.repair import Plan

#: What the columns of the table are called.
_COLUMNS = {
    "campaign_views": "views",
    "link_clicks": "clicks",
    "bounces": "bounces",
    "azure_engagement_events": "engagement events",
    "azure_delivery_events": "delivery events",
}

_MINUS = "\N{MINUS SIGN}"

#: Why something is not corrected, in words.
_REASONS = {
    "message_unknown": "events whose message nobody knows; the guess stands",
    "ids_disagree": "events whose two ids name messages of different campaigns or readers",
    "deleted": "events whose true campaign or reader listmonk has deleted",
    "near_row": "corrected events with a row near their instant, but not exactly at it",
    "no_row": "corrected events for which no row was counted",
    "counted_once": "corrected events that are alike one whose row was corrected: delivered twice, counted once",
    "several_claim": "corrected events that claim one row together with others of another campaign",
    "counted_natively": "corrected events that a native row of the wrong campaign counts",
    "untraced": "rows that no event accounts for: listmonk's own, or of events that nobody kept",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be corrected, and change nothing.")
@click.option("--undo", "undone_run", metavar="RUN", type=int, help="Restore what a repair or a backfill has changed.")
@click.option("--show-unproven", is_flag=True, help="List each row that cannot be proven, by its id.")
@click.option(
    "--pause", default=0.0, show_default=True, type=click.FloatRange(0, 60), help="Seconds of rest between batches."
)
def repair(dry_run: bool, undone_run: int | None, show_unproven: bool, pause: float) -> None:
    """Correct what was credited to the wrong campaign or reader.

    An event is wrong if its message, known by its id, belongs to another campaign or reader. Event and row in
    listmonk's tables are corrected together, in small transactions while everything else goes on. What cannot be proven
    is listed, and stays.
    """
    from datetime import timedelta

    from cli.operating import operating
    from tasks.repair import my_turn

    if undone_run is not None and (dry_run or show_unproven):
        raise click.UsageError("--undo goes with neither --dry-run nor --show-unproven.")
    with operating("attribution repair", for_batches=False) as (engine, settings), my_turn(engine):
        if undone_run is not None:
            _undo(engine, undone_run, timedelta(seconds=pause))
            return
        from tasks.context import make_results
        from tasks.repair import begin, plan

        planned = plan(engine, make_results(settings))
        show_plan(planned, each=show_unproven)
        if dry_run:
            click.echo("A dry run: nothing was changed.")
        elif planned.corrections or planned.confirmable:
            journal, _ = begin(engine, "repair", {})
            carry_out(engine, journal, planned, timedelta(seconds=pause))
            conclude(engine, journal, planned, {})


def show_plan(planned: Plan, *, each: bool = False) -> None:
    """Print what a repair is about to do, by campaign, and what it leaves; with ``each``, every row of that."""
    show_changes(planned.changes(), nothing="Nothing is credited to a wrong campaign that could be proven.")
    removed = sum(1 for correction in planned.corrections if correction.native_id is not None)
    if removed:
        click.echo(f"{removed:,} of the rows go, because listmonk's own rows count their acts already.")
    if planned.confirmable:
        click.echo(f"{planned.confirmable:,} events were guessed rightly; their key becomes the one that proves it.")
    if planned.unproven:
        click.echo("What cannot be proven, and stays as it is:")
        for reason, count in planned.reasons().items():
            click.echo(f"  {count:,} {_REASONS[reason]}")
    if each:
        for row in planned.unproven:
            click.echo(f"{row.reason} {row.table} {row.row_id} campaign {row.campaign_id}")


def show_changes(changes: Mapping[str, Mapping[int, int]], *, nothing: str) -> None:
    """Print how many rows go from and to each campaign."""
    campaigns = sorted({campaign for of in changes.values() for campaign in of})
    if not campaigns:
        click.echo(nothing)
        return
    columns = {table: name for table, name in _COLUMNS.items() if table in changes}
    table = Table("campaign", box=None, pad_edge=False)
    for name in columns.values():
        table.add_column(name, justify="right")
    for campaign in campaigns:
        table.add_row(str(campaign), *(_signed(changes[name].get(campaign, 0)) for name in columns))
    Console().print(table)


def _signed(change: int) -> str:
    return f"{'+' if change > 0 else _MINUS}{abs(change):,}" if change else "·"


def carry_out(engine: Engine, journal: Journal, planned: Plan, pause: Any) -> None:
    """Carry out a plan, with a progress bar."""
    from cli.progress import progress
    from tasks.repair import repair as repair_batches

    with progress("repairing", len(planned.corrections) + planned.confirmable) as follow:
        try:
            follow(repair_batches(engine, journal, planned, pause=pause))
        except KeyboardInterrupt:
            click.echo("\nStopped. What was corrected stays; the same command goes on from here.", err=True)
            raise click.exceptions.Exit(130) from None


def conclude(engine: Engine, journal: Journal, planned: Plan, summary: Mapping[str, Any]) -> None:
    """Write down what the run has done, by its journal, and say so."""
    from db.journal import count_changes, count_reasons
    from db.runs import finish_run

    with engine.begin() as conn:
        changes = count_changes(conn, journal.run_id, "repaired")
        reasons = count_reasons(conn, journal.run_id)
        counts: Counter[str] = Counter()
        for (reason, _), rows in reasons.items():
            counts[reason] += rows
        finish_run(
            conn,
            journal.run_id,
            {**summary, "changes": changes, "rows": counts, "unproven": planned.reasons()},
        )
    if changes != planned.changes():
        show_changes(changes, nothing="Nothing was left to correct: it was done, or changed, in the meantime.")
    if not counts:
        click.echo("Nothing was changed.")
        return
    click.echo(
        f"{sum(counts.values()):,} rows changed by run {journal.run_id}."
        f" `attribution repair --undo {journal.run_id}` restores them."
    )


def _undo(engine: Engine, run_id: int, pause: Any) -> None:
    from cli.progress import progress
    from db.journal import Undone
    from tasks.repair import count_to_undo, undo

    total = count_to_undo(engine, run_id)
    undone = Undone()
    with progress("restoring", total) as follow:
        try:
            follow(undo(engine, run_id, undone, pause=pause))
        except KeyboardInterrupt:
            click.echo("\nStopped. What was restored stays; the same command goes on from here.", err=True)
            raise click.exceptions.Exit(130) from None
    for table, count in sorted(undone.restored.items()):
        click.echo(f"{table}: {count:,} rows restored")
    for table, row_id in undone.refused:
        click.echo(f"{table} row {row_id} has changed since, and stays as it is", err=True)
    if not total:
        click.echo(f"Run {run_id} has nothing left to restore.")
    if undone.refused:
        raise click.exceptions.Exit(1)
