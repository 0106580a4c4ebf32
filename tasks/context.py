"""What a process of the pipeline needs, made once per process and after forking: sockets must not be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Engine

from db.bounces import BounceRules
from db.engine import create_engine
from db.results import Results
from tasks.batch import Pipeline
from tasks.events import EventPipeline
from tasks.messages import MessagePipeline
from tasks.pace import Pace
from tasks.presence import Presence
from tasks.privacy.recipients import Recipients, make_recipients
from worker.settings import WorkerSettings
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics
from worker.telemetry.error_tracking import report

#: The kind of incident that two keys make of which each names another campaign or reader.
_DISAGREE: Final = "keys_disagree"


@dataclass(frozen=True, slots=True)
class Context:
    """Settings, connections, the pipeline of each stream, and how fast to go."""

    settings: WorkerSettings
    engine: Engine
    consumer: StreamConsumer
    results: Results
    pipelines: Mapping[str, Pipeline[Any]]
    pace: Pace
    recipients: Recipients
    presence: Presence = field(default_factory=Presence)

    def require_postgresql(self) -> None:
        """Do not begin what needs PostgreSQL while that does not answer, or takes no writes.

        Raises:
            worker.errors.DatabaseAway: after a few seconds, or at once if it did not answer a moment ago.
        """
        self.presence.require(self.engine)


def make_results(settings: WorkerSettings, kind: type[Results] = Results) -> Results:
    """Return what is to become of attributed events, by the settings."""
    return kind(
        native_window=settings.native_window,
        personal_parameters=frozenset(settings.personal_parameters),
        bounces=BounceRules(settings.bounce_types),
        webhook=settings.webhook_url is not None,
        noticed=_note_disagreements,
        wrote=metrics.count_listmonk_rows,
    )


def _note_disagreements(clicks: int) -> None:
    metrics.INCIDENTS.labels(_DISAGREE).inc(clicks)
    sentence = "clicks name another campaign or reader by their link than by their message"
    report(_DISAGREE, sentence, counts={"clicks": clicks})


def make_context(settings: WorkerSettings) -> Context:
    """Build a context. Nothing connects before it is used."""
    results = make_results(settings)
    recipients = make_recipients(settings)
    archived = settings.archive_retention > timedelta(0)
    return Context(
        settings=settings,
        results=results,
        recipients=recipients,
        pace=Pace(settings),
        engine=create_engine(
            settings.database_url.get_secret_value(),
            statement_timeout=settings.statement_timeout,
            for_batches=True,
        ),
        consumer=StreamConsumer(connect(settings.redis_url.get_secret_value()), (MESSAGES, EVENTS)),
        pipelines={
            MESSAGES: MessagePipeline(
                tracked_via="stream", results=results, recipients=recipients, archived=archived, counted=True
            ),
            EVENTS: EventPipeline(
                first_wait=settings.park_schedule[0],
                jitter=settings.park_jitter_percent / 100,
                results=results,
                recipients=recipients,
                archived=archived,
                counted=True,
            ),
        },
    )


@cache
def context() -> Context:
    """Return this process's context, from the environment."""
    return make_context(WorkerSettings.read())
