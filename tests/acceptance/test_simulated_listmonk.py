"""The running system in listmonk's database: each act is counted once, whatever listmonk counts and whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from simulator import listmonk, oracle
from simulator.doors import HttpDoor, StreamDoor
from simulator.eventgrid import Conduct
from simulator.pixel import Pixel
from simulator.run import Simulation, simulation
from simulator.scenario import Step, Traffic, in_listmonk, play_out
from simulator.subscription import Subscription
from simulator.truth import Listmonk, Truth
from simulator.verdict import Verdict
from tests.acceptance.conftest import RunningStack, StartProgram
from tests.waiting import eventually

TRAFFIC = in_listmonk(Traffic(messages=800, seed=31))


@pytest.fixture
def database_url(listmonk_database_url: str) -> str:
    """Have the running system work in listmonk's database."""
    return listmonk_database_url


def settings_of(stack: RunningStack) -> dict[str, Any]:
    return {
        "attribution_database_url": stack.database_url,
        "attribution_redis_url": stack.redis_url,
        "attribution_claim_after": 2,
    }


def play(
    stack: RunningStack,
    steps: list[Step],
    truth: Truth,
    *,
    pixel: Pixel | None = None,
    disturb: Callable[[Simulation], None] | None = None,
) -> Verdict:
    async def run() -> None:
        async with simulation(
            steps,
            subscription=Subscription(
                url=f"{stack.receiver_url}/eventgrid", secret=stack.event_secret, events_per_batch=20
            ),
            doors=[HttpDoor(f"{stack.receiver_url}/messages", stack.message_secret), StreamDoor(stack.redis_url)],
            truth=truth,
            pixel=pixel,
            # A second lasts four milliseconds, so that readers' acts and their native rows come side by side.
            scale=0.004,
            conduct=Conduct(connections=8, reorder=50, redeliver=0.1),
        ) as playing:
            async with asyncio.TaskGroup() as group:
                if disturb:
                    group.create_task(asyncio.to_thread(disturb, playing))
                await playing.player.play()
            assert playing.grid.dead_letters == []

    asyncio.run(run())
    with oracle.connect(stack.database_url) as connection:
        return oracle.await_verdict(truth, connection, within=40)


def assert_sound(verdict: Verdict) -> None:
    assert (verdict.lost, verdict.twice, verdict.wrong) == ((), (), ())
    assert verdict.acknowledged == verdict.sent


@pytest.mark.timeout(180)
def test_each_act_is_counted_once_beside_listmonks_own_though_workers_and_connections_die(
    running_stack: RunningStack, start: StartProgram
) -> None:
    start("beat", **settings_of(running_stack))
    steps, truth = play_out(TRAFFIC), Truth()

    def disturb(playing: Simulation) -> None:
        def await_share(share: float) -> None:
            def has_played() -> None:
                assert playing.player.played > share * len(playing.player.steps)

            eventually(has_played, within=60)

        await_share(0.3)
        running_stack.worker.kill()
        start("worker", **settings_of(running_stack), attribution_drain_processes=2)
        for share in (0.7, 0.8, 0.9):
            await_share(share)
            with psycopg.connect(running_stack.database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name LIKE 'attribution%'"
                )

    pixel = Pixel(running_stack.database_url, truth=truth)
    verdict = play(running_stack, steps, truth, pixel=pixel, disturb=disturb)
    assert_sound(verdict)
    assert verdict.in_listmonk["counted once, though both saw it"] > 200
    assert verdict.in_listmonk["clicks"] > 100
    assert verdict.in_listmonk["bounces"] > 20
    # All of it comes once more, from Azure alone.
    assert play(running_stack, steps, truth) == verdict
    with oracle.connect(running_stack.database_url) as connection:
        urls = {url for (url,) in connection.execute("SELECT url FROM links")}
    # One row for each page and campaign, none for a reader.
    assert len(urls) <= 3 + 3 + 1
    assert not any("uid=" in url or "@" in url or "%40" in url for url in urls)


@pytest.mark.timeout(120)
def test_nobody_is_named_where_listmonk_tracks_no_individuals(running_stack: RunningStack) -> None:
    with oracle.connect(running_stack.database_url) as connection:
        listmonk.set_setting(connection, "privacy.individual_tracking", False)
    truth = Truth.of([Listmonk(individual_tracking=False)])
    verdict = play(running_stack, play_out(Traffic(messages=300, seed=32, personal_links=0.5)), truth)
    assert_sound(verdict)
    assert verdict.in_listmonk["views"] > 100
