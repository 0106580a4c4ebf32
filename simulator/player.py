"""Plays a timeline: hands its steps to the mailer, to Event Grid and to listmonk's pixel when their time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from simulator.acs import Event
from simulator.eventgrid import EventGrid
from simulator.mailer import Mailer
from simulator.pixel import Firing, Pixel
from simulator.scenario import Step, Track

#: Seconds of ours that the player looks ahead, so that steps close together are handed over together.
_LOOK_AHEAD: Final = 0.02
#: Most steps handed over at once.
_MOST_STEPS: Final = 500
#: Seconds of ours between two looks at a clock that somebody else moves.
_GLANCE: Final = 0.02


class Player:
    """Plays ``steps``, in their order.

    The mailer, Event Grid and the pixel are worlds of their own, and none waits for another: what the timeline puts
    before an event may well reach the system after it.

    Args:
        scale: how many of our seconds one of the timeline's lasts; 0 plays it as fast as it goes.
        clock: tells the timeline's time in its seconds, in place of ``scale``: whoever moves it sets the pace.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        mailer: Mailer,
        grid: EventGrid,
        pixel: Pixel | None = None,
        scale: float = 0.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.steps = steps
        self.played = 0
        self._mailer = mailer
        self._grid = grid
        self._pixel = pixel
        self._scale = scale
        self._clock = clock

    async def play(self) -> None:
        """Play every step, then wait until all trackings are confirmed, all events settled, and all pixels loaded.

        Raises:
            DoorShut: the mailer could not track a message, however often it tried.
            TrackingRefused: a door called a tracking invalid.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        tasks: list[asyncio.Task[None]] = []
        try:
            while self.played < len(self.steps):
                tracks, events, firings = self._take(self._due(loop.time() - started))
                if tracks:
                    tasks.append(asyncio.create_task(self._mailer.track(tracks)))
                if firings and self._pixel:
                    tasks.append(asyncio.create_task(self._pixel.fire(firings)))
                await self._grid.publish(events)
                if self.played < len(self.steps):
                    await asyncio.sleep(self._pause(loop.time() - started))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._grid.settle()

    def _due(self, elapsed: float) -> float:
        """Return the time in the timeline's seconds up to which steps are due, ``elapsed`` of ours after the start."""
        if self._clock:
            return self._clock()
        return (elapsed + _LOOK_AHEAD) / self._scale if self._scale else float("inf")

    def _pause(self, elapsed: float) -> float:
        """Return for how many of our seconds nothing is due."""
        next_at = self.steps[self.played].at
        if self._clock:
            return 0.0 if next_at <= self._clock() else _GLANCE
        return max(0.0, next_at * self._scale - elapsed)

    def _take(self, until: float) -> tuple[list[Track], list[Event], list[Firing]]:
        tracks: list[Track] = []
        events: list[Event] = []
        firings: list[Firing] = []
        for step in self.steps[self.played : self.played + _MOST_STEPS]:
            if step.at > until:
                break
            self.played += 1
            match step.action:
                case Track():
                    tracks.append(step.action)
                case Event():
                    events.append(step.action)
                case Firing():
                    firings.append(step.action)
                case message:
                    self._mailer.send(message)
        return tracks, events, firings
