"""A run: what every phase is given, and what each hands back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import uvloop

from proof.load.memory import MemoryWatch, Span
from proof.load.sender import Sender
from proof.load.sizes import Sizes
from proof.load.system import System
from proof.load.traffic import Truth

_T = TypeVar("_T")


@dataclass
class Phase:
    """What one phase has shown: figures, the memory of every process, and what was wrong, a sentence each."""

    name: str
    figures: list[tuple[str, str]] = field(default_factory=list)
    memory: dict[str, Span] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    #: Whether the load was steady, so that growth of memory is a leak.
    steady: bool = False

    def note(self, what: str, value: str) -> None:
        """Add a figure."""
        self.figures.append((what, value))


@dataclass
class Load:
    """One run. ``say`` is told what is going on, a sentence at a time."""

    system: System
    sizes: Sizes
    seed: int
    say: Callable[[str], None]
    watch: MemoryWatch
    truth: Truth = field(default_factory=Truth)
    #: Events that the system drains in a second, as soon as that has been measured.
    drained_per_second: float | None = None

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)

    @contextmanager
    def phase(self, name: str, *, steady: bool = False) -> Iterator[Phase]:
        """Do a phase within the context, on a system that is idle at its beginning and must be so at its end.

        Raises:
            LoadFailed: it did not come to rest.
        """
        self.system.wait_until_idle(self.sizes.patience_seconds)
        self.say(f"{name} …")
        started = time.monotonic()
        phase = Phase(name, steady=steady)
        yield phase
        self.system.wait_until_idle(self.sizes.patience_seconds)
        self.system.require_alive()
        phase.memory = phase.memory or self.watch.since(started)

    def sender(self) -> Sender:
        """Return a sender to this system."""
        return Sender(
            self.system.port,
            event_secret=self.system.event_secret,
            message_secret=self.system.message_secret,
            connections=self.sizes.connections,
            haste=self.sizes.haste,
            seed=self.seed,
        )


def in_event_loop(work: Coroutine[None, None, _T]) -> _T:
    """Run a coroutine to its end, in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
