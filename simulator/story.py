"""A small story of two campaigns in listmonk, for the demo. A minute of it lasts a second or so.

Yesterday's campaign was cancelled half-way, but the mails that had gone out stay in their readers' inboxes and are
still opened. Today's goes to the same readers. For some minutes the mailer's tracking falls behind, so that opens
arrive before the system knows their messages; then it catches up. Some readers' mail programs load listmonk's own pixel
as well as Azure's. Some mails link to the offer through listmonk, some by a URL with the reader in it; a few readers
unsubscribe. Mail of another team goes through the same ACS resource: nobody ever tracks it. One event is malformed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from simulator import links
from simulator.acs import Acs, Event
from simulator.links import Link
from simulator.pixel import Firing
from simulator.scenario import Step, Track, natively
from simulator.truth import BOTH, Id, Sent
from simulator.wire import Schema

#: Yesterday's campaign, cancelled; today's; and the other team's, which this system is never told of.
CANCELLED: Final = 41
RUNNING: Final = 42
UNTRACKED: Final = 900
NAMES: Final = {
    CANCELLED: "Autumn sale (cancelled)",
    RUNNING: "Newsletter (running)",
    UNTRACKED: "Another team's mail",
}

_SALE_MESSAGES: Final = 300
_NEWSLETTER_MESSAGES: Final = 500
#: Readers whose ids, 1 and up, the story speaks of.
READERS: Final = _NEWSLETTER_MESSAGES
_UNTRACKED_MESSAGES: Final = 8

#: Readers whose mail programs load listmonk's own pixel, too; and readers of whom Azure misses one more open.
_PIXEL_LOADED: Final = 0.4
_MISSED_BY_AZURE: Final = 0.05

#: When today's chapter begins, and how long the newsletter takes to send, in seconds of the story.
_TODAY: Final = 60.0
_SENDING: Final = 480.0
#: The time in which the mailer's tracking stands still. What it sent meanwhile is tracked when it is over.
_STUCK: Final = (150.0, 390.0)


#: What to tell an onlooker, and from when on, in seconds of the story.
_CHAPTERS: Final = (
    (0.0, "Yesterday's sale has gone out, was delivered, and was cancelled."),
    (_TODAY, "Today's newsletter goes out to the same readers. They still open yesterday's sale."),
    (_STUCK[0], "The mailer's tracking falls behind: opens arrive before their messages are known."),
    (_STUCK[1], "The mailer catches up: what was parked is released."),
    (_TODAY + _SENDING, "The newsletter is out. Late delivery reports and late readers trickle in."),
)


def offer(campaign_id: int) -> str:
    """Return the page that a campaign's mails lead to."""
    return f"https://www.example.com/offers/{campaign_id}"


@dataclass(frozen=True, slots=True)
class Story:
    """What happens, and how long it takes to tell, in its own seconds."""

    steps: list[Step]
    seconds: float

    @property
    def tracked(self) -> int:
        """How many messages are tracked before it is over."""
        return sum(isinstance(step.action, Track) for step in self.steps)

    def chapter(self, seconds: float) -> str:
        """Say in a sentence what goes on at that time."""
        return [sentence for begins, sentence in _CHAPTERS if begins <= seconds or not begins][-1]


def tell(now: datetime, *, seed: int = 42) -> Story:
    """Tell the story as it happens from ``now`` on. The same seed and instant tell it with the same bytes."""
    return _Narrator(now, Random(seed)).tell()


