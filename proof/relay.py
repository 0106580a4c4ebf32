"""One connection through a proxy: two flows of bytes, each of which can be delayed, held back or dropped.

Sockets are read and written here by callbacks of the loop, and not through asyncio's transports: those hold bytes of
their own, which would go on leaving after a line has been told to be silent.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

#: Bytes read at once.
CHUNK = 64 * 1024
#: Bytes and chunks that a flow holds before it stops reading, so that the sender feels a slow receiver.
HELD_BYTES = 1024 * 1024
HELD_CHUNKS = 1024

_RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class Line(Protocol):
    """What a connection asks its proxy."""

    bytes: int

    @property
    def is_silent(self) -> bool:
        """Whether nothing passes."""

    @property
    def drops_replies(self) -> bool:
        """Whether what comes from the target is dropped."""

    def delay(self) -> float:
        """Return the seconds for which the next chunk is held."""


class Flow:
    """Bytes from ``source`` to ``sink``, in order. An empty chunk is the end of the source's half."""

    def __init__(self, connection: Connection, source: socket.socket, sink: socket.socket, *, is_reply: bool) -> None:
        self._connection = connection
        self._source = source
        self._sink = sink
        self._is_reply = is_reply
        self._held: deque[tuple[float, memoryview]] = deque()
        self._held_bytes = 0
        self._reads = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self.done = False

    def start(self) -> None:
        """Begin to pass on."""
        self._read_if_room()

    def stop(self) -> None:
        """Look at neither socket any more."""
        loop = self._connection.loop
        self._reads = False
        loop.remove_reader(self._source)
        loop.remove_writer(self._sink)
        if self._timer is not None:
            self._timer.cancel()

    def hurry(self) -> None:
        """Pass on what is held, due or not."""
        self._held = deque((0.0, chunk) for _, chunk in self._held)
        self._flush()

    def _flush(self) -> None:
        loop = self._connection.loop
        loop.remove_writer(self._sink)
        while self._held and not self._connection.line.is_silent:
            due_at, chunk = self._held[0]
            if due_at > loop.time():
                self._wake_at(due_at)
                break
            if not chunk:
                self._pass_on_end()
                break
            passed = self._pass_on(chunk)
            self._held_bytes -= passed
            if passed < len(chunk):
                self._held[0] = (due_at, chunk[passed:])
                loop.add_writer(self._sink, self._connection.guarded(self._flush))
                break
            self._held.popleft()
        self._read_if_room()

    def _pass_on(self, chunk: memoryview) -> int:
        if self._is_reply and self._connection.line.drops_replies:
            return len(chunk)
        try:
            passed = self._sink.send(chunk)
        except BlockingIOError:
            return 0
        self._connection.line.bytes += passed
        return passed

    def _pass_on_end(self) -> None:
        if self._is_reply and self._connection.line.drops_replies:
            return  # the end of a reply is lost like the rest of it
        self._held.clear()
        self._sink.shutdown(socket.SHUT_WR)
        self.done = True
        self._connection.flow_done()

    def _readable(self) -> None:
        try:
            chunk = self._source.recv(CHUNK)
        except BlockingIOError:
            return
        # A chunk with less delay than the one before it does not overtake it.
        due_at = max(
            self._connection.loop.time() + self._connection.line.delay(), self._held[-1][0] if self._held else 0
        )
        self._held.append((due_at, memoryview(chunk)))
        self._held_bytes += len(chunk)
        self._ended = not chunk
        self._read_if_room()
        if len(self._held) == 1:
            self._flush()  # otherwise what is held before it waits for its time, or for the sink

    def _read_if_room(self) -> None:
        room = self._held_bytes < HELD_BYTES and len(self._held) < HELD_CHUNKS
        reads = room and not self._ended and not self._connection.line.is_silent
        if reads and not self._reads:
            self._connection.loop.add_reader(self._source, self._connection.guarded(self._readable))
        elif self._reads and not reads:
            self._connection.loop.remove_reader(self._source)
        self._reads = reads

    def _wake_at(self, due_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._connection.loop.call_at(due_at, self._connection.guarded(self._flush))


class Connection:
    """A client's connection and the one to the target that answers to it. Lives in the loop's thread."""

    def __init__(
        self,
        line: Line,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        target: tuple[str, int],
        on_end: Callable[[Connection], None],
    ) -> None:
        self.line = line
        self.loop = loop
        self._client = client
        self._upstream = socket.socket()
        self._on_end = on_end
        self._flows: tuple[Flow, ...] = ()
        self._ended = False
        for end in (client, self._upstream):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not line.is_silent:
            if self._upstream.connect_ex(target) in (0, errno.EINPROGRESS):
                loop.add_writer(self._upstream, self.guarded(self._connected))
            else:
                loop.call_soon(self.reset)  # the target is down

    @property
    def upstream_port(self) -> int:
        """The port from which the target sees this connection come; 0 when it is over."""
        return 0 if self._ended else int(self._upstream.getsockname()[1])

    def hurry(self) -> None:
        """Pass on what is held, due or not."""
        for flow in self._flows:
            self.guarded(flow.hurry)()

    def fall_silent(self) -> None:
        """Look at neither end any more, so that not even its closing is noticed, until `reset`."""
        self.loop.remove_writer(self._upstream)
        for flow in self._flows:
            flow.stop()

    def reset(self) -> None:
        """End it with a reset at both ends. What is held is lost. A second call does nothing."""
        self._end(_RESET_WHEN_CLOSED)

    def flow_done(self) -> None:
        """Close it when both flows are done."""
        if all(flow.done for flow in self._flows):
            self._end(None)

    def guarded(self, step: Callable[[], None]) -> Callable[[], None]:
        """Return ``step`` so that an error of either socket resets both."""

        def run() -> None:
            if self._ended:
                return
            try:
                step()
            except OSError:
                self.reset()

        return run

    def _connected(self) -> None:
        self.loop.remove_writer(self._upstream)
        if self._upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.reset()
            return
        self._flows = (
            Flow(self, self._client, self._upstream, is_reply=False),
            Flow(self, self._upstream, self._client, is_reply=True),
        )
        for flow in self._flows:
            flow.start()

    def _end(self, linger: bytes | None) -> None:
        if self._ended:
            return
        self._ended = True
        self.fall_silent()
        for end in (self._client, self._upstream):
            if linger is not None:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.close()
        self._on_end(self)
