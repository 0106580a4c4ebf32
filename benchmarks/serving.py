"""The receiver as it is, in a process of its own, and requests as Event Grid and mailers make them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.http_load import build_request, run_load
from benchmarks.servers import Servers, wait_until
from stack.state import HOST, port_is_free

#: Known to the receiver for this run only.
_SECRET: Final = secrets.token_hex(24)

#: What Event Grid sends along with each push.
_HEADERS: Final = (
    ("content-type", "application/json; charset=utf-8"),
    ("aeg-event-type", "Notification"),
    ("aeg-subscription-name", "BENCH"),
    ("aeg-delivery-count", "0"),
    ("aeg-data-version", "1.0"),
    ("aeg-metadata-version", "1"),
)


@contextmanager
def serving(servers: Servers, module: str, ready_path: str) -> Iterator[int]:
    """Have ``python -m module``, the receiver or its like, serving for the length of the context; yield its port.

    It is waited for until a GET of ``ready_path`` is answered 200.
    """
    port = servers.free_port(module)
    settings = {"ATTRIBUTION_PORT": str(port), "ATTRIBUTION_HOST": HOST, "ATTRIBUTION_EVENT_SECRETS": _SECRET}
    probe = build_request(ready_path, b"", method="GET")

    def is_ready() -> bool:
        try:
            return not port_is_free(port) and set(run_load(HOST, port, [probe], connections=1).statuses) == {200}
        except ConnectionError:
            return False

    with servers.process(module, module, settings=settings):
        wait_until(is_ready, f"for {module} to serve")
        yield port


def push_request(path: str, body: bytes) -> bytes:
    """Return the bytes of a push of Event Grid."""
    return build_request(f"{path}?code={_SECRET}", body, _HEADERS)
