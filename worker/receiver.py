"""The receiver: a small HTTP server between Event Grid and the streams.

``python -m worker.receiver`` starts it. ``uvicorn --factory worker.receiver:create_app`` does, too, for trials:
it has none of the bounds of worker/receiving/connections.py.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from worker.errors import AttributionError, RedisUnsafe
from worker.receiving.answers import OK, UNAVAILABLE
from worker.receiving.backlog import BacklogWatch
from worker.receiving.connections import bounded_protocol
from worker.receiving.endpoints import EventEndpoint, MessageEndpoint
from worker.receiving.redis_link import RedisLink
from worker.receiving.stream_writer import StreamWriter
from worker.receiving.traced_endpoint import TracedEndpoint
from worker.redis_checks import require_safe_redis
from worker.settings import ReceiverSettings
from worker.telemetry import metrics
from worker.telemetry.error_tracking import start_error_tracking
from worker.telemetry.exposition import answer
from worker.telemetry.logs import configure_logs
from worker.telemetry.tracing import is_tracing, start_tracing

_log = logging.getLogger("worker.receiver")  # run as a program, its own name is another

#: Longer than any common proxy keeps an idle connection to us: it must not send into one that we are just closing.
_KEEP_ALIVE_SECONDS = 75
#: What the routes take and answer, for people and programs. Written by hand, and held to the truth by tests.
_DESCRIPTION = Response(
    (Path(__file__).parent / "receiving" / "openapi.yaml").read_bytes(), media_type="application/yaml"
)
#: What a request may take beyond its body's and Redis's time when the receiver is told to stop.
_STOP_SECONDS = 3


class _Receiver(Starlette):
    """Starlette, but that the busy POSTs do not pass its middleware and its router.

    Those take a tenth of such a request, and with Sentry's integration in them the time of three more. What a busy
    endpoint raises is answered 500 and logged by uvicorn, and reaches Sentry by that line.
    """

    def __init__(self, busy: Mapping[str, ASGIApp], routes: Sequence[Route], lifespan: Lifespan[Self]) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._busy = busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (endpoint := self._busy.get(scope["path"])):
            await endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_receiver(settings: ReceiverSettings) -> Starlette:
    """Build the ASGI application that puts requests onto the streams.

    ``POST /eventgrid`` answers 200 once the body is on the stream, and 503 when it cannot be put there. Event Grid
    never retries 400, 401, 403 and 413, so no fault of ours is answered with one of them. Event content is not looked
    at: what cannot be parsed is the drain's to quarantine. While Redis is away or not safe the application runs and
    answers 503.
    """
    metrics.begin_receiver()
    link = RedisLink(
        settings.redis_url.get_secret_value(), timeout=settings.redis_timeout, check=partial(_check_redis, settings)
    )
    watch = BacklogWatch(link, backlog_limit=settings.backlog_limit, memory_limit_percent=settings.memory_limit_percent)
    writer = StreamWriter(link)
    events: ASGIApp = EventEndpoint(settings, writer, watch)
    messages: ASGIApp = MessageEndpoint(settings, writer, watch)
    if is_tracing():
        events, messages = TracedEndpoint(events, "/eventgrid"), TracedEndpoint(messages, "/messages")

    async def readyz(_request: Request) -> Response:
        return OK if watch.is_writable else UNAVAILABLE

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with link, watch:
            yield

    app = _Receiver(
        # listmonk's own path: a subscription that exists then only changes its host.
        busy={"/eventgrid": events, "/webhooks/service/azure": events, "/messages": messages},
        routes=[
            Route("/eventgrid", events, methods=["POST", "OPTIONS"]),
            Route("/webhooks/service/azure", events, methods=["POST", "OPTIONS"]),
            Route("/messages", messages, methods=["POST"]),
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            Route("/metrics", _metrics),
            Route("/openapi.yaml", _openapi),
        ],
        lifespan=lifespan,
    )
    # A redirect is a failure to Event Grid, and would repeat the secret in its answer.
    app.router.redirect_slashes = False
    return app


async def _healthz(_request: Request) -> Response:
    return OK


async def _metrics(_request: Request) -> Response:
    return Response(answer(), media_type=CONTENT_TYPE_LATEST)


async def _openapi(_request: Request) -> Response:
    return _DESCRIPTION


def _check_redis(settings: ReceiverSettings) -> None:
    try:
        require_safe_redis(settings.redis_url.get_secret_value())
    except RedisUnsafe as error:
        if not settings.allow_unsafe_redis:
            raise
        _log.warning("%s", error)


def create_app() -> Starlette:
    """Build the application from the environment: what ``uvicorn --factory`` calls.

    Raises:
        SettingsInvalid: see its message.
        RedisUnsafe: Redis was reached and may lose what it acknowledges. One that cannot be reached is waited for.
    """
    settings = ReceiverSettings.read()
    configure_logs(settings.log_format, settings.log_level)
    return _create_checked(settings)


def _create_checked(settings: ReceiverSettings) -> Starlette:
    _track_errors(settings)
    start_tracing("receiver")
    _tune_garbage_collection()
    try:
        _check_redis(settings)
    except RedisError as error:
        _log.warning("Redis is away, and requests are answered 503 until it is back: %s", error)
    return create_receiver(settings)


def _track_errors(settings: ReceiverSettings) -> None:
    if settings.sentry_dsn is not None:
        from sentry_sdk.integrations.starlette import StarletteIntegration  # noqa: PLC0415 - for those who asked for it

        start_error_tracking(settings, "receiver", [StarletteIntegration(transaction_style="endpoint")])


def _tune_garbage_collection() -> None:
    """Look for garbage cycles seldom, and not among what is imported: it held up requests by 20 ms, and cost 5 %."""
    gc.freeze()
    gc.set_threshold(20_000)


def configure_server(app: Starlette, settings: ReceiverSettings) -> uvicorn.Config:
    """Return how the receiver is served."""
    in_flight = settings.body_timeout + settings.redis_timeout
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        interface="asgi3",
        loop="uvloop",
        http=bounded_protocol(timeout=settings.body_timeout, body_limit_bytes=settings.body_limit_bytes),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # query strings hold secrets
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(in_flight.total_seconds()) + _STOP_SECONDS,
    )


def run(settings: ReceiverSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that have begun.

    Raises:
        RedisUnsafe: Redis was reached and may lose what it acknowledges.
        SystemExit: the address is taken, for one.
    """
    server = uvicorn.Server(configure_server(_create_checked(settings), settings))
    server.run()
    if not server.started:
        sys.exit(3)


def main() -> None:
    """Start the receiver as the environment says; explain in a sentence why it does not."""
    try:
        settings = ReceiverSettings.read()
        configure_logs(settings.log_format, settings.log_level)
        run(settings)
    except AttributionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
