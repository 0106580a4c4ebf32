"""Event Grid and a mailer that have much to send: over many connections, again and again until it is accepted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from random import Random
from typing import Final, Self

from proof.load.failures import LoadFailed
from proof.load.traffic import Events, Request
from simulator.retry import RESPONSE_TIMEOUT, wait_before
from stack.state import HOST

#: Answers that take a request.
_ACCEPTED: Final = {200, 202}
_UNAVAILABLE: Final = 503
#: Requests that are ready to be sent, for each connection.
_AHEAD: Final = 2
_EVENT_HEADERS: Final = "content-type: application/json; charset=utf-8\r\naeg-event-type: Notification\r\n"


class Sender:
    """Sends requests to the receiver at ``port``. Use it as a context.

    What is refused with 503 is sent again after Event Grid's own wait, times ``haste``. Any other answer is a failure
    of the run, for Event Grid drops what is answered so, or should never have got it.
    """

    def __init__(
        self, port: int, *, event_secret: str, message_secret: str, connections: int, haste: float, seed: int
    ) -> None:
        self.accepted_events = 0
        self.accepted_requests = 0
        self.refused = 0
        self.without_retry_after = 0
        self.largest_bytes = 0
        self.first_refused_at: float | None = None
        self._port = port
        self._heads = {
            True: f"POST /eventgrid?code={event_secret} HTTP/1.1\r\nhost: {HOST}\r\n{_EVENT_HEADERS}",
            False: f"POST /messages HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {message_secret}\r\n",
        }
        self._haste = haste
        self._chance = Random(seed)
        #: Requests, each with how often it has been sent already.
        self._ready: asyncio.Queue[tuple[Request, int]] = asyncio.Queue()
        self._room = asyncio.Semaphore(_AHEAD * connections)
        self._left = 0
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._connections = connections

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._send_on_one_connection()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def put(self, request: Request) -> None:
        """Have a request sent; wait while enough are ready.

        Raises:
            LoadFailed: one before it was answered as none may be.
        """
        self._require_sound()
        await self._room.acquire()
        self._left += 1
        self._none_left.clear()
        self._ready.put_nowait((request, 0))

    async def finish(self, seconds: float) -> None:
        """Wait until everything has been accepted.

        Raises:
            LoadFailed: it took longer than so many seconds, or something was answered as nothing may be.
        """
        deadline = time.monotonic() + seconds
        while not self._none_left.is_set():
            self._require_sound()
            if time.monotonic() > deadline:
                raise LoadFailed(f"{self._left} requests were not accepted within {seconds:.0f} s.")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), 0.5)

    def _require_sound(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def _send_on_one_connection(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, self._port)
                try:
                    await self._send(reader, writer)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request, sent = await self._ready.get()
            if not sent:
                self._room.release()
            try:
                async with asyncio.timeout(RESPONSE_TIMEOUT):
                    status, retry_after = await self._post(reader, writer, request)
            except (OSError, asyncio.IncompleteReadError):  # no answer: it may have arrived, and comes again
                self._again(request, sent + 1, None)
                raise
            if status in _ACCEPTED:
                self._accept(request)
            elif status == _UNAVAILABLE:
                self.refused += 1
                self.first_refused_at = self.first_refused_at or time.monotonic()
                self.without_retry_after += not retry_after
                self._again(request, sent + 1, status)
            else:
                raise LoadFailed(f"The receiver answered {status} where only 200, 202 and 503 are right.")

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
    ) -> tuple[int, bool]:
        body = request.body()
        self.largest_bytes = max(self.largest_bytes, len(body))
        head = f"{self._heads[isinstance(request, Events)]}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = answer.partition(b"content-length:")
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        return int(answer[9:12]), b"\r\nretry-after:" in answer

    def _accept(self, request: Request) -> None:
        self.accepted_requests += 1
        self.accepted_events += request.events
        self._left -= 1
        if not self._left:
            self._none_left.set()

    def _again(self, request: Request, sent: int, status: int | None) -> None:
        """Send it again after Event Grid's wait."""
        wait = wait_before(sent + 1, status) * self._haste * self._chance.uniform(1, 1.2)
        asyncio.get_running_loop().call_later(wait, self._ready.put_nowait, (request, sent))
