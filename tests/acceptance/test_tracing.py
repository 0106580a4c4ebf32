"""Spans of real processes, sent to a collector."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import redis
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.conftest import EVENT_SECRET, StartProgram
from tests.acceptance.programs import free_port
from tests.acceptance.test_worker import assert_said
from tests.tasks.payloads import body_of, engagement
from tests.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(ThreadingHTTPServer):
    """What speaks OTLP over HTTP, on a port of its own; ``spans`` are service and name of those of our trace."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: set[str] = set()
        self.raw = b""
        self.spans: set[tuple[str, str]] = set()

    def take(self, path: str, body: bytes) -> None:
        self.paths.add(path)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            )
            for scope in resource.scope_spans:
                self.spans |= {(service, span.name) for span in scope.spans if span.trace_id.hex() == TRACE}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.take(self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_push_is_one_trace_over_receiver_and_drain(
    start: StartProgram, collector: Collector, database_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    port = free_port()
    environment = {
        "attribution_database_url": database_url,
        "attribution_redis_url": redis_url,
        "attribution_event_secrets": EVENT_SECRET,
        "attribution_port": port,
        "otel_exporter_otlp_endpoint": f"http://127.0.0.1:{collector.server_port}",
        "otel_bsp_schedule_delay": 100,
    }
    receiver, worker = start("receiver", **environment), start("worker", **environment)
    eventually(lambda: assert_said(worker, "ready."), within=30)
    eventually(lambda: assert_said(receiver, "Uvicorn running"), within=30)
    answer = httpx.post(
        f"http://127.0.0.1:{port}/eventgrid?code={EVENT_SECRET}",
        content=body_of(engagement("e1", recipient="ada.marked@example.com")),
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, TRACE)

    def traced() -> None:
        expected = {("attribution-receiver", "POST /eventgrid"), ("attribution-drain", "record attribution:events")}
        assert expected <= collector.spans

    eventually(traced, within=20)
    assert collector.paths == {"/v1/traces"}
    for confidential in (b"ada.marked", EVENT_SECRET.encode(), b"example.com"):
        assert confidential not in collector.raw
