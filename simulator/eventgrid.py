"""Event Grid's delivery: batches, retries, giving up, delivering again what was delivered, in no particular order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

import aiohttp

from simulator import retry
from simulator.acs import Event
from simulator.subscription import HandshakeRefused, Subscription
from simulator.truth import Answered, Truth

#: Headers that an HTTP client in Python adds and Event Grid does not send.
_NOT_SENT: Final = ("Accept", "Accept-Encoding", "User-Agent")
#: Events that may wait before `EventGrid.publish` makes the publisher wait too, as a throttled topic does.
_MOST_WAITING: Final = 10_000
#: Within how many of Event Grid's seconds an acknowledged event may come again.
_REDELIVERY_WINDOW: Final = 180.0
#: Attempts at a handshake that is not answered, and Event Grid's seconds between them.
_HANDSHAKES: Final = 3
_HANDSHAKE_WAIT: Final = 5.0


@dataclass(slots=True)
class _Batch:
    """Events that share one request, and so one answer, for as long as they are retried."""

    events: list[Event]
    first_tried_at: float
    attempts: int = 0
    late_answer: asyncio.Task[int | None] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up, with what Event Grid's dead-letter blob says of it. Its reasons are free text."""

    event: Event
    reason: str
    attempts: int
    last_outcome: str
    last_status: int | None


