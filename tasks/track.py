"""The Celery door for mailers: `track_message` and `track_messages`, enqueued by name."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from celery import Task
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from tasks.batch import Body, work
from tasks.context import context
from tasks.messages import MessagePipeline
from worker.app import app

_log = logging.getLogger(__name__)
_PIPELINE = MessagePipeline(tracked_via="celery")


@app.task(name="track_message", bind=True)
def track_message(self: Task[..., str], **tracking: Any) -> str:
    """Track one message. The keyword arguments are the fields of docs/tracking.md."""
    return _track(self, tracking)


@app.task(name="track_messages", bind=True)
def track_messages(self: Task[..., str], messages: list[dict[str, Any]]) -> str:
    """Track many messages in one transaction: the way to track a campaign."""
    return _track(self, messages)


def _track(task: Task[..., str], trackings: Any) -> str:
    """Track, commit, release what waited; the task is acknowledged when this returns.

    When PostgreSQL does not get well in time, the trackings move to their stream, which waits for it with more patience
    and more safely than a Celery message could. When Redis fails as well, the task is tried again.
    """
    body = msgspec.json.encode(trackings)
    ctx = context()
    try:
        return str(work(_PIPELINE, ctx.engine, [Body(body, task.request.id, datetime.now(UTC))]))
    except SQLAlchemyError as error:
        _log.warning("PostgreSQL did not take the trackings (%s); they go onto the stream", type(error).__name__)
    try:
        ctx.consumer.append_message(body)
    except RedisError as error:
        raise cast(Exception, task.retry(exc=error, countdown=min(60, 2**task.request.retries))) from None
    return "handed to the stream"
