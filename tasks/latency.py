"""How long what was recorded just now has been on its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from db.models import DeliveryEvent, EngagementEvent
from tasks.events import EventRows
from tasks.messages import Messages
from worker import metrics
from worker.streams import EVENTS, MESSAGES


def observe_latency(rows: EventRows | Messages) -> None:
    """Tell the metrics how old each row of a batch is that was committed just now."""
    now = datetime.now(UTC)
    if isinstance(rows, Messages):
        metrics.RECEIPT_SECONDS.labels(MESSAGES).observe_each(_ages(now, (body.received_at for body in rows.bodies)))
        metrics.TRACKING_SECONDS.observe_each(
            _ages(now, (message.sent_at for message in rows.messages if message.sent_at is not None))
        )
        return
    events: list[DeliveryEvent | EngagementEvent] = [*rows.parsed.deliveries, *rows.parsed.engagements]
    metrics.RECEIPT_SECONDS.labels(EVENTS).observe_each(_ages(now, (event.received_at for event in events)))
    metrics.EVENT_SECONDS.observe_each(_ages(now, (event.event_timestamp for event in events)))


def _ages(now: datetime, instants: Iterable[datetime]) -> Iterator[float]:
    """Yield seconds since each instant: none for one that another machine's clock puts into the future."""
    for instant in instants:
        age = (now - instant).total_seconds()
        yield age if age > 0 else 0.0
