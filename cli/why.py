"""`attribution why`: how an event, a message or a number came about, from what is stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from cli.failures import Failed

if TYPE_CHECKING:
    from db.explaining import Explainer, MessageFacts

_KINDS = ("event", "message", "campaign", "subscriber")
#: What the rows of the two event tables are called, for events that have no id.
_ROWS = ("engagement", "delivery")
_CHOOSE = "Say what it is: --event, --message, --campaign or --subscriber"


@click.command()
@click.argument("target", required=False, metavar="[EVENT-ID|MESSAGE-ID|campaign:N|subscriber:N]")
@click.option("--event", metavar="EVENT-ID", help="An event, by its id, or by its row: engagement:12, delivery:7.")
@click.option("--message", metavar="MESSAGE-ID", help="A message, by its Message-ID or by Azure's own id.")
@click.option("--campaign", metavar="N", help="A campaign: how each of its numbers is made up.")
@click.option("--subscriber", metavar="N", help="A subscriber: the newest of their events.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Most events shown of one asked for."
)
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def why(target: str | None, limit: int, output_format: str, **named: str | None) -> None:
    """Tell how an event, a message or a number came about.

    From what is stored alone: what was received when, what it waited for, which key attributed it, where it is counted
    or by which rule it is not, and what repairs did. docs/why.md has an example of each.
    """
    kind, asked = _choose(target, named)
    from cli.database import connected
    from cli.formats import console, write_document
    from cli.untaken import untaken_sentence
    from cli.why_view import document, show, waits_for_a_tracking
    from db.explaining import Explainer
    from db.reporting import read_only

    with connected() as conn:
        read_only(conn)
        found = _find(Explainer(conn), kind, asked, limit)
    untaken = _untaken() if waits_for_a_tracking(found) else None
    if output_format == "json":
        write_document(document(asked, found) | ({"untaken": untaken} if waits_for_a_tracking(found) else {}))
    else:
        show(console(), asked, found)
        if waits_for_a_tracking(found):
            console().print(untaken_sentence(untaken), soft_wrap=True)


def _untaken() -> dict[str, int] | None:
    """Count what a mailer may have tracked and nobody has recorded yet."""
    from cli.untaken import ask_untaken
    from worker.settings import WorkerSettings

    return ask_untaken(WorkerSettings.read())


def _choose(target: str | None, named: dict[str, str | None]) -> tuple[str, str]:
    """Return what was asked for: its kind, and the text that names it. ``any`` is an id of either sort."""
    given = [(kind, value) for kind, value in named.items() if value is not None]
    if target is not None:
        given.append(("any", target))
    if len(given) != 1:
        raise click.UsageError(f"{_CHOOSE}, or give one EVENT-ID or MESSAGE-ID.")
    ((kind, value),) = given
    value = value.strip()
    prefix, colon, rest = value.partition(":")
    if kind == "any" and colon and prefix.lower() in _KINDS:
        kind, value = prefix.lower(), rest.strip()
    if not value:
        raise click.UsageError(f"An empty id names nothing. {_CHOOSE}.")
    if kind == "any" and re.fullmatch(r"-?\d+", value):
        raise click.UsageError(f"A bare number may be anything. {_CHOOSE}.")
    if kind in ("campaign", "subscriber"):
        if not re.fullmatch(r"[0-9]{1,10}", value) or not 0 < int(value) < 2**31:
            raise click.UsageError(f"A {kind} is named by its number, such as {kind}:7.")
        value = str(int(value))
    return kind, value


def _find(explainer: Explainer, kind: str, asked: str, limit: int) -> Any:
    """Return the facts of what was asked for.

    Raises:
        Failed: nothing is known of it.
    """
    if kind == "campaign":
        if found := explainer.find_campaign(int(asked)):
            return found
        raise Failed(f"Nothing is known of campaign {asked}: no message was tracked for it, and no event is of it.")
    if kind == "subscriber":
        total, events = explainer.find_subscriber(int(asked), limit=limit)
        if events:
            return (total, events)
        raise Failed(f"No event of subscriber {asked} is known.")
    if kind in ("event", "any") and (found := _find_event(explainer, asked)):
        return found
    message = _find_message(explainer, asked, kind, limit) if kind in ("message", "any") else None
    if message and (message.tracked or message.events or message.incidents):
        return message
    # Almost any text may be a Message-ID without its brackets. What is in quarantine alone need not be one.
    if quarantined := explainer.find_quarantined(asked) or (message.quarantined if message else None):
        return message if message and kind == "message" else quarantined
    raise Failed(
        f"No {'event or message' if kind == 'any' else kind} with this id is known, nor does the recent quarantine hold"
        " it. It may not have arrived yet: what waits on a stream or in Celery's queue is not looked at."
    )


def _find_event(explainer: Explainer, asked: str) -> Any:
    prefix, colon, number = asked.partition(":")
    if colon and prefix in _ROWS and re.fullmatch(r"[0-9]{1,18}", number):
        return explainer.find_rows(prefix, int(number))
    return explainer.find_events(asked)


def _find_message(explainer: Explainer, asked: str, kind: str, limit: int) -> MessageFacts | None:
    from worker.message_id import MessageIdInvalid, normalise_message_id

    try:
        message: str | UUID = UUID(asked)
    except ValueError:
        try:
            message = normalise_message_id(asked)
        except MessageIdInvalid as error:
            if kind == "message":
                raise click.UsageError(f"That is no Message-ID: {error}.") from None
            return None
    return explainer.find_message(message, limit=limit)
