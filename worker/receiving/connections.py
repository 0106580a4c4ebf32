"""Connections that cannot be held or filled by whoever opens them: uvicorn's own, with the bounds that it lacks.

uvicorn waits for ever for the first byte of a request and for the end of its head, however slowly that comes, and keeps
however much of it comes. All of that happens before anybody has proved anything. What a body may cost is bounded in
worker/receiving/request_body.py; here is what comes before it, around it, and after its answer.

And where a caller offers another protocol along with its request (``Upgrade: h2c``, as Java's HTTP client does),
uvicorn takes the request for one without a body, and would have us answer 200 for events that we never saw.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from worker.telemetry import metrics
from worker.telemetry.logs import Throttle

_log = logging.getLogger(__name__)

#: Most bytes of a request before its body. Event Grid may send ten headers of 4 KiB each, and a token.
_HEAD_BYTES: Final = 64 * 1024
#: Seconds between two log lines about what anybody can provoke.
_LOG_SECONDS = 10.0

_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def bounded_protocol(*, timeout: timedelta, body_limit_bytes: int) -> type[HttpToolsProtocol]:
    """Return the protocol for one server: what `uvicorn.Config` takes as ``http``.

    ``timeout`` is the time for the head of a request, from its first byte on, and the same again for the rest of a body
    that was answered before its end. A head of more than 64 KiB is refused, and a request that takes more than twice
    ``body_limit_bytes``, all told, is cut off: chunks and trailers can be far more than the body in them.
    """

    class Protocol(_BoundedProtocol):
        deadlines = _Deadlines(timeout)
        garbled = Throttle(_LOG_SECONDS)
        most_bytes = _HEAD_BYTES + 2 * body_limit_bytes

    return Protocol


class _Deadlines:
    """The connections that are waited for, and since when. One timer for all: nearly none is ever waited for."""

    def __init__(self, timeout: timedelta) -> None:
        self._timeout_seconds = timeout.total_seconds()
        #: All have the same time, so the first is the first to be late.
        self._since: dict[_BoundedProtocol, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: _BoundedProtocol) -> None:
        """Wait for a connection from now on, if it is not waited for already."""
        self._since.setdefault(connection, connection.loop.time())
        if self._timer is None:
            self._timer = connection.loop.call_later(self._timeout_seconds, self._end_the_late, connection.loop)

    def forget(self, connection: _BoundedProtocol) -> None:
        """Wait for a connection no longer."""
        self._since.pop(connection, None)

    def _end_the_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for connection, since in list(self._since.items()):
            remaining_seconds = since + self._timeout_seconds - loop.time()
            if remaining_seconds > 0:
                self._timer = loop.call_later(remaining_seconds, self._end_the_late, loop)
                return
            del self._since[connection]
            connection.end_late()


class _BoundedProtocol(HttpToolsProtocol):
    """One connection. ``head_open`` and ``body_open`` say what of the present request has begun and not ended."""

    deadlines: ClassVar[_Deadlines]
    garbled: ClassVar[Throttle]
    most_bytes: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_open = False
        self._body_open = False
        self._resuming = False
        self._received_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Give a caller that says nothing the time that it would have between two requests."""
        super().connection_made(transport)
        self._wait_for_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.deadlines.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; then look at what is still to come, which is nothing if the request came in one piece."""
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._end_garbled()
        if not (self._head_open or self._body_open) or self.transport.is_closing():
            if self._received_bytes:
                self._received_bytes = 0
                self.deadlines.forget(self)
            if not _is_answering(self.cycle):  # it was an empty line, or the last that nobody waited for
                self._wait_for_a_request()
            return
        self._received_bytes += len(data)
        if self._received_bytes > (_HEAD_BYTES if self._head_open else self.most_bytes):
            self._end("large", _TOO_LARGE)
        elif self._head_open or self.cycle.response_complete:
            self.deadlines.watch(self)
        else:
            self.deadlines.forget(self)  # the time for a body runs where it is read

    def _wait_for_a_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _end_garbled(self) -> None:
        if count := self.garbled.count():
            _log.warning("ended %d connection(s) on which came what is not HTTP", count)
        if _is_answering(self.cycle) and not self._body_open:
            self.cycle.keep_alive = False  # a sound request has its answer first: it may have been stored
        else:
            self.send_400_response("Invalid HTTP request received.")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._decline_upgrade() + data[upgrade.args[0] :]

    def _decline_upgrade(self) -> bytes:
        """Go on as if no other protocol had been offered, which a server may (RFC 9110, section 7.8).

        The parser leaves everything behind the head to that protocol. So a new parser takes over, from a head that says
        how the body is framed and no more.
        """
        framing = [header for header in self.headers if header[0] in (b"content-length", b"transfer-encoding")]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._resuming = True
        return b"POST / HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % header for header in framing) + b"\r\n"

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        if not self._resuming:
            self._head_open = True
            super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head has ended, and a body, which may be empty, has begun."""
        if self._resuming:
            self._resuming = False
            return
        self._head_open = False
        self._body_open = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body has ended, unless it has only been left to another protocol."""
        if not self.parser.should_upgrade():
            self._body_open = False
            super().on_message_complete()

    def end_late(self) -> None:
        """End the connection, whose time is up; or not yet, if it is our own answer that keeps its caller waiting."""
        if _is_answering(self.cycle):
            self.deadlines.watch(self)
        else:
            self._end("slow", _TOO_SLOW)

    def _end(self, reason: str, answer: bytes) -> None:
        metrics.CONNECTIONS_ENDED.labels(reason).inc()
        if self._head_open and not _is_answering(self.cycle):  # else there is, or was, another answer
            self.transport.write(answer)
        self.transport.close()


def _is_answering(cycle: RequestResponseCycle | None) -> bool:
    return cycle is not None and not cycle.response_complete
