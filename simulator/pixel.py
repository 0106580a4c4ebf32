"""listmonk's own pixel and redirect: they write an act into its tables while Azure reports the same act to us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg

from simulator import listmonk
from simulator.truth import Listmonk, Native, Truth

#: Seconds for which a PostgreSQL that is away is tried again.
_PATIENCE: Final = 120.0


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
        return [self._count_surely(act) for act in firings]

    def _count_surely(self, act: Firing) -> Native:
        """Count an act once, though PostgreSQL go away meanwhile: the reader's program loads the pixel again."""
        deadline = time.monotonic() + _PATIENCE
        perhaps_counted = False
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
                return self._count(self._connection, act, look_first=perhaps_counted)
            except (psycopg.OperationalError, psycopg.InternalError):  # away, cut off, or read-only
                if time.monotonic() > deadline:
                    raise
                perhaps_counted = True
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                time.sleep(0.1)

    def _count(self, connection: psycopg.Connection[Any], act: Firing, *, look_first: bool) -> Native:
        reader = act.subscriber_id if self._individual_tracking else None
        row_id: int | None = None
        if act.link is None:
            if look_first:
                row_id = _committed(connection, "campaign_views", act, reader)
            row_id = row_id or listmonk.view(connection, act.campaign_id, reader, act.at)
        else:
            if act.link not in self._link_ids:
                self._link_ids[act.link] = listmonk.link(connection, act.link)
            if look_first:
                row_id = _committed(connection, "link_clicks", act, reader)
            row_id = row_id or listmonk.click(connection, act.campaign_id, reader, self._link_ids[act.link], act.at)
        return Native(row_id, act.what, act.campaign_id, reader, act.link, act.at, act.event_id)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()


def _committed(connection: psycopg.Connection[Any], table: str, act: Firing, subscriber_id: int | None) -> int | None:
    """Return the row of an act whose commit was not answered, if it was carried out. No two acts share an instant."""
    query = (
        f"SELECT id FROM {table} WHERE id > 0 AND campaign_id = %s"  # noqa: S608 - one of two names above
        " AND subscriber_id IS NOT DISTINCT FROM %s AND created_at = %s"
    )
    row = connection.execute(query.encode(), [act.campaign_id, subscriber_id, act.at]).fetchone()
    return None if row is None else int(row[0])