class _Narrator:
    def __init__(self, now: datetime, rng: Random) -> None:
        self._now = now
        self._rng = rng
        self._acs = Acs(rng, Schema.EVENT_GRID)

    def tell(self) -> Story:
        steps = sorted(
            (*self._yesterday(), *self._today(), *self._another_teams_mail(), self._malformed_event()),
            key=lambda step: step.at,
        )
        return Story(steps, steps[-1].at)

    def _clock(self, seconds: float) -> datetime:
        return self._now + timedelta(seconds=seconds)

    def _yesterday(self) -> Iterator[Step]:
        """The sale went out a day ago, was tracked and delivered. Its readers go on opening it all through today."""
        for number in range(_SALE_MESSAGES):
            message = self._message(CANCELLED, number, sent=-86_400 + self._rng.uniform(0, 600))
            yield Step(0.0, message)
            yield Step(0.0, Track(message, BOTH, message.internet_message_id))
            attempted = message.sent_at + timedelta(seconds=3)
            report = self._acs.deliver(
                message,
                recipient=message.recipients[0],
                status="Bounced" if number % 60 == 7 else "Delivered",
                attempted_at=attempted,
                reported_at=attempted + timedelta(seconds=self._rng.uniform(120, 300)),
            )
            yield Step(self._rng.uniform(5, _TODAY), report)
            if number % 60 != 7 and self._rng.random() < 0.6:
                yield from self._reading(message, self._rng.uniform(_TODAY, _TODAY + _SENDING + 200))

    def _today(self) -> Iterator[Step]:
        for number in range(_NEWSLETTER_MESSAGES):
            sent = _TODAY + _SENDING * number / _NEWSLETTER_MESSAGES
            message = self._message(RUNNING, number, sent=sent)
            yield Step(sent, message)
            tracked = _STUCK[1] if _STUCK[0] < sent < _STUCK[1] else sent
            # An SMTP mailer knows its own Message-ID only; a delivery report teaches the system Azure's.
            yield Step(tracked, Track(message, ("internet",), message.internet_message_id))
            yield self._delivery(message, sent, "Suppressed" if number % 100 == 13 else "Delivered")
            if number % 100 != 13 and self._rng.random() < 0.5:
                yield from self._reading(message, sent + self._rng.expovariate(1 / 40))

    def _another_teams_mail(self) -> Iterator[Step]:
        for number in range(_UNTRACKED_MESSAGES):
            sent = self._rng.uniform(_TODAY, _TODAY + _SENDING)
            message = self._message(UNTRACKED, 10_000 + number, sent=sent)
            yield Step(sent, message)
            yield self._delivery(message, sent, "Delivered")
            yield Step(sent + 30, self._acs.view(message, at=self._clock(sent + 30)))

    def _malformed_event(self) -> Step:
        at = _TODAY + 100
        return Step(at, self._acs.malformed(at=self._clock(at), flaw="id of the wrong type"))

    def _message(self, campaign_id: int, number: int, *, sent: float) -> Sent:
        return self._acs.send(
            campaign_id=campaign_id,
            subscriber_id=1 + number,
            recipients=(f"reader{1 + number}@example.net",),
            at=self._clock(sent),
        )

    def _delivery(self, message: Sent, sent: float, status: str) -> Step:
        """Report a delivery two to five minutes late: long after the first opens."""
        reported = sent + self._rng.uniform(120, 300)
        event = self._acs.deliver(
            message,
            recipient=message.recipients[0],
            status=status,
            attempted_at=self._clock(sent + 2),
            reported_at=self._clock(reported),
        )
        return Step(reported, event)

    def _reading(self, message: Sent, opened: float) -> Iterator[Step]:
        pixel = self._rng.random() < _PIXEL_LOADED
        link = self._link(message)

        def act(at: float, event: Event) -> Iterator[Step]:
            yield Step(at, event)
            if pixel:
                yield from natively(self._rng, message, event, at)

        yield from act(opened, self._acs.view(message, at=self._clock(opened), ids=self._ids()))
        while self._rng.random() < 0.3:
            opened += self._rng.uniform(5, 60)
            yield from act(opened, self._acs.view(message, at=self._clock(opened), ids=self._ids()))
        chance, clicked = 0.3, opened
        while self._rng.random() < chance:
            clicked += self._rng.uniform(1, 20)
            yield from act(clicked, self._acs.click(message, at=self._clock(clicked), link=link, ids=self._ids()))
            chance = 0.2
        if self._rng.random() < _MISSED_BY_AZURE:
            at = clicked + 60
            yield Step(at, Firing("view", message.campaign_id, message.subscriber_id or 0, None, self._clock(at), None))

    def _link(self, message: Sent) -> Link:
        reader, url = message.subscriber_id or 0, offer(message.campaign_id)
        draw = self._rng.random()
        if draw < 0.5:
            return links.tracked(url, message.campaign_id, reader)
        if draw < 0.9:
            return links.personal(url, reader, self._rng)
        return links.way_out(message.campaign_id, reader)

    def _ids(self) -> tuple[Id, ...]:
        return ("azure",) if self._rng.random() < 0.04 else BOTH
