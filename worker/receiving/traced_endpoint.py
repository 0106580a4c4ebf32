"""A span for each request of a busy route, around an endpoint that knows nothing of it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.receiving.request_id import HEADER
from worker.telemetry.tracing import begin_request, traceparent_of


class TracedEndpoint:
    """Traces the requests of ``endpoint``; the span's name in the wire's form is in ``scope["traceparent"]``."""

    def __init__(self, endpoint: ASGIApp, route: str) -> None:
        self._endpoint = endpoint
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell what was answered."""
        span = begin_request(f"POST {self._route}", dict(scope["headers"]))
        if not span.is_recording():
            await self._endpoint(scope, receive, send)
            return

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                for name, value in message["headers"]:
                    if name == HEADER:
                        span.set_attribute("attribution.request", value.decode())
            await send(message)

        span.set_attributes({"http.request.method": "POST", "http.route": self._route})
        try:
            await self._endpoint({**scope, "traceparent": traceparent_of(span)}, receive, send_and_tell)
        finally:
            span.end()
