"""Plays the demo's story to the running system, has the past repaired, and has the oracle judge where it all ended."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rich.console import Console

from cli.demo_figures import (
    campaign_table,
    listmonk_table,
    repair_intro,
    repair_line,
    repair_output,
    replaced_rule_line,
    suppressed_line,
)
from cli.demo_view import Stage
from cli.demo_world import World
from simulator import oracle
from simulator.accident import Accident
from simulator.campaigns import figures_by_campaign, listmonk_by_campaign
from simulator.doors import CeleryDoor, HttpDoor, StreamDoor
from simulator.eventgrid import Conduct
from simulator.pixel import Pixel
from simulator.repair_oracle import judge_repair
from simulator.replaced_rule import misattributed
from simulator.report import verdict_report
from simulator.run import simulation
from simulator.story import Story, tell
from simulator.subscription import Subscription
from simulator.truth import Truth
from simulator.verdict import Verdict

#: How many of our seconds one of the story's lasts, and one of Event Grid's waits.
_SCALE: Final = 1 / 60
#: Seconds the system has to come to rest when the story is over, before it is judged.
_PATIENCE: Final = 15.0
#: The story is one of the past quarter of an hour.
_LENGTH: Final = timedelta(minutes=16)


def play(world: World, accident: Accident, *, seed: int, ledger: Path, console: Console) -> bool:
    """Play the story, repair what was wrong before it, print what came of it, and say whether all is where it belongs.

    ``ledger`` is where the truth is saved, whatever happens.
    """
    truth = Truth()
    story = tell(datetime.now(UTC) - _LENGTH, seed=seed)
    started = time.monotonic()
    try:
        verdict, given_up = asyncio.run(_play(world, story, truth, seed, console))
    finally:
        truth.save(ledger)
    with oracle.connect(world.database_url) as connection:
        figures = figures_by_campaign(truth, connection)
        console.print(campaign_table(figures))
        if verdict.sound:
            console.print(suppressed_line(figures))
        console.print(replaced_rule_line(misattributed(truth)))
        console.print("", listmonk_table(listmonk_by_campaign(connection)), "", repair_intro(), sep="\n")
        console.print(repair_output(world.run("backfill", columns=console.width)), style="dim", soft_wrap=True)
        faults = judge_repair(accident, connection)
        # Once more: what puts the past right must leave the present as it is.
        verdict = oracle.judge(truth, connection)
    console.print(repair_line(accident, faults), "", verdict_report(verdict), sep="\n")
    if given_up:
        console.print(f"Event Grid gave up {given_up:,} events.", style="bold red")
    console.print(f"Played in {time.monotonic() - started:.0f} s.", style="dim")
    return verdict.sound and not given_up and not faults


async def _play(world: World, story: Story, truth: Truth, seed: int, console: Console) -> tuple[Verdict, int]:
    async with simulation(
        story.steps,
        subscription=Subscription(
            url=f"{world.receiver_url}/eventgrid", secret=world.event_secret, events_per_batch=10
        ),
        doors=[
            HttpDoor(f"{world.receiver_url}/messages", world.message_secret),
            StreamDoor(world.redis_url),
            CeleryDoor(world.redis_url),
        ],
        truth=truth,
        pixel=Pixel(world.database_url, truth=truth),
        seed=seed,
        scale=_SCALE,
        conduct=Conduct(scale=_SCALE, connections=8, reorder=20, redeliver=0.08),
    ) as playing:
        stage = Stage(console, story, truth, playing, _SCALE)
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.show(world.database_url))
            try:
                await playing.player.play()
                verdict = await asyncio.to_thread(_judge, truth, world.database_url)
            finally:
                stage.over.set()
        return verdict, len(playing.grid.dead_letters)


def _judge(truth: Truth, database_url: str) -> Verdict:
    with oracle.connect(database_url) as connection:
        return oracle.await_verdict(truth, connection, within=_PATIENCE)
