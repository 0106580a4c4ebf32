"""How long events and trackings were on their way is observed where they are committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from prometheus_client import Histogram

from db.models import TrackedMessage
from tasks.context import Context
from tasks.drain import batches_of, drain_each
from tasks.latency import observe_latency
from tasks.messages import Messages
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import push_events
from worker.streams import EVENTS
from worker.telemetry import metrics


def observed(histogram: Histogram, **labels: str) -> tuple[float, float]:
    """Return how many were observed, and their sum in seconds."""
    (family,) = histogram.collect()
    values = {each.name: each.value for each in family.samples if each.labels.items() >= labels.items()}
    return values.get(f"{family.name}_count", 0), values.get(f"{family.name}_sum", 0)


def test_each_event_of_a_small_batch_is_observed(ctx: Context, redis_client: redis.Redis) -> None:
    before = observed(metrics.RECEIPT_SECONDS, stream=EVENTS), observed(metrics.EVENT_SECONDS)
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    push_events(
        redis_client,
        body_of(engagement(userActionTimestamp=an_hour_ago), delivery(deliveryAttemptTimestamp=an_hour_ago)),
        b"{not json",
    )
    entries = ctx.consumer.read(count=10, block=None)
    drain_each(ctx, batches_of(entries, max_bytes=1 << 20))
    after = observed(metrics.RECEIPT_SECONDS, stream=EVENTS), observed(metrics.EVENT_SECONDS)
    assert after[0][0] - before[0][0] == 2  # what cannot be read has no row
    assert after[1][0] - before[1][0] == 2
    assert after[1][1] - before[1][1] == pytest.approx(2 * 3600, abs=60)


def message(sent_at: datetime | None) -> TrackedMessage:
    return TrackedMessage("<a@example.com>", None, 1, None, None, sent_at, "stream")


def test_a_tracking_before_its_sending_has_no_lag_and_one_without_a_time_is_left_out() -> None:
    now = datetime.now(UTC)
    before = observed(metrics.TRACKING_SECONDS)
    sent_ats = [now + timedelta(hours=1), None, now - timedelta(seconds=100)]
    observe_latency(Messages(messages=[message(sent_at) for sent_at in sent_ats]))
    count, seconds = observed(metrics.TRACKING_SECONDS)
    assert count - before[0] == 2
    assert seconds - before[1] == pytest.approx(100, abs=30)


def test_of_a_large_batch_a_sample_is_observed_spread_evenly() -> None:
    now = datetime.now(UTC)
    before = observed(metrics.TRACKING_SECONDS)
    observe_latency(Messages(messages=[message(now - timedelta(seconds=number)) for number in range(5000)]))
    count, seconds = observed(metrics.TRACKING_SECONDS)
    assert 400 <= count - before[0] <= 500
    assert (seconds - before[1]) / (count - before[0]) == pytest.approx(2500, rel=0.02)
