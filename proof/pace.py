"""The story's clock, moved on with the faults: so much happens around each, in bursts, however long it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

#: Which share of a fault's part of the story has happened when it begins, just before it strikes, and when it is over.
BEFORE: Final = 0.3
AT_STRIKE: Final = 0.7
ALL: Final = 1.0


class Pace:
    """Divides a story into ``parts`` of equally many steps; ``times`` are those of its steps, in order."""

    def __init__(self, times: Sequence[float], parts: int) -> None:
        self._times = times
        self._parts = parts
        self._now = -1.0

    def __call__(self) -> float:
        """Return the time in the story."""
        return self._now

    def move_to(self, part: int, share: float) -> None:
        """Let everything happen up to a share of a part."""
        steps = int((part + share) / self._parts * len(self._times))
        if steps:
            self._now = max(self._now, self._times[min(steps, len(self._times)) - 1])

    def finish(self) -> None:
        """Let everything happen that has not yet."""
        self._now = float("inf")

    async def burst_while(self, part: int, seconds: float) -> None:
        """Let the rest of a part happen in three bursts, while a fault lasts ``seconds``."""
        for step in (1, 2, 3):
            await asyncio.sleep(seconds / 4)
            self.move_to(part, AT_STRIKE + (ALL - AT_STRIKE) * step / 3)
