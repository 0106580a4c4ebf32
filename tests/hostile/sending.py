"""Requests as hostile callers send them: exact bytes, and without a client's help or scruples."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

from tests.hostile.case import Http, Raw

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def send_http(port: int, sent: Http, body: bytes) -> tuple[int, bytes]:
    """Send a request with its length, and return the status and the body of the answer."""
    lines = {"Host": "a.example.com", "Content-Length": str(len(body)), "Connection": "close"} | dict(sent.headers)
    head = f"{sent.method} {sent.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(ConnectionError):  # answered, and closed, before we have sent it all
            connection.sendall(head.encode("utf-8", "surrogateescape") + b"\r\n" + body)
        received = _receive(connection)
    status = _STATUS.match(received)
    return int(status[1]) if status else 0, received.partition(b"\r\n\r\n")[2]


def send_raw(port: int, sent: Raw, answers: int) -> tuple[int, ...]:
    """Send bytes, and return the statuses of what comes back: so many, or all until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent.sent)
            for _ in range(10_000 if sent.flood else 0):
                connection.sendall(sent.flood)
        return tuple(map(int, _STATUS.findall(_receive(connection, answers))))


def _receive(connection: socket.socket, answers: int = 0) -> bytes:
    received = b""
    with suppress(ConnectionResetError):  # closed with something of ours unread
        while not answers or len(_STATUS.findall(received)) < answers:
            data = connection.recv(65_536)
            if not data:
                break
            received += data
    return received
