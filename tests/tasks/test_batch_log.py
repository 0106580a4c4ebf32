"""What the log tells of batches, and how seldom."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis

from tasks.batch import Drained
from tasks.batch_log import MANY, SPAN_SECONDS, BatchLog
from tasks.context import Context
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import drain, push_messages
from worker.stream_consumer import Entry
from worker.streams import EVENTS, MESSAGES


class Clock:
    """A monotonic clock that is told the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("tasks.batch_log.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    caplog.set_level(logging.INFO, "tasks.batch_log")
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign, assignment]
    logging.getLogger("tasks.batch_log").addHandler(handler)
    yield lines
    logging.getLogger("tasks.batch_log").removeHandler(handler)


def entries(*numbers: int, request: str | None = None, stream: str = EVENTS) -> list[Entry]:
    fields = [b"body", b"[]", *((b"request", request.encode()) if request else ())]
    return [Entry(stream, f"1700000000000-{number}", b"[]", 1, fields) for number in numbers]


def told(lines: Sequence[logging.LogRecord], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(line, name) for name in names) for line in lines]


def test_a_batch_is_told_with_its_counts_its_entries_and_its_requests(lines: list[logging.LogRecord]) -> None:
    drained = Drained(attributed={"link": 2, "internet_message_id": 3}, parked=1, duplicates=4, released=7, ignored=1)
    drained.quarantined = {"not_json": 2}
    BatchLog().tell(EVENTS, entries(1, 2, 3, request="req-a"), drained, 0.12345)

    (line,) = lines
    assert line.getMessage() == "recorded a batch"
    assert told(lines, "stream", "entries", "bytes", "seconds") == [(EVENTS, 3, 6, 0.1235)]
    assert told(lines, "events", "attributed", "parked", "duplicates", "released", "quarantined", "ignored") == [
        (13, 5, 1, 4, 7, 2, 1)
    ]
    assert told(lines, "first_entry", "last_entry") == [("1700000000000-1", "1700000000000-3")]
    assert told(lines, "requests") == [(["req-a"] * 3,)]
    assert line.oldest_seconds > 0  # type: ignore[attr-defined]


def test_small_batches_of_a_second_are_told_together_when_it_is_over(
    lines: list[logging.LogRecord], clock: Clock
) -> None:
    log = BatchLog()
    for number in range(1, 8):
        log.tell(EVENTS, entries(number, request=f"req-{number}"), Drained(parked=1), 0.1)
        log.tell_rest()
    assert told(lines, "entries") == [(1,)]
    clock.now += SPAN_SECONDS
    log.tell_rest()
    assert told(lines[1:], "batches", "entries", "parked", "first_entry", "last_entry", "seconds") == [
        (6, 6, 6, "1700000000000-2", "1700000000000-7", 0.6)
    ]
    assert told(lines[1:], "requests") == [([f"req-{n}" for n in range(2, 7)],)]
    log.tell_rest(now=True)
    assert len(lines) == 2


def test_a_large_batch_has_its_own_line_and_what_came_before_it_comes_first(
    lines: list[logging.LogRecord], clock: Clock
) -> None:
    log = BatchLog()
    for batch in (entries(1), entries(2), entries(*range(3, 3 + MANY)), entries(*range(600, 600 + MANY))):
        log.tell(EVENTS, batch, Drained(), 0.0)
    assert told(lines, "entries", "first_entry") == [
        (1, "1700000000000-1"), (1, "1700000000000-2"), (MANY, "1700000000000-3"), (MANY, "1700000000000-600"),
    ]  # fmt: skip


def test_the_streams_do_not_hold_each_other_back(lines: list[logging.LogRecord], clock: Clock) -> None:
    log = BatchLog()
    log.tell(EVENTS, entries(1), Drained(), 0.0)
    log.tell(MESSAGES, entries(1, stream=MESSAGES), Drained(tracked=1), 0.0)
    assert told(lines, "stream") == [(EVENTS,), (MESSAGES,)]
    assert told(lines[1:], "tracked", "known", "refused") == [(1, 0, 0)]


def test_what_is_held_is_told_when_nothing_follows(lines: list[logging.LogRecord], clock: Clock) -> None:
    log = BatchLog()
    for number in (1, 2):
        log.tell(EVENTS, entries(number), Drained(), 0.0)
    log.tell_rest(now=True)
    assert told(lines, "first_entry") == [("1700000000000-1",), ("1700000000000-2",)]


def test_at_debug_each_batch_is_told(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    caplog.set_level(logging.DEBUG, "tasks.batch_log")
    log = BatchLog()
    for number in range(3):
        log.tell(EVENTS, entries(number), Drained(), 0.0)
    assert len(caplog.records) == 3


def test_a_request_is_found_in_the_line_of_the_batch_that_recorded_it_even_when_it_was_taken_apart(
    ctx: Context, redis_client: redis.Redis, lines: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.drain.batch_log", BatchLog())
    monkeypatch.setattr("tasks.messages.CALL", 1)
    redis_client.xadd(EVENTS, {"body": body_of(engagement("e1")), "request": "req-1", "from": "a later release"})
    redis_client.xadd(EVENTS, {"body": body_of(engagement("e2")), "request": "what a stranger\nwrites"})
    push_messages(redis_client, {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7})  # by no receiver
    drain(ctx)
    assert told(lines, "stream", "requests") == [(MESSAGES, []), (EVENTS, ["req-1"])]
    assert told(lines[1:], "entries", "events", "attributed") == [(2, 2, 2)]
