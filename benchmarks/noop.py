"""What the receiver is compared with: handlers that do nothing, on the same server, started in the same way.

``python -m benchmarks.noop`` is the receiver, settings, checks, uvicorn's options and all, with another application in it.

``/handler``  a Starlette handler as anybody would write it
``/bare``     a bare ASGI application routed to by Starlette, which is what the receiver's own endpoints are; nothing that
              still goes through Starlette's router can do less
"""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import worker.receiver
from worker.settings import ReceiverSettings

_OK: Final = Response()


async def _handler(_request: Request) -> Response:
    return Response()


class _Bare:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _OK(scope, receive, send)


def create_noop(_settings: ReceiverSettings) -> Starlette:
    """Build the application that does nothing."""
    return Starlette(
        routes=[
            Route("/handler", _handler, methods=["POST"]),
            Route("/bare", _Bare(), methods=["POST"]),
            Route("/readyz", _handler),
        ]
    )


if __name__ == "__main__":
    # The receiver's own main is what keeps the two alike, whatever becomes of its options.
    worker.receiver.create_receiver = create_noop
    worker.receiver.main()
