"""When an alarm is raised, and when it ends. Pure.

There are two alarms that come and go: of events that cannot be read or are of unknown types (`POISON`, which slows the
drain), and of engagement events that carry no internetMessageId (`ID_MISSING`, which does not).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from db.drift import ID_MISSING, Alarm, Tally

#: Each time an alarm comes again soon, twice as many good events are asked for to end it; at most so many times.
_DOUBLINGS: Final = 6


class Verdict(Enum):
    """What is to be done about an alarm."""

    LEAVE = "leave"
    RAISE = "raise"
    RAISE_AGAIN = "raise again"
    END = "end"


@dataclass(frozen=True, slots=True)
class Rule:
    """When there is an alarm: above ``share`` of at least ``least`` events within ``window``.

    It slows the drain for ``slows_for`` at most.
    """

    share: float
    least: int
    window: timedelta
    slows_for: timedelta

    def counts_since(self, now: datetime, alarm: Alarm | None) -> datetime:
        """From when on tallies count. What has led to an alarm that ended does not lead to the next."""
        begin = now - self.window
        if alarm is None:
            return begin
        return max(begin, alarm.since if alarm.ended_at is None else alarm.ended_at)

    def needed(self, alarm: Alarm) -> int:
        """How many events, the newest, must be better for an alarm to end."""
        return self.least << min(alarm.times - 1, _DOUBLINGS)

    def slows(self, alarm: Alarm, now: datetime) -> bool:
        """Whether an open alarm slows the drain still. However often it was raised again, it does not begin anew."""
        return now - alarm.found_at < self.slows_for

    def judge(self, kind: str, alarm: Alarm | None, tally: Tally, now: datetime) -> Verdict:
        """Say what is to be done.

        ``tally`` is, of what counts, all if there is no open alarm, and the newest of it, as much as is `needed`, if
        there is one. The share must fall to half to end an alarm, so that it does not come and go.
        """
        events, bad = tally.of(kind), tally.bad(kind)
        if alarm is not None and alarm.ended_at is None:
            return Verdict.END if self._is_over(alarm, events, bad, now) else Verdict.LEAVE
        if events < self.least or bad <= self.share * events:
            return Verdict.LEAVE
        if alarm is None or alarm.ended_at is None or alarm.ended_at < now - self.window:
            return Verdict.RAISE
        if alarm.ended_by == "operator":
            return Verdict.LEAVE
        # What has slowed nothing for a whole window is over with its end: as the same alarm again, it would not slow.
        return Verdict.RAISE_AGAIN if self.slows(alarm, now - self.window) else Verdict.RAISE

    def _is_over(self, alarm: Alarm, events: int, bad: int, now: datetime) -> bool:
        """Whether an open alarm ends.

        After a whole window what has come is enough to tell, however much is `needed`; and if it is hardly anything,
        it is too little to be afraid of.
        """
        whole = alarm.since < now - self.window
        if whole and events < self.least:
            return True
        return (whole or events >= self.needed(alarm)) and bad <= self.share / 2 * events


def raised_sentence(kind: str, tally: Tally, reasons: Mapping[str, int], *, slows: bool) -> str:
    """Say what has raised an alarm, for the log: counts, and reasons of the closed list."""
    events, bad = tally.of(kind), tally.bad(kind)
    if kind == ID_MISSING:
        return (
            f"{bad} of {events} engagement events carry no internetMessageId, so they match by Azure's id or not at all"
        )
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    begin = "the drain is slowed" if slows else "alarm"
    return (
        f"{begin}: of the last {events} events {tally.malformed} could not be read"
        f" ({why or 'none'}), and {tally.unknown} are of a type or status that this release does not know"
    )
