"""What happens while the faults strike: campaigns of a listmonk, as many events as are asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from simulator.acs import Event
from simulator.scenario import Step, Traffic, in_listmonk, play_out
from simulator.truth import Sent

#: Campaigns of the story, all of which the listmonk has.
CAMPAIGNS: Final = 3
#: Messages from which it is reckoned how many events a message leads to.
_SAMPLE: Final = 500


def story(*, seed: int, events: int) -> list[Step]:
    """Tell a story of about so many events. The same seed draws the same, though at another time."""
    start = datetime.now(UTC) - timedelta(hours=1)
    return sized(in_listmonk(Traffic(seed=seed, start=start, campaigns=CAMPAIGNS)), events)


def sized(traffic: Traffic, events: int) -> list[Step]:
    """Play out ``traffic`` with as many messages as lead to about so many events."""
    sample = play_out(replace(traffic, messages=_SAMPLE))
    per_message = sum(isinstance(step.action, Event) for step in sample) / _SAMPLE
    return play_out(replace(traffic, messages=max(1, round(events / per_message))))


def readers_of(steps: list[Step]) -> int:
    """Return the highest number that a reader of the story has."""
    return max((step.action.subscriber_id or 1 for step in steps if isinstance(step.action, Sent)), default=1)


def links_of(steps: list[Step]) -> set[str]:
    """Return what the story's tracked links lead to: listmonk has registered it before it sent the first mail."""
    events = (step.action.truth for step in steps if isinstance(step.action, Event))
    return {event.link for event in events if event.link is not None and event.names_reader}
