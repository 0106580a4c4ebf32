"""What the receiver is compared with: handlers that do nothing, on the same server, configured in the same way.

``/handler``  a Starlette handler as anybody would write it
``/bare``     a bare ASGI application that Starlette routes to: nothing that still goes through the router can do less.
              The receiver's own endpoints are such applications, and its busy POSTs go past the router
"""

from __future__ import annotations

from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from worker.receiver import configure_server
from worker.settings import ReceiverSettings
from worker.telemetry.logs import configure_logs

_OK: Final = Response()


async def _handler(_request: Request) -> Response:
    return Response()


class _Bare:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _OK(scope, receive, send)


def main() -> None:
    """Serve them until SIGTERM or SIGINT."""
    app = Starlette(
        routes=[
            Route("/handler", _handler, methods=["POST"]),
            Route("/bare", _Bare(), methods=["POST"]),
            Route("/readyz", _handler),
        ]
    )
    settings = ReceiverSettings.read()
    configure_logs(settings.log_format, settings.log_level)
    uvicorn.Server(configure_server(app, settings)).run()


if __name__ == "__main__":
    main()
