"""Every check there is, in the order in which they are told of."""

from __future__ import annotations

from typing import Final

# passage and redis_keeping are the second halves of subjects.
from cli.doctor import (
    celery_workers,
    configuration,
    database,
    encryption,
    events,
    listmonk,
    passage,
    redis_keeping,
    schema,
    secrets,
    streams,
)
from cli.doctor.findings import Subject

SUBJECTS: Final[tuple[Subject, ...]] = (
    configuration.subject,
    secrets.subject,
    encryption.subject,
    database.subject,
    schema.subject,
    listmonk.subject,
    redis_keeping.subject,
    streams.subject,
    celery_workers.subject,
    events.subject,
    passage.subject,
)
