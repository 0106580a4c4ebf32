"""The mailer and its doors: what goes through each, and what happens when one is shut."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import redis

from simulator.doors import CeleryDoor, DoorShut, HttpDoor, StreamDoor, TrackingRefused
from simulator.mailer import Mailer
from simulator.scenario import Track
from simulator.truth import BOTH, Id, Sent, Tracked, Truth
from tests.simulator.fake_receiver import FakeReceiver, Script, always, fake_receiver, first

AT = datetime(2026, 1, 10, 10, 26, 32, tzinfo=UTC)
TRACKING = {
    "campaign_id": 7,
    "subscriber_id": 12,
    "internet_message_id": "<c7.0@mail.example.com>",
    "sent_at": "2026-01-10T10:26:32+00:00",
}


def tracks(number: int, ids: tuple[Id, ...] = ("internet",), subscriber_id: int | None = 12) -> list[Track]:
    return [
        Track(Sent(message_id, f"5b1e3c44-0000-4000-8000-{n:012x}", 7, subscriber_id, (), AT), ids, message_id)
        for n in range(number)
        for message_id in [f"<c7.{n}@mail.example.com>"]
    ]


def track_by_http(tracked: Sequence[Track], script: Script, *, batch: int = 50) -> tuple[FakeReceiver, Truth]:
    truth = Truth()

    async def run() -> FakeReceiver:
        async with fake_receiver(script) as receiver:
            door = HttpDoor(receiver.url, "s3cret-of-messages")
            try:
                await Mailer([door], truth=truth, batch=batch).track(tracked)
            finally:
                await door.close()
            return receiver

    return asyncio.run(run()), truth


def test_one_message_is_posted_as_one_object() -> None:
    receiver, truth = track_by_http(tracks(1), always(202))
    (request,) = receiver.requests
    assert msgspec.json.decode(request.body) == TRACKING
    assert request.headers["authorization"] == "Bearer s3cret-of-messages"
    assert request.headers["content-type"] == "application/json"
    assert truth.records == [Tracked("<c7.0@mail.example.com>", ("internet",), door="http", confirmed=True)]


def test_several_messages_are_posted_as_json_lines_in_batches() -> None:
    receiver, truth = track_by_http(tracks(5), always(202), batch=2)
    assert sorted(len(request.body.splitlines()) for request in receiver.requests) == [1, 2, 2]
    lines = [msgspec.json.decode(line) for request in receiver.requests for line in request.body.splitlines()]
    assert {line["internet_message_id"] for line in lines} == {f"<c7.{n}@mail.example.com>" for n in range(5)}
    assert len(truth.tracked_messages()) == 5


def test_only_what_the_mailer_knows_is_said() -> None:
    receiver, _ = track_by_http(tracks(1, ids=("azure",), subscriber_id=None), always(202))
    assert msgspec.json.decode(receiver.requests[0].body) == {
        "campaign_id": 7,
        "azure_message_id": "5b1e3c44-0000-4000-8000-000000000000",
        "sent_at": "2026-01-10T10:26:32+00:00",
    }


def test_door_that_is_shut_is_tried_until_it_opens() -> None:
    receiver, truth = track_by_http(tracks(1), first(503, 500, 429, 202))
    assert len(receiver.requests) == 4
    assert len({request.body for request in receiver.requests}) == 1
    assert truth.tracked_messages() == {"<c7.0@mail.example.com>"}


def test_door_that_stays_shut_leaves_the_truth_open() -> None:
    truth = Truth()

    async def run() -> None:
        async with fake_receiver(always(503)) as receiver:
            door = HttpDoor(receiver.url, None)
            try:
                await Mailer([door], truth=truth, patience=0.2).track(tracks(1))
            finally:
                await door.close()

    with pytest.raises(DoorShut, match="503"):
        asyncio.run(run())
    assert truth.tracked_messages() == set()
    assert truth.records == [Tracked("<c7.0@mail.example.com>", ("internet",), door="http", confirmed=False)]


@pytest.mark.parametrize("status", [400, 404, 422, 200])
def test_refusal_is_not_tried_again(status: int) -> None:
    with pytest.raises(TrackingRefused, match=str(status)):
        track_by_http(tracks(1), always(status))


def through(
    door: type[StreamDoor] | type[CeleryDoor], url: str, tracked: Sequence[Track], patience: float = 10.0
) -> Truth:
    truth = Truth()

    async def run() -> None:
        opened = door(url)
        try:
            await Mailer([opened], truth=truth, patience=patience).track(tracked)
        finally:
            await opened.close()

    asyncio.run(run())
    return truth


def test_stream_door_is_one_xadd(redis_url: str, redis_client: redis.Redis) -> None:
    through(StreamDoor, redis_url, tracks(1))
    through(StreamDoor, redis_url, tracks(3, BOTH))
    stream: Any = redis_client.xrange("attribution:messages")
    entries = [fields for _, fields in stream]
    assert [set(fields) for fields in entries] == [{b"body"}, {b"body"}]
    assert json.loads(entries[0][b"body"]) == TRACKING
    assert [len(tracking) for tracking in json.loads(entries[1][b"body"])] == [5, 5, 5]


def test_celery_door_is_a_plain_task_message(redis_url: str, redis_client: redis.Redis) -> None:
    through(CeleryDoor, redis_url, tracks(1))
    through(CeleryDoor, redis_url, tracks(2))
    messages = [json.loads(message) for message in redis_client.lrange("attribution.tracking", 0, -1)]
    several, one = ((message, json.loads(base64.b64decode(message["body"]))) for message in messages)
    assert one[0]["headers"]["task"] == "track_message"
    assert one[1][:2] == [[], TRACKING]
    assert several[0]["headers"]["task"] == "track_messages"
    ((trackings,), keywords, _) = several[1]
    assert (trackings[0], len(trackings), keywords) == (TRACKING, 2, {})


@pytest.mark.parametrize("door", [StreamDoor, CeleryDoor])
def test_redis_that_is_not_there_is_a_door_that_is_shut(door: type[StreamDoor] | type[CeleryDoor]) -> None:
    with pytest.raises(DoorShut):
        through(door, "redis://127.0.0.1:1/0", tracks(1), patience=0.1)
