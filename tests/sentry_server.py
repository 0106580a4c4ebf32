"""A Sentry that keeps what it is sent: an HTTP server on a loopback port."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SentryServer:
    """Where ``dsn`` leads to. ``raw`` is every byte that was sent, unpacked; `items` is what it says."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://0123456789abcdef@127.0.0.1:{port}/1"
        self.raw: list[bytes] = []

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return every item of a kind: ``event``, ``check_in``, ``transaction``."""
        return [item for raw in list(self.raw) for header, item in _items(raw) if header["type"] == kind]

    def events(self) -> list[dict[str, Any]]:
        """Return the events: errors and incidents."""
        return self.items("event")

    def text(self) -> str:
        """Return all that was sent."""
        return b"\n".join(self.raw).decode(errors="replace")


def _items(envelope: bytes) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    lines = envelope.split(b"\n")[1:]
    while len(lines) > 1:
        header, payload, *lines = lines
        if header:
            yield json.loads(header), json.loads(payload)


def words_of(event: dict[str, Any]) -> str:
    """Return what an event says."""
    return str((event.get("logentry") or {}).get("formatted") or event.get("message") or "")


@contextmanager
def sentry_server() -> Iterator[SentryServer]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sentry.raw.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sentry = SentryServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield sentry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
