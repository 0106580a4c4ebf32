"""One mail and its open, sent through the system from end to end, to see when it works again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from random import Random
from typing import Final

import aiohttp
import psycopg

from proof.world import CELERY_CHILD, GRID, MAILER, TRACKER, World
from simulator.acs import Acs
from simulator.doors import CeleryDoor, Door, DoorShut, HttpDoor
from simulator.mailer import tracking_of
from simulator.scenario import Track
from simulator.subscription import Subscription
from simulator.truth import Answered, Tracked, Truth
from simulator.wire import Schema

#: Seconds between two tries.
_PAUSE: Final = 0.05
#: Seconds after which another mail is sent.
_GIVEN_UP: Final = 20.0
#: Seconds that one request may take before the next is made.
_TIMEOUT: Final = 3.0


class NotRecovered(Exception):
    """The system did not get well in time."""


class Probe:
    """Sends mails of campaign 1 to reader 1, each of which the ledger knows, too. Use it as a context."""

    def __init__(self, world: World, truth: Truth, rng: Random) -> None:
        self._world = world
        self._truth = truth
        self._acs = Acs(rng, Schema.EVENT_GRID)

    async def __aenter__(self) -> Probe:
        self._by_http = HttpDoor(self._world.url(MAILER, "/messages"), self._world.message_secret)
        self._by_celery = CeleryDoor(self._world.redis_url(MAILER))
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._by_http.close()
        await self._by_celery.close()
        await self._http.close()

    async def recovery(self, within: float, target: str = "") -> float:
        """Return after how many seconds an open that happens now stands attributed in the database.

        The way there leads past everything: both doors of the receiver, Redis, a drain process, PostgreSQL; and behind
        whatever waits there already. If ``target``, what was struck, belongs to the tracking worker, the mail is
        tracked by Celery's door, and so by that worker.

        Raises:
            NotRecovered: it did not within so many seconds.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(within):
                # A mail that was lost says nothing of the next one. Losing it is the oracle's business.
                while not await self._gets_through(await self._send(self._door_to(target))):
                    pass
        except TimeoutError:
            raise NotRecovered(f"No event got through within {within:.0f} s after the fault was lifted.") from None
        return time.monotonic() - started

    def _door_to(self, target: str) -> Door:
        return self._by_celery if target == CELERY_CHILD or TRACKER in target else self._by_http

    async def _gets_through(self, event_id: str) -> bool:
        until = time.monotonic() + _GIVEN_UP
        while time.monotonic() < until:
            if await asyncio.to_thread(self._is_attributed, event_id):
                return True
            await asyncio.sleep(_PAUSE)
        return False

    async def _send(self, door: Door) -> str:
        now = datetime.now(UTC)
        message = self._acs.send(campaign_id=1, subscriber_id=1, recipients=("reader1@example.net",), at=now)
        self._truth.write_down(message)
        track = Track(message, ("internet",), message.internet_message_id)
        while True:
            try:
                await asyncio.wait_for(door.track([tracking_of(track)]), _TIMEOUT)
                break
            except (DoorShut, TimeoutError):
                await asyncio.sleep(_PAUSE)
        # As everywhere in the proof, Celery's word is not taken for it.
        confirmed = door is not self._by_celery
        self._truth.write_down(Tracked(message.internet_message_id, track.ids, door=door.name, confirmed=confirmed))
        event = self._acs.view(message, at=now, ids=("internet",))
        self._truth.write_down(event.truth)
        while not await self._post(event.body):
            await asyncio.sleep(_PAUSE)
        self._truth.write_down(Answered((event.truth.event_id,), acknowledged=True))
        return event.truth.event_id

    async def _post(self, event: bytes) -> bool:
        subscription = Subscription(url=self._world.url(GRID, "/eventgrid"), secret=self._world.event_secrets[0])
        headers = subscription.headers(events=1, attempt=1)
        try:
            async with self._http.post(
                subscription.delivery_url, data=subscription.body([event]), headers=headers
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _is_attributed(self, event_id: str) -> bool:
        try:
            with self._world.connect_postgres() as connection:
                # No index is made for this question; without the word, each asking would read the whole table.
                connection.execute("SET enable_seqscan = off")
                row = connection.execute(
                    "SELECT 1 FROM azure_engagement_events WHERE event_id = %s AND state = 'attributed'", [event_id]
                ).fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None
