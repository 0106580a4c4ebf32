"""What every measurement is given: the servers, how much to do, how often, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from benchmarks.servers import Servers


@dataclass(frozen=True)
class Sizes:
    """How much to do. The defaults are those that the goals are stated for; durations are in seconds."""

    #: Messages tracked beforehand.
    tracked: int = 1_000_000
    #: Events drained, and messages tracked, in one round.
    events: int = 200_000
    trackings: int = 200_000
    #: Events worked in one round by one Celery task each: a few seconds' worth.
    tasks: int = 1_000
    #: Shapes of the drained load: processes, events per request, and which events are of untracked messages:
    #: every fifth, say, or none.
    processes: tuple[int, ...] = (1, 2)
    per_request: tuple[int, ...] = (1, 50)
    untracked_every: tuple[int | None, ...] = (None, 5)
    #: HTTP load.
    load_seconds: float = 3.0
    #: Latency of events.
    latency_seconds: float = 20.0
    warm_up_seconds: float = 1.0
    #: Latency of releases: events parked besides, and messages whose events are released in one round.
    parked_besides: int = 100_000
    released_messages: int = 500
    #: Growth of the park: events stored, and how many of them are parked; smallest first.
    besides_parked: int = 1_000_000
    parked: tuple[int, ...] = (0, 100_000, 1_000_000)
    #: Growth of the store: events stored, even numbers, smallest first.
    stored: tuple[int, ...] = (100_000, 1_000_000, 5_000_000, 20_000_000)
    #: What is drained and tracked of it in one round.
    growth_events: int = 100_000
    growth_trackings: int = 50_000


#: A run that shows in a minute or two that everything works, and measures nothing worth knowing.
QUICK = Sizes(
    tracked=20_000,
    events=10_000,
    trackings=10_000,
    tasks=50,
    load_seconds=0.5,
    latency_seconds=2.0,
    warm_up_seconds=0.5,
    parked_besides=2_000,
    released_messages=50,
    besides_parked=10_000,
    parked=(0, 1_000, 10_000),
    stored=(10_000, 20_000),
    growth_events=5_000,
    growth_trackings=5_000,
)


@dataclass
class Bench:
    """A run of the benchmarks. ``say`` is told what is going on, a sentence at a time."""

    servers: Servers
    sizes: Sizes
    rounds: int
    say: Callable[[str], None]

    @cached_property
    def _tracked_url(self) -> str:
        self.say(f"tracking {self.sizes.tracked:,} messages")
        return self.servers.create_tracked(self.sizes.tracked)

    @contextmanager
    def tracked_database(self) -> Iterator[str]:
        """Have, for the length of the context, a new database in which `Sizes.tracked` messages are tracked."""
        with self.servers.database(self._tracked_url) as url:
            yield url
