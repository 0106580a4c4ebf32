"""How much load there is to be, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Sizes:
    """The defaults are what the promise is stated for; durations are in seconds."""

    #: How long the system is kept at its limit; and how long it is measured where that phase is left out.
    limit_seconds: float = 600.0
    measuring_seconds: float = 15.0
    #: Entries that may wait on the streams at the limit: enough that no drain process is ever idle.
    waiting: int = 300
    #: How long the overload goes on once it is refused, and the longest that it may take to get there.
    refused_seconds: float = 20.0
    overload_seconds: float = 900.0
    #: The backlog limit of the receiver, in entries.
    backlog_limit: int = 5_000
    #: Event Grid's own waits before it tries again are taken times this.
    haste: float = 1.0
    #: Events that come at once, and how often.
    burst_events: int = 50_000
    bursts: int = 3
    #: Events in one request, and the requests. Event Grid sends 5,000 at most, in a MiB at most.
    batch_events: int = 5_000
    batches: int = 60
    #: Events that wait for the messages of one call; and in the second shape, those that wait for each of its messages.
    parked: int = 1_000_000
    per_message: int = 10_000
    #: Longest that the system may take to come to rest.
    patience_seconds: float = 1800.0
    #: Connections that the load comes over.
    connections: int = 32
    #: Drain processes of the worker.
    drain_processes: int = 2
    #: Seconds between two looks at the memory of every process.
    glance_seconds: float = 1.0

    def scaled(self, factor: float, backlog_limit: int | None = None) -> Self:
        """Return sizes in which bursts, batches and what is parked are ``factor`` times as large."""
        return replace(
            self,
            burst_events=max(1, int(self.burst_events * factor)),
            batches=max(1, int(self.batches * factor)),
            parked=max(1, int(self.parked * factor)),
            per_message=max(1, int(self.per_message * factor)),
            backlog_limit=backlog_limit or self.backlog_limit,
        )
