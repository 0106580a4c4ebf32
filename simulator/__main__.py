"""``python -m simulator``: plays seeded traffic into any receiver, and asks the oracle if it is shown the database."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import uvloop
from rich.console import Console, RenderableType

from simulator import oracle
from simulator.doors import CeleryDoor, Door, DoorShut, HttpDoor, StreamDoor, TrackingRefused
from simulator.eventgrid import Conduct
from simulator.pixel import Pixel
from simulator.report import delivery_report, verdict_report
from simulator.run import simulation
from simulator.scenario import Traffic, in_listmonk, play_out
from simulator.subscription import HandshakeRefused, Subscription
from simulator.truth import Truth
from simulator.wire import Schema


@click.command(context_settings={"show_default": True})
@click.option("--url", required=True, help="Where Event Grid delivers, such as http://127.0.0.1:8080/eventgrid.")
@click.option("--secret", envvar="SIMULATOR_SECRET", help="The secret of events, sent as ?code= in the URL.")
@click.option("--secret-header", help="Send that secret in this header instead.")
@click.option("--schema", type=click.Choice([str(schema) for schema in Schema]), default=str(Schema.EVENT_GRID))
@click.option("--batch", default=50, type=click.IntRange(1, 5000), help="Most events in one request.")
@click.option("--batch-kilobytes", default=256, type=click.IntRange(1, 1024), help="Preferred size of a request.")
@click.option("--messages-url", help="Track by HTTP, at this URL.")
@click.option("--message-secret", envvar="SIMULATOR_MESSAGE_SECRET", help="The secret of POST /messages.")
@click.option("--redis-url", help="Track by XADD, in this Redis.")
@click.option("--broker-url", help="Track by Celery, through this Redis.")
@click.option("--messages", default=1000, type=click.IntRange(1), help="Messages sent.")
@click.option("--campaigns", default=3, type=click.IntRange(1), help="Campaigns they belong to.")
@click.option("--seed", default=1, help="The same seed gives the same traffic, byte for byte.")
@click.option("--scale", default=0.0, type=click.FloatRange(0), help="Seconds that one of the traffic lasts; 0: none.")
@click.option("--retry-scale", default=0.001, help="Seconds that one of Event Grid's waits lasts.")
@click.option("--connections", default=16, type=click.IntRange(1), help="Requests under way at once.")
@click.option("--reorder", default=300, type=click.IntRange(0), help="How far events get out of order.")
@click.option("--redeliver", default=0.05, type=click.FloatRange(0, 1), help="Share of events delivered again.")
@click.option("--truth", "truth_file", type=click.Path(path_type=Path, dir_okay=False), help="Save the ledger here.")
@click.option("--database-url", envvar="SIMULATOR_DATABASE_URL", help="Compare with this database afterwards.")
@click.option(
    "--listmonk",
    is_flag=True,
    help="That database is one of simulator.listmonk, with these campaigns and a subscriber for each of their mails:"
    " they have its links, and its own pixel counts, too.",
)
@click.option("--within", default=30.0, help="Seconds the system has to come to rest before it is judged.")
def main(
    *,
    url: str,
    secret: str | None,
    secret_header: str | None,
    schema: str,
    batch: int,
    batch_kilobytes: int,
    messages_url: str | None,
    message_secret: str | None,
    redis_url: str | None,
    broker_url: str | None,
    messages: int,
    campaigns: int,
    seed: int,
    scale: float,
    retry_scale: float,
    connections: int,
    reorder: int,
    redeliver: float,
    truth_file: Path | None,
    database_url: str | None,
    listmonk: bool,
    within: float,
) -> None:
    """Play seeded traffic into a receiver, as ACS, Event Grid and a mailer would.

    Messages are tracked through every door that is named, drawn at random; with none, nothing is tracked and every
    event must end up parked. Ends with 1 if a single event is off, or was given up.
    """
    if listmonk and not database_url:
        raise click.UsageError("--listmonk needs --database-url, for its pixel writes there.")
    truth = Truth()
    traffic = Traffic(messages=messages, campaigns=campaigns, seed=seed, schema=Schema(schema))
    simulate = _simulate(
        in_listmonk(traffic) if listmonk else traffic,
        truth=truth,
        pixel=Pixel(database_url, truth=truth) if listmonk and database_url else None,
        subscription=Subscription(
            url=url,
            secret=secret,
            secret_header=secret_header,
            schema=Schema(schema),
            events_per_batch=batch,
            batch_kilobytes=batch_kilobytes,
        ),
        doors=lambda: [
            *([HttpDoor(messages_url, message_secret)] if messages_url else []),
            *([StreamDoor(redis_url)] if redis_url else []),
            *([CeleryDoor(broker_url)] if broker_url else []),
        ],
        scale=scale,
        conduct=Conduct(scale=retry_scale, connections=connections, reorder=reorder, redeliver=redeliver),
    )
    console = Console()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            deliveries, given_up = runner.run(simulate)
        console.print(deliveries)
    except (HandshakeRefused, DoorShut, TrackingRefused) as error:
        raise click.ClickException(str(error)) from None
    finally:
        if truth_file:
            truth.save(truth_file)
    sound = True
    if database_url:
        with oracle.connect(database_url) as connection:
            verdict = oracle.await_verdict(truth, connection, within=within)
        console.print(verdict_report(verdict))
        sound = verdict.sound
    sys.exit(1 if given_up or not sound else 0)


async def _simulate(
    traffic: Traffic,
    *,
    truth: Truth,
    pixel: Pixel | None,
    subscription: Subscription,
    doors: Callable[[], list[Door]],
    scale: float,
    conduct: Conduct,
) -> tuple[RenderableType, int]:
    steps = play_out(traffic)
    async with simulation(
        steps,
        subscription=subscription,
        doors=doors(),
        truth=truth,
        pixel=pixel,
        seed=traffic.seed,
        scale=scale,
        conduct=conduct,
    ) as playing:
        started = time.monotonic()
        await playing.player.play()
        grid = playing.grid
        seconds = time.monotonic() - started
        return delivery_report(grid.tally, given_up=len(grid.dead_letters), seconds=seconds), len(grid.dead_letters)


if __name__ == "__main__":
    main()
