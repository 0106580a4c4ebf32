"""What the stored facts of an event mean, in words: a timeline of steps, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from cli.formats import printable
from db.explaining import EventFacts
from db.listmonk.links import anonymous_url

#: Keys in words, by what is stored in matched_by.
KEYS: Final = {
    "internet_message_id": "the mail's own Message-ID",
    "azure_message_id": "the id that ACS answered to the send",
    "delivery_report": "an id that a delivery report taught",
    "header": "a header of the mailer's, which Azure echoed",
    "link": "listmonk's tracked link, which names campaign and subscriber itself",
    "replaced_system": "the replaced system, which kept no reason",
}
#: Keys that know nothing of what a tracked link says: with one of these beside it, there are two.
INDEPENDENT_KEYS: Final = frozenset({"internet_message_id", "azure_message_id", "delivery_report", "header"})
#: Doors in words, by what is stored in tracked_via.
_DOORS: Final = {
    "http": "over HTTP",
    "stream": "over HTTP or the stream",
    "celery": "by a Celery task",
    "foreign": "by another program, straight into the table",
    "imported": "by the replaced system",
    "replay": "by a replay of the archive",
}
#: Why an act has no row of its own, by what is stored in uncounted.
RULES: Final = {
    "native": "listmonk counted the same act itself",
    "unsubscribe_link": "a click on the way out (unsubscribe, preferences) shows no interest",
    "tracking_disabled": "listmonk's setting privacy.disable_tracking was on",
    "unknown_type": "it is neither a view nor a click",
    "no_url": "it names no URL that could be counted",
    "campaign_deleted": "the campaign was deleted",
}
EXPIRED: Final = {
    "deadline": "its message was not tracked by the deadline",
    "operator": "an operator gave it up",
    "deleted": "its campaign or subscriber was deleted",
}


class Step(NamedTuple):
    """One thing that happened to an event: when, if that is known, a stable name of what, and a printable sentence."""

    at: datetime | None
    step: str
    says: str


def steps(facts: EventFacts) -> list[Step]:
    """Return what happened to an event, in the order of time, and behind it what cannot be dated."""
    told = [*_arrival(facts.event), *_attribution(facts.event), *_outcome(facts), *_afterwards(facts)]
    # Much in these sentences is strangers' text: URLs, statuses, types, domains, and Message-IDs of foreign rows.
    found = [step._replace(says=printable(step.says)) for step in told]
    # What bears one instant, as all of one transaction does, stays in the order of the logic.
    dated = sorted((step.at, number) for number, step in enumerate(found) if step.at is not None)
    return [found[number] for _, number in dated] + [step for step in found if step.at is None]


def title(event: Mapping[str, Any]) -> str:
    """Name an event: its id, what it is, and its row."""
    kind = event["engagement_type"] if event["kind"] == "engagement" else "delivery report"
    name = f"Event {event['event_id']}" if event["event_id"] else "An event without an id"
    return printable(f"{name}: {kind}, {event['kind']}:{event['row']}")


def door(tracked_via: str | None) -> str:
    """Say by which door a message was tracked."""
    if tracked_via is None:
        return "by another program, not adopted yet"
    return _DOORS.get(tracked_via, printable(f"by {tracked_via}"))


def run_name(facts: Mapping[str, Any]) -> str:
    """Name a run, of which the number alone is left where somebody has deleted old runs."""
    number = f"run {facts['run_id']}"
    return f"{facts['run_kind']} {number}" if facts["run_kind"] else f"{number}, which is forgotten"


def _arrival(event: Mapping[str, Any]) -> Iterator[Step]:
    yield Step(event["event_timestamp"], "happened", _what(event))
    if event["received_at"]:
        yield Step(event["received_at"], "received", _receipt(event))
    by = f", by {run_name(event)}" if event["run_id"] else ""
    if not event["has_key"] or event["matched_by"] == "replaced_system":
        by = " by the replaced system"
    if not _has_waited(event):
        yield Step(event["created_at"], "recorded", f"recorded{by}")
        return
    yield Step(event["created_at"], "parked", f"recorded{by} and parked: {_waits_for(event)}")
    if event["attempts"]:
        yield Step(None, "attempts", f"looked for its message {_times(event['attempts'])} since")
    if event["state"] == "parked" and event["next_attempt_at"]:
        yield Step(event["next_attempt_at"], "next_attempt", "is due for the next attempt")
    if event["expired_at"]:
        why = EXPIRED.get(event["expired_reason"], f"reason {event['expired_reason']}")
        yield Step(event["expired_at"], "expired", f"expired: {why}")


def _receipt(event: Mapping[str, Any]) -> str:
    """Say what the time of receipt tells: of what a run brought, and of what was stored before us, it is another's."""
    if event["matched_by"] == "replaced_system":
        return "received by the replaced system, as the import dates it that knew the event again"
    if event["run_kind"] == "import":
        return "received from Event Grid, as the import dates it"
    return "received from Event Grid" + (", and archived" if event["run_kind"] == "replay" else "")


