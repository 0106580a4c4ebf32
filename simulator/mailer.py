"""The mailer: tells the system what it sent, through one door or another, until the door confirms it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

from simulator.doors import Door, DoorShut, Tracking
from simulator.scenario import Track
from simulator.truth import Door as DoorName
from simulator.truth import Sent, Tracked, Truth


def tracking_of(track: Track) -> Tracking:
    """Write the send-tracking of a message: the JSON object that every door takes."""
    message = track.message
    tracking: dict[str, Any] = {"campaign_id": message.campaign_id, "sent_at": message.sent_at.isoformat()}
    if message.subscriber_id is not None:
        tracking["subscriber_id"] = message.subscriber_id
    if "internet" in track.ids:
        tracking["internet_message_id"] = track.spelling
    if "azure" in track.ids:
        tracking["azure_message_id"] = message.azure_message_id
    return tracking


class Mailer:
    """Tracks messages, through a door drawn anew for each batch.

    Args:
        truth: is told what was tracked, and whether the door confirmed it.
        batch: most messages handed in at once.
        calls: most calls under way at once.
        patience: seconds for which a door that is shut is tried again.
        doubtful: doors whose word is not taken for it: what they confirmed may have arrived, or not.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        *,
        truth: Truth,
        seed: int = 0,
        batch: int = 50,
        calls: int = 8,
        patience: float = 60.0,
        doubtful: Collection[DoorName] = (),
    ) -> None:
        self.tracked = 0
        self._doors = doors
        self._truth = truth
        self._rng = Random(seed)
        self._batch = batch
        self._calls = asyncio.Semaphore(calls)
        self._patience = patience
        self._doubtful = doubtful

    def send(self, message: Sent) -> None:
        """Send a message. ACS takes it from here."""
        self._truth.write_down(message)

    async def track(self, tracks: Sequence[Track]) -> None:
        """Track messages; returns once they are confirmed.

        Raises:
            DoorShut: a door stayed shut for as long as the mailer's patience lasts.
            TrackingRefused: a door called them invalid.
        """
        for start in range(0, len(tracks), self._batch):
            door = self._rng.choice(self._doors)
            async with self._calls:
                await self._hand_in(tracks[start : start + self._batch], door)

    async def _hand_in(self, tracks: Sequence[Track], door: Door) -> None:
        trackings = [tracking_of(track) for track in tracks]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        wait = 0.05
        while True:
            try:
                await door.track(trackings)
                break
            except DoorShut:
                if loop.time() + wait > deadline:
                    self._note(tracks, door, confirmed=False)
                    raise
                await asyncio.sleep(wait)
                wait = min(2 * wait, 2.0)
        self.tracked += len(tracks)
        self._note(tracks, door, confirmed=door.name not in self._doubtful)

    def _note(self, tracks: Sequence[Track], door: Door, *, confirmed: bool) -> None:
        for track in tracks:
            self._truth.write_down(
                Tracked(track.message.internet_message_id, track.ids, door=door.name, confirmed=confirmed)
            )
