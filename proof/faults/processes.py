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

from proof.faults.fault import fault
from proof.world import (
    BEAT,
    CELERY_CHILD,
    DRAIN,
    DRAIN_PROCESS,
    POSTGRES,
    PROGRAMS,
    RECEIVER,
    REDIS,
    TRACKER,
    World,
    link_name,
)

#: Seconds for which a transaction to kill in is waited for.
_LONGEST_WAIT: Final = 3.0
_WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
 WHERE wait_event_type = 'Lock' AND state = 'active' AND client_port = ANY(CAST(%s AS int[]))
"""

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
        world.note(_signal(_one_of(world, target, rng), signal.SIGKILL), "processes")
        yield ""


@fault("killed in mid-batch", targets=(DRAIN, DRAIN_PROCESS, TRACKER), lasts=(0.5, 1.5), every_target=True)
def killed_in_mid_batch(world: World, target: str, rng: Random) -> Iterator[str]:
    """SIGKILL of a worker with all its processes, or of every drain process, while a transaction of it is open.

    That it is open is seen: it waits for a lock, which is held until it is dead.
    """
    program = world.programs[TRACKER if target == TRACKER else DRAIN]
    with world.connect_postgres() as connection, connection.transaction():
        connection.execute("LOCK TABLE azure_message_tracking IN ACCESS EXCLUSIVE MODE")
        yield ""
        waiting = _await_waiting(world, program.name)
        if target == DRAIN_PROCESS:
            for pid in program.children(drains=True):
                _signal(pid, signal.SIGKILL)
        else:
            program.kill_all()
    world.note(waiting, "open transactions")


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


def _await_waiting(world: World, client: str) -> int:
    """Return how many transactions of ``client`` wait for a lock, as soon as there is one; 0 if none comes."""
    proxy = world.proxies[link_name(client, POSTGRES)]
    until = time.monotonic() + _LONGEST_WAIT
    with world.connect_postgres() as connection:
        while time.monotonic() < until:
            found = connection.execute(_WAITING, [proxy.upstream_ports()]).fetchone()
            if found and found[0]:
                return int(found[0])
            time.sleep(0.02)
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


def _signal(pid: int | None, number: signal.Signals) -> int:
    """Send a signal, and return how many processes there were to take it."""
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
            return 1
    return 0
