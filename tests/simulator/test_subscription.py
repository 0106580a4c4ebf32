"""The handshakes of both schemas: what Event Grid accepts, and what it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulator.eventgrid import Conduct, EventGrid
from simulator.subscription import HandshakeRefused, Subscription
from simulator.truth import Truth
from simulator.wire import Schema
from tests.simulator.fake_receiver import Answer, FakeReceiver, Received, Script, always, fake_receiver


def echo(_: int, request: Received) -> Answer:
    return Answer(body={"validationResponse": request.events[0]["data"]["validationCode"]})


GRANT = {"WebHook-Allowed-Origin": "eventgrid.azure.net", "WebHook-Allowed-Rate": "120", "Allow": "POST"}


def subscribe(script: Script, schema: Schema = Schema.EVENT_GRID, *, conduct: Conduct | None = None) -> FakeReceiver:
    async def run() -> FakeReceiver:
        async with fake_receiver(script) as receiver:
            subscription = Subscription(url=receiver.url, secret="s3cret-of-events", schema=schema)
            async with EventGrid(subscription, truth=Truth(), conduct=conduct) as grid:
                await grid.subscribe()
            return receiver

    return asyncio.run(run())


def test_validation_event_is_sent_as_event_grid_sends_it() -> None:
    (request,) = subscribe(echo).requests
    assert request.headers["aeg-event-type"] == "SubscriptionValidation"
    assert request.headers["aeg-subscription-name"] == "ACS-ENGAGEMENT"
    assert request.headers["aeg-delivery-count"] == "0"
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert "accept" not in request.headers
    assert request.query == {"code": "s3cret-of-events"}
    (event,) = request.events
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert set(event["data"]) == {"validationCode", "validationUrl"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda n, r: Answer(202, body=echo(n, r).body), "only 200"),
        (always(404), "answered 404"),
        (always(200), "does not hold"),
        (always(200, body={"validationResponse": "another"}), "does not hold"),
        (always(200, body=["validationResponse"]), "does not hold"),
    ],
)
def test_only_200_with_the_code_is_taken_for_consent(script: Script, reason: str) -> None:
    with pytest.raises(HandshakeRefused, match=reason):
        subscribe(script)


def test_handshake_that_is_not_answered_in_time_is_tried_again() -> None:
    def slow_at_first(number: int, request: Received) -> Answer:
        return Answer(body=echo(number, request).body, after_seconds=1.0 if number == 0 else 0.0)

    receiver = subscribe(slow_at_first, conduct=Conduct(response_timeout=0.2))
    assert len(receiver.requests) == 2


def test_receiver_that_is_not_there_refuses() -> None:
    async def run() -> None:
        subscription = Subscription(url="http://127.0.0.1:1/eventgrid")
        async with EventGrid(subscription, truth=Truth()) as grid:
            await grid.subscribe()

    with pytest.raises(HandshakeRefused, match="could not be reached"):
        asyncio.run(run())


def test_cloud_events_handshake_asks_by_options() -> None:
    (request,) = subscribe(always(200, headers=GRANT), Schema.CLOUD_EVENTS).requests
    assert request.method == "OPTIONS"
    assert request.headers["WebHook-Request-Origin"] == "eventgrid.azure.net"
    assert request.headers["WebHook-Request-Rate"] == "120"
    assert request.headers["WebHook-Request-Callback"].startswith("https://")
    assert request.query == {"code": "s3cret-of-events"}


def test_cloud_events_handshake_takes_a_star_for_consent() -> None:
    grant = {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}
    assert subscribe(always(200, headers=grant), Schema.CLOUD_EVENTS).requests


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (always(405), "answered 405"),
        (always(200), "WebHook-Allowed-Origin"),
        (always(200, headers=GRANT | {"WebHook-Allowed-Origin": "example.com"}), "WebHook-Allowed-Origin"),
        (always(200, headers={"WebHook-Allowed-Origin": "*"}), "WebHook-Allowed-Rate"),
    ],
)
def test_cloud_events_handshake_needs_origin_and_rate(script: Script, reason: str) -> None:
    with pytest.raises(HandshakeRefused, match=reason):
        subscribe(script, Schema.CLOUD_EVENTS)


def test_deletion_is_announced() -> None:
    async def run() -> tuple[int, FakeReceiver]:
        async with (
            fake_receiver(always(200)) as receiver,
            EventGrid(Subscription(url=receiver.url), truth=Truth()) as grid,
        ):
            return await grid.unsubscribe(), receiver

    status, receiver = asyncio.run(run())
    assert status == 200
    (request,) = receiver.requests
    assert request.headers["aeg-event-type"] == "SubscriptionDeletion"
    assert request.events[0]["eventType"] == "Microsoft.EventGrid.SubscriptionDeletedEvent"
    assert "ACS-ENGAGEMENT" in request.events[0]["data"]["eventSubscriptionId"]


@pytest.mark.parametrize("limits", [{"events_per_batch": 0}, {"events_per_batch": 5001}, {"batch_kilobytes": 1025}])
def test_limits_that_azure_would_refuse_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1 to"):
        Subscription(url="http://127.0.0.1/", **limits)
