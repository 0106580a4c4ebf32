"""A whole simulation: traffic played in time against a receiver, and the command line around it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulator import oracle
from simulator.__main__ import main
from simulator.acs import Event
from simulator.doors import HttpDoor
from simulator.eventgrid import Conduct
from simulator.run import simulation
from simulator.scenario import Traffic, play_out
from simulator.subscription import Subscription
from simulator.truth import Answered, Emitted, Sent, Truth
from tests.simulator.fake_receiver import Answer, FakeReceiver, Received, fake_receiver


def willing(_: int, request: Received) -> Answer:
    """Answer as our receiver would: handshake, events, messages."""
    if request.headers.get("aeg-event-type") == "SubscriptionValidation":
        return Answer(body={"validationResponse": request.events[0]["data"]["validationCode"]})
    return Answer(200 if "aeg-event-type" in request.headers else 202)


def events_of(receiver: FakeReceiver) -> list[Received]:
    return [request for request in receiver.requests if request.headers.get("aeg-event-type") == "Notification"]


def test_everything_of_the_timeline_reaches_the_receiver() -> None:
    traffic = Traffic(messages=400, seed=9, malformed=0.02)
    truth = Truth()

    async def run() -> FakeReceiver:
        async with fake_receiver(willing) as receiver:
            async with simulation(
                play_out(traffic),
                subscription=Subscription(url=receiver.url, events_per_batch=20),
                doors=[HttpDoor(receiver.url, None)],
                truth=truth,
                conduct=Conduct(reorder=50, redeliver=0.1),
            ) as playing:
                await playing.player.play()
                assert playing.grid.unsettled == 0
                assert playing.grid.dead_letters == []
            return receiver

    receiver = asyncio.run(run())
    assert len(truth.messages) == 400
    assert truth.events.keys() == truth.acknowledged.keys()
    received = sum(len(request.events) for request in events_of(receiver))
    assert received == sum(truth.acknowledged.values())
    assert 0.05 < received / len(truth.events) - 1 < 0.15
    mailings = [request for request in receiver.requests if "aeg-event-type" not in request.headers]
    tracked = [line for mailing in mailings for line in mailing.body.splitlines()]
    assert len(tracked) == len(truth.tracked_messages())


def test_steps_are_played_when_their_time_has_come() -> None:
    steps = play_out(Traffic(messages=60, seed=4, span=100))
    truth = Truth()
    scale = 0.002

    async def run() -> FakeReceiver:
        async with fake_receiver(willing) as receiver:
            async with simulation(
                steps, subscription=Subscription(url=receiver.url), doors=[], truth=truth, scale=scale
            ) as playing:
                await playing.player.play()
            return receiver

    receiver = asyncio.run(run())
    events = events_of(receiver)
    published_at = [step.at for step in steps if isinstance(step.action, Event)]
    span = (published_at[-1] - published_at[0]) * scale
    assert span - 0.1 <= events[-1].at - events[0].at < span + 2


def test_without_a_door_nothing_is_tracked() -> None:
    truth = Truth()

    async def run() -> None:
        async with (
            fake_receiver(willing) as receiver,
            simulation(
                play_out(Traffic(messages=20)), subscription=Subscription(url=receiver.url), doors=[], truth=truth
            ) as playing,
        ):
            await playing.player.play()

    asyncio.run(run())
    assert truth.tracked_messages() == set()
    assert not any(expected.message and "attributed" in expected.fates for expected in truth.expectations())


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    """A fake receiver that listens in a thread of its own."""
    ready, stop = threading.Event(), threading.Event()
    receivers: list[FakeReceiver] = []

    async def listen() -> None:
        async with fake_receiver(willing) as receiver:
            receivers.append(receiver)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    assert ready.wait(10)
    yield receivers[0]
    stop.set()
    thread.join()


def test_command_line_plays_traffic_and_saves_its_truth(receiver: FakeReceiver, tmp_path: Path) -> None:
    saved = tmp_path / "truth.jsonl"
    options = ["--url", receiver.url, "--messages-url", receiver.url, "--messages", "30", "--truth", str(saved)]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    assert "events acknowledged" in result.output
    truth = Truth.read(saved)
    kinds = Counter(type(record) for record in truth.records)
    assert kinds[Sent] == 30
    assert kinds[Emitted] == len(truth.acknowledged)
    assert kinds[Answered] > 0


def test_command_line_fails_if_the_database_is_off(receiver: FakeReceiver, database_url: str) -> None:
    options = ["--url", receiver.url, "--messages", "10", "--database-url", database_url, "--within", "0"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 1
    assert "Unsound" in result.output


def test_command_line_fires_listmonks_pixel(receiver: FakeReceiver, listmonk_database_url: str) -> None:
    options = ["--url", receiver.url, "--messages", "60", "--listmonk", "--within", "0"]
    result = CliRunner().invoke(main, [*options, "--database-url", listmonk_database_url])
    assert result.exit_code == 1  # nobody drains: every event is lost, and none of listmonk's own rows
    assert "listmonk's views" in result.output
    with oracle.connect(listmonk_database_url) as connection:
        row = connection.execute("SELECT count(*) FROM campaign_views").fetchone()
    assert row is not None
    assert row[0] > 10


def test_pixel_without_a_database_is_refused() -> None:
    result = CliRunner().invoke(main, ["--url", "http://127.0.0.1:1/eventgrid", "--listmonk"])
    assert result.exit_code == 2
    assert "--listmonk needs --database-url" in result.output


def test_command_line_says_why_there_is_no_subscription() -> None:
    result = CliRunner().invoke(main, ["--url", "http://127.0.0.1:1/eventgrid", "--messages", "1"])
    assert result.exit_code == 1
    assert "could not be reached" in result.output
