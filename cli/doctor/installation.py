"""What the checks look at: settings, and connections that are opened when the first check asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Self, TypeVar

import redis
from pydantic import ValidationError, model_validator
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.findings import Missing, failure, hint
from cli.doctor.unreachable import explain_postgresql, explain_redis
from db import checkup
from worker import redis_checks
from worker.errors import SettingsInvalid
from worker.secret_files import nothing_passed_over, secrets_folder
from worker.settings import CommonSettings, ReceiverSettings, WorkerSettings

#: Longest that PostgreSQL may take for one question.
STATEMENT_TIMEOUT: Final = timedelta(seconds=10)

_Part = TypeVar("_Part")


class Installation:
    """An installation as this machine sees it: by its environment, and through the network.

    Each property raises `Missing` where there is no such thing. Any thread may ask; each part is made once.
    """

    def __init__(self, *, url: str | None = None) -> None:
        self._url = url
        self._locks: dict[str, threading.Lock] = {}
        self._parts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        for part in self._parts.values():
            if isinstance(part, Engine):
                part.dispose()
            elif isinstance(part, redis.Redis):
                part.close()

    @property
    def receiver(self) -> ReceiverSettings:
        """The receiver's settings."""
        return self.once("receiver", _read_receiver)

    @property
    def worker(self) -> WorkerSettings:
        """The worker's settings."""
        return self.once("worker", _read_worker)

    @property
    def settings(self) -> list[CommonSettings]:
        """The settings that can be read here: the receiver's, the worker's, or both."""
        found: list[CommonSettings] = []
        for read in (lambda: self.receiver, lambda: self.worker):
            try:
                found.append(read())
            except Missing as missing:
                reason = missing
        if not found:
            raise Missing("no settings can be read here", reason.finding)
        return found

    @property
    def engine(self) -> Engine:
        """Connections to PostgreSQL, which has answered one already. Each statement is a transaction of its own."""
        return self.once("engine", lambda: _connect_postgresql(self.worker.database_url.get_secret_value()))

    @property
    def redis_servers(self) -> dict[str, str]:
        """The address of the streams' Redis, and of Celery's where that is another, by what to call them."""
        streams = self.settings[0].redis_url.get_secret_value()
        servers = {"Redis": streams}
        for settings in self.settings:
            if isinstance(settings, WorkerSettings) and settings.broker_url:
                servers["Celery's Redis"] = settings.broker_url.get_secret_value()
        return servers if servers.get("Celery's Redis") != streams else {"Redis": streams}

    def redis(self, server: str = "Redis") -> redis.Redis:
        """Return a client of one of `redis_servers`, which has answered already."""
        return self.once(server, lambda: _connect_redis(server, self.redis_servers[server]))

    @property
    def url(self) -> str:
        """The public address that Event Grid posts to."""
        if self._url is None:
            raise Missing(
                "the public address was not given",
                hint(
                    "Whether Event Grid reaches the receiver was not looked at.",
                    "Give the address that it posts to: --url https://events.example.com/eventgrid.",
                ),
            )
        return self._url

    def once(self, name: str, make: Callable[[], _Part]) -> _Part:
        """Return what ``make`` made when the first check asked for the part ``name``, or raise what it raised then."""
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._parts:
                try:
                    self._parts[name] = make()
                except Missing as missing:
                    self._parts[name] = missing
            part: Any = self._parts[name]
        if isinstance(part, Missing):
            raise Missing(part.because, part.finding)
        made: _Part = part
        return made


class _AsGiven(ReceiverSettings):
    """The receiver's settings, whether or not they let anybody in."""

    @model_validator(mode="after")
    def _callers_can_be_told_apart(self) -> Self:
        return self


#: Settings that only a receiver has, and that it cannot do without: none of them means that none runs here.
_CALLERS: Final = {"event_secrets", "message_secrets", "entra_tenant_id", "entra_audience", "insecure"}


def _read_receiver() -> ReceiverSettings:
    try:
        return ReceiverSettings.read()
    except SettingsInvalid as error:
        try:
            is_meant = bool(_AsGiven.read().model_fields_set & _CALLERS)
        except SettingsInvalid:
            is_meant = True
        if is_meant:
            finding = failure(f"The receiver will not start. {error}", "Correct that, and start it again.")
            raise Missing("the receiver's settings cannot be used", finding) from None
    raise Missing(
        "the receiver's settings are not here",
        hint(
            "No receiver is configured here, so what concerns it was not looked at.",
            "If one runs on another host, run the doctor there, too.",
        ),
    )


def _read_worker() -> WorkerSettings:
    try:
        return WorkerSettings.read()
    except SettingsInvalid as error:
        if not _only_lacks_a_database():
            finding = failure(f"Worker and beat will not start. {error}", "Correct that, and start them again.")
            raise Missing("the worker's settings cannot be used", finding) from None
    raise Missing(
        "the worker's settings are not here",
        hint(
            "No worker is configured here, for ATTRIBUTION_DATABASE_URL is not set: PostgreSQL, and what is stored in"
            " it, was not looked at.",
            "If one runs on another host, run the doctor there, too.",
        ),
    )


def _only_lacks_a_database() -> bool:
    """Tell whether all that the settings lack is what has no default: then no worker is meant to run here."""
    try:
        with nothing_passed_over():
            WorkerSettings(_secrets_dir=secrets_folder())
    except ValidationError as problems:
        return {problem["type"] for problem in problems.errors()} == {"missing"}
    except SettingsInvalid:
        return False
    return True


def _connect_postgresql(database_url: str) -> Engine:
    try:
        return checkup.connect(database_url, statement_timeout=STATEMENT_TIMEOUT)
    except (SQLAlchemyError, ValueError) as error:
        raise Missing("PostgreSQL cannot be used", explain_postgresql(error)) from None


def _connect_redis(server: str, url: str) -> redis.Redis:
    try:
        client = redis_checks.connect(url)
        client.echo("")  # not PING, which is refused while writes are
    except (RedisError, SettingsInvalid) as error:
        raise Missing(f"{server} cannot be used", explain_redis(server, error)) from None
    return client
