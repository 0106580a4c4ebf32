"""A proxy in front of a receiver that does, when told, what proxies and firewalls do to requests."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

#: Headers that a careless proxy knows and passes.
_KNOWN: Final = ("content-type", "content-length", "host", "user-agent")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        mood = self.server.mood
        length = int(self.headers.get("content-length", 0))
        if mood == "small" and length > 1_000_000:
            self.close_connection = True
            return self._answer(413)
        body = self.rfile.read(length)
        match mood:
            case "login":
                return self._answer(401)
            case "accept" if "accept" not in self.headers:
                return self._answer(403)
            case "redirect":
                return self._answer(301, {"Location": "https://elsewhere.example.com/"})
            case "accepted":
                return self._answer(202)
            case "cached" if self.command == "POST":
                return self._answer(200, body=b'{"validationResponse": "an older code"}')
            case "options" if self.command == "OPTIONS":
                return self._answer(204, {"Allow": "GET, POST"})
            case "cors" if self.command == "OPTIONS":
                return self._answer(200, {"Access-Control-Allow-Origin": "*"})
            case "hangs-up":
                self.close_connection = True
                return None
            case "slow":
                self.server.released.wait(60)
        stripped = mood == "headers"
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.receiver_port, timeout=10)
        path = self.path
        if mood == "adds-secret":
            path = f"{path.partition('?')[0]}?code={self.server.secret}"
        if mood == "private" and path.startswith("/metrics"):
            return self._answer(404)
        if mood == "aeg":
            kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("aeg-")}
        else:
            kept = {name: value for name, value in self.headers.items() if not stripped or name.lower() in _KNOWN}
            if stripped and "aeg-event-type" in self.headers:
                kept["aeg-event-type"] = self.headers["aeg-event-type"]
        upstream.request(self.command, path, body, kept)
        answer = upstream.getresponse()
        said = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() in ("allow", "content-type")}
        headers |= {name: value for name, value in answer.getheaders() if name.lower().startswith("webhook-")}
        upstream.close()
        return self._answer(answer.status, headers, said)

    do_GET = do_POST = do_OPTIONS = _pass_on

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: What it does; "private" is how it should be: it passes everything but /metrics.
    mood = "private"
    receiver_port = 0
    secret = ""

    def __init__(self) -> None:
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: Any) -> None:
        """Say nothing: callers hang up on purpose."""


@contextmanager
def proxy(receiver_port: int, certificate: tuple[Path, Path] | None = None) -> Iterator[_Server]:
    """Serve on a loopback port, with TLS if there is a certificate and its key, until the block ends."""
    server = _Server()
    server.receiver_port = receiver_port
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
