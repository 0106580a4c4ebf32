"""What is told when Prometheus asks, beside what was counted: what was measured, and which release this is.

What is measured in PostgreSQL is measured by one task, for all, and lies in Redis: a scrape costs the database nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import redis
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from worker.streams import MEASURED
from worker.telemetry import metrics, places
from worker.version import version

#: Seconds that Redis has to tell what was measured. A scrape has ten, usually.
_ANSWER_SECONDS: Final = 2

#: What is kept of a measure: its values, each with those of its labels.
Samples = Iterable[tuple[Iterable[str], float]]


def keep_measured(client: redis.Redis, measured: Mapping[metrics.Measure, Samples]) -> None:
    """Keep what was measured for every process that is asked, in the place of what was before.

    Raises:
        redis.exceptions.RedisError: it was not kept.
    """
    kept = {measure.name: [[list(labels), value] for labels, value in samples] for measure, samples in measured.items()}
    client.set(MEASURED, json.dumps(kept))


class Measured(Collector):
    """Tells what the task `measure` has kept in Redis, or nothing, if Redis is away."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(
            redis_url, protocol=2, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
        )

    def collect(self) -> Iterator[Metric]:
        """Yield each measure that there is."""
        kept: dict[str, list[tuple[list[str], float]]] = {}
        with suppress(RedisError):
            kept = json.loads(self._client.get(MEASURED) or b"{}")
        for measure in metrics.MEASURED:
            if measure.name in kept:
                family = GaugeMetricFamily(measure.name, measure.sentence, labels=measure.labels)
                for labels, value in kept[measure.name]:
                    family.add_metric(labels, value)
                yield family


class Build(Collector):
    """Tells which release this is."""

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge that is always 1."""
        family = GaugeMetricFamily(metrics.BUILD.name, metrics.BUILD.sentence, labels=metrics.BUILD.labels)
        family.add_metric([version()], 1)
        yield family


def counted_by_all(folder: str) -> CollectorRegistry:
    """Return a registry of what every process that counts into ``folder`` has counted."""
    registry = counted_by_nobody()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return registry


def counted_by_nobody() -> CollectorRegistry:
    """Return a registry that tells which release this is."""
    registry = CollectorRegistry()
    registry.register(Build())
    return registry


def outcomes_so_far() -> dict[str, int]:
    """Return what became of events in all processes of this worker since it started; nothing, if none counts."""
    folder = os.environ.get(places.FOLDER)
    totals: dict[str, int] = {}
    if not folder:
        return totals
    with suppress(OSError, ValueError):  # tidied away: what is told beside a task's work must not fail it
        for family in MultiProcessCollector(None, path=folder).collect():  # type: ignore[no-untyped-call]
            if f"{family.name}_total" == "attribution_events_total":
                for sample in family.samples:
                    outcome = sample.labels["outcome"]
                    totals[outcome] = totals.get(outcome, 0) + int(sample.value)
    return totals


def answer() -> bytes:
    """Return, in Prometheus's text format, what a process has counted that serves its own metrics.

    If it is one of several behind one port, what all of them have.
    """
    folder = os.environ.get(places.FOLDER)
    if folder:
        return generate_latest(counted_by_all(folder))
    return generate_latest(REGISTRY) + generate_latest(_OF_THIS_PROCESS)


_OF_THIS_PROCESS: Final = counted_by_nobody()
