"""Seeded random traffic: campaigns sent side by side, and all that may happen to their messages, on one timeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, Literal, NamedTuple

from simulator import links
from simulator.acs import Acs, Event
from simulator.links import Link
from simulator.pixel import Firing
from simulator.truth import BOTH, Id, Sent
from simulator.wire import Schema


@dataclass(frozen=True, slots=True)
class Track:
    """The mailer tells the system of a message, by these ids, its Message-ID in the mailer's own ``spelling``."""

    message: Sent
    ids: tuple[Id, ...]
    spelling: str


class Step(NamedTuple):
    """Something that happens ``at`` seconds after the start.

    A message is sent or tracked, an event is published, or listmonk's own pixel or redirect fires.
    """

    at: float
    action: Sent | Track | Event | Firing


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How much of what. Rates are shares of the messages or events they are named after; times are seconds.

    With one seed, and one ``start``, every id, time and byte is the same again. Playing it twice into one database is
    therefore one great redelivery, and must change nothing.
    """

    messages: int = 1000
    seed: int = 1
    schema: Schema = Schema.EVENT_GRID
    start: datetime = datetime(2026, 1, 10, 10, tzinfo=UTC)
    campaigns: int = 3
    first_campaign: int = 1
    #: How long the sending takes. All campaigns go out side by side.
    span: float = 600.0
    #: Messages tracked only after they were sent, by up to a minute, so that events overtake them.
    tracked_late: float = 0.1
    #: Messages never tracked: somebody else's mail through the same ACS resource.
    never_tracked: float = 0.03
    #: Messages tracked by Azure's id alone (ACS's own API), and by both ids. The others by Message-ID alone (SMTP).
    tracked_by_azure_id: float = 0.1
    tracked_by_both_ids: float = 0.2
    #: Messages to two or three people.
    several_recipients: float = 0.03
    opened: float = 0.6
    opened_again: float = 0.35
    clicked: float = 0.25
    clicked_again: float = 0.3
    #: Engagement reports without a Message-ID.
    without_internet_message_id: float = 0.05
    #: Malformed and foreign events, per message.
    malformed: float = 0.004
    ignored: float = 0.004
    #: Engagement reports of a type that is not known, per message that is read.
    unknown_type: float = 0.0
    #: Clicks on listmonk's tracked links, on links with the reader in them, and on the way out. The others are plain.
    tracked_links: float = 0.0
    personal_links: float = 0.0
    ways_out: float = 0.0
    #: Readers whose acts listmonk's own pixel and redirect count, too; and readers of whom Azure misses one more open.
    native: float = 0.0
    native_only: float = 0.0

    def clock(self, seconds: float) -> datetime:
        """Return the instant ``seconds`` after the start."""
        return self.start + timedelta(seconds=seconds)


def in_listmonk(traffic: Traffic) -> Traffic:
    """Return the same traffic with all that there is to it in the listmonk that `simulator.listmonk` installs."""
    return replace(
        traffic,
        clicked=0.6,
        tracked_links=0.4,
        personal_links=0.3,
        ways_out=0.1,
        unknown_type=0.05,
        native=0.5,
        native_only=0.1,
    )


#: How deliveries end, with weights. Only terminal states are reported; new ones may be added any day.
_STATUSES: Final = {
    "Delivered": 925,
    "Bounced": 25,
    "Suppressed": 20,
    "Failed": 10,
    "Quarantined": 5,
    "FilteredSpam": 5,
    "Expanded": 5,
    "Throttled": 5,
}
_OPENABLE: Final = frozenset({"Delivered", "Expanded", "Quarantined", "FilteredSpam"})


def play_out(traffic: Traffic) -> list[Step]:
    """Return everything that happens, in the order in which it happens."""
    rng = Random(traffic.seed)
    acs = Acs(rng, traffic.schema)
    steps = [step for number in range(traffic.messages) for step in _life_of_a_message(traffic, acs, rng, number)]
    steps.sort(key=lambda step: step.at)
    return steps


def _life_of_a_message(traffic: Traffic, acs: Acs, rng: Random, number: int) -> Iterator[Step]:
    clock = traffic.clock
    reader = number // traffic.campaigns
    sent = rng.random() * traffic.span
    several = rng.random() < traffic.several_recipients
    names = [f"reader{reader}@example.net", f"friend{reader}@example.net", f"desk{reader}@example.com"]
    message = acs.send(
        campaign_id=traffic.first_campaign + number % traffic.campaigns,
        subscriber_id=None if several else 1 + reader,
        recipients=tuple(names[: rng.randint(2, 3)] if several else names[:1]),
        at=clock(sent),
    )
    yield Step(sent, message)
    yield from _tracking(traffic, rng, message, sent)

    openable = False
    for recipient in message.recipients:
        status = rng.choices(list(_STATUSES), weights=list(_STATUSES.values()))[0]
        openable |= status in _OPENABLE
        attempted = sent + rng.uniform(0.5, 20)
        reported = attempted + rng.uniform(120, 300)
        yield Step(
            reported,
            acs.deliver(
                message,
                recipient=recipient,
                status=status,
                attempted_at=clock(attempted),
                reported_at=clock(reported),
            ),
        )
    if openable and rng.random() < traffic.opened:
        yield from _reading(traffic, acs, rng, message, sent)
    if rng.random() < traffic.malformed:
        at = sent + rng.uniform(0, 120)
        yield Step(at, acs.malformed(at=clock(at)))
    if rng.random() < traffic.ignored:
        at = sent + rng.uniform(0, 120)
        yield Step(at, acs.ignored(at=clock(at)))


def _tracking(traffic: Traffic, rng: Random, message: Sent, sent: float) -> Iterator[Step]:
    draw = rng.random()
    if draw < traffic.never_tracked:
        return
    late = draw < traffic.never_tracked + traffic.tracked_late
    draw = rng.random()
    ids: tuple[Id, ...] = ("internet",)
    if draw < traffic.tracked_by_azure_id:
        ids = ("azure",)
    elif draw < traffic.tracked_by_azure_id + traffic.tracked_by_both_ids:
        ids = BOTH
    yield Step(
        sent + rng.uniform(1, 60) if late else sent, Track(message, ids, _spelling(rng, message.internet_message_id))
    )


def _spelling(rng: Random, internet_message_id: str) -> str:
    """Write a Message-ID as mailers do: some leave the brackets off, some write the domain in capitals."""
    draw = rng.random()
    if draw < 0.05:
        return internet_message_id[1:-1]
    if draw < 0.1:
        local, _, domain = internet_message_id.partition("@")
        return f"{local}@{domain.upper()}"
    return internet_message_id


def _reading(traffic: Traffic, acs: Acs, rng: Random, message: Sent, sent: float) -> Iterator[Step]:
    """Opens and clicks, each repeated now and then: a report for each, and none of them a duplicate."""
    native = message.subscriber_id is not None and rng.random() < traffic.native

    def ids() -> tuple[Id, ...]:
        return ("azure",) if rng.random() < traffic.without_internet_message_id else BOTH

    def act(at: float, event: Event) -> Iterator[Step]:
        yield Step(at, event)
        if native:
            yield from natively(rng, message, event, at)

    opened = sent + rng.expovariate(1 / 60)
    yield from act(opened, acs.view(message, at=traffic.clock(opened), ids=ids()))
    if rng.random() < traffic.opened_again:
        opened += rng.expovariate(1 / 120)
        yield from act(opened, acs.view(message, at=traffic.clock(opened), ids=ids()))
    clicked = opened
    chance = traffic.clicked
    while rng.random() < chance:
        clicked += rng.uniform(0.5, 30)
        link = _link(traffic, rng, message)
        yield from act(clicked, acs.click(message, at=traffic.clock(clicked), link=link, ids=ids()))
        chance = traffic.clicked_again
    if rng.random() < traffic.unknown_type:
        yield Step(clicked, acs.forward(message, at=traffic.clock(clicked), ids=ids()))
    if message.subscriber_id is not None and rng.random() < traffic.native_only:
        # Long after the last act that Azure reports, for it is another one.
        missed = clicked + rng.uniform(30, 60)
        firing = Firing("view", message.campaign_id, message.subscriber_id, None, traffic.clock(missed), None)
        yield Step(missed, firing)


def natively(rng: Random, message: Sent, event: Event, at: float) -> Iterator[Step]:
    """Have listmonk count an act that Azure reports by ``event``: by a clock of its own, and before it or after it.

    Nothing happens where no pixel or redirect of listmonk's is involved: a click counts there on a tracked link only.
    """
    act = event.truth
    if act.at is None or message.subscriber_id is None or not (act.what == "view" or act.names_reader):
        return
    what: Literal["view", "click"] = "view" if act.what == "view" else "click"
    firing = Firing(
        what,
        message.campaign_id,
        message.subscriber_id,
        act.link,
        act.at + timedelta(seconds=rng.uniform(-2, 2)),
        act.event_id,
    )
    yield Step(max(0.0, at + rng.uniform(-10, 60)), firing)


def _link(traffic: Traffic, rng: Random, message: Sent) -> Link:
    """Draw what is clicked. Only listmonk's tracked links lead to its offer; no other click is counted as one on it."""
    if message.subscriber_id is not None:
        draw = rng.random()
        if draw < traffic.tracked_links:
            return links.tracked("https://www.example.com/offer", message.campaign_id, message.subscriber_id)
        if draw < traffic.tracked_links + traffic.personal_links:
            return links.personal("https://www.example.com/news", message.subscriber_id, rng)
        if draw < traffic.tracked_links + traffic.personal_links + traffic.ways_out:
            return links.way_out(message.campaign_id, message.subscriber_id)
    return links.plain(f"https://www.example.com/more?c={message.campaign_id}&s=a+b")