def _what(event: Mapping[str, Any]) -> str:
    if event["kind"] == "delivery":
        code = f", SMTP status {event['smtp_status']}" if event["smtp_status"] else ""
        to = f", to {event['recipient_domain']}" if event["recipient_domain"] else ""
        return f"the mail was reported {event['status']}{code}{to}"
    if event["engagement_type"] == "click":
        return f"a click on {anonymous_url(event['url'])}" if event["url"] else "a click"
    return "the mail was opened" if event["engagement_type"] == "view" else f"an act named {event['engagement_type']}"


def _has_waited(event: Mapping[str, Any]) -> bool:
    if event["state"] != "attributed":
        return True
    return bool(event["attributed_at"] and event["created_at"] and event["attributed_at"] > event["created_at"])


def _waits_for(event: Mapping[str, Any]) -> str:
    if event["internet_message_id"]:
        return f"no message with the Message-ID {event['internet_message_id']} was tracked"
    if event["azure_message_id"]:
        return f"it carries only Azure's id {event['azure_message_id']}, which no tracking and no delivery report named"
    return "it carries no id of a message"


def _attribution(event: Mapping[str, Any]) -> Iterator[Step]:
    if event["tracking_row"]:
        ids = event["internet_message_id"] or event["azure_message_id"]
        learned = f"; a delivery report taught its {event['learned_id']}" if event["learned_id"] else ""
        yield Step(
            event["tracked_at"],
            "tracked",
            f"its message {ids} was tracked {door(event['tracked_via'])}, for {whose(event, 'tracked_')}"
            f" (tracking row {event['tracking_row']}){learned}",
        )
    if event["state"] != "attributed":
        return
    how = "revived and attributed" if event["expired_at"] else "attributed"
    yield Step(
        event["attributed_at"],
        "attributed",
        f"{how} to {whose(event)} by {event['matched_by']}: {KEYS.get(event['matched_by'], 'unknown')}",
    )
    if event["link_campaign_id"] and event["matched_by"] in INDEPENDENT_KEYS:
        yield Step(None, "second_key", f"the clicked link names {_compared(event, 'link_')}")
    elif event["matched_by"] == "link" and event["tracking_row"]:
        yield Step(None, "second_key", f"its message, tracked since, names {_compared(event, 'tracked_')}")


def _compared(event: Mapping[str, Any], prefix: str) -> str:
    """Say what a second key names, and whether it agrees; a subscriber that either leaves open contradicts nobody."""
    subscribers = {event["subscriber_id"], event[f"{prefix}subscriber_id"]} - {None}
    agree = event[f"{prefix}campaign_id"] == event["campaign_id"] and len(subscribers) < 2
    return f"{whose(event, prefix)}: the keys {'agree' if agree else 'DISAGREE'}"


def whose(facts: Mapping[str, Any], prefix: str = "") -> str:
    """Say of which campaign and subscriber something is."""
    campaign, subscriber = facts[f"{prefix}campaign_id"], facts[f"{prefix}subscriber_id"]
    return f"campaign {campaign}" + (f", subscriber {subscriber}" if subscriber else "")


