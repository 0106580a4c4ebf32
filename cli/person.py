"""Whom `attribution erase` and `attribution export-person` are about, and where he was found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cli.failures import Failed
from cli.formats import NUMBER

if TYPE_CHECKING:
    from db.people import Person
    from tasks.privacy.searching import Search
    from worker.settings import WorkerSettings

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Tables in the order in which they are told, and what is done about what is found in each.
TABLES: Final = {
    "azure_message_tracking": "messages, removed",
    "azure_delivery_events": "delivery reports, removed, or the name struck out of others'",
    "azure_engagement_events": "opens and clicks, likewise",
    "attribution_archive": "archived batches, rewritten",
    "attribution_quarantine": "quarantined bodies, removed or rewritten",
    "webhook_logs": "the replaced system's bodies, likewise",
    "attribution_journal": "changes by repairs and backfills, which cannot be undone then",
    "attribution_incidents": "incidents, removed",
    "attribution_outbox": "events that the webhook was to be told of, removed",
    "attribution_webhooks": "batches for the webhook, shortened",
    "attribution_campaign_people": "readers of campaigns, not counted any more",
    "campaign_views": "listmonk's views, nameless from then on",
    "link_clicks": "listmonk's clicks, likewise",
    "bounces": "listmonk's bounces, removed",
}


def person_options(command: _Command) -> _Command:
    """Add the options that say whom a command is about."""
    for option in (
        click.option("--recipient", metavar="ADDRESS", help="The person's address; `-` reads it from standard input."),
        click.option("--subscriber", type=NUMBER, help="The person's number as a subscriber."),
    ):
        command = option(command)
    return command


def read_person(subscriber: int | None, recipient: str | None) -> Person:
    """Return whom the options name. An address on the command line stands in the list of processes: hence `-`."""
    from db.people import Person

    if recipient == "-":
        recipient = sys.stdin.readline().strip()
    if subscriber is None and not recipient:
        raise click.UsageError("Say who: --subscriber, --recipient, or both.")
    if recipient and not _is_address(recipient):
        raise click.UsageError("--recipient is not one address, such as ada@example.net.")
    return Person(
        subscribers={subscriber} if subscriber is not None else set(), addresses={recipient} if recipient else set()
    )


def _is_address(text: str) -> bool:
    """Tell whether a text looks like one address; in quotes, its name may hold anything."""
    name, _, domain = text.rpartition("@")
    quoted = len(name) > 2 and name.startswith('"') and name.endswith('"')
    return bool(name and domain) and text.strip() == text and " " not in domain and (quoted or "@" not in name)


@contextmanager
def searching(name: str, person: Person) -> Iterator[tuple[Search, WorkerSettings]]:
    """Yield a search for ``person``, and the settings.

    Raises:
        Failed: only his address is known, and nothing here is found by it.
    """
    from cli.operating import operating
    from db.listmonk.tables import find_listmonk
    from tasks.privacy.recipients import make_recipients
    from tasks.privacy.searching import Search
    from tasks.runs import pipelines_of

    with operating(name, for_batches=False) as (engine, settings):
        has_key = settings.recipient_key is not None or settings.recipient_old_keys
        if not person.subscribers and settings.recipients == "hash" and not has_key:
            with engine.begin() as conn:
                if not find_listmonk(conn).present:
                    raise Failed(
                        "Nobody is found by address here: recipients are stored as keyed hashes, and"
                        " ATTRIBUTION_RECIPIENT_KEY is not set. Set the key that the worker has, or say --subscriber."
                    )
        yield Search(engine, pipelines_of(settings, None), make_recipients(settings), person), settings


def count_waiting(search: Search, settings: WorkerSettings) -> int:
    """Return how many entries on the streams name him. They are not touched: a drain takes them."""
    from worker.stream_consumer import connect
    from worker.streams import EVENTS, MESSAGES
    from worker.waiting import waiting_bodies

    witness = search.witness()
    with connect(settings.redis_url.get_secret_value()) as client:
        return sum(
            witness.touches(kind, [body])
            for stream, kind in ((EVENTS, "event"), (MESSAGES, "message"))
            for body in waiting_bodies(client, stream)
        )


def show_counts(counts: Mapping[str, int]) -> None:
    """Print in how many rows of each table he was found."""
    from cli.outcome import show

    lines = [(table, counts[table], "") for table in TABLES if counts.get(table)]
    show([(table, count, TABLES[table]) for table, count, _ in lines])


def warn_of_unreadable(unreadable: list[int]) -> None:
    """Say which rows of the archive could not be looked into."""
    if unreadable:
        rows = ", ".join(map(str, unreadable[:10])) + (" …" if len(unreadable) > 10 else "")
        click.echo(
            f"{len(unreadable)} rows of attribution_archive cannot be read, being damaged or of a later release: id"
            f" {rows}. Nobody can tell who is in them; they go when they are too old.",
            err=True,
        )
