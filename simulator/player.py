"""Plays a timeline: hands its steps to the mailer, to Event Grid and to listmonk's pixel when their time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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


class Player:
    """Plays ``steps``, in their order.

    The mailer, Event Grid and the pixel are worlds of their own, and none waits for another: what the timeline puts
    before an event may well reach the system after it.

    Args:
        scale: how many of our seconds one of the timeline's lasts; 0 plays it as fast as it goes.
    """

    def __init__(
        self, steps: Sequence[Step], *, mailer: Mailer, grid: EventGrid, pixel: Pixel | None = None, scale: float
    ) -> None:
        self.steps = steps
        self.played = 0
        self._mailer = mailer
        self._grid = grid
        self._pixel = pixel
        self._scale = scale

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
                tracks, events, firings = self._take(until=loop.time() - started + _LOOK_AHEAD)
                if tracks:
                    tasks.append(asyncio.create_task(self._mailer.track(tracks)))
                if firings and self._pixel:
                    tasks.append(asyncio.create_task(self._pixel.fire(firings)))
                await self._grid.publish(events)
                if self.played < len(self.steps):
                    next_at = started + self.steps[self.played].at * self._scale
                    await asyncio.sleep(max(0.0, next_at - loop.time()))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._grid.settle()

    def _take(self, *, until: float) -> tuple[list[Track], list[Event], list[Firing]]:
        tracks: list[Track] = []
        events: list[Event] = []
        firings: list[Firing] = []
        for step in self.steps[self.played : self.played + _MOST_STEPS]:
            if step.at * self._scale > until:
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
