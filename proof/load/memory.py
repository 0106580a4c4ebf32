"""How much memory each process holds, looked at all the time, and whether it grows.

Of each process what is resident (RSS); of PostgreSQL's family what it holds together, each shared page counted once
(PSS). What a process holds alone (USS) would look like growth where there is none: a forked child shares its parent's
pages until either writes to them, and then both seem to hold more.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import psutil

MIB: Final = 1024 * 1024

#: PostgreSQL is a family that shares most of what it has: each shared page is counted once, in parts.
_FAMILIES: Final = frozenset({"PostgreSQL"})
#: The share of a span in which a process may take what it needs once, before growth counts.
_WARM_UP: Final = 0.3
#: Growth over the rest that is no leak: what the allocator and the moment of looking make of a level that stays.
TOLERANCE_BYTES: Final = 8 * MIB
TOLERANCE_SHARE: Final = 0.1


@dataclass(frozen=True)
class Span:
    """What a process held over a span of time, in bytes.

    ``growth`` is the slope of the straight line through what was seen after the warm-up (least squares), times the
    length of that time.
    """

    start: int
    peak: int
    end: int
    growth: float

    @property
    def leaks(self) -> bool:
        """Tell whether it has grown by more than a level that stays would."""
        return self.growth > max(TOLERANCE_BYTES, TOLERANCE_SHARE * self.peak)


class MemoryWatch:
    """Looks at the processes that ``processes`` names, from a thread of its own, for the length of the context."""

    def __init__(self, processes: Callable[[], Mapping[str, Iterable[int]]], glance_seconds: float = 1.0) -> None:
        self._processes = processes
        self._glance_seconds = glance_seconds
        self._seen: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def since(self, started: float) -> dict[str, Span]:
        """Return the span of each process since ``started``, an instant of `time.monotonic`, with a last look now."""
        self._look()
        spans = {name: [each for each in seen if each[0] >= started] for name, seen in list(self._seen.items())}
        return {name: _span(seen) for name, seen in spans.items() if seen}

    def _keep_looking(self) -> None:
        while not self._over.wait(self._glance_seconds):
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        for name, pids in self._processes().items():
            if size := sum(_size(pid, name in _FAMILIES) for pid in pids):
                self._seen[name].append((now, size))


def _size(pid: int, family: bool) -> int:
    """Return what a process holds or, of a family, what it and its children hold together."""
    size = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *(process.children() if family else ())]:
            with suppress(psutil.NoSuchProcess):
                size += _held(member, family)
    return size


def _held(process: psutil.Process, family: bool) -> int:
    plain = process.memory_info()
    if not family:
        return int(plain.rss)
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:  # another user's: only root is told
        return int(plain.rss - plain.shared)


def _span(seen: Sequence[tuple[float, int]]) -> Span:
    sizes = [size for _, size in seen]
    length = seen[-1][0] - seen[0][0]
    settled = [(at, size) for at, size in seen if at >= seen[0][0] + _WARM_UP * length]
    return Span(sizes[0], max(sizes), sizes[-1], _slope(settled) * (settled[-1][0] - settled[0][0]))


def _slope(points: Sequence[tuple[float, int]]) -> float:
    """Return the slope of the straight line that lies closest to the points, by least squares."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
