"""(i) What it costs to be watched: the drain with metrics, logs and error tracking, against one without any."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import redis

from benchmarks.bench import Bench
from benchmarks.drain import PREPARED
from benchmarks.drains import DRAIN, time_drain
from benchmarks.load import campaign_events, event_bodies, fill_stream
from benchmarks.report import Figure, median_of, median_ratio, ratio_at_least
from benchmarks.servers import connect
from worker.streams import EVENTS
from worker.telemetry.places import FOLDER

_GOAL: Final = 0.95
_TABLES: Final = "azure_engagement_events, azure_delivery_events, attribution_quarantine, attribution_archive"

#: Nobody listens there, and nobody needs to: what does not fail tells Sentry nothing.
_SENTRY: Final = {"ATTRIBUTION_SENTRY_DSN": "http://key@127.0.0.1:9/1"}
_LOGS: Final = {"ATTRIBUTION_LOG_LEVEL": "INFO"}
_QUIET: Final = {"ATTRIBUTION_LOG_LEVEL": "WARNING"}


def measure(bench: Bench) -> list[Figure]:
    """Drain the same events unwatched and watched, in turn."""
    sizes = bench.sizes
    folder = Path(tempfile.mkdtemp(prefix="attribution-bench-"))
    counting = {FOLDER: str(folder)}
    variants: dict[str, tuple[str, Mapping[str, str]]] = {
        "nothing": ("benchmarks.unwatched", _QUIET),
        "metrics": (DRAIN, _QUIET | counting),
        "metrics and logs": (DRAIN, _LOGS | counting),
        "metrics, logs and error tracking": (DRAIN, _LOGS | counting | _SENTRY),
    }
    figures: list[Figure] = []
    try:
        with bench.servers.redis() as client, bench.tracked_database() as url:
            for per_request in sizes.per_request:
                made = campaign_events(sizes.events, tracked=sizes.tracked)
                fill_stream(client, PREPARED, event_bodies(made, per_request))
                rates: dict[str, list[float]] = {name: [] for name in variants}
                for number in range(bench.rounds):
                    for name in _turned(list(variants), number):
                        command, settings = variants[name]
                        rates[name].append(per_request * _drain(bench, client, url, settings, command))
                    said = ", ".join(f"{name} {each[-1]:,.0f}/s" for name, each in rates.items())
                    bench.say(f"watched by, {per_request} per request, round {number + 1}: {said}")
                figures += _figures(per_request, rates)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def _turned(names: Sequence[str], by: int) -> Sequence[str]:
    """Return ``names`` beginning with another in each round: who is first meets colder caches than who follows."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def _drain(bench: Bench, client: redis.Redis, url: str, settings: Mapping[str, str], command: str) -> float:
    with connect(url) as connection:
        connection.execute(f"TRUNCATE {_TABLES}")
        connection.execute("CHECKPOINT")
    return time_drain(
        bench.servers,
        client,
        url,
        prepared=PREPARED,
        stream=EVENTS,
        processes=1,
        settings=settings,
        command=command,
    )


def _figures(per_request: int, rates: Mapping[str, list[float]]) -> list[Figure]:
    plain = rates["nothing"]
    said = f"{per_request} per request"
    last = list(rates)[-1]
    return [
        Figure(f"(i) baseline: drain that nobody watches, {said}", median_of(plain), "events/s"),
        *(
            Figure(
                f"(i) drain with {name}, {said}",
                median_of(each),
                "events/s",
                median_ratio(each, plain),
                ratio_at_least(_GOAL) if name == last else None,
            )
            for name, each in rates.items()
            if name != "nothing"
        ),
    ]
