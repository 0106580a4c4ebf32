"""TCP proxies that stand between two programs of ours, and misbehave when told to, as a network does.

All run in one thread. Every method may be called from any other thread, returns when it has taken effect, and does
nothing once the proxies are closed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TypeVar

from proof.relay import Connection
from stack.state import HOST, free_port

_log = logging.getLogger(__name__)

#: Connections that the kernel completes before we have taken them.
_BACKLOG = 1024
#: Longest wait for a port of ours that somebody else has taken meanwhile.
_PORT_SECONDS = 30.0
#: Seconds between two tries to take connections when no descriptor is left for them.
_DESCRIPTOR_SECONDS = 0.2
#: Longest wait for the thread of the proxies to do what it was told.
_CALL_SECONDS = 30.0

T = TypeVar("T")


class Proxies:
    """All proxies of a run, and the thread that they share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[Proxy] = []
        self._closed = False

    def __enter__(self) -> Proxies:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for proxy in self._proxies:
            self.call(proxy.close, None)
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str, target_port: int) -> Proxy:
        """Listen on a port of its own for connections to ``target_port``, where somebody may listen or not."""
        proxy = Proxy(self, self._loop, name, target_port)
        self._proxies.append(proxy)
        return proxy

    def call(self, function: Callable[[], T], when_closed: T) -> T:
        """Run ``function`` in the thread of the proxies and return its result."""

        async def run() -> T:
            return function()

        if self._closed:
            return when_closed
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_CALL_SECONDS)


class Proxy:
    """What stands on ``port`` before the target. Faults may be nested and may overlap.

    ``connections`` counts those taken since the start, ``bytes`` those passed on in both directions. ``target`` is
    where the next connection is led. ``open_connections`` belongs to the proxies' own thread: look at it by
    `Proxies.call`.
    """

    def __init__(self, proxies: Proxies, loop: asyncio.AbstractEventLoop, name: str, target_port: int) -> None:
        self.name = name
        self.connections = 0
        self.bytes = 0
        self._proxies = proxies
        self._loop = loop
        self.target = (HOST, target_port)
        self.open_connections: set[Connection] = set()
        self._delays: list[tuple[float, float]] = []
        self._silences = 0
        self._refusals = 0
        self._losses = 0
        self._random = random.Random(name)
        self.port, self._listener = _bound_somewhere()
        while not proxies.call(self._listen, when_closed=True):
            self._listener.close()
            self.port, self._listener = _bound_somewhere()

    @property
    def is_silent(self) -> bool:
        """Whether nothing passes just now."""
        return self._silences > 0

    @property
    def drops_replies(self) -> bool:
        """Whether what the target says is dropped just now."""
        return self._losses > 0

    def delay(self) -> float:
        """Return the seconds for which the next chunk is held."""
        return sum(seconds + self._random.uniform(0, jitter) for seconds, jitter in self._delays)

    def cut(self) -> int:
        """Reset every connection now, at both ends, and return how many there were."""
        return self._proxies.call(self._reset_all, 0)

    @contextmanager
    def slow(self, seconds: float, jitter: float = 0.0) -> Iterator[None]:
        """Delay each chunk, either way, by ``seconds`` and up to ``jitter`` seconds more; none overtakes another.

        A flow holds a bounded number of bytes, so that who sends more is kept waiting. At the end all that is held
        is delivered at once.
        """
        delay = (seconds, jitter)
        self._proxies.call(lambda: self._delays.append(delay), None)
        try:
            yield
        finally:
            self._proxies.call(lambda: self._quicken(delay), None)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing either way and close nothing, as where a NAT has forgotten its connections.

        New connections are accepted and are as silent. Neither end is told that the other has closed or died. At
        the end every connection is reset; what was on its way is lost.
        """
        self._proxies.call(self._fall_silent, None)
        try:
            yield
        finally:
            self._proxies.call(self._speak_again, None)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Reset every connection and refuse new ones, until the same port is listened on again.

        Raises:
            RuntimeError: somebody else has taken the port meanwhile, and keeps it.
        """
        self._proxies.call(self._refuse, None)
        try:
            yield
        finally:
            self._proxies.call(self._end_refusal, None)
            self._await_port()

    @contextmanager
    def swallowing_replies(self) -> Iterator[None]:
        """Pass on what the client says, and drop what the target answers. At the end every connection is reset."""
        self._proxies.call(lambda: self._lose(1), None)
        try:
            yield
        finally:
            self._proxies.call(lambda: self._lose(-1), None)

    def close(self) -> None:
        """Reset every connection and listen no more. For the thread of the proxies."""
        self._reset_all()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _listen(self) -> bool:
        """Listen on the port that is bound. False if another, who bound it as well, was quicker."""
        try:
            self._listener.listen(_BACKLOG)
        except OSError:
            return False
        self._loop.add_reader(self._listener, self._accept)
        return True

    def upstream_ports(self) -> list[int]:
        """Return the ports from which the target sees the open connections come."""
        return self._proxies.call(lambda: [each.upstream_port for each in self.open_connections], [])

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:  # no descriptor left: it would be tried, in vain, as fast as the loop turns
                _log.warning("the proxy %s takes no connection for now (%s)", self.name, error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_DESCRIPTOR_SECONDS, self._go_on_accepting)
                return
            self.connections += 1
            self.open_connections.add(Connection(self, self._loop, client, self.target, self.open_connections.discard))

    def _go_on_accepting(self) -> None:
        if self._refusals == 0 and self._listener.fileno() != -1:
            self._loop.add_reader(self._listener, self._accept)

    def _reset_all(self) -> int:
        found = list(self.open_connections)
        for connection in found:
            connection.reset()
        return len(found)

    def _quicken(self, delay: tuple[float, float]) -> None:
        self._delays.remove(delay)
        if not self._delays:
            for connection in list(self.open_connections):
                connection.hurry()

    def _fall_silent(self) -> None:
        self._silences += 1
        for connection in self.open_connections:
            connection.fall_silent()

    def _speak_again(self) -> None:
        self._silences -= 1
        if self._silences == 0:
            self._reset_all()

    def _lose(self, change: int) -> None:
        self._losses += change
        if self._losses == 0:
            self._reset_all()

    def _refuse(self) -> None:
        self._refusals += 1
        if self._refusals == 1:
            self.close()
            # Bound and not listened on, the port is ours and yet refuses.
            with suppress(OSError):
                self._listener = _bound(self.port)

    def _end_refusal(self) -> None:
        self._refusals -= 1

    def _await_port(self) -> None:
        deadline = time.monotonic() + _PORT_SECONDS
        while not self._proxies.call(self._listens_if_wanted, when_closed=True):
            if time.monotonic() > deadline:
                raise RuntimeError(f"The proxy {self.name} cannot come back: somebody else has taken port {self.port}.")
            time.sleep(0.05)

    def _listens_if_wanted(self) -> bool:
        if self._refusals > 0:
            return True
        if self._listener.fileno() == -1:
            try:
                self._listener = _bound(self.port)
            except OSError:
                return False
        return self._listen()


def _bound_somewhere() -> tuple[int, socket.socket]:
    """Return a free port outside the range from which the kernel gives ports to clients, and a socket bound to it."""
    while True:
        port = free_port()
        with suppress(OSError):
            return port, _bound(port)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # Connections of the same port that are still dying do not keep it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
