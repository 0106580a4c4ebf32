"""The system under load: new servers, and its programs as they run in production."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import psycopg
import redis

from db.migrate import upgrade
from proof.load.failures import LoadFailed
from proof.load.sizes import Sizes
from proof.programs import Program
from stack.errors import StackUnusable
from stack.services import Services, remove, services
from stack.state import HOST, StateFolder, port_is_free
from worker.queues import TRACKING
from worker.streams import EVENTS, MESSAGES

#: Made in a folder of ours, so that no other is ever removed.
_MARK: Final = "load"
#: A server's usual share of a machine, so that its memory is judged as it would be in production. Redis never gets so
#: full that it is that which answers 503, and not the backlog.
_POSTGRES: Final = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
_REDIS: Final = {"maxmemory": "6gb"}
#: Seconds a program may take to be ready, and between two looks at what is waited for.
_START_SECONDS: Final = 60.0
_GLANCE_SECONDS: Final = 0.2

_RECEIVER: Final = "receiver"
_WORKER: Final = "worker"
_BEAT: Final = "beat"


@dataclass
class System:
    """Receiver, worker, beat and their servers, all of them running."""

    servers: Services
    port: int
    programs: dict[str, Program]
    client: redis.Redis
    event_secret: str = field(repr=False)
    message_secret: str = field(repr=False)

    @property
    def broker_url(self) -> str:
        """Where a mailer that uses Celery sends its tasks."""
        return self.servers.redis_url

    @property
    def worker(self) -> Program:
        """The worker, with its Celery children and drain processes."""
        return self.programs[_WORKER]

    def connect(self) -> psycopg.Connection[Any]:
        """Connect to the database in autocommit mode."""
        return psycopg.connect(self.servers.database_url, autocommit=True)

    def backlog(self) -> int:
        """Return how many entries wait on both streams."""
        return self.client.xlen(EVENTS) + self.client.xlen(MESSAGES)

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until nothing is left on the streams and on the queue of trackings.

        Raises:
            LoadFailed: it took longer than so many seconds.
        """
        self.wait_until(
            lambda: not self.backlog() and not self.client.llen(TRACKING), seconds, "the backlog to return to zero"
        )

    def wait_until(
        self, condition: Callable[[], bool], seconds: float, what: str, glance: float = _GLANCE_SECONDS
    ) -> None:
        """Wait for ``condition``, and look every ``glance`` seconds whether it came about.

        Raises:
            LoadFailed: it did not within so many seconds, or a program has ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.require_alive()
            if time.monotonic() > deadline:
                raise LoadFailed(f"Still waiting after {seconds:.0f} s for {what}: {self.backlog()} entries are left.")
            time.sleep(glance)

    def require_alive(self) -> None:
        """Make sure that each program runs.

        Raises:
            LoadFailed: one has ended, which none should.
        """
        for program in self.programs.values():
            if program.pid is None:
                raise LoadFailed(f"The {program.name} has ended under load. See {program.log}.")

    def processes(self) -> dict[str, list[int]]:
        """Return the pids of every process, by what it is to be called."""
        worker = self.worker
        postgres, redis_server = self.servers.postgres, self.servers.redis
        found = {name: [program.pid] if program.pid else [] for name, program in self.programs.items()}
        for what, drains in (("drain process", True), ("Celery child", False)):
            found |= {f"{what} {n}": [pid] for n, pid in enumerate(sorted(worker.children(drains=drains)), 1)}
        found["Redis"] = [redis_server.pid] if redis_server and redis_server.pid else []
        found["PostgreSQL"] = [postgres.pid] if postgres and postgres.pid else []
        return found


@contextmanager
def system(state_dir: Path, sizes: Sizes) -> Iterator[System]:
    """Start everything anew in ``state_dir``, which is removed at the end unless the context fails: then it is kept.

    Raises:
        StackUnusable: ``state_dir`` holds something else.
        StackBusy: another run uses it.
        ServerFailed: a server did not start.
        LoadFailed: a program did not.
    """
    mark = state_dir / _MARK
    if state_dir.exists() and any(state_dir.iterdir()) and not mark.exists():
        raise StackUnusable(f"{state_dir} holds something else than a load run left there. Name another folder.")
    remove(state_dir)
    state_dir.mkdir(parents=True)
    mark.touch()
    with ExitStack() as stack:
        servers = stack.enter_context(
            services(state_dir, postgres_settings=_POSTGRES, redis_settings=_REDIS, environment={})
        )
        upgrade(servers.database_url)
        port = StateFolder(state_dir).endpoint(_RECEIVER).port
        client = stack.enter_context(redis.Redis.from_url(servers.redis_url, protocol=2, socket_timeout=30))
        made = System(servers, port, {}, client, secrets.token_hex(24), secrets.token_hex(24))
        for name in (_RECEIVER, _WORKER, _BEAT):
            command = [sys.executable, "-m", "cli", name]
            program = Program(name, command, lambda: _environment(made, sizes), state_dir / f"{name}.log")
            made.programs[name] = program
            program.start()
            stack.callback(program.end)
        made.wait_until(lambda: _is_ready(made, sizes), _START_SECONDS, "the system to start")
        yield made
    remove(state_dir)


def _is_ready(system: System, sizes: Sizes) -> bool:
    """Tell whether the receiver listens, and Celery and each drain process wait in a blocking read."""
    readers = 1 + sizes.drain_processes
    waiting = cast(dict[str, int], system.client.info("clients"))["blocked_clients"]
    return not port_is_free(system.port) and waiting >= readers


def _environment(system: System, sizes: Sizes) -> dict[str, str]:
    """Return the environment of a program. Of the user's own settings none gets through."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTRIBUTION_")}
    return environment | {
        **system.servers.environment(),
        "ATTRIBUTION_HOST": HOST,
        "ATTRIBUTION_PORT": str(system.port),
        "ATTRIBUTION_EVENT_SECRETS": system.event_secret,
        "ATTRIBUTION_MESSAGE_SECRETS": system.message_secret,
        "ATTRIBUTION_BACKLOG_LIMIT": str(sizes.backlog_limit),
        "ATTRIBUTION_DRAIN_PROCESSES": str(sizes.drain_processes),
        "ATTRIBUTION_LOG_LEVEL": "WARNING",
        "ATTRIBUTION_METRICS_PORT": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
