"""Receiver and worker as processes; the corpus sent to them; and what they, their logs and the database say then."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import psycopg
import redis
from celery import Celery

from tests.acceptance.programs import Program, free_port
from tests.hostile.bad_events import FIRST
from tests.hostile.bad_requests import VALIDATION_PORT_MARK
from tests.hostile.bad_trackings import BEARER, QUEUE
from tests.hostile.case import EVENT_SECRET, HEALTHY, MESSAGE_SECRET, Added, Case, Http, Raw, Task, healthy
from tests.hostile.sending import send_http, send_raw
from tests.tasks.streams import backlog
from tests.waiting import eventually

#: What the drain tells of a batch, or of several, as docs/logs.md describes it.
_OUTCOMES: Final = ("attributed", "parked", "ignored", "duplicates", "contradictions", "quarantined")


@dataclass(repr=False)
class Outcome:
    """What was answered, row by row, and everything that was found afterwards.

    Quarantined bytes are known by kind and hash, so that the largest need not be held. ``counted`` is what the drain
    says that it has counted, by its own words; ``peaks`` are processes' largest memory, in MiB.
    """

    answers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    neighbours: dict[str, int] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)
    tracked: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    validation_calls: int = 0
    backlog: tuple[int, int] = (-1, -1)
    queued: int = -1
    logs: dict[str, str] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    pids: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


class Running:
    """A receiver and a worker. No beat: nothing in daily work may need it."""

    def __init__(self, database_url: str, redis_url: str, folder: Path) -> None:
        self._database_url = database_url
        self._redis_url = redis_url
        self._folder = folder
        self._port = free_port()
        self._contexts = ExitStack()

    def __enter__(self) -> Self:
        environment = {
            "ATTRIBUTION_DATABASE_URL": self._database_url,
            "ATTRIBUTION_REDIS_URL": self._redis_url,
            "ATTRIBUTION_EVENT_SECRETS": EVENT_SECRET,
            "ATTRIBUTION_MESSAGE_SECRETS": MESSAGE_SECRET,
            "ATTRIBUTION_PORT": str(self._port),
            "ATTRIBUTION_BODY_TIMEOUT": "5",
            "ATTRIBUTION_REDIS_TIMEOUT": "30",
            "ATTRIBUTION_LOG_LEVEL": "DEBUG",
            # What is kept is compared with what was sent, byte for byte.
            "ATTRIBUTION_RECIPIENTS": "plain",
            # Of this corpus nearly everything is bad: the drain would rightly slow down and wait for an operator.
            "ATTRIBUTION_ALARM_SHARE_PERCENT": "100",
        }
        self.receiver = self._start("receiver", environment)
        self.worker = self._start("worker", environment)
        self._listener = self._contexts.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.setblocking(False)
        self._redis = self._contexts.enter_context(redis.Redis.from_url(self._redis_url, protocol=2, socket_timeout=30))
        self._http = self._contexts.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=60))
        eventually(lambda: _assert_in("ready", self.worker.log), within=60)
        eventually(self._assert_ready, within=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._contexts.close()

    def send_all(self, cases: Iterable[Case]) -> Outcome:
        """Send every case, and after each an event that nothing is wrong with; wait; look; and stop both programs."""
        outcome = Outcome()
        before = self._pids()
        tracking = json.dumps({"internet_message_id": HEALTHY, "campaign_id": 7, "subscriber_id": 12}).encode()
        assert self._http.post("/messages", content=tracking, headers=BEARER).status_code == 202
        self._post(FIRST)
        eventually(lambda: _assert_in("the-first", self._events()), within=60)
        for case in cases:
            outcome.answers[case.name], outcome.bodies[case.name] = self._send(case)
            outcome.neighbours[case.name] = self._post(b"[" + healthy(f"{case.name}/next") + b"]")
        eventually(self._assert_drained, within=300, every=0.2)
        self._look(outcome, before)
        return outcome

    def _send(self, case: Case) -> tuple[tuple[int, ...], bytes]:
        sent = case.sent
        if isinstance(sent, Http):
            body = bytes(sent.body).replace(VALIDATION_PORT_MARK, str(self._listener.getsockname()[1]).encode())
            status, said = send_http(self._port, sent, body)
            return (status,), said
        if isinstance(sent, Raw):
            return send_raw(self._port, sent, len(case.answers)), b""
        if isinstance(sent, Added):
            fields: Any = {name: bytes(value) for name, value in sent.fields.items()}
            self._redis.xadd(sent.stream, fields)
        else:
            self._enqueue(sent)
        return (), b""

    def _enqueue(self, task: Task) -> None:
        mailer = Celery(broker=self._redis_url)
        mailer.send_task(task.name, args=task.args, kwargs=task.kwargs, queue=QUEUE)

    def _post(self, body: bytes) -> int:
        return self._http.post("/eventgrid", content=body, headers={"X-Attribution-Secret": EVENT_SECRET}).status_code

    def _assert_ready(self) -> None:
        try:
            assert self._http.get("/readyz").status_code == 200
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error

    def _assert_drained(self) -> None:
        assert (backlog(self._redis), self._queued()) == ((0, 0), 0), self.worker.log[-2000:]

    def _queued(self) -> int:
        return int(self._redis.llen(QUEUE)) + int(self._redis.hlen("unacked"))

    def _pids(self) -> dict[str, list[int]]:
        return {
            "receiver": [self.receiver.process.pid],
            "worker": [self.worker.process.pid, *sorted(self.worker.children())],
        }

    def _look(self, outcome: Outcome, before: Mapping[str, list[int]]) -> None:
        outcome.backlog, outcome.queued = backlog(self._redis), self._queued()
        outcome.pids = {name: (pids, self._pids()[name]) for name, pids in before.items()}
        outcome.peaks = {
            "receiver": _peak_mebibytes(self.receiver.process.pid),
            **{f"drain {n}": _peak_mebibytes(pid) for n, pid in enumerate(self.worker.drain_pids())},
        }
        outcome.events = self._events()
        with psycopg.connect(self._database_url) as connection:
            outcome.tracked = dict(
                connection.execute("SELECT internet_message_id, campaign_id FROM azure_message_tracking").fetchall()
            )
            kept = connection.execute("SELECT encode(sha256(body), 'hex') || kind, reason FROM attribution_quarantine")
            outcome.quarantined = dict(kept.fetchall())
        try:
            self._listener.accept()
        except BlockingIOError:
            outcome.validation_calls = 0
        else:
            outcome.validation_calls = 1
        for name, program in (("receiver", self.receiver), ("worker", self.worker)):
            outcome.logs[name] = program.log
            outcome.exits[name] = program.stop()
        outcome.counted = _add_up(outcome.logs["worker"])

    def _events(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with psycopg.connect(self._database_url) as connection:
            rows = connection.execute(
                "SELECT event_id, state FROM azure_engagement_events"
                " UNION ALL SELECT event_id, state FROM azure_delivery_events"
            )
            for event_id, state in rows:
                found.setdefault(event_id, []).append(state)
        return found

    def _start(self, name: str, environment: Mapping[str, str]) -> Program:
        program = Program(name, environment=environment, folder=self._folder)
        self._contexts.callback(program.end)
        return program


def key(body: bytes, kind: str) -> str:
    """Return what bytes in quarantine are known by; as an event and as a message they may be there twice."""
    return hashlib.sha256(body).hexdigest() + kind


def _add_up(log: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for line in log.splitlines():
        told = json.loads(line) if line.startswith("{") else {}
        if str(told.get("message")).startswith("recorded "):
            stream = told["stream"].rpartition(":")[2]
            counted.update({f"{stream} {outcome}": told[outcome] for outcome in _OUTCOMES if outcome in told})
    return counted


def _peak_mebibytes(pid: int) -> int:
    """Return the most memory that a process has had at once."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


def _assert_in(wanted: str, found: Any) -> None:
    assert wanted in found
