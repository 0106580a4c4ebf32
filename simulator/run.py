"""A whole simulation: Event Grid and a mailer set up, a timeline played, everything taken down again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from simulator.doors import Door
from simulator.eventgrid import Conduct, EventGrid
from simulator.mailer import Mailer
from simulator.pixel import Firing, Pixel
from simulator.player import Player
from simulator.scenario import Step, Track
from simulator.subscription import Subscription
from simulator.truth import Door as DoorName
from simulator.truth import Truth


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is playing, for whoever watches."""

    grid: EventGrid
    mailer: Mailer
    player: Player


@asynccontextmanager
async def simulation(
    steps: Sequence[Step],
    *,
    subscription: Subscription,
    doors: Sequence[Door],
    truth: Truth,
    pixel: Pixel | None = None,
    seed: int = 0,
    scale: float = 0.0,
    clock: Callable[[], float] | None = None,
    conduct: Conduct | None = None,
    doubtful: Collection[DoorName] = (),
    patience: float = 60.0,
) -> AsyncIterator[Simulation]:
    """Have everything ready to play ``steps``, subscribed already. Doors and ``pixel`` are closed at the end.

    Without a door nothing is tracked, and every event is expected to wait. Without a pixel listmonk counts nothing
    itself. ``clock``, ``doubtful`` and ``patience`` are those of `Player` and `Mailer`.

    Raises:
        HandshakeRefused: the receiver does not want the events.
    """
    async with AsyncExitStack() as stack:
        for door in doors:
            stack.push_async_callback(door.close)
        if pixel:
            stack.push_async_callback(pixel.close)
        grid = await stack.enter_async_context(EventGrid(subscription, truth=truth, seed=seed, conduct=conduct))
        mailer = Mailer(doors, truth=truth, seed=seed, doubtful=doubtful, patience=patience)
        if not doors:
            steps = [step for step in steps if not isinstance(step.action, Track)]
        if not pixel:
            steps = [step for step in steps if not isinstance(step.action, Firing)]
        await grid.subscribe()
        yield Simulation(grid, mailer, Player(steps, mailer=mailer, grid=grid, pixel=pixel, scale=scale, clock=clock))
