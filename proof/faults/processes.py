"""Faults of processes: killed, frozen, ended in the middle of a batch, run twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from typing import Final

import psutil
from redis.exceptions import RedisError

from proof.faults.fault import fault
from proof.world import BEAT, DRAIN, POSTGRES, PROGRAMS, RECEIVER, REDIS, TRACKER, World
from worker.streams import EVENTS

#: Seconds for which a batch to kill in is waited for; and from reading one to its transaction.
_LONGEST_WAIT: Final = 3.0
_SETTLE: Final = 0.2

DRAIN_PROCESS: Final = "one drain process"
CELERY_CHILD: Final = "a Celery child"
EVERYTHING: Final = (*PROGRAMS, DRAIN_PROCESS, CELERY_CHILD, REDIS, POSTGRES)


@fault("killed", targets=EVERYTHING, lasts=(0.2, 2.0), every_target=True)
def killed(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGKILL. Programs are started again at once by their supervisor; servers stay down for a while."""
    if target == REDIS:
        world.redis.kill()
        yield "down"
        world.redis.restart()
    elif target == POSTGRES:
        world.postgres.kill()
        yield "down"
        world.postgres.restart()
    elif target in PROGRAMS:
        world.programs[target].kill()
        yield ""
    else:
        yield _signal(_one_of(world, target, rng), signal.SIGKILL)


@fault("killed in mid-batch", targets=(DRAIN, DRAIN_PROCESS, TRACKER), lasts=(0.5, 1.5), every_target=True)
def killed_in_mid_batch(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGKILL while its transaction is open: PostgreSQL stands still meanwhile, so that the moment is not missed."""
    read = _events_read(world)
    with _standing_still(_server_pids(world, POSTGRES)):
        yield ""
        # It holds a batch once it has read since.
        until = time.monotonic() + _LONGEST_WAIT
        while _events_read(world) <= read and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(_SETTLE)
        if target in PROGRAMS:
            world.programs[target].kill()
        for pid in world.programs[DRAIN].children(drains=True) if target == DRAIN_PROCESS else ():
            _signal(pid, signal.SIGKILL)


@fault("frozen", targets=EVERYTHING, lasts=(0.5, 5.0), every_target=True)
def frozen(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGSTOP: connections stay open, nothing is answered. What is frozen for long has its batch taken over."""
    if target in PROGRAMS:
        with world.programs[target].frozen():
            yield ""
        return
    one = _one_of(world, target, rng) if target not in (REDIS, POSTGRES) else None
    pids = [one] if one else _server_pids(world, target)
    with _standing_still(pids):
        yield f"{len(pids)} processes"


@fault("ended in order", targets=(RECEIVER, DRAIN, TRACKER), lasts=(0.1, 0.3))
def ended_in_order(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGTERM in the middle of a burst, then a start: the warm shutdown of a deploy."""
    world.programs[target].restart()
    yield ""


@fault("run twice", targets=(BEAT, DRAIN), lasts=(3.0, 5.0))
def run_twice(world: World, target: str, rng: Random) -> Iterator[str]:
    """A second one, unasked for, beside the first."""
    second = world.extra_program(target)
    second.start()
    try:
        yield ""
    finally:
        second.end()


def _one_of(world: World, target: str, rng: Random) -> int | None:
    program = world.programs[DRAIN if target == DRAIN_PROCESS else TRACKER]
    found = sorted(program.children(drains=target == DRAIN_PROCESS))
    return rng.choice(found) if found else None


def _events_read(world: World) -> int:
    """Return how many entries of the stream of events the drain has ever read."""
    try:
        with world.connect_redis() as client:
            return sum(int(group["entries-read"] or 0) for group in client.xinfo_groups(EVENTS))
    except RedisError:
        return 0


def _server_pids(world: World, name: str) -> list[int]:
    pid = {REDIS: world.redis.pid, POSTGRES: world.postgres.pid}.get(name)
    with suppress(psutil.NoSuchProcess):
        if pid is not None:
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


@contextmanager
def _standing_still(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int | None, number: signal.Signals) -> str:
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
            return ""
    return "there was none"
