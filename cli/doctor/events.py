"""What comes in and what becomes of it: the last push, what waits, what cannot be read, what is not taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.exceptions import RedisError, ResponseError

from cli.doctor.celery_nodes import broker_of
from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from cli.untaken import count_untaken
from db.checkup import endless_campaigns, last_push, open_alarms, quarantined_since, trackings_since
from db.drift import add_up
from db.outbox import count_unsent, count_webhooks
from db.parking import count_parked
from worker.streams import EVENTS

subject: Final = Subject("events", "Events")

#: How long after mails were sent the first delivery report must have come.
_REPORTED: Final = timedelta(hours=1)
#: A mail may be tracked after its report has come, and its time be that of the tracking.
_TRACKED_LATE: Final = timedelta(minutes=10)
#: Mails that were sent before may be from another system's days.
_SENT_LATELY: Final = timedelta(days=7)
#: How old the last push is where it is worth saying, even if nothing was sent.
_LONG_AGO: Final = timedelta(days=1)
#: Age of a parked event at which its message is hardly tracked any more.
_LONG_PARKED: Final = timedelta(hours=1)
#: Time in which quarantined parts are counted, and the share of them among all that is worth a look.
_LATELY: Final = timedelta(hours=24)
_MANY_PERCENT: Final = 1.0
#: Age of what the webhook has not been told.
_LONG_UNTOLD: Final = timedelta(hours=1)
#: Campaigns that a sentence names.
_NAMED: Final = 10


@subject.check("push", "Event Grid posts.")
def push(installation: Installation) -> Iterator[Finding]:
    """Tell how old the last push is, and compare it with what was sent since."""
    last, now, sent = None, datetime.now(UTC), None
    missing: list[Missing] = []
    # Redis knows when something came, and PostgreSQL what was stored: either will do.
    try:
        last = _appended(installation)
    except Missing as away:
        missing.append(away)
    try:
        with installation.engine.connect() as conn:
            stored, now = last_push(conn)
            last = max(filter(None, (last, stored)), default=None)
            sent = trackings_since(conn, max(last + _TRACKED_LATE if last else now - _SENT_LATELY, now - _SENT_LATELY))
    except Missing as away:
        missing.append(away)
    if len(missing) > 1:
        raise missing[0]
    unreported = sent is not None and sent.messages and now - sent.first_at > _REPORTED
    fix = (
        "Look whether the subscription still exists and is enabled, at its endpoint and filters, and at its failures:"
        " az eventgrid system-topic event-subscription show. `attribution doctor --url` tries the endpoint."
    )
    if unreported and sent is not None:
        since = f"since the last push, {_ago(now - last)} ago" if last else "and Event Grid has never posted anything"
        yield failure(
            f"{sent.messages:,} mail{'s' * (sent.messages != 1)} {'were' if sent.messages != 1 else 'was'} sent, the"
            f" first {_ago(now - sent.first_at)} ago, {since}: not even a delivery report has come.",
            fix,
        )
    elif last is None:
        yield hint(
            "Nothing has ever been pushed.", "If mail has been sent: is there an Event Grid subscription? " + fix
        )
    elif now - last > _LONG_AGO:
        yield hint(f"The last push was {_ago(now - last)} ago.", "If mail has been sent since: " + fix)
    else:
        yield ok(f"The last push was {_ago(now - last)} ago.")


def _appended(installation: Installation) -> datetime | None:
    """Return when something was last put on the stream of events, which Redis knows even when it has been drained."""
    with suppress(ResponseError):  # none yet
        told = installation.redis().xinfo_stream(EVENTS)
        milliseconds = int(str(told["last-generated-id"]).partition("-")[0])
        with suppress(OverflowError, ValueError, OSError):  # a stranger's own id, not a time
            return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    return None


@subject.check("parked", "Parked events find their messages.")
def parked(installation: Installation) -> Iterator[Finding]:
    """Look at the age of the oldest parked event."""
    with installation.engine.connect() as conn:
        found = count_parked(conn)
    if not found.oldest_at or (age := datetime.now(UTC) - found.oldest_at) <= _LONG_PARKED:
        return
    parked = f"{found.events:,} event{'s are' if found.events != 1 else ' is'} parked, the oldest for {_ago(age)}"
    untaken = _untaken(installation)
    if any(untaken.values()):
        counts = " and ".join(f"{count:,} in {name}" for name, count in untaken.items() if count)
        yield warning(
            f"{parked}, and handed-in trackings wait to be recorded: {counts}. That is probably why, and not a mailer.",
            "See what is said of celery-workers, celery-queues and streams-backlog, and expire nothing meanwhile. Only"
            " if nothing waits there any more does a mailer not track, or name its messages otherwise than Azure does.",
        )
    else:
        yield warning(
            f"{parked}: a mailer does not track, or names its messages otherwise than Azure does.",
            "`attribution parked` shows the Message-IDs, whose domain tells whose they are; `attribution parked"
            " --forecast` tells which may still be matched.",
        )


def _untaken(installation: Installation) -> dict[str, int]:
    """Return how many trackings wait to be recorded; nothing if that cannot be told, which Redis's checks say."""
    with suppress(Missing, RedisError):
        return count_untaken(installation.redis(), installation.redis(broker_of(installation)))
    return {}


