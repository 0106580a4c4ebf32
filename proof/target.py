"""The proof without faults, against an installation of somebody's own: load, retries, redeliveries, and the oracle."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from yarl import URL

from proof.history import Options
from proof.run import Outcome, Tell
from proof.story import sized
from simulator import oracle
from simulator.doors import HttpDoor
from simulator.eventgrid import Conduct
from simulator.run import simulation
from simulator.scenario import Step, Traffic
from simulator.subscription import Subscription
from simulator.truth import Truth
from simulator.verdict import Verdict
from worker.errors import AttributionError

#: Campaigns that no mailer has, by which what is left of a run can be told from everything else.
_FIRST_CAMPAIGN: Final = 900_000_000
_CAMPAIGNS: Final = 3
#: How many of our seconds one of Event Grid's lasts.
_SCALE: Final = 0.02


class CampaignNeeded(AttributionError):
    """The database is listmonk's, where an event can be credited to an existing campaign only."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an installation is reached, and what opens it.

    Args:
        url: where Event Grid posts. ``POST /messages`` is on the same host.
        campaign: an existing campaign to credit everything to, which listmonk's database needs.
    """

    url: str
    database_url: str
    secret: str | None
    message_secret: str | None
    campaign: int | None = None

    @property
    def messages_url(self) -> str:
        """Where messages are tracked."""
        return str(URL(self.url).with_path("/messages").with_query(None))


def play_to(target: Target, options: Options, *, truth: Truth, tell: Tell) -> Outcome:
    """Play a story of about so many events to an installation, and compare its database with what happened.

    Raises:
        CampaignNeeded: no campaign is named, and the database is listmonk's.
        HandshakeRefused: the receiver does not want the events: the URL or its secret is wrong.
    """
    with oracle.connect(target.database_url) as connection:
        (listmonks,) = connection.execute("SELECT to_regclass('campaigns') IS NOT NULL").fetchone() or (False,)
    if listmonks and target.campaign is None:
        raise CampaignNeeded(
            "This database is listmonk's, where events can be credited to existing campaigns only. Make a campaign for"
            " the proof, and name it with --campaign; what is proved stays in its figures."
        )
    steps = sized(_traffic(target, options.seed), options.events)
    tell(f"posting to {URL(target.url).with_query(None).with_user(None)}")
    return asyncio.run(_play(target, options, steps, truth, tell))


def _traffic(target: Target, seed: int) -> Traffic:
    start = datetime.now(UTC) - timedelta(hours=1)
    # Another run into the same database is another story: one seed's ids would all be redeliveries.
    told = Random(f"{seed} {start}").getrandbits(32)
    if target.campaign is not None:
        # To several people at once: no event then names a reader, and none need exist.
        return Traffic(seed=told, start=start, first_campaign=target.campaign, campaigns=1, several_recipients=1.0)
    first = _FIRST_CAMPAIGN + told % 1_000_000 * _CAMPAIGNS
    return Traffic(seed=told, start=start, first_campaign=first, campaigns=_CAMPAIGNS)


async def _play(target: Target, options: Options, steps: list[Step], truth: Truth, tell: Tell) -> Outcome:
    started = time.monotonic()
    async with simulation(
        steps,
        subscription=Subscription(url=target.url, secret=target.secret, events_per_batch=50, batch_kilobytes=64),
        doors=[HttpDoor(target.messages_url, target.message_secret)],
        truth=truth,
        seed=options.seed,
        conduct=Conduct(scale=_SCALE, connections=8, reorder=300, redeliver=0.05),
    ) as playing:
        await playing.player.play()
        tell("the story is over; waiting until all has come to rest")
        verdict = await asyncio.to_thread(_judge, target, truth, options.patience)
        grid = playing.grid
        return Outcome(verdict, grid.tally, grid.dead_letters, (), 0, 0, time.monotonic() - started)


def _judge(target: Target, truth: Truth, patience: float) -> Verdict:
    with oracle.connect(target.database_url) as connection:
        return oracle.await_verdict(truth, connection, within=patience)
