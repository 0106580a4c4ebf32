"""The whole system on servers of its own, with a proxy between every two parts that talk to each other."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from redis import Redis

from proof.clock import Clock
from proof.programs import Program, Programs
from proof.proxy import Proxies, Proxy
from stack.errors import StackUnusable
from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from stack.services import remove
from stack.signals import ended_in_order, undisturbed
from stack.state import HOST, StateFolder, free_port

RECEIVER: Final = "receiver"
DRAIN: Final = "drain worker"
TRACKER: Final = "tracking worker"
BEAT: Final = "beat"
POSTGRES: Final = "PostgreSQL"
REDIS: Final = "Redis"
DRAIN_PROCESS: Final = "one drain process"
CELERY_CHILD: Final = "a Celery child"
GRID: Final = "Event Grid"
MAILER: Final = "mailer"

PROGRAMS: Final = (RECEIVER, DRAIN, TRACKER, BEAT)
SERVERS: Final = (REDIS, POSTGRES)
#: Who talks to whom.
PAIRS: Final = (
    (GRID, RECEIVER),
    (MAILER, RECEIVER),
    (MAILER, REDIS),
    (RECEIVER, REDIS),
    (DRAIN, REDIS),
    (DRAIN, POSTGRES),
    (TRACKER, REDIS),
    (TRACKER, POSTGRES),
    (BEAT, REDIS),
)

#: Made in a folder of ours, so that no other is ever removed.
_MARK: Final = "proof"

#: What a stranger's PostgreSQL would have, but for its size.
_POSTGRES: Final = {"max_connections": "40", "superuser_reserved_connections": "0"}
_REDIS: Final[Mapping[str, str]] = {"maxmemory": "2gb"}
#: Seconds after which an entry that nobody works is taken for abandoned.
CLAIM_AFTER: Final = 2
#: Everything that waits does so for seconds, in place of minutes and days: a proof must come to its end.
_SETTINGS: Final = {
    "ATTRIBUTION_CLAIM_AFTER": str(CLAIM_AFTER),
    "ATTRIBUTION_MAX_DELIVERIES": "4",
    "ATTRIBUTION_STATEMENT_TIMEOUT": "3",
    "ATTRIBUTION_PARK_SCHEDULE": "1,2,5",
    "ATTRIBUTION_PARK_DEADLINE": "60",
    "ATTRIBUTION_SWEEP_INTERVAL": "1",
    "ATTRIBUTION_BODY_TIMEOUT": "5",
    "ATTRIBUTION_LOG_LEVEL": "INFO",
    "ATTRIBUTION_METRICS_PORT": "0",
    "PYTHONUNBUFFERED": "1",
}


def link_name(client: str, server: str) -> str:
    """Return the name of the connection between two parts."""
    return f"{client} to {server}"


@dataclass
class World:
    """Everything that can be struck, by its name."""

    state_dir: Path
    postgres: PostgresServer
    redis: RedisServer
    clocks: Mapping[str, Clock]
    sabotage: str | None = None
    proxies: dict[str, Proxy] = field(default_factory=dict)
    #: The first one is Event Grid's; the receiver takes any.
    event_secrets: list[str] = field(default_factory=lambda: [secrets.token_hex(24)])
    message_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    #: Called with Event Grid's new secret.
    on_rotation: Callable[[str], None] = lambda secret: None
    #: Called with the wish for one event that its worker dies of.
    on_poison: Callable[[], None] = lambda: None
    releases: int = 0
    #: What faults have to say when they are lifted.
    notes: list[str] = field(default_factory=list)
    #: Whether the present fault has met nothing that it could have disturbed.
    missed: bool = False

    def __post_init__(self) -> None:
        self._receiver_port = free_port()
        self.programs = Programs([self._program(name, *arguments) for name, arguments in _COMMANDS.items()])

    @property
    def database_url(self) -> str:
        """PostgreSQL itself, with no proxy before it."""
        return self.postgres.url

    def url(self, client: str, path: str) -> str:
        """Return where ``client`` reaches a path of the receiver."""
        return f"http://{HOST}:{self.proxies[link_name(client, RECEIVER)].port}{path}"

    def redis_url(self, client: str) -> str:
        """Return where ``client`` reaches Redis."""
        return self._through(client, REDIS, self.redis.url)

    def connect_postgres(self) -> psycopg.Connection[Any]:
        """Connect as an operator would, whatever has been done to the server's defaults."""
        return psycopg.connect(
            self.database_url,
            autocommit=True,
            connect_timeout=5,
            application_name="operator",
            options="-c default_transaction_read_only=off -c default_transaction_isolation=read\\ committed",
        )

    def note(self, count: int, what: str) -> None:
        """Say how often the present fault has struck something; if never, it has missed."""
        self.notes.append(f"{count} {what}")
        self.missed |= count == 0

    def connect_redis(self) -> Redis:
        """Connect as an operator would."""
        return Redis.from_url(self.redis.url, socket_timeout=5, socket_connect_timeout=2)

    def extra_program(self, name: str) -> Program:
        """Return a second ``name``, not started yet. The caller ends it."""
        return self._program(name, *_COMMANDS[name])

    def _program(self, name: str, *arguments: str) -> Program:
        command = [sys.executable, "-m", "proof.launch", "--poison"]
        command += ["--sabotage", self.sabotage] if self.sabotage else []
        command += ["--", *arguments]
        log = self.state_dir / f"{name.replace(' ', '-')}.log"
        return Program(name, command, lambda: self._environment(name), log)

    def _environment(self, name: str) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ATTRIBUTION_")}
        environment |= _SETTINGS | self.clocks[name].environment()
        environment["ATTRIBUTION_REDIS_URL"] = self.redis_url(name)
        if name == RECEIVER:
            environment |= {
                "ATTRIBUTION_HOST": HOST,
                "ATTRIBUTION_PORT": str(self._receiver_port),
                "ATTRIBUTION_EVENT_SECRETS": ",".join(self.event_secrets),
                "ATTRIBUTION_MESSAGE_SECRETS": self.message_secret,
            }
        else:
            known = link_name(name, POSTGRES) in self.proxies
            environment["ATTRIBUTION_DATABASE_URL"] = (
                self._through(name, POSTGRES, self.database_url) if known else self.database_url
            )
            environment["ATTRIBUTION_DRAIN_PROCESSES"] = "2" if name == DRAIN else "0"
        return environment

    def _through(self, client: str, server: str, url: str) -> str:
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{login}@{HOST}:{self.proxies[link_name(client, server)].port}").geturl()

    def add_proxies(self, proxies: Proxies) -> None:
        """Put a proxy between each of `PAIRS`."""
        ports = {
            RECEIVER: self._receiver_port,
            REDIS: urlsplit(self.redis.url).port or 0,
            POSTGRES: urlsplit(self.database_url).port or 0,
        }
        for client, server in PAIRS:
            name = link_name(client, server)
            self.proxies[name] = proxies.add(name, ports[server])


