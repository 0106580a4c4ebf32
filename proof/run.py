"""One round of the proof: a world, a story played to it at the pace of the faults, and the oracle's verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg

from db.migrate import upgrade
from proof import sabotage
from proof.catalogue import FAULTS
from proof.history import History, Options, Struck
from proof.pace import AT_STRIKE, BEFORE, Pace
from proof.plan import Plan, Strike
from proof.probe import Probe
from proof.rest import await_rest, lost_by_celery, miscounted, strangers
from proof.story import CAMPAIGNS, links_of, readers_of, story
from proof.world import GRID, MAILER, World, world
from simulator import listmonk, oracle
from simulator.acs import Acs
from simulator.doors import CeleryDoor, HttpDoor, StreamDoor
from simulator.eventgrid import Conduct, DeadLetter, EventGrid, Tally
from simulator.pixel import Pixel
from simulator.run import Simulation, simulation
from simulator.scenario import Step
from simulator.subscription import Subscription
from simulator.truth import Truth
from simulator.verdict import Verdict
from simulator.wire import Schema

#: How many of our seconds one of Event Grid's lasts: its 30 seconds are 90 ms, its day over four minutes.
_SCALE: Final = 0.003
#: Our seconds in which the receiver must answer. Event Grid's 30 would be as long as ten faults.
_RESPONSE_TIMEOUT: Final = 6.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a round has come to."""

    verdict: Verdict
    tally: Tally
    given_up: Sequence[DeadLetter]
    struck: Sequence[Struck]
    #: Messages handed to Celery alone, and how many of them are not there: that door does not promise it, and what a
    #: dead worker had taken comes back only after minutes.
    by_celery: int
    lost_by_celery: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, nothing counted twice, and nothing credited wrongly."""
        return self.verdict.sound and not self.given_up


def play(options: Options, state_dir: Path, written: History, tell: Tell) -> Outcome:
    """Play one round: start a world, strike it by plan while the story goes on, and judge where it all ended.

    Raises:
        NotRecovered: the system stayed broken after a fault. The world is stopped; its logs are in ``state_dir``.
    """
    steps = story(seed=options.seed, events=options.events)
    plan = Plan.draw(FAULTS, seed=options.seed, count=options.faults, kinds=options.kinds)
    truth = Truth()

    def prepare(database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            listmonk.install(connection, campaigns=CAMPAIGNS, subscribers=readers_of(steps))
            for url in sorted(links_of(steps)):
                listmonk.link(connection, url)
        upgrade(database_url)
        if options.sabotage:
            sabotage.prepare(options.sabotage, database_url)

    tell("starting PostgreSQL, Redis, receiver, two workers and beat, a proxy between every two")
    try:
        with world(state_dir, prepare=prepare, sabotage=options.sabotage) as made:
            return asyncio.run(_Round(made, options, plan, steps, truth, written, tell).play())
    finally:
        truth.save(state_dir / "truth.jsonl")


class _Round:
    def __init__(
        self,
        made: World,
        options: Options,
        plan: Plan,
        steps: Sequence[Step],
        truth: Truth,
        written: History,
        tell: Tell,
    ) -> None:
        self._world = made
        self._plan = plan
        self._steps = steps
        self._truth = truth
        self._seed = options.seed
        self._patience = options.patience
        self._written = written
        self._tell = tell
        self._rng = Random(options.seed)
        self._pace = Pace([step.at for step in steps], max(1, len(plan.strikes)))
        self._struck: list[Struck] = []
        self._started = time.monotonic()

    async def play(self) -> Outcome:
        async with Probe(self._world, self._truth, Random(self._rng.random())) as probe:
            ready = await probe.recovery(self._patience)
            self._tell(f"an event goes through from end to end {ready:.1f} s after the start; the story begins")
            async with self._simulation() as playing:
                self._let_faults_reach(playing.grid)
                await _both(playing.player.play(), self._strike_all(probe))
                self._tell("the story is over; waiting until all has come to rest")
                lost = await asyncio.to_thread(self._come_to_rest)
                verdict = await asyncio.to_thread(self._judge, *lost)
                return Outcome(
                    verdict,
                    playing.grid.tally,
                    playing.grid.dead_letters,
                    self._struck,
                    *lost,
                    time.monotonic() - self._started,
                )

    def _simulation(self) -> AbstractAsyncContextManager[Simulation]:
        made = self._world
        return simulation(
            self._steps,
            subscription=Subscription(
                url=made.url(GRID, "/eventgrid"), secret=made.event_secrets[0], events_per_batch=50, batch_kilobytes=64
            ),
            doors=[
                HttpDoor(made.url(MAILER, "/messages"), made.message_secret),
                StreamDoor(made.redis_url(MAILER)),
                CeleryDoor(made.redis_url(MAILER)),
            ],
            truth=self._truth,
            pixel=Pixel(made.database_url, truth=self._truth),
            seed=self._seed,
            clock=self._pace,
            conduct=Conduct(
                scale=_SCALE, connections=8, reorder=300, redeliver=0.05, response_timeout=_RESPONSE_TIMEOUT
            ),
            doubtful=["celery"],
            patience=self._patience,
        )

    def _let_faults_reach(self, grid: EventGrid) -> None:
        """Give faults their handles on Event Grid. They strike from a thread of their own."""
        loop = asyncio.get_running_loop()
        acs = Acs(Random(self._rng.random()), Schema.EVENT_GRID)

        def rotate(secret: str) -> None:
            grid.subscription = replace(grid.subscription, secret=secret)

        self._world.on_rotation = rotate
        self._world.on_poison = lambda: asyncio.run_coroutine_threadsafe(grid.publish([acs.poison()]), loop).result()

    async def _strike_all(self, probe: Probe) -> None:
        for part, strike in enumerate(self._plan.strikes):
            self._pace.move_to(part, BEFORE)
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            self._pace.move_to(part, AT_STRIKE)
            await asyncio.sleep(self._rng.uniform(0.0, 0.1))
            at = time.monotonic() - self._started
            bursts = asyncio.create_task(self._pace.burst_while(part, strike.seconds))
            detail = await asyncio.to_thread(self._strike, strike)
            lasted = time.monotonic() - self._started - at
            await bursts
            recovery = await probe.recovery(self._patience, strike.target)
            effect = not self._world.missed
            struck = Struck(strike.number, strike.kind, strike.target, at, lasted, recovery, detail, effect)
            self._struck.append(struck)
            self._written.add(struck)
            self._tell(
                f"{strike.number}/{len(self._plan.strikes)} {strike.name}"
                f"{f' ({detail})' if detail else ''}, {lasted:.1f} s; well again after {recovery:.1f} s"
            )
        self._pace.finish()

    def _strike(self, strike: Strike) -> str:
        self._world.notes.clear()
        self._world.missed = False
        with FAULTS[strike.kind].strike(self._world, strike.target, Random(strike.seed)) as detail:
            time.sleep(strike.seconds)
        return ", ".join(filter(None, [detail, *self._world.notes]))

    def _come_to_rest(self) -> tuple[int, int]:
        with oracle.connect(self._world.database_url) as connection:
            oracle.await_verdict(self._truth, connection, within=self._patience)
        await_rest(self._world, self._patience)
        return self._lost_by_celery()

    def _judge(self, by_celery: int, lost_there: int) -> Verdict:
        """Judge once more, now that nothing moves: what comes late may come twice."""
        with oracle.connect(self._world.database_url) as connection:
            verdict = oracle.judge(self._truth, connection)
            wrong = (*verdict.wrong, *strangers(self._truth, connection), *miscounted(connection))
        return replace(verdict, lost=(*verdict.lost, *lost_by_celery(by_celery, lost_there)), wrong=wrong)

    def _lost_by_celery(self) -> tuple[int, int]:
        """Return how many messages were handed to Celery alone, and how many of them were never tracked."""
        handed = self._truth.unconfirmed_messages()
        with self._world.connect_postgres() as connection:
            row = connection.execute(
                "SELECT count(*) FROM unnest(%s::text[], %s::uuid[]) AS handed (internet, azure) WHERE NOT EXISTS ("
                "SELECT FROM azure_message_tracking AS t WHERE t.internet_message_id = handed.internet)"
                " AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.azure_message_id = handed.azure)",
                [[each.internet_message_id for each in handed], [each.azure_message_id for each in handed]],
            ).fetchone()
        return len(handed), row[0] if row else 0


async def _both(*works: Coroutine[Any, Any, None]) -> None:
    """Do them side by side; if one fails, end the others and raise its own error, not a group of one."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
