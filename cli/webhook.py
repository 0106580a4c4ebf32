"""`attribution webhook`: what the user's webhook has not been told yet, why, and what an operator does about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import click
from rich.table import Column, Table

from cli.instants import minute

if TYPE_CHECKING:
    from sqlalchemy import Row

    from worker.settings import WorkerSettings


@click.group(invoke_without_command=True)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Most batches shown.")
@click.pass_context
def webhook(context: click.Context, limit: int) -> None:
    """Show what the webhook has not been told yet, and act on it.

    Without a subcommand it counts the events that are unsent, those in batches that wait for their next attempt, and
    those in batches that were given up, and lists the batches, oldest first, with their last error.
    """
    if context.invoked_subcommand is None:
        _show(limit)


@webhook.command()
@click.argument("ids", nargs=-1, type=click.UUID, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Every batch, waiting or given up.")
def retry(ids: tuple[UUID, ...], everything: bool) -> None:
    """Try batches again now, those that were given up, too. Each has all its attempts before it again."""
    from cli.database import connected
    from db.outbox import retry_now

    if bool(ids) == everything:
        raise click.UsageError("Say which batches: their ids, or --all.")
    with connected() as conn:
        count = retry_now(conn, list(ids) or None)
    _name_missing(ids, count)
    click.echo(f"{_batches(count)} due now; a sender looks each second.")


@webhook.command()
@click.argument("ids", nargs=-1, type=click.UUID, metavar="[ID]...")
@click.option("--given-up", is_flag=True, help="Every batch that was given up.")
@click.option("--all", "everything", is_flag=True, help="Everything: each batch, and the events that are unsent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(ids: tuple[UUID, ...], given_up: bool, everything: bool, yes: bool) -> None:
    """Never tell the webhook of these. The events themselves stay stored."""
    from cli.database import connected
    from db.outbox import drop

    if sum((bool(ids), given_up, everything)) != 1:
        raise click.UsageError("Say which batches: their ids, or --given-up, or --all.")
    if not yes:
        what = _batches(len(set(ids))) if ids else _whole(given_up_only=given_up)
        # Asked outside of any transaction: PostgreSQL ends one that is idle for as long as people think.
        click.confirm(f"The webhook will never be told of {what}. The events stay stored here. Go on?", abort=True)
    with connected() as conn:
        dropped = drop(conn, list(ids) or None, state="given_up" if given_up else None, unsent=everything)
    _name_missing(ids, dropped.batches)
    click.echo(f"{_batches(dropped.batches)} dropped, {_events(dropped.events)} in all.")


def _whole(*, given_up_only: bool) -> str:
    """Say how much ``--given-up`` or ``--all`` is about."""
    from cli.database import connected
    from db.outbox import count_unsent, count_webhooks

    with connected() as conn:
        counts = [count for count in count_webhooks(conn) if not given_up_only or count.state == "given_up"]
        events = sum(int(count.events) for count in counts) + (0 if given_up_only else count_unsent(conn).events)
    return f"{_events(events)}, {_batches(sum(count.batches for count in counts))} among them"


def _show(limit: int) -> None:
    from cli.database import connected
    from cli.formats import console
    from db.outbox import count_unsent, count_webhooks, list_webhooks
    from worker.settings import WorkerSettings

    settings = WorkerSettings.read()
    with connected() as conn:
        unsent, counts, rows = count_unsent(conn), count_webhooks(conn), list_webhooks(conn, limit=limit)
    shown = console()
    shown.print(_target(settings))
    if not counts and not unsent.events:
        shown.print("Nothing waits.")
        return
    summary = Table("", "batches", "events", "oldest", box=None, pad_edge=False)
    if unsent.events:
        summary.add_row("unsent", "", f"{unsent.events:,}", minute(unsent.oldest_at))
    for count in counts:
        name = "given up" if count.state == "given_up" else count.state
        summary.add_row(name, f"{count.batches:,}", f"{count.events:,}", minute(count.oldest_at))
    shown.print("", summary)
    if rows:
        shown.print("", _listed(rows))
    if (left_out := sum(count.batches for count in counts) - len(rows)) > 0:
        shown.print(f"{_batches(left_out)} more (--limit).")
    if any(count.is_gone for count in counts):
        shown.print(
            "\nThe other side answered 410 Gone: nothing is sent until you retry or drop the batch that says so."
        )


def _target(settings: WorkerSettings) -> str:
    """Name the host alone: a URL may hold a token."""
    if settings.webhook_url is None:
        return (
            "No webhook is configured (ATTRIBUTION_WEBHOOK_URL). What waits stays until one is, or until you drop it."
        )
    url = urlsplit(settings.webhook_url.get_secret_value())
    secrets = "1 secret" if len(settings.webhook_secrets) == 1 else f"{len(settings.webhook_secrets)} secrets"
    return f"Attributed events go to {url.scheme}://{url.netloc.rpartition('@')[2]}, signed with {secrets}."


def _listed(rows: Sequence[Row[Any]]) -> Table:
    columns = ("batch", "events", "since", "attempts", "last attempt", "next attempt", "last error")
    listed = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
    for row in rows:
        listed.add_row(
            str(row.id),
            f"{row.events:,}",
            minute(row.created_at),
            str(row.attempts),
            minute(row.last_attempt_at),
            _next(row),
            row.last_error or "",
        )
    return listed


def _next(row: Row[Any]) -> str:
    if row.state == "given_up":
        return "given up"
    return "under way" if row.is_being_sent else minute(row.next_attempt_at)


def _name_missing(ids: Sequence[UUID], found: int) -> None:
    if missing := len(set(ids)) - found if ids else 0:
        click.echo(
            f"{_batches(missing)} of these ids not found: delivered or dropped by now, or never there.", err=True
        )


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count:,} batches"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count:,} events"
