"""A worker that reads where nothing has come would hang until another worker says something."""

from __future__ import annotations

import threading
from typing import Any

import kombu
import pytest
import redis

from tests.waiting import eventually
from worker import kombu_guard


@pytest.fixture
def channel(redis_url: str, redis_client: redis.Redis) -> Any:
    kombu_guard.install()
    with kombu.Connection(redis_url) as connection:
        yield connection.channel()


def receive(channel: Any) -> threading.Thread:
    reading = threading.Thread(target=channel._receive, daemon=True)
    reading.start()
    return reading


def test_a_channel_that_is_told_to_read_where_nothing_has_come_goes_on(channel: Any) -> None:
    channel.subclient.psubscribe("told.*")
    assert channel.subclient.parse_response()[0] == b"psubscribe"
    reading = receive(channel)
    reading.join(10)
    assert not reading.is_alive()


def test_a_channel_still_reads_what_has_come(channel: Any, redis_client: redis.Redis) -> None:
    channel.subclient.psubscribe("told.*")
    assert channel.subclient.parse_response()[0] == b"psubscribe"
    heard: list[Any] = []

    def hear(_client: Any, response: list[Any]) -> dict[str, str]:
        heard.append(response[-1])
        return {"type": "pong"}

    channel._handle_message = hear
    redis_client.publish("told.it", "something")

    def hears() -> None:
        receive(channel).join(10)
        assert heard == [b"something"]

    eventually(hears)