@subject.check("readable", "Nearly all that comes can be read.")
def readable(installation: Installation) -> Iterator[Finding]:
    """Compare what was quarantined lately with what came."""
    since = datetime.now(UTC) - _LATELY
    with installation.engine.connect() as conn:
        found = quarantined_since(conn, since)
        came = add_up(conn, since)
    # Tallies are kept for a time only, and written by drains alone: they may know of less than is in quarantine.
    total = max(came.events, found.parts)
    if found.parts and 100 * found.parts > _MANY_PERCENT * total:
        yield warning(
            f"{found.parts:,} of {total:,} parts of the last day could not be read, most often because of"
            f" {found.reason}.",
            f"`attribution quarantine` shows them; docs/quarantine.md says what to do about {found.reason}.",
        )


@subject.check("alarms", "No alarm is on.")
def alarms(installation: Installation) -> Iterator[Finding]:
    """Look for alarms that are on."""
    said = {
        "poison": "The alarm `poison` is on: nearly nothing that comes can be read, and the drain has slowed down.",
        "id_missing": "The alarm `id_missing` is on: opens and clicks come without an internetMessageId.",
    }
    with installation.engine.connect() as conn:
        for kind, age in open_alarms(conn).items():
            fix = "`attribution incidents` shows it, and docs/drift.md what to do within its hours."
            yield failure(f"{said[kind]} It has been for {_ago(age)}.", fix)


@subject.check("webhook", "The webhook is told.")
def webhook(installation: Installation) -> Iterator[Finding]:
    """Look at what the user's webhook has not been told, and why."""
    wanted = installation.worker.webhook_url is not None
    with installation.engine.connect() as conn:
        unsent = count_unsent(conn)
        batches = {row.state: row for row in count_webhooks(conn)}
    given_up, waiting = batches.get("given_up"), batches.get("waiting")
    now = datetime.now(UTC)
    if given_up:
        gone = " It answered 410: nothing is posted until you say so." if given_up.is_gone else ""
        yield failure(
            f"The webhook was not told of {given_up.events:,} event{'s' * (given_up.events != 1)}, which were given"
            f" up.{gone}",
            "`attribution webhook` shows the last error; `attribution webhook retry --all` tries them again.",
        )
    oldest = min(filter(None, (unsent.oldest_at, waiting.oldest_at if waiting else None)), default=None)
    if not wanted and (unsent.events or waiting):
        yield warning(
            "Events wait for the webhook, and ATTRIBUTION_WEBHOOK_URL is not set here.",
            "Set it for worker and beat; or, if there is to be none any more, `attribution webhook drop --all`.",
        )
    elif wanted and oldest and now - oldest > _LONG_UNTOLD:
        yield failure(
            f"The webhook has not been told of anything for {_ago(now - oldest)}: it does not take it, or nobody"
            " posts.",
            "`attribution webhook` shows the last error. Look whether beat runs.",
        )


@subject.check("retention", "Campaigns end, and are purged in time.")
def retention(installation: Installation) -> Iterator[Finding]:
    """Look for campaigns that go on for so long that what was to be purged is kept with the rest."""
    age = installation.worker.event_retention
    if age is None:
        return
    with installation.engine.connect() as conn:
        endless = endless_campaigns(conn, 2 * age, most=_NAMED)
    if endless:
        named = ", ".join(f"{campaign} since {first_at:%Y-%m-%d}" for campaign, first_at in endless)
        yield warning(
            "Nothing is purged of campaigns that do not end, though they began more than twice"
            f" ATTRIBUTION_EVENT_RETENTION ago: {named}{' …' if len(endless) == _NAMED else ''}.",
            "A campaign is closed when nothing has happened in it for that long. Have your mailer begin it anew,"
            " under another number; docs/privacy.md. If it is to be kept: --ignore events-retention.",
        )


@subject.check("dead-letters", "What Event Grid gives up on is kept.")
def dead_letters(_installation: Installation) -> Iterator[Finding]:
    """Remind of what only Azure can tell."""
    yield hint(
        "Whether Event Grid dead-letters cannot be seen from here. Without, it drops what it could not deliver for a"
        " day.",
        "az eventgrid system-topic event-subscription show --resource-group … --system-topic-name … --name … --query"
        " deadLetterDestination must name a container: docs/azure.md. Once it does: --ignore events-dead-letters.",
    )


def _ago(duration: timedelta) -> str:
    for unit, name in ((timedelta(days=2), "days"), (timedelta(hours=2), "hours"), (timedelta(minutes=2), "minutes")):
        if duration >= unit:
            return f"{duration / (unit / 2):.0f} {name}"
    return f"{max(0.0, duration.total_seconds()):.0f} seconds"
