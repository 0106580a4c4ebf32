"""What is taken out of an event before it leaves for Sentry."""

from __future__ import annotations

from typing import Any

import pytest

from worker.telemetry.error_events import clean_breadcrumb, clean_event

FRAME = {"function": "record", "lineno": 7, "context_line": "    @app.task()", "vars": {"body": "secret"}}


def value_of(module: str | None, kind: str, value: str) -> str:
    exception = {"module": module, "type": kind, "value": value, "stacktrace": {"frames": [FRAME]}}
    (cleaned,) = clean_event({"exception": {"values": [exception]}})["exception"]["values"]
    assert cleaned["stacktrace"] == {"frames": [{name: FRAME[name] for name in FRAME if name != "vars"}]}
    return str(cleaned["value"])


@pytest.mark.parametrize(("module", "kind", "value", "told"), [
    ("worker.errors", "RedisUnsafe", "This Redis may lose it.", "This Redis may lose it."),
    ("redis.exceptions", "ConnectionError", "Error 111 connecting to x:6379.", "Error 111 connecting to x:6379."),
    (None, "ConnectionRefusedError", "[Errno 111] refused", "[Errno 111] refused"),
    (None, "KeyError", "'anything'", "(hidden)"),
    (None, "ValueError", "no int: anything", "(hidden)"),
    (None, "AssertionError", "", ""),
    ("msgspec", "ValidationError", "anything", "(hidden)"),
    ("workers_of_others", "Error", "anything", "(hidden)"),
    ("httpx", "ConnectError", "https://hook.example.com/anything", "(hidden)"),
    ("psycopg.errors", "UniqueViolation", "duplicate key value (23505)", "duplicate key value (23505)"),
    ("sqlalchemy.exc", "IntegrityError", "(UniqueViolation) duplicate (23505)\n[SQL: INSERT]\n[parameters: ('x',)]",
     "(UniqueViolation) duplicate (23505)"),
    ("psycopg.errors", "InvalidTextRepresentation", 'invalid input syntax for type uuid: "anything"', "(hidden)"),
    ("sqlalchemy.exc", "OperationalError", "connection failed\nDETAIL: anything", "connection failed"),
    ("tasks.archiving", "ArchiveUnreadable", "of ada@example.com", "of [address]"),
])  # fmt: skip
def test_the_text_of_an_exception_is_told_if_it_can_be_known_to_repeat_nothing(
    module: str | None, kind: str, value: str, told: str
) -> None:
    assert value_of(module, kind, value) == told


def test_what_is_not_known_to_be_harmless_is_dropped() -> None:
    event: dict[str, Any] = {
        "event_id": "42", "release": "engagement-attribution@1", "level": "error", "server_name": "host",
        "request": {"url": "https://host/eventgrid?code=secret", "data": "secret", "headers": {"cookie": "secret"}},
        "user": {"email": "secret"}, "some_invention": "secret",
        "extra": {"celery-job": {"args": "secret"}, "sys.argv": ["secret"], "subscription": "acs"},
        "transaction": "/secret", "transaction_info": {"source": "url"},
        "spans": [{"span_id": "1", "op": "db", "description": "secret", "data": {"url": "secret"}}],
    }  # fmt: skip
    cleaned = clean_event(event)
    assert "secret" not in str(cleaned)
    assert (cleaned["release"], cleaned["extra"]) == ("engagement-attribution@1", {"subscription": "acs"})
    assert cleaned["spans"] == [{"span_id": "1", "op": "db"}]


def test_every_text_is_scrubbed_wherever_it_stands() -> None:
    event = {
        "logentry": {"message": "for %s", "formatted": "for ada@example.com", "params": ("ada@example.com", b"secret")},
        "contexts": {"x": {"ada@example.com": ["<ada@example.com>", {1, 2}, object()]}},
        "tags": {"x": "ada@example.com"},
        "transaction": "ada@example.com",
    }
    assert "ada" not in str(clean_event(event))
    assert "secret" not in str(clean_event(event))
    assert clean_event(event)["logentry"]["params"] == ["[address]", "(bytes)"]


def test_of_breadcrumbs_only_log_lines_are_kept() -> None:
    line = {"type": "log", "category": "tasks.batch", "message": "to ada@example.com", "data": {"entries": 3}}
    assert clean_breadcrumb(line) == line | {"message": "to [address]"}
    assert clean_breadcrumb({"type": "http", "data": {"url": "https://host/?email=x"}}) is None
    assert clean_breadcrumb({"category": "query", "message": "SELECT"}) is None
