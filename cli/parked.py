"""`attribution parked`: what waits for its message, and what an operator does about it."""

from __future__ import annotations

from typing import Any, Final

import click

#: Most events listed, unless --limit says otherwise: all of them, and those that are not worth waiting for.
_MANY: Final = 50
_FEW: Final = 10
#: Most that may be asked for.
_MOST: Final = 100_000


@click.group(invoke_without_command=True)
@click.option("--expired", is_flag=True, help="Show what has expired instead.")
@click.option("--forecast", is_flag=True, help="Tell how many will be matched and when, from waits of the past.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST),
    help="Most events shown, the oldest ones.  [default: 50; 10 with --forecast]",
)
@click.pass_context
def parked(context: click.Context, expired: bool, forecast: bool, limit: int | None) -> None:
    """Show what waits for its message, and act on it.

    Without a subcommand it lists the events that wait, oldest first: since when, when they are tried next, and why they
    wait. With --forecast it lists only those that are not worth waiting for; docs/parked.md tells how it knows.
    """
    if expired and forecast:
        raise click.UsageError("Of --expired and --forecast give one: what has expired is not forecast.")
    if context.invoked_subcommand is None:
        if forecast:
            from cli.forecast import show_forecast

            show_forecast(limit or _FEW)
        else:
            _list(expired=expired, limit=limit or _MANY)


_CHOICE = [
    click.argument("event_ids", nargs=-1, metavar="[EVENT_ID]..."),
    click.option("--message", "message_id", metavar="MESSAGE_ID", help="Every waiting event of this message."),
    click.option("--all", "everything", is_flag=True, help="Every waiting event."),
]


def _choosing(command: Any) -> Any:
    for option in reversed(_CHOICE):
        command = option(command)
    return command


@parked.command()
@_choosing
def retry(event_ids: tuple[str, ...], message_id: str | None, everything: bool) -> None:
    """Try waiting events again at the next sweep, seconds from now. An expired one gets this one attempt."""
    from db.parking import retry_now

    count = _act(retry_now, event_ids, message_id, everything)
    click.echo(f"{_events(count)} due now; the next sweep tries what is due.")


@parked.command()
@_choosing
def expire(event_ids: tuple[str, ...], message_id: str | None, everything: bool) -> None:
    """Stop trying parked events. They stay stored, and are attributed after all if their message is tracked."""
    from db.parking import expire_now

    count = _act(expire_now, event_ids, message_id, everything)
    click.echo(f"{_events(count)} expired now.")


def _act(action: Any, event_ids: tuple[str, ...], message_id: str | None, everything: bool) -> int:
    from cli.database import connected
    from worker.message_id import MessageIdInvalid, normalise_message_id

    if sum((bool(event_ids), message_id is not None, everything)) != 1:
        raise click.UsageError("Say which events: their ids, or --message with a Message-ID, or --all.")
    if message_id is not None:
        try:
            message_id = normalise_message_id(message_id)
        except MessageIdInvalid as error:
            raise click.UsageError(f"That is no Message-ID: {error}.") from None
    with connected() as conn:
        return int(action(conn, event_ids=list(event_ids) or None, internet_message_id=message_id))


def _list(*, expired: bool, limit: int) -> None:
    from cli.database import connected
    from cli.formats import console
    from cli.parked_view import ago, show_events
    from db.models import State
    from db.parking import EVENT_TABLES, Expired, count_expired, count_parked, list_waiting

    state = State.EXPIRED if expired else State.PARKED
    with connected() as conn:
        waiting, given_up = count_parked(conn), count_expired(conn)
        rows = [(table, row) for table in EVENT_TABLES for row in list_waiting(conn, table, state=state, limit=limit)]
    total = given_up if expired else Expired(waiting.events)
    screen = console()
    show_events(screen, rows, limit)
    shown = min(len(rows), limit)
    if shown == total.events:
        more = ""
    elif total.events <= _MOST:
        more = f"; --limit {total.events} shows all"
    else:
        more = f"; --limit {_MOST} shows more" if shown < _MOST else ""
    screen.print(
        (f"{shown:,} of {total}" if shown < total.events else f"{total}")
        + f" {'expired' if expired else 'parked'}"
        + more
        + (f"; the oldest since {ago(waiting.oldest_at)}" if waiting.oldest_at and not expired else "")
        + (f"; {given_up} expired (--expired)" if given_up.events and not expired else "")
        + ".",
        soft_wrap=True,
    )


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
