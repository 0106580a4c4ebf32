"""How long what was recorded just now has been on its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from db.models import DeliveryEvent, EngagementEvent
from tasks.events import EventRows
from tasks.messages import Messages
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics

_T = TypeVar("_T")

#: Most rows of a batch that are looked at, spread evenly. Of thousands the others would tell nothing new, and cost the
#: drain a twentieth of its rate.
_SAMPLE: Final = 500


def observe_latency(rows: EventRows | Messages) -> None:
    """Tell the metrics how old the rows of a batch are that was committed just now."""
    now = datetime.now(UTC)
    if isinstance(rows, Messages):
        sent_ats = (message.sent_at for message in _sample(rows.messages))
        metrics.RECEIPT_SECONDS.labels(MESSAGES).observe_each(_ages(now, (b.received_at for b in _sample(rows.bodies))))
        metrics.TRACKING_SECONDS.observe_each(_ages(now, (sent_at for sent_at in sent_ats if sent_at is not None)))
        return
    every: list[DeliveryEvent | EngagementEvent] = [*rows.parsed.deliveries, *rows.parsed.engagements]
    events = _sample(every)
    metrics.RECEIPT_SECONDS.labels(EVENTS).observe_each(_ages(now, (event.received_at for event in events)))
    metrics.EVENT_SECONDS.observe_each(_ages(now, (event.event_timestamp for event in events)))


def _sample(rows: Sequence[_T]) -> Sequence[_T]:
    return rows[:: len(rows) // _SAMPLE + 1]


def _ages(now: datetime, instants: Iterable[datetime]) -> Iterator[float]:
    """Yield seconds since each instant: none for one that another machine's clock puts into the future."""
    for instant in instants:
        age = (now - instant).total_seconds()
        yield age if age > 0 else 0.0
