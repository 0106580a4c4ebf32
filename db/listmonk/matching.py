"""Which rows of listmonk's and which events of ours are one act. Pure.

One act is counted once, so a native row stands for one event at most, and one event for one native row; and as many
acts as can be are counted once, whichever of the two came first. Seen as instants, with one window for all, that is a
maximum matching of two sorted lists: going through both, the earliest of one side takes the earliest of the other that
it can have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple


class Act(NamedTuple):
    """A view or a click: a row of listmonk's, or an event of ours. ``id`` is unique on its side.

    ``subscriber_id`` is None where the reader is not known, or must not be named.
    """

    id: int
    campaign_id: int | None
    subscriber_id: int | None
    link_id: int | None
    at: datetime


def match(ours: Iterable[Act], native: Iterable[Act], window: timedelta) -> dict[int, int]:
    """Return which native row counts which of our events, by their ids.

    Acts of one campaign, reader and link go first. A native row that names nobody, which listmonk writes where it
    tracks no individuals, may then be any event's of its campaign and link. An event that names nobody is no act of a
    reader whom listmonk names: it may be anybody's.
    """
    counted: dict[int, int] = {}
    ours, native = list(ours), list(native)
    rounds: list[tuple[_Group, list[Act], list[Act]]] = [
        (_named, [act for act in ours if act.subscriber_id], [act for act in native if act.subscriber_id]),
        (_nameless, ours, [act for act in native if not act.subscriber_id]),
    ]
    taken: set[int] = set()
    for group, events, rows in rounds:
        found = _match_groups(
            [act for act in events if act.id not in counted],
            [act for act in rows if act.id not in taken],
            group,
            window,
        )
        counted |= found
        taken |= set(found.values())
    return counted


_Group = Callable[[Act], Hashable]


def _named(act: Act) -> Hashable:
    return act.campaign_id, act.link_id, act.subscriber_id


def _nameless(act: Act) -> Hashable:
    return act.campaign_id, act.link_id


def _match_groups(ours: Iterable[Act], native: Iterable[Act], group: _Group, window: timedelta) -> dict[int, int]:
    rows: defaultdict[Hashable, list[Act]] = defaultdict(list)
    for act in native:
        rows[group(act)].append(act)
    events: defaultdict[Hashable, list[Act]] = defaultdict(list)
    for act in ours:
        if group(act) in rows:
            events[group(act)].append(act)
    counted: dict[int, int] = {}
    for key, acts in events.items():
        counted |= _sweep(sorted(acts, key=_order), sorted(rows[key], key=_order), window)
    return counted


def _sweep(ours: Sequence[Act], native: Sequence[Act], window: timedelta) -> dict[int, int]:
    """Match two sorted lists. Whoever is too early for the other side's next can be nobody else's either."""
    counted: dict[int, int] = {}
    event = row = 0
    while event < len(ours) and row < len(native):
        apart = native[row].at - ours[event].at
        if apart > window:
            event += 1
        elif apart < -window:
            row += 1
        else:
            counted[ours[event].id] = native[row].id
            event += 1
            row += 1
    return counted


def _order(act: Act) -> tuple[datetime, int]:
    return act.at, act.id
