"""Faults of the network, between every two parts that talk to each other."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from proof.faults.fault import fault
from proof.world import PAIRS, World, link_name

_LINKS = tuple(link_name(client, server) for client, server in PAIRS)


@fault("cut", targets=_LINKS, lasts=(0.5, 1.5))
def cut(world: World, target: str, rng: Random) -> Iterator[str]:
    """Every connection is reset, wherever it is in what it was saying."""
    count = world.proxies[target].cut()
    yield ""
    world.note(count + world.proxies[target].cut(), "connections")


@fault("slow", targets=_LINKS, lasts=(1.0, 4.0))
def slow(world: World, target: str, rng: Random) -> Iterator[str]:
    """Each piece arrives late, in order."""
    seconds = rng.uniform(0.02, 0.5)
    with world.proxies[target].slow(seconds, jitter=seconds / 2):
        yield f"{1000 * seconds:.0f} ms"


@fault("silent", targets=_LINKS, lasts=(1.0, 7.0))
def silent(world: World, target: str, rng: Random) -> Iterator[str]:
    """Half-open: nothing passes, nobody is told."""
    with world.proxies[target].silent():
        yield ""


@fault("refused", targets=_LINKS, lasts=(0.5, 3.0))
def refused(world: World, target: str, rng: Random) -> Iterator[str]:
    """Nobody listens there any more."""
    with world.proxies[target].refusing():
        yield ""


@fault("replies lost", targets=_LINKS, lasts=(0.5, 3.0))
def replies_lost(world: World, target: str, rng: Random) -> Iterator[str]:
    """What is asked is done, and the answer never arrives: a COMMIT, an XADD, a 200."""
    with world.proxies[target].swallowing_replies():
        yield ""
