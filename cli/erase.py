"""`attribution erase`: nothing of a person is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from cli.person import count_waiting, person_options, read_person, searching, show_counts, warn_of_unreadable

if TYPE_CHECKING:
    from tasks.privacy.searching import Search
    from tasks.privacy.unfinished import Earlier
    from worker.settings import WorkerSettings

_WHY: Final = {
    "stopped": "it was stopped",
    "failed": "something failed",
    "transaction_open": "a transaction that was older was still open",
    "came_again": "something of him came again and again",
    "on_the_streams": "something of him waited on the streams",
    "killed": "its process died",
}


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
    from tasks.privacy.unfinished import find_earlier
    from tasks.repair import my_turn

    person = read_person(subscriber, recipient)
    with searching("attribution erase", person) as (search, settings), my_turn(search.engine):
        found = Found()
        _follow("looking", search, search.run(found))
        waiting = count_waiting(search, settings)
        show_counts(found.counts())
        warn_of_unreadable(found.unreadable)
        earlier = find_earlier(search)
        _say_what_was_left(earlier)
        if not found:
            click.echo("Nothing is stored of this person.")
        if dry_run:
            _say_what_waits(waiting)
            click.echo("A dry run: nothing was changed.")
            return
        if found and not yes:
            click.confirm("Erase all of this? It cannot be undone.", abort=True)
        if found or earlier.his:
            waiting = _erase(search, settings, earlier)
        _say_what_waits(waiting)
        if waiting:
            raise click.exceptions.Exit(1)


def _erase(search: Search, settings: WorkerSettings, earlier: Earlier) -> int:
    """Erase, and return how many entries on the streams name the person still."""
    from tasks.privacy.erasing import erase
    from tasks.privacy.unfinished import conclude, erasure_of

    try:
        with erasure_of(search, earlier) as (run_id, erasure):
            _follow("erasing", search, erase(search, erasure, going_on=bool(earlier.his)))
            waiting = count_waiting(search, settings)
            conclude(search, run_id, erasure, earlier, waiting=bool(waiting))
    except KeyboardInterrupt:
        click.echo("\nStopped. What was erased is gone; the same command erases the rest.", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(f"Erased: {erasure.removed.total():,} rows, by run {run_id}. Looked for once more, and nothing is left.")
    return waiting


def _say_what_was_left(earlier: Earlier) -> None:
    """Say which erasures ended with something open: of this person, they are gone on with."""
    for unfinished in earlier.his:
        click.echo(
            f"Run {unfinished.run_id}, an erasure of this person, ended before all was done: {_WHY[unfinished.left]}."
        )
    if earlier.others:
        runs = ", ".join(str(each.run_id) for each in earlier.others)
        click.echo(
            f"Erasures that ended before all was done, and are not known to be of this person: run {runs}. Erase those"
            " people again.",
            err=True,
        )


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
