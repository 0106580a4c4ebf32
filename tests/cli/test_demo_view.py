"""What the demo shows: drawn as it happens, and in lines where there is no terminal."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
from rich.console import Console

from cli.demo_view import Stage
from simulator.doors import HttpDoor
from simulator.run import simulation
from simulator.story import tell
from simulator.subscription import Subscription
from simulator.truth import Truth
from tests.simulator.fake_receiver import Answer, Received, fake_receiver


def willing(_: int, request: Received) -> Answer:
    if request.headers.get("aeg-event-type") == "SubscriptionValidation":
        return Answer(body={"validationResponse": request.events[0]["data"]["validationCode"]})
    return Answer(200 if "aeg-event-type" in request.headers else 202)


@asynccontextmanager
async def stage(console: Console) -> AsyncIterator[Stage]:
    """Play the story to a fake receiver, as fast as it goes."""
    story = tell(datetime(2026, 3, 1, tzinfo=UTC))
    truth = Truth()
    async with (
        fake_receiver(willing) as receiver,
        simulation(
            story.steps,
            subscription=Subscription(url=receiver.url, events_per_batch=50),
            doors=[HttpDoor(receiver.url, None)],
            truth=truth,
        ) as playing,
    ):
        yield Stage(console, story, truth, playing, scale=1.0)


def watch(database_url: str, *, terminal: bool) -> tuple[str, int]:
    """Show the whole story, with two events parked; return what was printed, and how many events there were."""
    console = Console(file=io.StringIO(), record=True, width=100, force_terminal=terminal)

    async def run() -> int:
        async with stage(console) as shown:
            showing = asyncio.create_task(shown.show(database_url))
            await shown.playing.player.play()
            await asyncio.sleep(0.5)
            shown.over.set()
            await showing
            return len(shown.truth.acknowledged)

    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO azure_delivery_events (event_id, status, state, event_timestamp, azure_message_id)"
            " SELECT n, 'Delivered', 'parked', now(), gen_random_uuid() FROM generate_series(1, 2) AS n"
        )
    received = asyncio.run(run())
    return console.export_text(), received


def test_terminal_is_drawn_on(database_url: str) -> None:
    shown, received = watch(database_url, terminal=True)
    assert "events received" in shown
    assert f"{received:,}" in shown
    assert "messages tracked" in shown
    assert "█" in shown
    assert "The last events settle." in shown


def test_elsewhere_it_is_told_in_lines(database_url: str) -> None:
    shown, received = watch(database_url, terminal=False)
    *lines, last = [line for line in shown.splitlines() if line.strip()]
    assert last == f"received {received:>5,}   attributed     0   parked    2   tracked  800   The last events settle."
    assert all(line.startswith("received ") for line in lines), "a slow machine has time for more"
