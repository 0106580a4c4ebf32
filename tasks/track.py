"""The Celery door for mailers: `track_message` and `track_messages`, enqueued by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from celery import Task
from celery.exceptions import Reject

from tasks.batch import Body, work
from tasks.context import context
from tasks.messages import CALL, MessagePipeline
from worker.app import app
from worker.streams import MESSAGES

_log = logging.getLogger(__name__)
#: What positional arguments of `track_message` mean, in their order.
FIELDS = ("internet_message_id", "campaign_id", "subscriber_id", "azure_message_id", "sent_at", "smtp_server_uuid")


@app.task(name="track_message", bind=True)
def track_message(self: Task[..., str], *args: Any, **tracking: Any) -> str:
    """Track one message: ``internet_message_id``, ``campaign_id`` and the other fields of docs/tracking.md.

    It takes whatever it is given: a call with the wrong arguments is quarantined, where a TypeError would lose it.
    """
    return _track(self, [*args] if len(args) > len(FIELDS) else dict(zip(FIELDS, args, strict=False)) | tracking)


@app.task(name="track_messages", bind=True)
def track_messages(self: Task[..., str], messages: Any = None, *args: Any, **more: Any) -> str:
    """Track many messages, given as a list, in one transaction: the way to track a campaign.

    A list of more than `CALL` goes onto the stream at once, in pieces, and the drain does the rest: a million would
    take longer than a task may.
    """
    if args or more:
        return _track(self, [messages, *args, more])
    if isinstance(messages, list) and len(messages) > CALL:
        return _hand_over(self, (messages[start : start + CALL] for start in range(0, len(messages), CALL)))
    return _track(self, messages)


def _track(task: Task[..., str], trackings: Any) -> str:
    """Track, commit, release what waited; the task is acknowledged when this returns.

    When that does not work out, for whatever reason, the trackings move to their stream.
    """
    ctx = context()
    pipeline = MessagePipeline(tracked_via="celery", results=ctx.results, recipients=ctx.recipients, counted=True)
    try:
        ctx.require_postgresql()
        drained = work(pipeline, ctx.engine, [Body(encode(trackings), task.request.id, datetime.now(UTC))])
    except Exception as error:  # SoftTimeLimitExceeded included
        _log.warning("trackings were not recorded (%s); they go onto the stream", type(error).__name__)
        return _hand_over(task, [trackings])
    return str(drained)


def _hand_over(task: Task[..., str], calls: Iterable[Any]) -> str:
    """Put trackings onto their stream, which waits with more patience and more safely than a Celery message could.

    When Redis fails as well, the task is tried again, and again: Celery acknowledges a task that has failed for good.
    """
    try:
        context().consumer.append(MESSAGES, (encode(call) for call in calls))
    except Exception as error:  # SoftTimeLimitExceeded included
        try:
            raise cast(Exception, task.retry(exc=error, countdown=min(60, 2**task.request.retries), max_retries=None))
        except Reject:  # the broker does not take the retry, either: back to where it came from
            raise Reject(error, requeue=True) from None
    return "handed to the stream"


def encode(trackings: Any) -> bytes:
    """Return the JSON of what a mailer sent. Celery's reader takes more for JSON than ours, which judges each item."""
    try:
        return msgspec.json.encode(trackings)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(trackings, default=str).encode()