_COMMANDS: Final = {
    RECEIVER: ("cli", "receiver"),
    DRAIN: ("cli", "worker", "--queues=attribution.drain,attribution.maintenance", "--hostname=drain@%h"),
    TRACKER: ("cli", "worker", "--queues=attribution.tracking", "--hostname=tracker@%h"),
    BEAT: ("cli", "beat"),
}


@contextmanager
def world(state_dir: Path, *, prepare: Callable[[str], None], sabotage: str | None = None) -> Iterator[World]:
    """Start new servers in ``state_dir``, have the database made by ``prepare``, and start the system on them.

    After the context everything is stopped; the folder with its logs stays until the next run.

    Raises:
        StackUnusable: ``state_dir`` holds something else.
        StackBusy: another run uses it.
        ServerFailed: a server did not start.
    """
    _clear(state_dir)
    state = StateFolder(state_dir)
    with ExitStack() as stack:
        stack.enter_context(state.owned())
        stack.enter_context(ended_in_order())
        clocks = {name: Clock(_clock_file(state_dir, name)) for name in (*PROGRAMS, *SERVERS)}
        for clock in clocks.values():
            stack.callback(clock.remove)
        postgres = PostgresServer(state, _POSTGRES, environment=clocks[POSTGRES].environment())
        server = RedisServer(state, _REDIS, environment=clocks[REDIS].environment())
        for each in (postgres, server):
            stack.callback(_stop, each)
            each.start()
        prepare(postgres.url)
        made = World(state_dir, postgres, server, clocks, sabotage)
        made.add_proxies(stack.enter_context(Proxies()))
        stack.enter_context(made.programs)
        yield made


def _clear(state_dir: Path) -> None:
    mark = state_dir / _MARK
    if state_dir.exists() and any(state_dir.iterdir()) and not mark.exists():
        raise StackUnusable(f"{state_dir} holds something else than a proof left there. Name another folder.")
    remove(state_dir)
    shutil.rmtree(state_dir, ignore_errors=True)
    state_dir.mkdir(parents=True)
    mark.touch()


def _clock_file(state_dir: Path, name: str) -> Path:
    return state_dir / f"{name.replace(' ', '-').lower()}.clock"


def _stop(server: PostgresServer | RedisServer) -> None:
    with undisturbed():
        server.stop()
