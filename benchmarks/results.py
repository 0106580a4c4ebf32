"""(g) What results cost: the drain with the archive, and with listmonk as well, against the drain without either."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.drain import PREPARED
from benchmarks.drains import time_drain
from benchmarks.load import campaign_events, event_bodies, fill_stream
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.servers import connect, expect
from worker.streams import EVENTS

#: The least share of the rate without them.
_LISTMONK_GOAL: Final = 0.50
_ARCHIVE_GOAL: Final = 0.90

_PER_REQUEST: Final = (1, 50)
_UNARCHIVED: Final = {"ATTRIBUTION_ARCHIVE_RETENTION": "0"}
_OURS: Final = "azure_engagement_events, azure_delivery_events, attribution_quarantine, attribution_archive"


@dataclass
class _Rates:
    """Events per second of each variant in each round, and what the archive took, in bytes per event."""

    plain: list[float] = field(default_factory=list)
    archived: list[float] = field(default_factory=list)
    listmonk: list[float] = field(default_factory=list)
    archive_bytes: list[float] = field(default_factory=list)


def measure(bench: Bench) -> list[Figure]:
    """Drain the events of a campaign in three ways, in turn: without anything, archived, and counted in listmonk."""
    sizes = bench.sizes
    measured: dict[int, _Rates] = {}
    with ExitStack() as contexts, bench.servers.redis() as client:
        url = contexts.enter_context(bench.tracked_database())
        bench.say(f"tracking {sizes.tracked:,} messages in listmonk's database")
        listmonk_url = bench.servers.create_tracked(sizes.tracked, listmonk=True)
        for per_request in _PER_REQUEST:
            bench.say(f"filling a stream with {sizes.events:,} events of a campaign, {per_request} per request")
            made = campaign_events(sizes.events, tracked=sizes.tracked)
            fill_stream(client, PREPARED, event_bodies(made, per_request))
            measured[per_request] = _Rates()
            for number in range(bench.rounds):
                _measure_round(bench, client, url, listmonk_url, per_request, measured[per_request])
                rates = measured[per_request]
                bench.say(
                    f"results, {per_request} per request, round {number + 1}: {rates.plain[-1]:,.0f}/s,"
                    f" archived {rates.archived[-1]:,.0f}/s, in listmonk {rates.listmonk[-1]:,.0f}/s"
                )
    return [figure for per_request, rates in measured.items() for figure in _figures(per_request, rates)]


def _measure_round(
    bench: Bench, client: redis.Redis, url: str, listmonk_url: str, per_request: int, rates: _Rates
) -> None:
    count = bench.sizes.events

    def drain(database_url: str, settings: dict[str, str]) -> float:
        with connect(database_url) as connection:
            listmonks = ", campaign_views, link_clicks, links, bounces" if database_url == listmonk_url else ""
            connection.execute(f"TRUNCATE {_OURS}{listmonks}")
            connection.execute("CHECKPOINT")
        entries = time_drain(
            bench.servers, client, database_url, prepared=PREPARED, stream=EVENTS, processes=1, settings=settings
        )
        with connect(database_url) as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM azure_engagement_events WHERE state = 'attributed')"
                " + (SELECT count(*) FROM azure_delivery_events WHERE state = 'attributed')"
            ).fetchone()
            expect("events attributed", found, (count,))
        return entries * per_request

    rates.plain.append(drain(url, _UNARCHIVED))
    rates.archived.append(drain(url, {}))
    with connect(url) as connection:
        row = connection.execute("SELECT pg_total_relation_size('attribution_archive')").fetchone()
        assert row is not None
        rates.archive_bytes.append(row[0] / count)
    rates.listmonk.append(drain(listmonk_url, _UNARCHIVED))
    with connect(listmonk_url) as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM campaign_views) + (SELECT count(*) FROM link_clicks)"
            " = (SELECT count(*) FROM azure_engagement_events)"
        ).fetchone()
        expect("whether every view and click is counted in listmonk", counted, (True,))


def _figures(per_request: int, rates: _Rates) -> list[Figure]:
    said = f"{per_request} per request"
    return [
        Figure(f"(g) baseline: drain without archive and listmonk, {said}", median_of(rates.plain), "events/s"),
        Figure(
            f"(g) drain, archived, {said}",
            median_of(rates.archived),
            "events/s",
            median_ratio(rates.archived, rates.plain),
            ratio_at_least(_ARCHIVE_GOAL),
        ),
        Figure(f"(g) archive, {said}", median_of(rates.archive_bytes), "bytes/event"),
        Figure(
            f"(g) drain, counted in listmonk, {said}",
            median_of(rates.listmonk),
            "events/s",
            median_ratio(rates.listmonk, rates.plain),
            ratio_at_least(_LISTMONK_GOAL),
        ),
    ]
