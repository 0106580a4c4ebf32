"""Alarms and drift in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cli.instants import minute

#: What a name is the name of.
_OF: Final = {
    "envelope_key": "events carry the key {} beside `data`, which",
    "data_key": "events carry the key {} in `data`, which",
    "details_key": "delivery reports carry the key {} in `deliveryStatusDetails`, which",
    "status": "delivery reports have the status {}, which",
    "engagement_type": "engagement reports have the type {}, which",
    "event_type": "events have the type {}, which",
}


def alarm_sentence(incident: Mapping[str, Any], name: Any) -> str:
    """Tell an incident of kind poison, id_missing or drift; ``name`` is the learnt name that the latter is about."""
    details = incident["details"]
    if incident["kind"] == "drift":
        known = name is not None and name.name
        says = _OF[details["of"]].format(known or "(the name is gone)")
        accepted = name is not None and name.accepted_at
        return f"drift: {says} this release does not know" + (", and an operator has accepted" if accepted else "")
    events, bad = details["events"], details["bad"]
    if incident["kind"] == "id_missing":
        keys = f"; keys of one: {', '.join(details['keys'])}" if details["keys"] else ""
        says = f"{bad:,} of {events:,} engagement events carried no internetMessageId{keys}"
        return f"alarm: {says}; {_end(details)}"
    # JSON keeps no order: the most frequent first.
    ordered = sorted(details["reasons"].items(), key=lambda each: (-each[1], each[0]))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in ordered)
    says = (
        f"of {events:,} events {details['malformed']:,} could not be read{f' ({reasons})' if reasons else ''} and"
        f" {details['unknown']:,} were of a type or status that is not known"
    )
    return f"alarm: {says}; {_end(details, slows=True)}"


def _end(details: Mapping[str, Any], *, slows: bool = False) -> str:
    times = f", {details['times']} times" if details.get("times", 1) > 1 else ""
    if details.get("ended_at"):
        who = "an operator ended it" if details["ended_by"] == "operator" else "it ended by itself"
        return f"{who} at {minute(datetime.fromisoformat(details['ended_at']))}{times}"
    if not slows:
        return f"it is on{times}"
    until = datetime.fromisoformat(details["slows_until"])
    if until <= datetime.now(UTC):
        return f"it is on{times}, and slows the drain no longer, so that Event Grid does not give up"
    return f"it is on{times}, and slows the drain until {minute(until)}; `attribution incidents dismiss` ends it"
