"""What mailers and Event Grid say to the machines: little, so that everything meets everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from tests.db.rows import azure_id
from tests.model.truth import Owner
from tests.tasks.payloads import RECEIVED_AT, delivery, engagement

_EVENTS: Final = 24
#: By the number of an event. Event Grid does not send one event as two kinds. Reports are what teaches.
_KINDS: Final = ("report", "view", "report", "click")


def internet(ids: frozenset[str]) -> str | None:
    """Return the Message-ID that is meant by one of ``ids``."""
    return next((f"<{id_}@example.com>" for id_ in ids if id_[0] == "i"), None)


def azure(ids: frozenset[str]) -> UUID | None:
    """Return Azure's id that is meant by one of ``ids``."""
    return next((azure_id(int(id_[1:])) for id_ in ids if id_[0] == "a"), None)


class Event(NamedTuple):
    """An event, told apart by its number; said again with other ids, it contradicts itself."""

    number: int
    ids: frozenset[str]

    @property
    def kind(self) -> str:
        return _KINDS[self.number % len(_KINDS)]

    @property
    def name(self) -> str:
        """What the model calls it, and its event id."""
        return f"{self.kind} {self.number}"

    @property
    def bounced(self) -> bool:
        return self.kind == "report" and self.number % 3 == 1

    @property
    def at(self) -> datetime:
        return RECEIVED_AT - timedelta(hours=1) + timedelta(minutes=self.number)

    @property
    def body(self) -> dict[str, Any]:
        """The event as Event Grid sends it."""
        azure_message_id = azure(self.ids)
        ids = {"internet_message_id": internet(self.ids), "messageId": str(azure_message_id or "")}
        if self.kind == "report":
            status = "Bounced" if self.bounced else "Delivered"
            return delivery(self.name, status=status, deliveryAttemptTimestamp=self.at.isoformat(), **ids)
        return engagement(self.name, engagementType=self.kind, userActionTimestamp=self.at.isoformat(), **ids)


class Tracking(NamedTuple):
    """What a mailer says of a message, or of what it takes for one."""

    ids: frozenset[str]
    owner: Owner

    @property
    def body(self) -> dict[str, Any]:
        """The tracking as a mailer sends it, in one of the spellings that mailers have."""
        azure_message_id = azure(self.ids)
        fields = {
            "internet_message_id": (internet(self.ids) or "").strip("<>").replace("example", "EXAMPLE") or None,
            "azure_message_id": str(azure_message_id) if azure_message_id else None,
            "campaign_id": self.owner.campaign,
            "subscriber_id": self.owner.subscriber,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Noise(NamedTuple):
    """What comes as an event and is none."""

    number: int

    @property
    def body(self) -> dict[str, Any]:
        return {"no event": self.number}


Saying = Event | Noise | Tracking


def bytes_of(sayings: Sequence[Saying]) -> bytes:
    """Return a request body."""
    return json.dumps([saying.body for saying in sayings]).encode()


def honest(ids: frozenset[str]) -> Owner:
    """Return whose the message of ``ids`` is."""
    number = int(min(ids)[1:])
    return Owner(campaign=1 + number % 2, subscriber=100 + number)


class Sayings:
    """What may be said where there are so many messages: strategies."""

    def __init__(self, messages: int) -> None:
        number = st.integers(0, messages - 1)
        carried = st.sampled_from(["i", "a", "ia"])
        ids = st.builds(lambda number, kinds: frozenset(f"{kind}{number}" for kind in kinds), number, carried)
        #: Events that carry one id of their message, or both.
        self.events = st.builds(Event, st.integers(0, _EVENTS - 1), ids)
        #: What comes from Event Grid, now and then something that is no event.
        self.arrivals = st.one_of(self.events, self.events, self.events, st.builds(Noise, st.integers(0, 9)))
        #: Trackings by their mailer: all that is said of one message agrees.
        self.trackings = ids.map(lambda ids: Tracking(ids, honest(ids)))
        #: Trackings by another mailer, which takes what it likes: another's message, or half of it, or halves of two.
        self.rivals = st.builds(
            lambda ids, others, owner: Tracking(
                frozenset({min(ids), *(id_ for id_ in others if id_[0] != min(ids)[0])}), owner
            ),
            ids,
            ids,
            st.sampled_from([Owner(3, 200), Owner(1, 201), honest(frozenset({"i0"}))]),
        )


#: How many commits a process lives for: for ever, or it dies before the first, before the second, …
lives = st.sampled_from([None, None, 0, 1, 2, 3])