def _outcome(facts: EventFacts) -> Iterator[Step]:
    event = facts.event
    if event["state"] != "attributed":
        yield Step(None, "not_counted", f"not counted: it is {event['state']}, and no campaign is known")
    elif event["kind"] == "delivery":
        yield from _bounce(facts)
    elif event["uncounted"] == "native":
        table = _table(event)
        there = "" if event["has_native_row"] is not False else ", which is gone"
        yield Step(
            None,
            "absorbed",
            f"counted once, in the native row {event['native_id']} of {table}{there}: {RULES['native']}",
        )
    elif event["uncounted"]:
        yield Step(None, "not_counted", f"not counted: {RULES.get(event['uncounted'], event['uncounted'])}")
    elif event["has_own_row"]:
        yield Step(None, "counted", f"counted in {_table(event)}, row {-event['row']}, and in campaign_stats")
    elif event["has_own_row"] is None:
        yield Step(None, "counted", "counted in campaign_stats; this database has no table of listmonk's for it")
    elif event["matched_by"] == "replaced_system":
        yield Step(
            None, "no_row", "the replaced system attributed it, and may have counted it in a row it did not note"
        )
    else:
        yield Step(
            None, "no_row", f"counted in campaign_stats; no row in {_table(event)}: it was deleted, or never written"
        )


def _table(event: Mapping[str, Any]) -> str:
    return "campaign_views" if event["engagement_type"] == "view" else "link_clicks"


def _bounce(facts: EventFacts) -> Iterator[Step]:
    event = facts.event
    if not event["bounce_type"]:
        yield Step(None, "counted", f"counted in campaign_stats; {event['status']} is no bounce")
    elif event["bounce_rows"]:
        rows = ", ".join(map(str, event["bounce_rows"]))
        yield Step(None, "bounce", f"a {event['bounce_type']} bounce: row {rows} of bounces, and in campaign_stats")
    elif not facts.listmonk.bounces:
        yield Step(None, "bounce", f"a {event['bounce_type']} bounce in campaign_stats; there is no table bounces here")
    elif event["subscriber_id"] is None:
        yield Step(
            None, "bounce", f"a {event['bounce_type']} bounce in campaign_stats alone: bounces needs a subscriber"
        )
    else:
        says = f"a {event['bounce_type']} bounce in campaign_stats; no row in bounces: it was deleted, or never written"
        yield Step(None, "bounce", says)


def _afterwards(facts: EventFacts) -> Iterator[Step]:
    for incident in facts.incidents:
        yield Step(incident["found_at"], "incident", incident_sentence(incident))
    for change in facts.changes:
        yield Step(change["changed_at"], "changed", _change(change))
        if change["undone_at"]:
            yield Step(change["undone_at"], "undone", f"{run_name(change)} was undone")
    if facts.untold:
        waits = {
            "unsent": "waits in the outbox",
            "waiting": "is in a batch that is being tried",
            "given_up": "given up",
        }
        attempts = f", after {_times(facts.untold['attempts'])}" if facts.untold["attempts"] else ""
        yield Step(None, "webhook", f"the webhook has not been told: {waits[facts.untold['state']]}{attempts}")


def _change(change: Mapping[str, Any]) -> str:
    row = f"row {change['row_id']} of {change['table_name']}"
    by = run_name(change)
    if change["added"]:
        return f"{by} added {row} ({change['reason']})"
    if change["removed"]:
        return f"{by} removed {row} ({change['reason']})"
    moves = [
        f"{name} {_or_none(change[f'was_{column}'])} → {_or_none(change[f'became_{column}'])}"
        for name, column in (
            ("campaign", "campaign_id"),
            ("subscriber", "subscriber_id"),
            ("Message-ID", "message_id"),
        )
        if change[f"was_{column}"] != change[f"became_{column}"]
    ]
    return f"{by} changed {row}: {', '.join(moves) or 'bookkeeping'} ({change['reason']})"


def _or_none(value: object) -> object:
    return "none" if value is None else value


def incident_sentence(incident: Mapping[str, Any]) -> str:
    """Tell an incident in a printable sentence."""
    details = incident["details"]
    if incident["kind"] == "keys_disagree":
        return (
            f"the keys disagree: the message says {whose(details['message'])}, the clicked link says"
            f" {whose(details['link'])}; the message's word stands"
        )
    mails = ", ".join(f"{each['message_id']} of campaign {each['campaign_id']}" for each in details["candidates"])
    certainly = "ACS has replaced" if details["certain"] else "ACS has probably replaced"
    return printable(
        f"{certainly} a Message-ID: the report of {details['report']['internet_message_id']} is of {mails};"
        f" {CAUSES[details['cause']]}"
    )


#: Causes of a replaced Message-ID in words.
CAUSES: Final = {
    "form": "its form is not that of a Message-ID, <local@domain>",
    "duplicate": "an earlier mail had the same id",
    "unknown": "the cause is unknown: its form is right, and no earlier mail with the id is known here",
}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
