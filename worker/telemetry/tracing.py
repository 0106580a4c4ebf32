"""Traces of OpenTelemetry, from a push to its row; off unless OTEL_EXPORTER_OTLP_ENDPOINT says where to.

The receiver's span of a request rides on the entry, as a ``traceparent``; a drain's span of a batch is linked with
those of its entries. Nothing is imported, and nothing is done for any request or batch, while it is off.
docs/tracing.md tells an operator, docs/adr/0032-tracing.md why it is so. OpenTelemetry is the extra ``tracing``: it may
be absent.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from worker.receiving.request_id import TRACEPARENT
from worker.stream_consumer import Entry, field_of
from worker.version import version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

_log = logging.getLogger(__name__)

#: Most spans that the span of a batch is linked with: collectors keep no more.
MOST_LINKS: Final = 128

#: Milliseconds that the collector has for the last spans, when a process ends: one that hangs must not hold it up.
LAST_MILLISECONDS: Final = 3000

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOTHING: Final = nullcontext()

_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def start_tracing(program: str, processor: SpanProcessor | None = None) -> bool:
    """Have this process trace what it does, if the environment asks for it; return whether it does.

    ``program`` is what it is: receiver, drain, worker. Call it after forking, for spans are sent by a thread.
    ``processor`` takes the spans in place of the collector that the environment names. Without OpenTelemetry's packages
    a sentence is logged, and there are no traces: what is counted and stored must not depend on them.
    """
    global _tracer, _provider
    if processor is None and not _is_asked_for():
        return False
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - for those who asked for it
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    except ImportError:
        _log.error(
            "%s is set, and OpenTelemetry is not installed, so no trace is sent: "
            "install engagement-attribution[tracing], or take the variable away",
            _ENDPOINTS[0],
        )
        return False
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    names = {"service.version": version()} | ({} if named else {"service.name": f"attribution-{program}"})
    _provider = TracerProvider(resource=Resource.create(names))
    _provider.add_span_processor(processor or _to_collector())
    _tracer = _provider.get_tracer("attribution", version())
    return True


def stop_tracing() -> None:
    """Send what is left, and trace no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def is_tracing() -> bool:
    """Tell whether this process traces what it does."""
    return _tracer is not None


def _is_asked_for() -> bool:
    return (
        any(os.environ.get(name) for name in _ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    )


def _to_collector() -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        _log.warning("traces are sent as http/protobuf, which is not what OTEL_EXPORTER_OTLP_PROTOCOL says")

    class Punctual(BatchSpanProcessor):
        """Its own patience would be half a minute, in which whoever stops the process kills it."""

        def shutdown(self) -> None:
            self._batch_processor.shutdown(timeout_millis=LAST_MILLISECONDS)

    return Punctual(OTLPSpanExporter())


def begin_request(name: str, headers: Mapping[bytes, bytes]) -> Span:
    """Return a span of a request, to be ended by the caller, in the trace of whoever sent it; only while tracing."""
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    assert _tracer is not None  # noqa: S101 - nobody traces requests otherwise
    parent = _context_of(headers.get(b"traceparent"))
    return _tracer.start_span(name, _within(parent) if parent else None, SpanKind.SERVER)


def traceparent_of(span: Span) -> bytes | None:
    """Return what rides on an entry: the span, if it is kept at all."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return b"00-%032x-%016x-01" % (context.trace_id, context.span_id)


def trace_batch(
    stream: str, entries: Sequence[Entry], parsing: tuple[int, int] | None
) -> AbstractContextManager[Span | None]:
    """Trace a batch that is being recorded, if any of its entries is traced.

    Its span belongs to the trace of the first of them, so that one request has one trace, and it is kept exactly if
    some of its requests are; it is linked with all of them, up to `MOST_LINKS`. ``parsing`` says when that began and
    ended, in nanoseconds since 1970.
    """
    return _NOTHING if _tracer is None else _trace_batch(_tracer, stream, entries, parsing)


@contextmanager
def _trace_batch(
    tracer: Tracer, stream: str, entries: Sequence[Entry], parsing: tuple[int, int] | None
) -> Iterator[Span | None]:
    from opentelemetry.trace import Link, SpanKind, StatusCode  # noqa: PLC0415

    traced = list(_traced(entries))
    if not traced:
        yield None
        return
    with tracer.start_as_current_span(
        f"record {stream}",
        _within(traced[0]),
        SpanKind.CONSUMER,
        {
            "messaging.system": "redis",
            "messaging.destination.name": stream,
            "messaging.batch.message_count": len(entries),
            "attribution.first_entry": entries[0].entry_id,
            "attribution.last_entry": entries[-1].entry_id,
        },
        [Link(context) for context in traced],
        start_time=parsing[0] if parsing else None,
        record_exception=False,  # its text may repeat a row
        set_status_on_exception=False,
    ) as span:
        if parsing:
            tracer.start_span("parse", start_time=parsing[0]).end(parsing[1])
        try:
            yield span
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def trace_part(name: str) -> AbstractContextManager[Any]:
    """Trace a part of what is traced already; anything else is not."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    if not get_current_span().is_recording():
        return _NOTHING
    return _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)


def begun() -> int:
    """Return this instant in nanoseconds since 1970, or 0 while nothing is traced."""
    return 0 if _tracer is None else time.time_ns()


def _traced(entries: Sequence[Entry]) -> Iterator[SpanContext]:
    found = 0
    for entry in entries:
        context = _context_of(field_of(entry.fields, b"traceparent"))
        if context is not None and context.trace_flags.sampled:
            yield context
            found += 1
            if found == MOST_LINKS:
                return


def _context_of(traceparent: bytes | None) -> SpanContext | None:
    """Read what came with a request or an entry; anybody may have written it."""
    matched = TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if matched is None:
        return None
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    trace_id, span_id, flags = (int(part, 16) for part in matched.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _within(parent: SpanContext) -> Any:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context  # noqa: PLC0415

    return set_span_in_context(NonRecordingSpan(parent))
