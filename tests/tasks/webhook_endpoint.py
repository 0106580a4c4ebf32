"""The other side of the webhook: an HTTP server on the loopback address that verifies what it is posted."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook as Verifier

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass(frozen=True)
class Call:
    """One post, as it came."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def keys(self) -> list[str]:
        """The event keys in it."""
        return [event["event_key"] for event in self.payload["data"]["events"]]

    @property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verify(self, secret: str = SECRET) -> None:
        """Raise unless the library that receivers use finds the signature good."""
        Verifier(secret).verify(self.body, self.headers)


#: What is answered: a status and headers.
Reply = tuple[int, dict[str, str]]


@dataclass
class WebhookEndpoint:
    """Answers what ``reply`` says, given the number of the call: 204 unless a test says otherwise."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    reply: Callable[[int], Reply] = lambda _number: (204, {})
    answer_body: bytes = b""
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, *statuses: int, **headers: str) -> None:
        """Answer these statuses in turn; the last one repeats. Calls made before do not count."""
        begin = len(self.calls)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.reply = lambda number: (statuses[min(number - begin, len(statuses) - 1)], named)


@contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[WebhookEndpoint]:
    """Serve until the end, by TLS if there is a ``certificate`` (with its key)."""
    endpoint = WebhookEndpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            endpoint.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with endpoint.lock:
                number = len(endpoint.calls)
                endpoint.calls.append(
                    Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
            status, headers = endpoint.reply(number)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", str(len(endpoint.answer_body)))
                self.end_headers()
                self.wfile.write(endpoint.answer_body)
            except OSError:  # the caller has hung up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # callers that do not like our certificate hang up

    with Server(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*certificate)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        endpoint.url = f"{scheme}://127.0.0.1:{server.server_port}/hook/token-hunter2"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
