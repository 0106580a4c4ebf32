"""What the receiver does with a POST: make sure of the caller, read the body, put it on a stream, and only then say so.

These are bare ASGI applications, which Starlette routes to: its request object would cost a fifth of the throughput.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from functools import cache

import msgspec
from prometheus_client import Counter
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from worker.errors import StreamUnavailable
from worker.messages import MOST_TRACKINGS, Problem, TooManyTrackings, Tracking, Warned, parse_trackings, warn_of
from worker.receiving.answers import NOT_FOUND, OK, TOO_MANY, UNAVAILABLE, Refused, accepted, invalid
from worker.receiving.backlog import BacklogWatch
from worker.receiving.callers import EventCallers, Headers, MessageCallers
from worker.receiving.handshake import answer_options, validation_code
from worker.receiving.request_body import BodyReader, CallerGone
from worker.receiving.request_id import HEADER, request_id
from worker.receiving.stream_writer import StreamWriter
from worker.settings import ReceiverSettings
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics
from worker.telemetry.logs import Throttle

_log = logging.getLogger(__name__)

#: Seconds between two log lines about what anybody can provoke.
_LOG_SECONDS = 10.0
#: Bodies longer than this are parsed in a thread, so that events need not wait for them. Bytes.
_LONG_BODY = 128 * 1024


@cache
def _requests(route: str, status: int | str) -> Counter:
    return metrics.REQUESTS.labels(route, str(status))


class _StreamEndpoint(ABC):
    """The steps that both routes share."""

    route: str

    def __init__(self, settings: ReceiverSettings, writer: StreamWriter, watch: BacklogWatch) -> None:
        self._writer = writer
        self._watch = watch
        self._bodies = BodyReader(limit_bytes=settings.body_limit_bytes, timeout=settings.body_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        name = request_id(headers)
        try:
            answer = await self._answer(scope, headers, receive, name)
        except Refused as refused:
            answer = refused.answer
        except StreamUnavailable:
            answer = UNAVAILABLE
        except CallerGone:
            _requests(self.route, "gone").inc()
            return
        _requests(self.route, answer.status_code).inc()
        if scope["method"] == "POST" and answer is not NOT_FOUND:  # to a stranger it is as if there were no such path
            send = _naming(send, name)
        await answer(scope, receive, send)

    @abstractmethod
    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, name: bytes) -> Response:
        """Do the route's work. `Refused`, `StreamUnavailable` and `CallerGone` are turned into answers.

        ``name`` is the request's id, which goes onto the stream with its body.
        """

    async def _append(
        self, scope: Scope, stream: str, body: bytes, name: bytes, subscription: bytes | None = None
    ) -> None:
        entry_id = await self._writer.append(stream, body, name, subscription, scope.get("traceparent"))
        if _log.isEnabledFor(logging.DEBUG):
            said = {"request": name.decode(), "entry": entry_id, "stream": stream, "bytes": len(body)}
            _log.debug("a request is on its stream", extra=said)


class EventEndpoint(_StreamEndpoint):
    """``/eventgrid``: what Event Grid sends, onto the stream of events. Its content is not looked at."""

    route = "eventgrid"

    def __init__(self, settings: ReceiverSettings, writer: StreamWriter, watch: BacklogWatch) -> None:
        super().__init__(settings, writer, watch)
        self._callers = EventCallers(settings)
        self._origins = settings.webhook_origins
        self._asked = Throttle(_LOG_SECONDS)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, name: bytes) -> Response:
        if scope["method"] == "OPTIONS":
            return self._answer_options(headers)
        await self._callers.admit(headers, scope["query_string"])
        subscription = headers.get(b"aeg-subscription-name")
        kind = headers.get(b"aeg-event-type", b"").lower()
        if kind == b"subscriptionvalidation":
            body = await self._bodies.read(receive, headers)
            if code := validation_code(body):
                _note_handshake("granted", subscription)
                return JSONResponse({"validationResponse": code})
            # Whatever this is, it is no handshake, and it may hold events: the drain will tell.
            _note_handshake("refused", subscription)
            self._watch.require_room(EVENTS)
        else:
            if kind == b"subscriptiondeletion":  # the drain ignores the notice, and whatever came along is kept
                _log.warning("an Event Grid subscription was deleted", extra={"subscription": _text(subscription)})
            self._watch.require_room(EVENTS)
            body = await self._bodies.read(receive, headers)
        await self._append(scope, EVENTS, body, name, subscription)
        return OK

    def _answer_options(self, headers: Headers) -> Response:
        answer = answer_options(headers, self._origins)
        outcome = "granted" if "webhook-allowed-origin" in answer.headers else "refused"
        metrics.HANDSHAKES.labels("cloudevents", outcome).inc()
        if count := self._asked.count():  # anybody may ask, as often as they like
            _log.info("CloudEvents handshake %s, the last of %d", outcome, count)
        return answer


class MessageEndpoint(_StreamEndpoint):
    """``/messages``: send-trackings of mailers, onto the stream of messages. All of a call, or none of it."""

    route = "messages"

    def __init__(self, settings: ReceiverSettings, writer: StreamWriter, watch: BacklogWatch) -> None:
        super().__init__(settings, writer, watch)
        self._callers = MessageCallers(settings)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, name: bytes) -> Response:
        self._callers.admit(headers)
        self._watch.require_room(MESSAGES)
        body = await self._bodies.read(receive, headers)
        if len(body) > _LONG_BODY:
            trackings, problems, warnings = await asyncio.to_thread(_sort, body)
        else:
            trackings, problems, warnings = _sort(body)
        if problems:
            return invalid(problems)
        if trackings:
            await self._append(scope, MESSAGES, msgspec.json.encode(trackings), name)
        metrics.MESSAGE_WARNINGS.inc(len(warnings))
        return accepted(len(trackings), warnings)


def _naming(send: Send, name: bytes) -> Send:
    """Have the answer say which request it is about."""

    def send_named(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (HEADER, name)]
        return send(message)

    return send_named


def _sort(body: bytes) -> tuple[list[Tracking], list[Problem], list[Warned]]:
    try:
        items = parse_trackings(body, most=MOST_TRACKINGS)
    except TooManyTrackings:
        raise Refused(TOO_MANY) from None
    problems = [item for item in items if isinstance(item, Problem)]
    trackings = [item for item in items if isinstance(item, Tracking)]
    return trackings, problems, [] if problems else warn_of(trackings)


def _note_handshake(outcome: str, subscription: bytes | None) -> None:
    metrics.HANDSHAKES.labels("eventgrid", outcome).inc()
    _log.info("Event Grid handshake %s", outcome, extra={"subscription": _text(subscription)})


def _text(header: bytes | None) -> str | None:
    return None if header is None else header[:100].decode("latin-1")
