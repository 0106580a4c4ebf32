"""How long parked events waited in the past, and what that lets expect of those that wait now. Pure.

An event that still waits has not told yet how long it will: to leave it out would make every wait look short, to count
it as "never" would make every match look unlikely. The estimator of Kaplan and Meier uses what it does tell, that it
has waited so long. From its curve comes the chance of an event that has waited for some time already, which is another
than that of a new one: nearly all are matched within seconds, and what has waited for a day will wait on.

Ages are counted in spans, each an eighth longer than the one before, so that the past of a million events is a hundred
numbers. docs/parked.md tells what an operator makes of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple

#: Where spans of age meet, in seconds: from one second to a month, twenty for each power of ten. Span 0 lies before the
#: first, span n from the nth on; what is beyond the last is one span.
EDGES: Final = tuple(10 ** (step / 20) for step in range(129))
_SPANS: Final = len(EDGES) + 1

#: Past events that must have been followed for a chance to be told: with fewer, its interval says next to nothing.
LEAST: Final = 30
#: How sure the intervals are: 95 %.
_Z: Final = 1.959964
#: Events whose chance is below this, even at the upper end of its interval, are not worth waiting for.
HOPELESS: Final = 0.05
#: "Within t" is said of the time by which all but a fiftieth of those are matched that will be at all.
_NEARLY_ALL: Final = 0.98


def span_of(age_seconds: float) -> int:
    """Return the span that an age falls into."""
    return bisect_right(EDGES, age_seconds)


def begin_of(span: int) -> float:
    """Return the age in seconds at which a span begins."""
    return EDGES[span - 1] if span else 0.0


class Chance(NamedTuple):
    """A probability, the ends of its 95 % interval, and of how many past events it is told."""

    share: float
    low: float
    high: float
    of: float


def chance_of(share: float, of: float) -> Chance:
    """Return a share that was seen among ``of`` events with Wilson's interval, which no share makes empty."""
    centre = share + _Z * _Z / (2 * of)
    reach = _Z * sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    scale = 1 + _Z * _Z / of
    return Chance(share, max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale), of)


class Curve:
    """The share of parked events that still wait at each age.

    Args:
        matched: events by the span of the age at which they were matched.
        left: events by the span of the age at which they were last seen waiting.
    """

    def __init__(self, matched: Mapping[int, int], left: Mapping[int, int]) -> None:
        self._matched = matched
        self._left = left
        #: Events still waiting, and still followed, when each span begins.
        self.at_risk = [0] * (_SPANS + 1)
        for span in reversed(range(_SPANS)):
            self.at_risk[span] = self.at_risk[span + 1] + matched.get(span, 0) + left.get(span, 0)
        #: The share of events that wait when each span begins.
        self.waiting = [1.0] * (_SPANS + 1)
        for span in range(_SPANS):
            self.waiting[span + 1] = self.waiting[span] * (1 - self.hazard(span))
        #: The span of the latest match; -1 without any.
        self.last_match = max((span for span, count in matched.items() if count), default=-1)

    @property
    def events(self) -> int:
        """How many events the curve is of."""
        return self.at_risk[0]

    def hazard(self, span: int) -> float:
        """Return the share of those that reach a span who are matched in it."""
        return self._matched.get(span, 0) / self.at_risk[span] if self.at_risk[span] else 0.0

    def chance(self, span: int, until: int) -> Chance | None:
        """Return the chance that what has waited into ``span`` is matched before the span ``until`` begins.

        None if fewer than `LEAST` events tell. Of how many is not how many were that old, but how many were followed
        from there on: those seen last on the way count as far as they went (Peto's effective number).
        """
        if until <= span:
            return None
        last = until - 1
        if self.waiting[until] == 0:  # all were matched, and nobody was left to follow
            last = min(last, self.last_match)
        if last < span or not self.at_risk[last]:
            return None
        of = self.at_risk[last] * self.waiting[span] / self.waiting[last]
        if of < LEAST - 1e-6:  # a product of many shares is never quite exact
            return None
        return chance_of(1 - self.waiting[until] / self.waiting[span], of)

    def followed(self, span: int, horizon: int) -> int | None:
        """Return the span, ``horizon`` at the latest, up to whose begin `chance` tells of what waits in ``span``."""
        return next((until for until in range(horizon, span, -1) if self.chance(span, until)), None)


class Expected(NamedTuple):
    """How many events are expected to do something, with the ends of a 95 % interval."""

    events: float
    low: float
    high: float


