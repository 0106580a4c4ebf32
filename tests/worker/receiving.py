"""A receiver served as in production, in a thread of the test's process, and a caller that sends exact bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
import uvicorn

from tests.waiting import eventually
from worker.receiver import configure_server, create_receiver
from worker.settings import ReceiverSettings

EVENT_SECRET = "event-secret-new-0123456789"
OLD_EVENT_SECRET = "event-secret-old-0123456789"
MESSAGE_SECRET = "message-secret-0123456789"

Entry = dict[bytes, bytes]
ServeReceiver = Callable[..., "Caller"]


def receiver_settings(redis_url: str, **others: Any) -> ReceiverSettings:
    """Return settings for a receiver that gives up within fractions of a second."""
    defaults: dict[str, Any] = {
        "redis_url": redis_url,
        "port": 0,
        "event_secrets": f"{EVENT_SECRET},{OLD_EVENT_SECRET}",
        "message_secrets": MESSAGE_SECRET,
        "body_limit_bytes": 2 * 1024 * 1024,
        "body_timeout": 0.3,
        "redis_timeout": 0.5,
    }
    return ReceiverSettings(**(defaults | others))


@contextmanager
def serving(settings: ReceiverSettings) -> Iterator[Caller]:
    """Serve until the block ends, then let the requests that have begun finish."""
    server = uvicorn.Server(configure_server(create_receiver(settings), settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:

        def started() -> int:
            assert thread.is_alive()
            assert server.started
            port: int = server.servers[0].sockets[0].getsockname()[1]
            return port

        yield Caller(eventually(started))
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case; ``date`` is left out."""

    status: int
    headers: dict[str, str]
    body: bytes


class Caller:
    """Calls the receiver on one port; each request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        """Open a connection for a test that sends its own bytes."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send a request with ``Content-Length`` and return the answer."""
        with self.connect() as connection:
            connection.sendall(request_bytes(method, path, headers, body))
            return read_answer(connection)

    def post_events(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Post as Event Grid would, with a secret that is valid."""
        return self.send("POST", f"/eventgrid?code={EVENT_SECRET}", headers, body)

    def post_messages(self, body: bytes) -> Answer:
        """Post as a mailer would, with a secret that is valid."""
        return self.send("POST", "/messages", {"Authorization": f"Bearer {MESSAGE_SECRET}"}, body)

    def metric(self, name: str, **labels: str) -> float:
        """Return one of the receiver's metrics; 0 if it has not been counted yet."""
        label = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{label}}} " if label else f"{name} "
        lines = self.send("GET", "/metrics").body.decode().splitlines()
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)


def request_bytes(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire. Header values are sent as UTF-8."""
    lines = {"Host": "receiver.example.com", "Content-Length": str(len(body))} | dict(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer. The receiver always says how long it is."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += _receive(connection)
    del headers["date"]
    return Answer(int(status_line.split(" ")[1]), headers, body)


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the receiver closed the connection before its answer was complete"
    return data


def entries(client: redis.Redis, stream: str) -> list[Entry]:
    """Return the fields of every entry on a stream, but for its request's id, which is another each time."""
    found: Any = client.xrange(stream)
    return [{name: value for name, value in fields.items() if name != b"request"} for _, fields in found]
