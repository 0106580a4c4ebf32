"""The rows that travel between parsing and PostgreSQL, one tuple each, in the order of their columns.

Plain tuples because a batch holds thousands of them: PostgreSQL's binary COPY takes them as they are. A UUID is its 16
bytes here, which is what COPY sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeVar
from uuid import UUID

_T = TypeVar("_T")


class State(StrEnum):
    """Where an event stands. Nothing leaves ``attributed``."""

    ATTRIBUTED = "attributed"
    PARKED = "parked"
    EXPIRED = "expired"


class Key(StrEnum):
    """What tied an event to its message, strongest first; stored with every attributed event."""

    INTERNET_MESSAGE_ID = "internet_message_id"
    AZURE_MESSAGE_ID = "azure_message_id"
    DELIVERY_REPORT = "delivery_report"
    HEADER = "header"
    LINK = "link"


class EngagementEvent(NamedTuple):
    """An open or a click, as Azure reported it.

    ``uncounted`` is why it is no act of interest, if that shows already. ``recipient`` is whom the mail went to, if
    that is kept. ``link_campaign`` and ``link_subscriber`` are the UUIDs in listmonk's tracked link, if it was such
    a link that was clicked.
    """

    event_key: bytes
    event_id: str
    internet_message_id: str | None
    azure_message_id: bytes | None
    event_timestamp: datetime
    received_at: datetime
    header_campaign: str | None
    header_subscriber: str | None
    engagement_type: str
    engagement_context: str | None
    user_agent: str | None
    uncounted: str | None
    recipient: str | None
    link_campaign: bytes | None
    link_subscriber: bytes | None


class DeliveryEvent(NamedTuple):
    """A delivery report: what became of one mail to one recipient."""

    event_key: bytes
    event_id: str
    internet_message_id: str | None
    azure_message_id: bytes | None
    event_timestamp: datetime
    received_at: datetime
    header_campaign: str | None
    header_subscriber: str | None
    status: str
    status_reason: str | None
    delivery_status_details: str | None
    bounce_type: str | None
    recipient_domain: str | None
    recipient: str | None


class TrackedMessage(NamedTuple):
    """One mail that a mailer sent or is about to send. At least one of the two message ids is known."""

    internet_message_id: str | None
    azure_message_id: bytes | None
    campaign_id: int
    subscriber_id: int | None
    smtp_server_uuid: bytes | None
    sent_at: datetime | None
    tracked_via: str
    recipient_domain: str | None = None


class Malformed(NamedTuple):
    """Bytes that could not become an event or a tracking row, kept with the reason, and with recipients hidden.

    ``content_key`` is a hash of kind and body, so that a redelivery of the same bytes is kept once.
    """

    content_key: bytes
    kind: str
    reason: str
    detail: str | None
    body: bytes
    entry_id: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class MessageIds:
    """Ids of messages, of either kind, whose waiting events are to be looked at again."""

    internet: frozenset[str] = frozenset()
    azure: frozenset[UUID] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.internet or self.azure)

    def __len__(self) -> int:
        return len(self.internet) + len(self.azure)

    def pieces(self, size: int) -> Iterator[MessageIds]:
        """Yield the ids in sets of up to ``size``, neighbours in an index together."""
        if len(self) <= size:
            yield self
            return
        for internet in _cut(sorted(self.internet), size):
            yield MessageIds(internet=frozenset(internet))
        for azure in _cut(sorted(self.azure), size):
            yield MessageIds(azure=frozenset(azure))

    def __or__(self, other: MessageIds) -> MessageIds:
        return MessageIds(self.internet | other.internet, self.azure | other.azure)


#: No ids at all.
NOTHING = MessageIds()


def _cut(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
