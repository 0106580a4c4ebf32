"""One Celery task per event, written the obvious way: what the drain is compared with.

The task gets one event as JSON, looks up the tracking row of its message and inserts the event, in one SQLAlchemy
session; the unique key tells duplicates. The worker is a real one with one process, on a queue that nobody else
reads, with Celery's own defaults, which are kind to its speed: it acknowledges before it works. The task also does
less than the drain: it looks at one of the two message ids, quarantines nothing, checks nothing again after its
commit, and learns nothing from delivery reports. What sending the tasks costs is not counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

import redis
from celery import Celery
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks.commits import rate_of_commits
from benchmarks.drains import wait_for_readers
from benchmarks.load import fill_queue
from benchmarks.servers import Servers, connect, wait_until
from db.tables import engagement_events, message_tracking
from tasks.eventgrid import event_key

_QUEUE: Final = "bench.events"
_TASK: Final = "bench.record_event"

app = Celery("bench", broker=os.environ.get("ATTRIBUTION_REDIS_URL"), set_as_current=False)
app.conf.task_ignore_result = True


class _Base(DeclarativeBase):
    pass


class _Event(_Base):
    __table__ = engagement_events


@cache
def _engine() -> Engine:
    return create_engine(os.environ["ATTRIBUTION_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1))


@app.task(name=_TASK)
def record_event(event: dict[str, Any]) -> None:
    """Attribute or park one event."""
    data = event["data"]
    tracking = message_tracking.c
    with Session(_engine()) as session:
        of_message = select(tracking.campaign_id, tracking.subscriber_id).where(
            tracking.internet_message_id == data["internetMessageId"]
        )
        message = session.execute(of_message).one_or_none()
        now = datetime.now(UTC)
        session.add(
            _Event(
                event_key=UUID(bytes=event_key(event["topic"], event["id"])),
                event_id=event["id"],
                internet_message_id=data["internetMessageId"],
                azure_message_id=UUID(data["messageId"]),
                engagement_type=data["engagementType"],
                engagement_context=data["engagementContext"],
                user_agent=data["userAgent"],
                event_timestamp=datetime.fromisoformat(data["userActionTimestamp"]),
                received_at=now,
                campaign_id=message and message.campaign_id,
                subscriber_id=message and message.subscriber_id,
                state="attributed" if message else "parked",
                matched_by="internet_message_id" if message else None,
                attributed_at=now if message else None,
                next_attempt_at=None if message else now + timedelta(seconds=5),
            )
        )
        try:
            session.commit()
        except IntegrityError:
            session.rollback()  # a duplicate


def time_tasks(servers: Servers, client: redis.Redis, database_url: str, events: Iterable[str]) -> float:
    """Work ``events`` by a task each, in one worker process, and return how many were committed per second.

    Raises:
        Lost: not all were.
    """
    command = ("celery", "-A", "benchmarks.task_per_event", "worker", "-Q", _QUEUE, "--concurrency=1")
    with servers.process("task-per-event", *command, database_url=database_url):
        wait_for_readers(client, 1)
        sent = fill_queue(client, servers.redis_url, _QUEUE, _TASK, ([json.loads(event)] for event in events))
        with connect(database_url) as connection:

            def all_are_there() -> bool:
                row = connection.execute("SELECT count(*) FROM azure_engagement_events").fetchone()
                return row == (sent,)

            wait_until(all_are_there, f"for {sent} Celery tasks, one an event", seconds=60 + sent / 20, glance=0.2)
            return rate_of_commits(connection, "azure_engagement_events")
