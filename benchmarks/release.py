"""(e) From the commit of a message's tracking to the commit of its parked events, with many other events parked."""

from __future__ import annotations

import time
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.commits import commit_times
from benchmarks.drain import TABLE
from benchmarks.drains import idle_drains, wait_until_drained
from benchmarks.load import message_id, tracking_bodies
from benchmarks.paced_load import due_times
from benchmarks.report import Figure, latency_figures, latency_text
from benchmarks.seeds import WAITING, seed_parked, settle
from benchmarks.servers import connect, expect
from worker.streams import MESSAGES

_PER_SECOND: Final = 50
#: Parked events of each message.
_EVENTS: Final = 2
#: Percentiles, and the milliseconds that each is to stay below.
_GOALS: Final = {50: None, 99: 50.0}


def measure(bench: Bench) -> list[Figure]:
    """Track messages one by one through the stream, with one drain process behind it."""
    sizes = bench.sizes
    with bench.tracked_database() as url, bench.servers.redis() as client:
        with connect(url) as connection:
            seed_parked(connection, sizes.parked_besides)
            waiting = bench.rounds * sizes.released_messages * _EVENTS
            seed_parked(connection, waiting, first=WAITING, per_message=_EVENTS)
            settle(connection, TABLE)
        rounds: list[list[float]] = []
        with idle_drains(bench.servers, client, url, 1):
            for number in range(bench.rounds):
                rounds.append(_latencies(bench, client, url, number))
                bench.say(f"release, round {number + 1}: {latency_text(rounds[-1])}")
    besides = f"{sizes.parked_besides:,} others parked"
    return latency_figures(f"(e) tracking to released, {besides}", rounds, _GOALS)


def _latencies(bench: Bench, client: redis.Redis, url: str, number: int) -> list[float]:
    """Return the seconds between the commit of each tracking row and that of each of its events.

    Both times are from before the commit was flushed to the disk, so what flushing takes cancels.
    """
    count = bench.sizes.released_messages
    messages = range(WAITING + number * count, WAITING + (number + 1) * count)
    with connect(url) as connection:
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        due_at = due_times(_PER_SECOND, seed=number)
        for body in tracking_bodies(messages, 1):
            time.sleep(max(0.0, started + next(due_at) - time.perf_counter()))
            client.xadd(MESSAGES, {"body": body})
        wait_until_drained(client, MESSAGES)
        ids = [message_id(message) for message in messages]
        tracked_at = dict(commit_times(connection, "azure_message_tracking", "internet_message_id", ids))
        released = commit_times(connection, TABLE, "internet_message_id", ids)
        still_parked = connection.execute(
            f"SELECT count(*) FROM {TABLE} WHERE state <> 'attributed' AND internet_message_id = ANY(%s)", (ids,)
        ).fetchone()
    expect("messages tracked", len(tracked_at), count)
    expect("events of those messages", len(released), count * _EVENTS)
    expect("of those, not released", still_parked, (0,))
    return [released_at - tracked_at[of_message] for of_message, released_at in released]
