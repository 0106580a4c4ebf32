"""How `attribution why` shows what it found: as a timeline or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.formats import printable
from cli.why_campaign import campaign_document, show_campaign
from cli.why_words import Step, door, incident_sentence, steps, title, whose
from db.explaining import CampaignFacts, EventFacts, MessageFacts

#: What weighs on a number: shown so that the eye finds it.
_ALARMING = {"incident", "expired", "not_counted", "changed"}
#: What one line tells of an event among others.
_BRIEF = ("expired", "attributed", "counted", "absorbed", "not_counted", "bounce", "no_row", "incident")


def show(console: Console, asked: str, found: Any) -> None:
    """Print what was found. ``found`` is what `cli.why` has looked up for ``asked``."""
    match found:
        case CampaignFacts():
            show_campaign(console, found)
        case MessageFacts():
            _show_message(console, asked, found)
        case (int() as total, events):
            console.print(f"Subscriber {asked}: {total:,} events" + (_newest(events) if len(events) < total else ""))
            _show_briefly(console, events)
        case [EventFacts(), *_]:
            for facts in found:
                _show_event(console, facts)
        case _:
            _show_quarantined(console, found)


def document(asked: str, found: Any) -> dict[str, Any]:
    """Return what was found as JSON has it. The keys are stable; sentences are for people and may change."""
    match found:
        case CampaignFacts():
            return {"asked": asked, "kind": "campaign", **campaign_document(found)}
        case MessageFacts():
            return {
                "asked": asked,
                "kind": "message",
                "total": found.total,
                "tracked": found.tracked,
                "events": [_event_document(each) for each in found.events],
                "incidents": found.incidents,
                "quarantined": found.quarantined,
            }
        case (int() as total, events):
            return {
                "asked": asked,
                "kind": "subscriber",
                "total": total,
                "events": [_event_document(each) for each in events],
            }
        case [EventFacts(), *_]:
            return {"asked": asked, "kind": "event", "events": [_event_document(each) for each in found]}
        case _:
            return {"asked": asked, "kind": "quarantine", "quarantined": found}


def waits_for_a_tracking(found: Any) -> bool:
    """Tell whether what was found waits for a message that nobody tracked, as far as is recorded."""
    match found:
        case MessageFacts():
            return not found.tracked
        case [EventFacts(), *_]:
            return any(facts.event["state"] != "attributed" and not facts.event["tracking_row"] for facts in found)
        case _:
            return False


def _event_document(facts: EventFacts) -> dict[str, Any]:
    event = {name: value for name, value in facts.event.items() if name != "url"}
    timeline = [{"at": step.at, "step": step.step, "says": step.says} for step in steps(facts)]
    return {
        **event,
        "timeline": timeline,
        "incidents": facts.incidents,
        "changes": facts.changes,
        "untold": facts.untold,
    }


def _newest(events: Sequence[EventFacts]) -> str:
    return f"; the newest {len(events):,}:"


def _show_event(console: Console, facts: EventFacts) -> None:
    console.print(Text(title(facts.event), style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for step in steps(facts):
        table.add_row(_instant(step.at), step.step.replace("_", " "), Text(step.says, style=_style(step)))
    console.print(table)


def _style(step: Step) -> str:
    return "yellow" if step.step in _ALARMING else ""


def _show_briefly(console: Console, events: Sequence[EventFacts]) -> None:
    """Show each event on a few lines: what it is, and what became of it."""
    for facts in events:
        told = steps(facts)
        what = next(step.says for step in told if step.step == "happened")
        outcome = "; ".join(step.says for step in told if step.step in _BRIEF)
        event = facts.event
        waits = "parked; " if event["state"] == "parked" else ""
        console.print(
            Text.assemble((_instant(event["event_timestamp"]), "dim"), "  ", (_name(event), "bold"), f"  {what}")
        )
        console.print(f"    {waits}{outcome}", soft_wrap=True)


def _name(event: Mapping[str, Any]) -> str:
    return printable(event["event_id"] or f"{event['kind']}:{event['row']}")


def _show_message(console: Console, asked: str, found: MessageFacts) -> None:
    if not found.tracked:
        name = printable(asked)
        console.print(f"Nobody tracked the message {name}: its events wait, or expire, until somebody does.")
    for row in found.tracked:
        name = printable(str(row["internet_message_id"] or row["azure_message_id"]))
        console.print(Text(f"Message {name}, tracking row {row['id']}", "bold"))
        console.print(
            f"  tracked {_instant(row['created_at'])} {door(row['tracked_via'])}, for {whose(row)};"
            f" sent {_instant(row['sent_at'])}"
        )
        if row["internet_message_id"] and row["azure_message_id"]:
            console.print(f"  Azure's own id: {row['azure_message_id']}")
        if row["learned_id"]:
            console.print(f"  its {row['learned_id']} was taught by a delivery report")
        if row["set_aside_message_id"]:
            console.print("  another Message-ID of it was set aside: it was ambiguous, or none, and is never matched")
    for incident in found.incidents:
        console.print(Text(f"  {_instant(incident['found_at'])}  {incident_sentence(incident)}", style="yellow"))
    _show_quarantined(console, found.quarantined)
    if not found.events:
        console.print("No event of it has arrived.")
    elif len(found.events) < found.total:
        console.print(f"The oldest {len(found.events):,} of its {found.total:,} events; --limit shows more:")
    _show_briefly(console, found.events)


def _show_quarantined(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        what = "a tracking that may name it" if row["kind"] == "message" else "an event that may name it"
        reason = printable(f"{row['reason']} ({row['detail']})" if row["detail"] else row["reason"])
        console.print(
            f"In quarantine, number {row['id']}: {what} could not be taken, {_instant(row['received_at'])}. Reason:"
            f" {reason}. docs/quarantine.md tells what to do; `attribution quarantine show {row['id']}`"
            " has the bytes."
        )


def _instant(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
