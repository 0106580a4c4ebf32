"""What Celery is about to drop goes onto the stream of messages: a task that carries trackings is not only a task.

Celery gives a task up when it has killed its child too often, or has overrun its hard time limit, and drops a message
whose task it does not know. Its message is acknowledged then. On the stream trackings that only had bad luck are
drained, those that kill whoever works them are quarantined alone, and what a release of another day would have
understood is quarantined with its bytes. Where Redis has no room for them, all are quarantined at once.

This runs in the worker's main process, from which children are forked: each time on a connection of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.signals import task_failure, task_unknown
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from db.engine import create_engine
from tasks.batch import Body, set_aside
from tasks.messages import CALL, MessagePipeline
from tasks.privacy.recipients import make_recipients
from tasks.reasons import Reason
from tasks.track import FIELDS, encode
from worker.queues import TRACKING
from worker.settings import WorkerSettings
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import MESSAGES

_log = logging.getLogger(__name__)


@task_failure.connect
def keep_given_up(sender: Any, exception: BaseException, args: Any, kwargs: Any, **_signal: Any) -> None:
    """Put the trackings of a task that did not live to do so itself onto the stream."""
    if not isinstance(exception, (WorkerLostError, TimeLimitExceeded)):
        return  # it did live
    _append(_calls(sender.name, args or (), kwargs or {}))


@task_unknown.connect
def keep_unknown(name: str, message: Any, **_signal: Any) -> None:
    """Put the arguments of a task that this release does not have onto the stream, which quarantines them.

    They are not taken for trackings, however much they look like some: nobody here knows what they were to do.
    """
    if message.delivery_info.get("routing_key") != TRACKING:
        return
    payload = message.payload
    arguments, keywords = payload[:2] if isinstance(payload, list) else (payload.get("args"), payload.get("kwargs"))
    _append([{"unknown_task": name, "arguments": arguments, "keywords": keywords}])


def _calls(task: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the trackings in the arguments of a task, in pieces of a size that the drain likes; nothing of another."""
    if task == "track_message":
        yield dict(zip(FIELDS, args, strict=False)) | dict(keywords)
    elif task == "track_messages":
        for given in (*args, *keywords.values()):
            if isinstance(given, list):
                yield from (given[start : start + CALL] for start in range(0, len(given), CALL))
            else:
                yield given


def _append(calls: Iterable[Any]) -> None:
    bodies = [encode(call) for call in calls]
    if not bodies:
        return
    settings = WorkerSettings.read()
    try:
        with connect(settings.redis_url.get_secret_value()) as client:
            StreamConsumer(client, (MESSAGES,)).append(MESSAGES, bodies)
    except RedisError as error:
        _log.error("Redis did not take the trackings that Celery has given up (%s)", type(error).__name__)
        _quarantine(settings, bodies)
    else:
        _log.error("trackings that Celery has given up were put onto their stream")


def _quarantine(settings: WorkerSettings, bodies: Sequence[bytes]) -> None:
    """Keep in PostgreSQL what a full Redis refuses: it acknowledges the task all the same."""
    engine = create_engine(settings.database_url.get_secret_value(), poolclass=NullPool)
    try:
        now = datetime.now(UTC)
        pipeline = MessagePipeline(tracked_via="celery", recipients=make_recipients(settings))
        set_aside(engine, pipeline, [Body(body, None, now) for body in bodies], Reason.DELIVERED_TOO_OFTEN, None)
    except SQLAlchemyError as error:
        _log.error("they are lost: PostgreSQL did not take them either (%s)", type(error).__name__)
