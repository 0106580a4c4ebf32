"""Every check there is, in the order in which they are told of."""

from __future__ import annotations

from typing import Final

from cli.doctor import (
    celery_workers,
    configuration,
    database,
    encryption,
    events,
    handshake,
    redis_server,
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
    redis_server.subject,
    streams.subject,
    celery_workers.subject,
    events.subject,
    handshake.subject,
)
