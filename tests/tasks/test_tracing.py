"""One trace from a push to its row: a real receiver, a real stream, the drain, and an exporter that keeps spans."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.exc import ProgrammingError

from tasks.batch import Drained
from tasks.context import Context
from tasks.drain import batches_of, drain_each
from tests.acceptance.programs import ROOT
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events
from tests.worker.receiving import EVENT_SECRET, MESSAGE_SECRET, Caller, receiver_settings, serving
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}
TRACKING = b'{"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7}'


class Spans:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def spans() -> Iterator[Spans]:
    exporter = InMemorySpanExporter()
    assert tracing.start_tracing("test", SimpleSpanProcessor(exporter))
    yield Spans(exporter)
    tracing.stop_tracing()


@pytest.fixture
def caller(spans: Spans, redis_url: str) -> Iterator[Caller]:
    with serving(receiver_settings(redis_url)) as caller:
        yield caller


def push(caller: Caller, number: int, sent: dict[str, str] | None = None) -> None:
    answer = caller.send("POST", f"/eventgrid?code={EVENT_SECRET}", sent, body_of(engagement(f"e{number}")))
    assert answer.status == 200


def drain(ctx: Context) -> Drained:
    entries = ctx.consumer.read(count=1000, block=None)
    return drain_each(ctx, batches_of(entries, max_bytes=ctx.settings.drain_batch_bytes))


def context_of(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_a_request_and_the_batch_that_records_it_are_one_trace(caller: Caller, spans: Spans, ctx: Context) -> None:
    push(caller, 1, SAMPLED | {"x-request-id": "req-1"})
    drain(ctx)

    (request,) = spans.named("POST /eventgrid")
    (batch,) = spans.named(f"record {EVENTS}")
    assert f"{context_of(request).trace_id:032x}" == f"{context_of(batch).trace_id:032x}" == TRACE
    assert [parent_of(request), parent_of(batch)] == [0x00F067AA0BA902B7, context_of(request).span_id]
    said = dict(request.attributes or {}) | dict(batch.attributes or {})
    assert (said["http.response.status_code"], said["attribution.request"]) == (200, "req-1")
    assert (said["messaging.batch.message_count"], said["attribution.parked"]) == (1, 1)


def test_a_batch_tells_its_parts(caller: Caller, spans: Spans, ctx: Context) -> None:
    push(caller, 1)
    assert caller.send("POST", "/messages", {"Authorization": f"Bearer {MESSAGE_SECRET}"}, TRACKING).status == 202
    drain(ctx)
    for stream in (EVENTS, MESSAGES):
        (batch,) = spans.named(f"record {stream}")
        parts = [
            span
            for name in ("parse", "record", "settle")
            for span in spans.named(name)
            if parent_of(span) == context_of(batch).span_id
        ]
        assert [part.name for part in parts] == ["parse", "record", "settle"]
        assert batch.start_time == parts[0].start_time


def test_a_batch_is_linked_with_the_spans_of_its_entries_up_to_a_number(
    caller: Caller, spans: Spans, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_LINKS", 3)
    for number in range(5):
        push(caller, number)
    drain(ctx)
    requests = [context_of(span) for span in spans.named("POST /eventgrid")]
    (batch,) = spans.named(f"record {EVENTS}")
    assert len({request.trace_id for request in requests}) == 5
    assert [link.context.span_id for link in batch.links] == [request.span_id for request in requests[:3]]
    assert context_of(batch).trace_id == requests[0].trace_id


def test_what_is_not_sampled_leaves_no_trace_and_no_field(
    caller: Caller, spans: Spans, ctx: Context, redis_client: redis.Redis
) -> None:
    push(caller, 1, UNSAMPLED)
    found: Any = redis_client.xrange(EVENTS)
    assert b"traceparent" not in found[0][1]
    drain(ctx)
    assert not spans.named("POST /eventgrid")
    assert not spans.named(f"record {EVENTS}")
    assert not spans.named("settle")


@pytest.mark.parametrize("written", [b"", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff" * 55])
def test_whatever_a_stranger_writes_for_a_span_is_left_aside(
    spans: Spans, ctx: Context, redis_client: redis.Redis, written: bytes
) -> None:
    redis_client.xadd(EVENTS, {"body": body_of(engagement("e1")), "traceparent": written})
    assert drain(ctx).parked == 1
    assert not spans.named(f"record {EVENTS}")


def test_a_batch_that_fails_is_told_by_the_type_of_its_error(
    caller: Caller, spans: Spans, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(caller, 1)
    with ctx.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE azure_engagement_events RENAME TO elsewhere")
    with pytest.raises(ProgrammingError):
        drain(ctx)
    (batch,) = spans.named(f"record {EVENTS}")
    assert batch.status.description == "ProgrammingError"
    assert not batch.events


def test_off_there_is_nothing_to_do(ctx: Context, redis_client: redis.Redis, redis_url: str) -> None:
    assert not tracing.is_tracing()
    with serving(receiver_settings(redis_url)) as caller:
        push(caller, 1, SAMPLED)
    found: Any = redis_client.xrange(EVENTS)
    assert set(found[0][1]) == {b"body", b"request"}
    push_events(redis_client, body_of(engagement("e2")))
    assert drain(ctx).parked == 2


def run(program: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("environment", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}])
def test_unless_it_is_asked_for_nothing_is_imported(environment: dict[str, str]) -> None:
    program = (
        "import sys; from worker.telemetry.tracing import *; assert not start_tracing('x') and not is_tracing();"
        "assert 'opentelemetry.exporter' not in sys.modules"
    )
    assert run(program, **environment) == ""


def test_without_its_packages_a_sentence_says_so_and_everything_goes_on() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = sys.modules['opentelemetry.sdk'] = None\n"
        "import worker.receiver, tasks.drainer; from worker.telemetry.tracing import *; assert not start_tracing('x')"
    )
    said = run(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed" in said
    assert "engagement-attribution[tracing]" in said


HELD_UP = """
from worker.telemetry import tracing
assert tracing.start_tracing("drain")
tracing.begin_request("POST /eventgrid", {}).end()
"""


def test_a_collector_that_never_answers_does_not_hold_up_the_end_of_a_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
        environment = {"PATH": os.environ["PATH"], "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        # On its own terms it would take ten seconds for each attempt, and thirty in all.
        environment["OTEL_EXPORTER_OTLP_TIMEOUT"] = "60"
        subprocess.run([sys.executable, "-c", HELD_UP], env=environment, cwd=ROOT, check=True, timeout=25)
