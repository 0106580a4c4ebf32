"""Drives everything that can be driven with marked people, payloads and secrets, and gathers all that was said of it.

Marks may stand in PostgreSQL (rows, archive, quarantine, outbox), on the streams and in Celery's messages until they
are worked, and in what is posted to the user's webhook: that is what those are for. Nowhere else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import psycopg
import redis
from celery import Celery

from tests.acceptance.conftest import StartProgram
from tests.acceptance.marks import MARKS
from tests.acceptance.programs import ROOT, Program, free_port
from tests.acceptance.test_tracing import Collector
from tests.sentry_server import SentryServer
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import backlog
from tests.tasks.webhook_endpoint import SECRET, WebhookEndpoint
from tests.waiting import eventually
from worker.queues import ALL, DRAIN, MAINTENANCE, TRACKING
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, MESSAGES

FLOWER_AUTH: Final = ("ops", "password-of-the-tests")
MESSAGE_ID: Final = f"<{MARKS.message_id}@mail.example.com>"


@dataclass
class Driven:
    """A whole installation, and what came of driving it."""

    start: StartProgram
    database_url: str
    redis_url: str
    client: redis.Redis
    sentry: SentryServer
    collector: Collector
    webhook: WebhookEndpoint
    environment: Mapping[str, Any]
    programs: dict[str, Program] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.receiver_port, self.metrics_port, self.flower_port = free_port(), free_port(), free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.receiver_port}", timeout=10)
        self.flower = httpx.Client(base_url=f"http://127.0.0.1:{self.flower_port}", auth=FLOWER_AUTH, timeout=10)

    def begin(self) -> None:
        """Start every program, and wait until all of them work."""
        self.webhook.answer_body = MARKS.webhook_answer.encode()
        self.webhook.answer(500, x_why=MARKS.webhook_answer)
        environment = {
            "attribution_database_url": self.database_url,
            "attribution_redis_url": self.redis_url,
            "attribution_log_level": "DEBUG",
            "attribution_log_format": "json",
            "attribution_event_secrets": f"{MARKS.event_secret}-0123456789",
            "attribution_message_secrets": f"{MARKS.message_secret}-0123456789",
            "attribution_recipient_key": MARKS.recipient_key * 3,
            "attribution_webhook_url": f"{self.webhook.url}/{MARKS.webhook_token}?token={MARKS.webhook_token}",
            "attribution_webhook_secrets": SECRET,
            "attribution_claim_after": 1,
            "attribution_port": self.receiver_port,
            "attribution_metrics_port": self.metrics_port,
            "attribution_sentry_dsn": self.sentry.dsn,
            "attribution_sentry_traces_percent": 100,
            "attribution_flower_auth": ":".join(FLOWER_AUTH),
            "otel_exporter_otlp_endpoint": f"http://127.0.0.1:{self.collector.server_port}",
            "otel_bsp_schedule_delay": 100,
            **self.environment,
        }
        for name, options in (
            ("receiver", ()), ("worker", ()), ("beat", ()), ("flower", (f"--port={self.flower_port}",)),
        ):  # fmt: skip
            self.programs[name] = self.start(name, *options, **environment)
        eventually(lambda: self._assert_up(self.http, "/readyz"), within=40)
        eventually(lambda: self._assert_up(self.flower, "/healthcheck"), within=40)
        eventually(self._assert_flower_sees_the_worker, within=40)
        eventually(lambda: self._assert_logged("tasks.drainer", '"draining"'), within=40)
        StreamConsumer(connect(self.redis_url), (MESSAGES, EVENTS)).create_group()  # or has a slow drain yet to make it

    def close(self) -> None:
        """Close connections; the programs end with the test."""
        self.http.close()
        self.flower.close()

    def drive(self) -> None:
        """Send everything, through sound servers and broken ones."""
        self._post_as_strangers()
        self._post_messages()
        self._post_events("e")
        self._send_tasks()
        self._settle()
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            self._break_and_drive(conn)
        self._send_tasks()
        self._settle()
        eventually(self._assert_webhook_was_tried, within=30)
        self._begin_wrongly()

    def said(self) -> dict[str, str]:
        """Stop everything, and return all that was said, by where it was said."""
        said = {
            "metrics of the receiver": self.http.get("/metrics").text,
            "metrics of the worker": httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text,
            "flower": self._flower_pages(),
        }
        for name, program in self.programs.items():
            program.stop()
            said[f"log of the {name}"] = program.log
        return said | {
            "answers": "\n".join(self.answers),
            "refusals to start": "\n".join(self.refusals),
            "sentry": self.sentry.text(),
            "traces": self.collector.raw.decode(errors="replace"),
            "redis": self._redis_keys(),
        }

    def _post(self, path: str, body: bytes, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"cookie": f"who={MARKS.header}", "referer": f"https://{MARKS.header}.example.com/"} | named
        answer = self.http.post(path, content=body, headers=sent)
        self.answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer.status_code

    def _post_as_strangers(self) -> None:
        for path in ("/eventgrid", "/webhooks/service/azure", "/messages"):
            self._post(f"{path}?code={MARKS.wrong_secret}", b"[]", x_attribution_secret=MARKS.wrong_secret)
            self._post(path, b"[]", authorization=f"Bearer {MARKS.wrong_secret}.e30.x")
        self._post(f"/{MARKS.path}@example.com?email={MARKS.path}@example.com", b"[]")

    def _post_messages(self) -> None:
        sound = {
            "internet_message_id": MESSAGE_ID,
            "campaign_id": 7,
            "recipient_domain": f"{MARKS.tracked}@example.com",
        }
        wrong = [
            {"internet_message_id": f"{MARKS.refused_tracking} @example.com", "campaign_id": MARKS.refused_tracking}
        ]
        for body in (json.dumps(sound).encode(), json.dumps(wrong).encode(), MARKS.refused_tracking.encode()):
            self._post("/messages", body, authorization=f"Bearer {MARKS.message_secret}-0123456789")

    def _post_events(self, name: str) -> None:
        person = {"recipient": f"{MARKS.recipient}@example.net", "sender": f"{MARKS.sender}@mail.example.com"}
        link = f"https://www.example.com/{MARKS.link}?email={MARKS.link}@example.com"
        seen = {
            "internet_message_id": MESSAGE_ID,
            "engagementContext": link,
            "userAgent": f"Mozilla {MARKS.user_agent}",
        }
        details = {"statusMessage": f"550 5.1.1 <{MARKS.diagnosis}@example.net> unknown: {MARKS.diagnosis}"}
        events = [
            engagement(f"{name}1", **person, **seen) | {"subject": f"sender/{MARKS.subject}@mail.example.com"},
            engagement(
                f"{name}2", **person, **(seen | {"internet_message_id": f"<{MARKS.message_id}.other@example.com>"})
            ),
            delivery(
                f"{name}3", **person, internet_message_id=MESSAGE_ID, status="Bounced", deliveryStatusDetails=details
            ),
            engagement(f"{name}4", **person, **(seen | {"userActionTimestamp": MARKS.malformed})),
            {"id": MARKS.malformed, "eventType": f"Microsoft.{MARKS.malformed}@example.com", "data": MARKS.malformed},
        ]
        secret = f"code={MARKS.event_secret}-0123456789"
        named = {"aeg-event-type": "Notification"}
        bodies = [body_of(event) for event in events] + [
            body_of(*events),
            f'{{"{MARKS.malformed}": '.encode(),
            b"\xff\xfe",
        ]
        for body in bodies:
            assert self._post(f"/eventgrid?{secret}", body, **named) == 200

    def _send_tasks(self) -> None:
        app = Celery(broker=self.redis_url)
        tracking = {"internet_message_id": f"<{MARKS.celery}@mail.example.com>", "campaign_id": 7}
        app.send_task("track_messages", args=[[tracking]], queue=TRACKING)
        app.send_task("track_message", args=[tracking["internet_message_id"], 9], queue=TRACKING)
        app.send_task("track_message", kwargs={"wrong": f"{MARKS.celery}@example.com"}, queue=TRACKING)
        app.send_task("no_such_task", args=[f"{MARKS.unknown_task}@example.com"], queue=TRACKING)
        for task in ("sweep_parked", "detect_rewrites", "measure", "send_webhooks"):
            app.send_task(task, queue=MAINTENANCE)
        app.send_task("drain_events", queue=DRAIN)
        app.close()

    def _break_and_drive(self, conn: psycopg.Connection[Any]) -> None:
        """Have PostgreSQL fail: by a table that is gone, and by rules whose complaints repeat rows."""
        conn.execute("ALTER TABLE azure_engagement_events RENAME TO elsewhere")
        self._post_events("f")
        self._send_tasks()
        eventually(lambda: self._assert_logged("a batch was not finished"), within=30)
        eventually(lambda: self._assert_logged("sweep_parked", "ProgrammingError"), within=30)
        conn.execute("ALTER TABLE elsewhere RENAME TO azure_engagement_events")
        self._settle()
        for number, rule in enumerate(("user_agent NOT LIKE '%zq%'", "user_agent::integer > 0")):
            conn.execute(f"ALTER TABLE azure_engagement_events ADD CONSTRAINT strict CHECK ({rule}) NOT VALID")
            self._post_events(f"g{number}")
            self._settle()
            conn.execute("ALTER TABLE azure_engagement_events DROP CONSTRAINT strict")

        conn.execute(
            "CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'of % I want nothing', NEW.user_agent USING DETAIL = NEW::text; END $$"
        )
        conn.execute(
            "CREATE TRIGGER complain BEFORE INSERT ON azure_engagement_events FOR EACH ROW EXECUTE FUNCTION complain()"
        )
        failed = self.programs["worker"].log.count("a batch was not finished")
        self._post_events("h")
        eventually(lambda: self._assert_failed_more_often(failed), within=30)
        conn.execute("DROP TRIGGER complain ON azure_engagement_events")
        self._settle()

    def _assert_failed_more_often(self, before: int) -> None:
        assert self.programs["worker"].log.count("a batch was not finished") > before

    def _begin_wrongly(self) -> None:
        """Start programs with settings that cannot be used, and hold what they say of them."""
        wrong = {
            "ATTRIBUTION_DATABASE_URL": f"mysql://user:{MARKS.password}@host/name",
            "ATTRIBUTION_REDIS_URL": f"http://user:{MARKS.password}@host",
            "ATTRIBUTION_EVENT_SECRETS": MARKS.password[:12],
            "ATTRIBUTION_WEBHOOK_SECRETS": MARKS.password,
            "ATTRIBUTION_PARK_SCHEDULE": MARKS.password,
        }
        sound_but_nowhere = {
            "ATTRIBUTION_DATABASE_URL": f"postgresql://user:{MARKS.password}@127.0.0.1:1/name",
            "ATTRIBUTION_REDIS_URL": f"redis://user:{MARKS.password}@127.0.0.1:1/0",
        }
        for command in ("receiver", "worker", "migrate", "parked"):
            for settings in (wrong, sound_but_nowhere):
                if (command, settings) != ("worker", sound_but_nowhere) and (
                    command != "receiver" or settings is wrong
                ):
                    self.refusals.append(_run(command, settings))

    def _settle(self) -> None:
        def drained() -> None:
            assert backlog(self.client) == (0, 0)
            assert sum(self.client.llen(queue) for queue in ALL) == 0
            assert self.client.hlen("unacked") == 0

        eventually(drained, within=60)

    def _flower_pages(self) -> str:
        tasks = self.flower.get("/api/tasks").json()
        workers = self.flower.get("/api/workers", params={"refresh": "1"}).json()
        pages = ["/", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/workers"]
        pages += [f"/task/{uuid}" for uuid in tasks] + [f"/worker/{name}" for name in workers]
        assert {task["name"] for task in tasks.values()} >= {"track_message", "track_messages", "sweep_parked"}
        assert any(task["state"] == "FAILURE" for task in tasks.values())
        return "\n".join(self.flower.get(page).text for page in pages)

    def _redis_keys(self) -> str:
        """Return every key with what it holds; what is on no stream any more is not looked for."""
        client: Any = self.client
        read = {
            b"string": client.get, b"hash": client.hgetall, b"set": client.smembers, b"stream": client.xrange,
            b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1),
        }  # fmt: skip
        return "\n".join(f"{key} {read[client.type(key)](key)}" for key in client.scan_iter())

    def _assert_up(self, client: httpx.Client, path: str) -> None:
        with suppress(httpx.TransportError):
            assert client.get(path).status_code == 200
            return
        raise AssertionError(path)

    def _assert_flower_sees_the_worker(self) -> None:
        assert self.flower.get("/api/workers", params={"refresh": "1"}).json()

    def _assert_logged(self, *words: str) -> None:
        assert any(all(word in line for word in words) for line in self.programs["worker"].log.splitlines())

    def _assert_webhook_was_tried(self) -> None:
        assert self.webhook.calls


def _run(command: str, settings: Mapping[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "cli", command],
        cwd=ROOT, env=dict(settings), capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert ran.returncode != 0, ran
    return ran.stdout + ran.stderr
