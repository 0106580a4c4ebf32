"""The running system under seeded traffic: the oracle finds every event where it belongs, whatever the order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import permutations, product
from random import Random

import pytest

from simulator import oracle
from simulator.acs import Acs, Event
from simulator.doors import CeleryDoor, Door, HttpDoor, StreamDoor
from simulator.eventgrid import Conduct
from simulator.run import simulation
from simulator.scenario import Step, Track, Traffic, play_out
from simulator.subscription import Subscription
from simulator.truth import Id, Truth
from simulator.verdict import Verdict
from simulator.wire import Schema
from tests.acceptance.conftest import RunningStack

NOW = datetime(2026, 1, 10, 10, tzinfo=UTC)


def every_door(stack: RunningStack) -> list[Door]:
    return [
        HttpDoor(f"{stack.receiver_url}/messages", stack.message_secret),
        StreamDoor(stack.redis_url),
        CeleryDoor(stack.redis_url),
    ]


def play(stack: RunningStack, steps: Sequence[Step], subscription: Subscription, *, scale: float = 0.0) -> Verdict:
    truth = Truth()

    async def run() -> None:
        async with simulation(
            steps,
            subscription=subscription,
            doors=every_door(stack),
            truth=truth,
            scale=scale,
            conduct=Conduct(connections=8, reorder=50, redeliver=0.05),
        ) as playing:
            await playing.player.play()
            assert playing.grid.dead_letters == []

    asyncio.run(run())
    with oracle.connect(stack.database_url) as connection:
        return oracle.await_verdict(truth, connection, within=20)


def assert_sound(verdict: Verdict) -> None:
    assert (verdict.lost, verdict.twice, verdict.wrong) == ((), (), ())
    assert verdict.acknowledged == verdict.sent


@pytest.fixture
def _either_once(schema: Schema, events_per_batch: int, longer: bool) -> None:
    if (schema is Schema.EVENT_GRID) == (events_per_batch == 1) and not longer:
        pytest.skip("Each schema once, and single events once; all four with --longer.")


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("_either_once")
@pytest.mark.parametrize(
    ("schema", "events_per_batch", "path"),
    [
        (Schema.EVENT_GRID, 100, "/eventgrid"),
        (Schema.EVENT_GRID, 1, "/webhooks/service/azure"),
        (Schema.CLOUD_EVENTS, 1, "/eventgrid"),
        (Schema.CLOUD_EVENTS, 5000, "/eventgrid"),
    ],
)
def test_every_event_ends_where_it_belongs_and_a_replay_changes_nothing(
    running_stack: RunningStack, schema: Schema, events_per_batch: int, path: str
) -> None:
    steps = play_out(Traffic(messages=800, seed=21, schema=schema, malformed=0.01, ignored=0.01))
    subscription = Subscription(
        url=running_stack.receiver_url + path,
        secret=running_stack.event_secret,
        schema=schema,
        events_per_batch=events_per_batch,
        batch_kilobytes=1024,
    )
    verdict = play(running_stack, steps, subscription)
    assert_sound(verdict)
    assert verdict.parked > 0
    assert verdict.quarantined > 0
    assert play(running_stack, steps, subscription) == verdict


def test_delivery_report_ties_an_open_to_its_message_in_every_order(running_stack: RunningStack) -> None:
    """The mailer knows one id, the open names the other, and only a delivery report names both."""
    acs = Acs(Random(1), Schema.EVENT_GRID)
    steps: list[Step] = []
    told: dict[str, str] = {}
    ids: list[tuple[Id, Id]] = [("internet", "azure"), ("azure", "internet")]
    for (tracked, other), order in product(ids, permutations(("track", "open", "report"))):
        message = acs.send(campaign_id=7, subscriber_id=12, recipients=("ada@example.net",), at=NOW)
        opened = acs.view(message, at=NOW, ids=(other,))
        report = acs.deliver(
            message, recipient="ada@example.net", status="Delivered", attempted_at=NOW, reported_at=NOW
        )
        track = Track(message, (tracked,), message.internet_message_id)
        actions: dict[str, Track | Event] = {"track": track, "open": opened, "report": report}
        # A second apart: each has been worked before the next arrives.
        steps += [Step(0.0, message), *(Step(1.0 + n, actions[name]) for n, name in enumerate(order))]
        for event in (opened, report):
            told[f"event {event.truth.event_id}"] = f"{event.truth.what}, by {tracked} id, in the order {order}"
    subscription = Subscription(url=f"{running_stack.receiver_url}/eventgrid", secret=running_stack.event_secret)
    verdict = play(running_stack, sorted(steps, key=lambda step: step.at), subscription, scale=1.0)
    assert [f"{told[fault.subject]}: {fault.sentence}" for fault in verdict.wrong] == []
    assert_sound(verdict)
    assert verdict.attributed == len(told) == 24
