"""Event Grid's delivery, against a receiver that answers as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from simulator import retry
from simulator.acs import Event
from simulator.eventgrid import Conduct, EventGrid
from simulator.subscription import Subscription
from simulator.truth import Emitted, Truth
from simulator.wire import Schema, encode
from tests.simulator.fake_receiver import Answer, FakeReceiver, Received, Script, always, fake_receiver, first

SCALE = 0.001
ONE_AT_A_TIME = Conduct(scale=SCALE, connections=1)


def events(number: int, *, size: int = 0) -> list[Event]:
    at = datetime(2026, 1, 10, tzinfo=UTC)
    return [
        Event(
            Emitted(f"e{n}", "followed", "view", "<m@example.com>", ("internet",), at),
            encode({"id": f"e{n}", "padding": "x" * size}),
        )
        for n in range(number)
    ]


def deliver(
    published: Sequence[Event], script: Script, conduct: Conduct = ONE_AT_A_TIME, **subscription: Any
) -> tuple[FakeReceiver, EventGrid, Truth]:
    async def run() -> tuple[FakeReceiver, EventGrid, Truth]:
        truth = Truth()
        async with fake_receiver(script) as receiver:
            async with EventGrid(
                Subscription(url=receiver.url, **subscription), truth=truth, seed=1, conduct=conduct
            ) as grid:
                await grid.publish(published)
                async with asyncio.timeout(20):
                    await grid.settle()
            return receiver, grid, truth

    return asyncio.run(run())


def test_single_event_goes_in_an_array_with_event_grids_headers() -> None:
    receiver, _, truth = deliver(events(1), always(200), secret="s3cret-of-events")
    (request,) = receiver.requests
    assert request.body.startswith(b"[{")
    assert request.query == {"code": "s3cret-of-events"}
    expected = {
        "content-type": "application/json; charset=utf-8",
        "aeg-event-type": "Notification",
        "aeg-subscription-name": "ACS-ENGAGEMENT",
        "aeg-delivery-count": "0",
        "aeg-data-version": "1.0",
        "aeg-metadata-version": "1",
    }
    assert {name: request.headers[name] for name in expected} == expected
    assert not {"accept", "accept-encoding", "user-agent"} & {name.casefold() for name in request.headers}
    assert truth.acknowledged == {"e0": 1}


def test_secret_may_travel_in_a_header() -> None:
    receiver, _, _ = deliver(events(1), always(200), secret="s3cret-of-events", secret_header="x-attribution-secret")
    assert receiver.requests[0].query == {}
    assert receiver.requests[0].headers["x-attribution-secret"] == "s3cret-of-events"


@pytest.mark.parametrize(
    ("events_per_batch", "opening", "content_type"),
    [
        (1, b"{", "application/cloudevents+json; charset=utf-8"),
        (2, b"[", "application/cloudevents-batch+json; charset=utf-8"),
    ],
)
def test_cloud_event_is_an_object_unless_batched(events_per_batch: int, opening: bytes, content_type: str) -> None:
    receiver, _, _ = deliver(events(1), always(200), schema=Schema.CLOUD_EVENTS, events_per_batch=events_per_batch)
    (request,) = receiver.requests
    assert request.body[:1] == opening
    assert request.headers["content-type"] == content_type
    assert request.headers["WebHook-Request-Origin"] == "eventgrid.azure.net"
    assert "aeg-data-version" not in request.headers


def test_batch_holds_no_more_events_than_allowed() -> None:
    receiver, _, _ = deliver(events(12), always(200), events_per_batch=5)
    assert [len(request.events) for request in receiver.requests] == [5, 5, 2]


def test_batch_of_5000_is_one_request() -> None:
    receiver, _, truth = deliver(events(5000), always(200), events_per_batch=5000, batch_kilobytes=1024)
    assert [len(request.events) for request in receiver.requests] == [5000]
    assert len(truth.acknowledged) == 5000


def test_batch_stays_within_its_preferred_size_but_one_larger_event_goes_alone() -> None:
    small = events(6, size=400)
    large = Event(Emitted("large", "followed", "view"), encode({"id": "large", "padding": "x" * 3000}))
    receiver, _, _ = deliver([*small[:3], large, *small[3:]], always(200), events_per_batch=5000, batch_kilobytes=1)
    assert [request.ids for request in receiver.requests] == [["e0", "e1"], ["e2"], ["large"], ["e3", "e4"], ["e5"]]


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
def test_every_success_code_acknowledges(status: int) -> None:
    receiver, grid, truth = deliver(events(1), always(status))
    assert len(receiver.requests) == 1
    assert truth.acknowledged == {"e0": 1}
    assert grid.dead_letters == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (413, "PayloadTooLarge")],
)
def test_codes_that_are_never_retried_drop_the_whole_batch(status: int, outcome: str) -> None:
    receiver, grid, truth = deliver(events(3), always(status), events_per_batch=10)
    assert len(receiver.requests) == 1
    assert truth.dropped == {"e0", "e1", "e2"}
    assert truth.acknowledged == {}
    assert [(letter.attempts, letter.last_outcome, letter.last_status) for letter in grid.dead_letters] == [
        (1, outcome, status)
    ] * 3


def test_failed_batch_is_retried_as_it_was_on_schedule() -> None:
    receiver, grid, truth = deliver(events(2), first(500, 302, 429, 500), events_per_batch=2)
    assert [request.headers["aeg-delivery-count"] for request in receiver.requests] == ["0", "1", "2", "3", "4"]
    assert len({request.body for request in receiver.requests}) == 1
    scheduled = [10, 30, 60, 300]
    assert all(wait >= seconds * SCALE for wait, seconds in zip(receiver.waits, scheduled, strict=True))
    assert receiver.waits[-1] < 2 * 300 * SCALE
    assert (truth.acknowledged, grid.tally.retries) == ({"e0": 1, "e1": 1}, 4)


@pytest.mark.parametrize(("status", "seconds"), [(503, 30), (408, 120), (404, 300)])
def test_answer_may_ask_for_a_longer_wait(status: int, seconds: int) -> None:
    receiver, _, truth = deliver(events(1), first(status))
    (wait,) = receiver.waits
    assert seconds * SCALE <= wait < 3 * seconds * SCALE + 0.2
    assert truth.acknowledged == {"e0": 1}


def test_connection_that_breaks_is_retried() -> None:
    async def run() -> Truth:
        async with fake_receiver(always(200)) as receiver:
            url = receiver.url
        truth = Truth()
        async with EventGrid(Subscription(url=url), truth=truth, conduct=ONE_AT_A_TIME) as grid:
            await grid.publish(events(1))
            while grid.tally.answers["SocketError"] < 2:
                await asyncio.sleep(0.01)
        return truth

    truth = asyncio.run(run())
    assert truth.acknowledged == {}
    assert truth.dropped == set()


def test_event_is_given_up_after_thirty_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SCHEDULE", (10,))
    receiver, grid, truth = deliver(events(1), always(500))
    assert len(receiver.requests) == 30
    assert [letter.reason for letter in grid.dead_letters] == ["MaxDeliveryAttemptsExceeded"]
    assert truth.dropped == {"e0"}


def test_event_is_given_up_after_a_day() -> None:
    receiver, grid, _ = deliver(events(1), always(500), Conduct(scale=0.00002, connections=1))
    assert [letter.reason for letter in grid.dead_letters] == ["TimeToLiveExceeded"]
    # 10 s to 12 h: ten waits fit into a day, give or take what this machine needs for each request.
    assert 9 <= len(receiver.requests) <= 12


def test_late_answer_calls_off_the_retry() -> None:
    conduct = Conduct(scale=0.05, connections=1, response_timeout=0.1)
    receiver, grid, truth = deliver(events(1), always(200, after_seconds=0.3), conduct)
    assert len(receiver.requests) == 1
    assert grid.tally.answers == {"TimedOut": 1}
    assert truth.acknowledged == {"e0": 1}


def test_receiver_that_does_not_answer_in_time_is_asked_again() -> None:
    def slow_at_first(number: int, _: Received) -> Answer:
        return Answer(after_seconds=5.0 if number == 0 else 0.0)

    receiver, _, truth = deliver(events(1), slow_at_first, Conduct(scale=SCALE, connections=1, response_timeout=0.1))
    assert [request.headers["aeg-delivery-count"] for request in receiver.requests] == ["0", "1"]
    assert truth.acknowledged == {"e0": 1}


def test_endpoint_that_keeps_failing_is_left_alone() -> None:
    # Ten failures in a row with 404 cost the endpoint five minutes, and events that never failed wait them out too.
    receiver, _, truth = deliver(events(11), first(*[404] * 10), Conduct(scale=0.002, connections=1))
    assert receiver.requests[10].ids == ["e10"]
    assert receiver.waits[9] >= 300 * 0.002
    assert len(truth.acknowledged) == 11


def test_acknowledged_events_come_again_with_the_same_bytes() -> None:
    receiver, grid, truth = deliver(events(50), always(200), Conduct(scale=SCALE, redeliver=1.0), events_per_batch=5)
    assert set(Counter(receiver.ids).values()) == {2}
    assert set(truth.acknowledged.values()) == {2}
    assert grid.tally.redelivered == 50
    again = [request for request in receiver.requests if request.headers["aeg-delivery-count"] == "1"]
    assert sum(len(request.events) for request in again) == 50
    assert {request.body for request in again} <= {
        request.body for request in receiver.requests if request not in again
    }


def test_events_get_out_of_order_and_none_is_lost() -> None:
    conduct = Conduct(scale=SCALE, connections=1, reorder=20)
    receiver, _, _ = deliver(events(200), always(200), conduct, events_per_batch=7)
    assert receiver.ids != [f"e{n}" for n in range(200)]
    assert sorted(receiver.ids) == sorted(f"e{n}" for n in range(200))


def test_publisher_waits_while_too_many_events_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.eventgrid._MOST_WAITING", 10)

    async def run() -> int:
        async with (
            fake_receiver(always(200, after_seconds=60)) as receiver,
            EventGrid(Subscription(url=receiver.url), truth=Truth(), conduct=ONE_AT_A_TIME) as grid,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await grid.publish(events(100))
            return grid.unsettled

    assert asyncio.run(run()) == 11


def test_waits_without_length_are_refused() -> None:
    with pytest.raises(ValueError, match="for ever"):
        Conduct(scale=0)
