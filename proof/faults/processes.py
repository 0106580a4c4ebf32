"""Faults of processes: killed, frozen, ended in the middle of a batch, run twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Final

import psutil

from proof.faults.fault import fault
from proof.world import BEAT, DRAIN, POSTGRES, PROGRAMS, RECEIVER, REDIS, TRACKER, World

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


@fault("frozen", targets=EVERYTHING, lasts=(0.5, 5.0), every_target=True)
def frozen(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGSTOP: connections stay open, nothing is answered. What is frozen for long has its batch taken over."""
    if target in PROGRAMS:
        with world.programs[target].frozen():
            yield ""
        return
    if target in (REDIS, POSTGRES):
        pid = world.redis.pid if target == REDIS else world.postgres.pid
        pids = [pid, *_descendants(pid)] if pid else []
    else:
        pids = [pid for pid in [_one_of(world, target, rng)] if pid]
    for each in pids:
        _signal(each, signal.SIGSTOP)
    try:
        yield f"{len(pids)} processes"
    finally:
        for each in pids:
            _signal(each, signal.SIGCONT)


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


def _descendants(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _signal(pid: int | None, number: signal.Signals) -> str:
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
            return ""
    return "there was none"
