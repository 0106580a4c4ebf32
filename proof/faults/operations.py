"""What operators, clocks and strangers do: deploys, rotations, jumps of the clock, an event that kills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random

from db.migrate import session
from db.tables import VERSION_TABLE
from migrations.online import Online
from proof import clock
from proof.faults.fault import fault
from proof.world import BEAT, DRAIN, POSTGRES, PROGRAMS, RECEIVER, REDIS, TRACKER, World

_EVENTS = ("azure_engagement_events", "azure_delivery_events")
_JUMPS = (-172_800.0, -3600.0, -5.0, 5.0, 3600.0, 172_800.0)


@fault("deployed", lasts=(0.1, 0.3))
def deployed(world: World, target: str, rng: Random) -> Iterator[str]:
    """The next release: its migration while the present one works, then each part ended in order and started."""
    world.releases += 1
    release = f"proof_{world.releases}"
    with session(world.database_url) as connection:
        driver = connection.connection.driver_connection
        online = Online(driver, lambda sentence: None)  # type: ignore[arg-type]  # psycopg's, as in migrations
        for table in _EVENTS:
            online.change(f"adding to {table}", f"ALTER TABLE {table} ADD COLUMN {release} text")
            online.index(f"{table}_{release}", table, f"({release}) WHERE {release} IS NOT NULL")
        online.change("creating a table", f"CREATE TABLE {release} (id bigint PRIMARY KEY)")
        online.change("saying so", f"UPDATE {VERSION_TABLE} SET version_num = '{release}'")
    for name in (RECEIVER, DRAIN, TRACKER, BEAT):
        world.programs[name].restart()
    yield release


@fault("secret rotated too early", lasts=(0.5, 2.0))
def rotated_too_early(world: World, target: str, rng: Random) -> Iterator[str]:
    """Event Grid has the new secret, the receiver only the old one: for a while every event is refused."""
    new = f"{rng.getrandbits(192):048x}"
    world.on_rotation(new)
    yield ""
    world.event_secrets = [new, *world.event_secrets[:1]]
    world.programs[RECEIVER].restart()


@fault("poisoned", lasts=(1.0, 2.0))
def poisoned(world: World, target: str, rng: Random) -> Iterator[str]:
    """An event arrives, in one body with others, of which the process that parses it dies. Every time."""
    world.on_poison()
    yield ""


@fault("clock jumped", targets=(*PROGRAMS, REDIS, POSTGRES) if clock.available() else (), lasts=(1.5, 4.0))
def clock_jumped(world: World, target: str, rng: Random) -> Iterator[str]:
    """The wall clock of one part is wrong by seconds, an hour or two days, and then right again."""
    seconds = rng.choice(_JUMPS)
    world.clocks[target].jump(seconds)
    try:
        yield f"by {seconds:+,.0f} s"
    finally:
        with suppress(OSError):
            world.clocks[target].jump(0)