_NONE: Final = Expected(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of ``parked`` events of one kind.

    Of ``untold`` events the past tells too little. Of the others ``soon`` will be matched within ``within_seconds``,
    ``later`` after that, and ``never`` not by the age ``known_seconds``, which is the deadline if the past goes that
    far. ``hopeless`` have waited since ``hopeless_seconds`` or longer: longer than anything that was matched, or with a
    chance below `HOPELESS`.
    """

    parked: int
    untold: int
    within_seconds: float | None = None
    soon: Expected = _NONE
    later: float = 0
    never: Expected = _NONE
    known_seconds: float = 0
    reaches_deadline: bool = False
    hopeless: int = 0
    hopeless_seconds: float | None = None


def forecast(curve: Curve, parked: Mapping[int, int], deadline_seconds: float) -> Forecast:
    """Tell what the curve of the past lets expect of events that wait now, given by the span of their age.

    Of a past in which nothing was ever matched, that is nothing: then something is amiss with all of them, and "never"
    would only repeat it.
    """
    if curve.last_match < 0:
        return Forecast(parked=sum(parked.values()), untold=sum(parked.values()))
    horizon = min(span_of(deadline_seconds) + 1, _SPANS)
    told = {
        span: (count, until) for span, count in parked.items() if (until := curve.followed(span, horizon)) is not None
    }
    hopeless, since = _hopeless(curve, parked, told)
    every = Forecast(
        parked=sum(parked.values()),
        untold=sum(count for span, count in parked.items() if span not in told),
        hopeless=hopeless,
        hopeless_seconds=since,
    )
    if not told:
        return every
    ever = _expect(curve, [(count, span, until) for span, (count, until) in told.items()])
    known = sum(count for count, _ in told.values())
    within, soon = _soon(curve, told, ever.events)
    known_until = min(until for _, until in told.values())
    return Forecast(
        parked=every.parked,
        untold=every.untold,
        within_seconds=within,
        soon=soon,
        later=max(0.0, ever.events - soon.events),
        never=Expected(known - ever.events, known - ever.high, known - ever.low),
        known_seconds=begin_of(known_until),
        reaches_deadline=known_until == horizon,
        hopeless=hopeless,
        hopeless_seconds=since,
    )


def _expect(curve: Curve, groups: Sequence[tuple[int, int, int]]) -> Expected:
    """Add up what is expected of groups: how many, in which span, until which.

    The interval has both doubts: what the curve is, which is the same for all, and what chance makes of each.
    """
    events = low = high = noise = 0.0
    for count, span, until in groups:
        chance = curve.chance(span, until)
        if chance is not None:
            events += count * chance.share
            low += count * chance.low
            high += count * chance.high
            noise += count * chance.share * (1 - chance.share)
    reach = _Z * sqrt(noise)
    return Expected(events, max(0.0, low - reach), min(high + reach, float(sum(count for count, _, _ in groups))))


def _soon(curve: Curve, told: Mapping[int, tuple[int, int]], ever: float) -> tuple[float | None, Expected]:
    """Return the shortest time within which nearly all are matched that will be at all, and how many that is."""
    if ever == 0:
        return None, _NONE
    soon = _NONE
    for within in EDGES:
        groups = [(count, span, min(until, span_of(begin_of(span) + within))) for span, (count, until) in told.items()]
        soon = _expect(curve, groups)
        if soon.events >= _NEARLY_ALL * ever:
            return within, soon
    return EDGES[-1], soon


def _hopeless(curve: Curve, parked: Mapping[int, int], told: Mapping[int, tuple[int, int]]) -> tuple[int, float | None]:
    """Count the oldest events that need not be waited for, and return from which age on they are."""
    count, since = 0, None
    for span in sorted(parked, reverse=True):
        if span in told:
            chance = curve.chance(span, told[span][1])
            if chance is None or chance.high >= HOPELESS:
                break
        elif curve.events < LEAST or span <= curve.last_match:
            break
        count += parked[span]
        since = begin_of(span)
    return count, since


class Lately(NamedTuple):
    """How many events that parked of late were matched, and how many the past before them lets expect by now."""

    matched: int
    expected: float

    @property
    def are_too_few(self) -> bool:
        """Whether this is no accident: too few by far, and by more than chance makes of sends that come in bursts."""
        return self.expected >= LEAST and self.matched < self.expected / 2


def compare_lately(before: Curve, matched: Mapping[int, int], left: Mapping[int, int]) -> Lately:
    """Compare events parked of late with the curve of those before, as far as that was followed (one-sample log-rank).

    What waited through half of a span had half of the span's chance.
    """
    lately = Curve(matched, left)
    found, expected = 0, 0.0
    for span in range(_SPANS):
        if before.at_risk[span] < LEAST:
            break
        found += matched.get(span, 0)
        expected += before.hazard(span) * (lately.at_risk[span] - left.get(span, 0) / 2)
    return Lately(found, expected)
