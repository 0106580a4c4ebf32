"""Events and trackings by the million, each known by its number, from which follows what must become of it.

Events have numbers in a *space*. In the space of the flow (0), message ``m`` has the four events ``4m`` to ``4m + 3``;
the lot of its number says when it is tracked. In each other space, so many views belong to each message, and wait for
one long call that tracks them all. `proof.load.oracle` says the same in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from simulator import wire

#: Each space has so many numbers.
SPACE: Final = 1 << 40
#: Events of a message of the flow: a delivery report, then these engagement reports.
_ENGAGEMENTS: Final = ("view", "click", "view")
PER_MESSAGE: Final = 1 + len(_ENGAGEMENTS)
#: Of so many messages one is never tracked, and two are tracked after their events.
LOTS: Final = 20
NEVER: Final = 0
_LATE: Final = (1, 2)
#: Messages that are worked off together: tracked early, their events, tracked late, redelivered.
_BLOCK: Final = 500
#: Share of the requests that come twice, and that hold a malformed event besides.
_REDELIVERED: Final = 0.05
_SPOILT: Final = 0.02

CAMPAIGNS: Final = 50
SUBSCRIBERS: Final = 1_000_000

_encode = msgspec.json.Encoder().encode


def message_id(message: int) -> str:
    """Return the Message-ID of a message. Neighbours in number are no neighbours in any index."""
    return f"<{_scattered(message)}@mail.example.com>"


def tracking(message: int) -> dict[str, Any]:
    """Return what a mailer tracks a message by."""
    return {
        "internet_message_id": message_id(message),
        "campaign_id": 1 + message % CAMPAIGNS,
        "subscriber_id": 1 + message % SUBSCRIBERS,
    }


def _scattered(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}"


class Events(NamedTuple):
    """A request of Event Grid with the events ``first`` to ``last`` - 1 of a space, ``per_message`` of each message."""

    space: int
    first: int
    last: int
    per_message: int
    spoilt: bool = False

    @property
    def events(self) -> int:
        """How many there are, a malformed one included."""
        return self.last - self.first + self.spoilt

    def body(self) -> bytes:
        """Return the bytes, made anew at each call: thousands of requests may wait to be sent again."""
        base = self.space * SPACE
        parts = [_event(base + n, base + n // self.per_message, self._form(n)) for n in range(self.first, self.last)]
        if self.spoilt:
            parts.append(_SPOILT_FORM % (_names(self.first, self.first) | {"event": f"malformed-{self.first}"}))
        return f"[{','.join(parts)}]".encode()

    def _form(self, number: int) -> str:
        return _FORMS[number % PER_MESSAGE] if self.space == 0 else _FORMS[1]


class Trackings(NamedTuple):
    """A call of a mailer."""

    messages: tuple[int, ...]
    events: int = 0

    def body(self) -> bytes:
        """Return the bytes."""
        return _encode([tracking(message) for message in self.messages])


Request = Events | Trackings


class Parked(NamedTuple):
    """So many events of a space, ``per_message`` of each message: parked, and then released by one call."""

    space: int
    events: int
    per_message: int

    def requests(self, per_request: int) -> Iterator[Events]:
        """Yield the requests that bring them."""
        for first in range(0, self.events, per_request):
            yield Events(self.space, first, min(first + per_request, self.events), self.per_message)

    def messages(self) -> range:
        """Return the messages that they belong to."""
        base = self.space * SPACE
        return range(base, base + -(-self.events // self.per_message))


@dataclass
class Truth:
    """What has been sent in all. Whatever is sent is sent again until it is accepted."""

    messages: int = 0
    malformed: int = 0
    redelivered: int = 0
    parked: list[Parked] = field(default_factory=list)

    def park(self, events: int, per_message: int) -> Parked:
        """Write down a new space."""
        self.parked.append(Parked(len(self.parked) + 1, events, per_message))
        return self.parked[-1]

    @property
    def events(self) -> int:
        """How many different events there are, malformed ones left out."""
        return self.messages * PER_MESSAGE + sum(parked.events for parked in self.parked)


def flow(truth: Truth, chance: Random, per_request: tuple[int, int]) -> Iterator[list[Request]]:
    """Yield blocks of requests without end; a block that was begun must be sent to its end.

    Each request holds as many events as ``chance`` draws from ``per_request``, the least and the most.
    """
    least, most = per_request
    size = max(_BLOCK, -(-most // PER_MESSAGE))
    while True:
        messages = range(truth.messages, truth.messages + size)
        truth.messages = messages.stop
        end = messages.stop * PER_MESSAGE
        bodies: list[Events] = []
        first = messages.start * PER_MESSAGE
        while first < end:
            last = min(end, first + chance.randint(least, most))
            bodies.append(Events(0, first, last, PER_MESSAGE, chance.random() < _SPOILT))
            first = last
        again = [body for body in bodies if chance.random() < _REDELIVERED]
        truth.malformed += sum(body.spoilt for body in bodies)
        truth.redelivered += sum(body.events for body in again)
        late = tuple(message for message in messages if message % LOTS in _LATE)
        early = tuple(message for message in messages if message % LOTS not in (NEVER, *_LATE))
        yield [Trackings(early), *bodies, Trackings(late), *again]


def _event(number: int, message: int, form: str) -> str:
    return form % _names(number, message)


def _names(number: int, message: int) -> dict[str, str]:
    azure = _scattered(message)
    return {
        "event": f"00000000-0000-4000-8000-{number:012x}",
        "message": message_id(message),
        "azure": f"{azure[:8]}-{azure[8:12]}-{azure[12:]}-8000-000000000000",
    }


def _form(kind: str) -> str:
    """Return an event as Azure writes it, with places for its names."""
    azure, message = "%(azure)s", "%(message)s"
    at, recipient = datetime.now(UTC), "reader@example.net"
    if kind == "report":
        data = wire.delivery(
            "Delivered", at=at, azure_message_id=azure, internet_message_id=message, recipient=recipient
        )
    else:
        data = wire.engagement(
            kind,
            at=at,
            azure_message_id=azure,
            internet_message_id=message,
            recipient=recipient,
            context="https://www.example.com/offer" if kind == "click" else "",
            user_agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/120.0.0.0 Safari/537.36",
        )
    event_type = wire.DELIVERY_REPORT if kind == "report" else wire.ENGAGEMENT_REPORT
    made = wire.envelope(
        wire.Schema.EVENT_GRID, event_id="%(event)s", event_type=event_type, published_at=at, data=data
    )
    return wire.encode(made).decode()


_FORMS: Final = [_form(kind) for kind in ("report", *_ENGAGEMENTS)]
#: An event that no time is known of.
_SPOILT_FORM: Final = _FORMS[1].replace('"userActionTimestamp":"', '"userActionTimestamp":"never ')
