"""What a drain process logs of a Redis that stays away: that it does, and not each attempt."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tasks.context import Context
from tasks.drainer import Drainer
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, MESSAGES


class StopsAfter(threading.Event):
    """Is set when it has been waited for so many times, and waits for nobody."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        if not self.left:
            self.set()
        return self.is_set()


def test_a_redis_that_stays_away_is_told_once_a_minute_with_the_reason(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = StreamConsumer(connect("redis://127.0.0.1:1/0"), (MESSAGES, EVENTS))
    drainer = Drainer(replace(ctx, consumer=nowhere))
    drainer._stopping = StopsAfter(50)
    drainer._read()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "tasks.drainer"]
    assert line.startswith(
        "Redis did not answer the drain, 1 time(s); trying again each second: ConnectionError: Error"
    )
    assert "Connection refused" in line
