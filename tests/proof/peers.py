"""The two ends of a connection through a proxy: a server whose every connection the test holds, and clients."""

from __future__ import annotations

import errno
import queue
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from stack.state import HOST

#: Seconds after which a test that waits for bytes has failed.
PATIENCE = 20.0
#: Seconds of nothing that count as silence. What does pass on the loopback takes less than a millisecond.
SILENCE = 0.2


class Target:
    """Listens, and hands each connection that it accepts to the test."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server((HOST, port))
        self.port: int = self._listener.getsockname()[1]
        self._accepted: queue.Queue[socket.socket] = queue.Queue()
        self._all: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def connection(self) -> socket.socket:
        """Return the next connection that came."""
        return self._accepted.get(timeout=PATIENCE)

    @property
    def has_none(self) -> bool:
        """Whether no connection came that the test has not taken."""
        return self._accepted.empty()

    def close(self) -> None:
        """Die: listen no more, and close every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which `close` alone does not
        self._listener.close()
        self._thread.join(PATIENCE)
        for connection in self._all:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(PATIENCE)
                self._all.append(connection)
                self._accepted.put(connection)


@contextmanager
def target_on(port: int = 0) -> Iterator[Target]:
    """Listen on ``port``, or on a free one, until the block ends."""
    target = Target(port)
    try:
        yield target
    finally:
        target.close()


def connect(port: int) -> socket.socket:
    """Return a new connection to ``port``."""
    return socket.create_connection((HOST, port), timeout=PATIENCE)


def is_reset_at_once(port: int) -> bool:
    """Connect to ``port``, and say whether the connection was reset: while it was made, or soon after."""
    try:
        with connect(port) as connection:
            return was_reset(connection)
    except ConnectionResetError:
        return True


def receive(connection: socket.socket, count: int) -> bytes:
    """Return exactly ``count`` bytes, or fewer if the other end has ended its half."""
    received = b""
    while len(received) < count and (chunk := connection.recv(count - len(received))):
        received += chunk
    return received


def was_reset(connection: socket.socket) -> bool:
    """Wait until the other end ends the connection in some way, and say whether that was a reset."""
    try:
        while connection.recv(65536):
            pass
    except OSError as error:
        if error.errno != errno.ECONNRESET:
            raise
        return True
    return False


def is_quiet(connection: socket.socket) -> bool:
    """Say whether nothing comes, neither bytes nor an end."""
    return select.select([connection], [], [], SILENCE)[0] == []


def reset(connection: socket.socket) -> None:
    """End a connection with a reset, as a killed process may."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
