"""`attribution erase`: nothing of a person is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from cli.person import count_waiting, person_options, read_person, searching, show_counts, warn_of_unreadable

if TYPE_CHECKING:
    from tasks.privacy.searching import Search


@click.command()
@person_options
@click.option("--dry-run", is_flag=True, help="Show what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(subscriber: int | None, recipient: str | None, dry_run: bool, yes: bool) -> None:
    """Erase everything that is stored of one person.

    Every table, the archive, what is parked and what is in quarantine. What is erased does not come back by a
    redelivery or a replay. listmonk's own subscriber is listmonk's to delete. It cannot be undone; stopped, it may be
    run again. See docs/privacy.md.
    """
    from tasks.privacy.searching import Found
    from tasks.repair import my_turn

    person = read_person(subscriber, recipient)
    with searching("attribution erase", person) as (search, settings), my_turn(search.engine):
        found = Found()
        _follow("looking", search, search.run(found))
        waiting = count_waiting(search, settings)
        show_counts(found.counts())
        warn_of_unreadable(found.unreadable)
        if not found:
            click.echo("Nothing is stored of this person.")
        if dry_run:
            _say_what_waits(waiting)
            click.echo("A dry run: nothing was changed.")
            return
        if found:
            if not yes:
                click.confirm("Erase all of this? It cannot be undone.", abort=True)
            _erase(search)
            waiting = count_waiting(search, settings)
        _say_what_waits(waiting)
        if waiting:
            raise click.exceptions.Exit(1)


def _erase(search: Search) -> None:
    from db.runs import finish_run, start_run
    from tasks.privacy.erasing import Erasure, erase

    erasure = Erasure()
    with search.engine.begin() as conn:
        run_id = start_run(conn, "erase", {})
    try:
        _follow("erasing", search, erase(search, erasure))
    except KeyboardInterrupt:
        click.echo("\nStopped. What was erased is gone; the same command erases the rest.", err=True)
        raise click.exceptions.Exit(130) from None
    with search.engine.begin() as conn:
        finish_run(conn, run_id, dict(erasure.removed))
    click.echo(f"Erased: {erasure.removed.total():,} rows, by run {run_id}. Looked for once more, and nothing is left.")


def _follow(doing: str, search: Search, steps: Iterable[float]) -> None:
    from cli.progress import progress

    with progress(doing, search.count_bodies()) as follow:
        follow(steps)


def _say_what_waits(waiting: int) -> None:
    if waiting:
        click.echo(
            f"{waiting:,} entries on the streams name this person and are not drained yet. Run this again when they"
            " are.",
            err=True,
        )
