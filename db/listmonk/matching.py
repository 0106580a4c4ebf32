"""Which rows of listmonk's and which events of ours are one act. Pure.

One act is counted once, so a native row stands for one event at most, and one event for one native row; and as many
acts as can be are counted once, whichever of the two came first. That is a maximum matching of two sets of instants.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple


class Act(NamedTuple):
    """A view or a click: a row of listmonk's, or an event of ours. ``id`` is unique on its side."""

    id: int
    campaign_id: int | None
    subscriber_id: int | None
    link_id: int | None
    at: datetime

    @property
    def group(self) -> tuple[int | None, int | None, int | None]:
        """Return what two acts must share to be one: campaign, reader (None is a nobody) and link."""
        return self[1:4]


def match(ours: Iterable[Act], native: Iterable[Act], held: Mapping[int, int], window: timedelta) -> dict[int, int]:
    """Return which native row counts which of our events, by their ids.

    ``held`` is who counts whom already, by the event's id: an event that is counted natively stays so, though perhaps
    by another row, so that another event finds one. Within those bounds nearest goes first.
    """
    by_group: defaultdict[tuple[int | None, ...], list[Act]] = defaultdict(list)
    for act in native:
        by_group[act.group].append(act)
    for acts in by_group.values():
        acts.sort(key=_at)
    events = {act.id: act for act in ours}
    choices = {act.id: _within(by_group.get(act.group, []), act.at, window) for act in events.values()}
    counted = {event: row for event, row in held.items() if event in events}
    takers = {row: event for event, row in counted.items()}
    for event in sorted(events, key=lambda event: (events[event].at, event)):
        if event not in counted:
            _find_row(event, choices, takers, set())
    return {event: row for row, event in takers.items()}


def _find_row(event: int, choices: Mapping[int, list[int]], takers: dict[int, int], tried: set[int]) -> bool:
    """Give ``event`` a row, moving others to other rows where that helps: an augmenting path, as Kuhn found them."""
    for row in choices[event]:
        if row not in tried and row not in takers:
            takers[row] = event
            return True
    for row in choices[event]:
        if row not in tried:
            tried.add(row)
            if _find_row(takers[row], choices, takers, tried):
                takers[row] = event
                return True
    return False


def _within(acts: list[Act], at: datetime, window: timedelta) -> list[int]:
    near = acts[bisect_left(acts, at - window, key=_at) : bisect_right(acts, at + window, key=_at)]
    return [act.id for act in sorted(near, key=lambda act: (abs(act.at - at), act.id))]


def _at(act: Act) -> datetime:
    return act.at
