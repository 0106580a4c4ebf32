"""What must hold at the end of a round beside the oracle's verdict, since nobody but the system has written there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from redis import Redis

from proof.probe import NotRecovered
from proof.world import CLAIM_AFTER, World
from simulator.truth import Truth
from simulator.verdict import Fault
from worker.streams import EVENTS, GROUP, MESSAGES

#: Celery's queues, without that of beat's ticks, in which there is always one.
_QUEUES: Final = ("attribution.tracking", "attribution.drain")
_EVENT_IDS: Final = """
SELECT event_id FROM azure_engagement_events UNION ALL SELECT event_id FROM azure_delivery_events
"""
#: Messages handed to Celery alone that may be missing in the end: that door does not promise to keep what it took.
_MAY_BE_LOST: Final = 50
_SHARE_LOST: Final = 0.05
#: `campaign_stats` as it was before counts were kept: it counts all rows each time.
_BY_ROWS: Final = (
    (Path(__file__).parents[1] / "migrations" / "r0002" / "campaign_stats.sql")
    .read_text()
    .replace("CREATE OR REPLACE VIEW campaign_stats", "CREATE TEMPORARY VIEW stats_by_rows")
)
_DIFFERENCES: Final = """
SELECT DISTINCT campaign_id FROM (
    (TABLE campaign_stats EXCEPT ALL TABLE stats_by_rows)
    UNION ALL (TABLE stats_by_rows EXCEPT ALL TABLE campaign_stats)
) AS differing ORDER BY campaign_id
"""


def await_rest(world: World, within: float) -> None:
    """Wait until nothing is under way, and has not been for as long as it takes to claim what was left behind.

    Raises:
        NotRecovered: something stays on a stream, or in a queue, for longer than ``within`` seconds.
    """
    deadline = time.monotonic() + within
    rested_at: float | None = None
    while True:
        with world.connect_redis() as client:
            left = _under_way(client)
        now = time.monotonic()
        if left:
            rested_at = None
            if now > deadline:
                raise NotRecovered(f"{within:.0f} s after the end there were still {', '.join(left)}.")
        elif rested_at is None:
            rested_at = now
        elif now - rested_at > 2 * CLAIM_AFTER:
            return
        time.sleep(0.2)


def _under_way(client: Redis) -> list[str]:
    left = []
    for stream in (EVENTS, MESSAGES):
        pending: Any = client.xpending(stream, GROUP)
        for count, what in ((client.xlen(stream), "entries on"), (pending["pending"], "entries pending of")):
            if count:
                left.append(f"{count} {what} {stream}")
    return left + [f"{count} tasks in {queue}" for queue in _QUEUES if (count := client.llen(queue))]


def strangers(truth: Truth, connection: psycopg.Connection[Any]) -> Sequence[Fault]:
    """Return the events that are stored and never happened."""
    found = (event_id for (event_id,) in connection.execute(_EVENT_IDS))
    return [
        Fault.of_event(str(event_id), "is stored, and nobody has sent it")
        for event_id in found
        if event_id not in truth.events
    ]


def miscounted(connection: psycopg.Connection[Any]) -> Sequence[Fault]:
    """Return the campaigns of which `campaign_stats` says anything else than their rows, counted one by one."""
    connection.execute(_BY_ROWS.encode())
    return [
        Fault(f"campaign {campaign_id}", "has other numbers in campaign_stats than its rows say")
        for (campaign_id,) in connection.execute(_DIFFERENCES)
    ]


def lost_by_celery(handed: int, missing: int) -> Sequence[Fault]:
    """Return a fault if more messages are missing than a door may lose that is killed again and again."""
    if missing <= max(_MAY_BE_LOST, _SHARE_LOST * handed):
        return []
    return [Fault("Celery", f"has lost {missing:,} of the {handed:,} messages that were handed to it alone")]
