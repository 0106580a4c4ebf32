"""listmonk's own pixel and redirect: they write an act into its tables while Azure reports the same act to us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from simulator import listmonk
from simulator.truth import Listmonk, Native, Truth


@dataclass(frozen=True, slots=True)
class Firing:
    """A reader loads the pixel, or follows the redirect to ``link``, at an instant of listmonk's clock.

    ``event_id`` is the event in which Azure reports the same act, if it does.
    """

    what: Literal["view", "click"]
    campaign_id: int
    subscriber_id: int
    link: str | None
    at: datetime
    event_id: str | None


class Pixel:
    """Counts acts natively in listmonk's database, one transaction each, as listmonk does.

    ``truth`` is told of the row that each has become. If listmonk tracks no individuals, its rows name no reader.
    """

    def __init__(self, database_url: str, *, truth: Truth, individual_tracking: bool = True) -> None:
        self._url = database_url
        self._truth = truth
        self._individual_tracking = individual_tracking
        self._connection: psycopg.Connection[Any] | None = None
        self._link_ids: dict[str, int] = {}
        # The connection blocks, and is used from one thread only.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pixel")
        truth.write_down(Listmonk(individual_tracking))

    async def fire(self, firings: Sequence[Firing]) -> None:
        """Count acts; returns once their rows are committed."""
        for native in await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, firings):
            self._truth.write_down(native)

    def _insert(self, firings: Sequence[Firing]) -> list[Native]:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        return [self._count(self._connection, act) for act in firings]

    def _count(self, connection: psycopg.Connection[Any], act: Firing) -> Native:
        reader = act.subscriber_id if self._individual_tracking else None
        if act.link is None:
            row_id = listmonk.view(connection, act.campaign_id, reader, act.at)
        else:
            if act.link not in self._link_ids:
                self._link_ids[act.link] = listmonk.link(connection, act.link)
            row_id = listmonk.click(connection, act.campaign_id, reader, self._link_ids[act.link], act.at)
        return Native(row_id, act.what, act.campaign_id, reader, act.link, act.at, act.event_id)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()