@dataclass(slots=True)
class Tally:
    """What was delivered so far. An event that is delivered again is counted again."""

    requests: int = 0
    retries: int = 0
    acknowledged: int = 0
    redelivered: int = 0
    answers: Counter[int | str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How Event Grid conducts itself. All of it is within what Microsoft promises: at least once, in no order."""

    #: How many of our seconds one of Event Grid's lasts in its waits: at 0.001, 30 s become 30 ms.
    scale: float = 0.001
    #: Requests under way at once.
    connections: int = 16
    #: How many waiting events further down the line the next one is drawn from.
    reorder: int = 0
    #: Share of acknowledged events that come again, within three minutes of Event Grid's.
    redeliver: float = 0.0
    #: Our seconds, not scaled, that the receiver has to answer.
    response_timeout: float = retry.RESPONSE_TIMEOUT

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError("without any wait a refused batch would be sent again for ever: scale must exceed 0")


class EventGrid:
    """Delivers what is published to one subscription, until the receiver took it or it is given up.

    ``truth`` is told of every event that is published, and of every answer that settles events.
    """

    def __init__(
        self, subscription: Subscription, *, truth: Truth, seed: int = 0, conduct: Conduct | None = None
    ) -> None:
        self.subscription = subscription
        self.tally = Tally()
        self.dead_letters: list[DeadLetter] = []
        self._truth = truth
        self._rng = Random(seed)
        self._conduct = conduct or Conduct()
        self._waiting: deque[Event] = deque()
        self._due: deque[_Batch] = deque()
        self._to_redeliver: set[str] = set()
        self._unsettled = 0
        self._failures_in_a_row = 0
        self._left_alone_until = 0.0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._settled = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[int | None]] = set()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=_NOT_SENT,
        )
        self._tasks = {asyncio.create_task(self._send_for_ever()) for _ in range(self._conduct.connections)}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in self._timers:
            timer.cancel()
        under_way = [*self._tasks, *self._late]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._http.close()

    @property
    def unsettled(self) -> int:
        """Events published that are neither acknowledged nor given up, or are yet to come again."""
        return self._unsettled

    async def subscribe(self) -> None:
        """Shake hands, as on the creation of a subscription.

        Raises:
            HandshakeRefused: Event Grid would not create it.
        """
        for _ in range(_HANDSHAKES):
            try:
                async with asyncio.timeout(self._conduct.response_timeout):
                    await self.subscription.shake_hands(self._http)
                return
            except TimeoutError:
                await asyncio.sleep(_HANDSHAKE_WAIT * self._conduct.scale)
            except (aiohttp.ClientError, OSError) as error:
                raise HandshakeRefused(f"the receiver could not be reached: {type(error).__name__}") from error
        raise HandshakeRefused(f"the receiver did not answer within {self._conduct.response_timeout:g} s")

    async def unsubscribe(self) -> int:
        """Tell the receiver that the subscription is deleted, and return its status."""
        return await self.subscription.announce_deletion(self._http)

    async def publish(self, events: Iterable[Event]) -> None:
        """Take events for delivery. Waits while too many are waiting already."""
        for event in events:
            while len(self._waiting) >= _MOST_WAITING:
                self._room.clear()
                await self._or_failure(self._room)
            self._truth.write_down(event.truth)
            if self._rng.random() < self._conduct.redeliver:
                self._to_redeliver.add(event.truth.event_id)
            self._waiting.append(event)
            self._unsettled += 1
            self._work.set()

    async def settle(self) -> None:
        """Wait until every published event is acknowledged, as often as it comes again, or given up."""
        while self._unsettled:
            self._settled.clear()
            await self._or_failure(self._settled)

    async def _or_failure(self, awaited: asyncio.Event) -> None:
        """Wait for ``awaited``, but not for ever on senders that have died: their error is raised here."""
        waiter = asyncio.create_task(awaited.wait())
        done, _ = await asyncio.wait({waiter, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        if waiter not in done:
            waiter.cancel()
            for task in done:
                task.result()

    async def _send_for_ever(self) -> None:
        while True:
            while not (self._due or self._waiting):
                self._work.clear()
                await self._work.wait()
            batch = self._due.popleft() if self._due else self._form_batch()
            while (left_alone := self._left_alone_until - time.monotonic()) > 0:
                await asyncio.sleep(left_alone)
            await self._deliver(batch)

    def _form_batch(self) -> _Batch:
        """Take what is waiting, up to the batch's limits. Event Grid does not wait for a batch to fill."""
        batch = _Batch([], first_tried_at=time.monotonic())
        size = 0
        while self._waiting and len(batch.events) < self.subscription.events_per_batch:
            if ahead := self._rng.randrange(min(self._conduct.reorder + 1, len(self._waiting))):
                self._waiting[0], self._waiting[ahead] = self._waiting[ahead], self._waiting[0]
            size += len(self._waiting[0].body) + 1
            if batch.events and size > self.subscription.batch_kilobytes * 1024:
                break
            batch.events.append(self._waiting.popleft())
        self._room.set()
        return batch

    async def _deliver(self, batch: _Batch) -> None:
        if await self._was_taken_late(batch):
            self._acknowledge(batch)
            return
        batch.attempts += 1
        self.tally.requests += 1
        request = asyncio.create_task(self._post(batch))
        done, _ = await asyncio.wait({request}, timeout=self._conduct.response_timeout)
        if done:
            status = request.result()
            outcome = "SocketError" if status is None else retry.outcome(status)
        else:
            # The answer may still come, and then calls off the retry.
            batch.late_answer = request
            self._late.add(request)
            request.add_done_callback(self._late.discard)
            status, outcome = None, "TimedOut"
        self.tally.answers[outcome if status is None else status] += 1
        if status in retry.SUCCESS:
            self._acknowledge(batch)
        elif status in retry.NEVER_RETRIED:
            self._give_up(batch, "NeverRetried", outcome, status)
        else:
            self._retry(batch, outcome, status)

    async def _post(self, batch: _Batch) -> int | None:
        """Send the batch and return the status, or None if the connection failed."""
        subscription = self.subscription
        try:
            async with self._http.post(
                subscription.delivery_url,
                data=subscription.body([event.body for event in batch.events]),
                headers=subscription.headers(events=len(batch.events), attempt=batch.attempts),
                allow_redirects=False,
            ) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, OSError):
            return None

    async def _was_taken_late(self, batch: _Batch) -> bool:
        late, batch.late_answer = batch.late_answer, None
        if late is None:
            return False
        if late.done():
            return late.result() in retry.SUCCESS
        late.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await late
        return False

    def _acknowledge(self, batch: _Batch) -> None:
        self._failures_in_a_row = 0
        self.tally.acknowledged += len(batch.events)
        self._truth.write_down(Answered(tuple(event.truth.event_id for event in batch.events), acknowledged=True))
        again = [event for event in batch.events if event.truth.event_id in self._to_redeliver]
        if again:
            self._to_redeliver.difference_update(event.truth.event_id for event in again)
            self.tally.redelivered += len(again)
            self._later(
                self._rng.uniform(0, _REDELIVERY_WINDOW), _Batch(again, batch.first_tried_at, attempts=batch.attempts)
            )
        self._settle(len(batch.events) - len(again))

    def _retry(self, batch: _Batch, outcome: str, status: int | None) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= retry.FAILURES_BEFORE_PROBATION:
            self._left_alone_until = time.monotonic() + retry.probation(outcome) * self._conduct.scale
            self._failures_in_a_row = 0
        if batch.attempts >= retry.MOST_ATTEMPTS:
            self._give_up(batch, "MaxDeliveryAttemptsExceeded", outcome, status)
            return
        wait = retry.wait_before(batch.attempts + 1, status) * self._rng.uniform(1.0, 1.1)
        # Its age is looked at only when the next attempt is due, but for that its end can be seen from here.
        due_at = time.monotonic() + wait * self._conduct.scale
        if due_at - batch.first_tried_at > retry.TIME_TO_LIVE * self._conduct.scale:
            self._give_up(batch, "TimeToLiveExceeded", outcome, status)
            return
        self.tally.retries += 1
        self._later(wait, batch)

    def _give_up(self, batch: _Batch, reason: str, outcome: str, status: int | None) -> None:
        self.dead_letters += [DeadLetter(event, reason, batch.attempts, outcome, status) for event in batch.events]
        self._truth.write_down(Answered(tuple(event.truth.event_id for event in batch.events), acknowledged=False))
        self._to_redeliver.difference_update(event.truth.event_id for event in batch.events)
        self._settle(len(batch.events))

    def _later(self, seconds: float, batch: _Batch) -> None:
        """Make ``batch`` due in that many of Event Grid's seconds."""

        def make_due() -> None:
            self._timers.discard(timer)
            self._due.append(batch)
            self._work.set()

        timer = asyncio.get_running_loop().call_later(seconds * self._conduct.scale, make_due)
        self._timers.add(timer)

    def _settle(self, events: int) -> None:
        self._unsettled -= events
        if not self._unsettled:
            self._settled.set()
