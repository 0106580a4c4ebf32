"""One batch, one transaction; and what to do when the transaction fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Engine

from db.erased import Key
from db.errors import QUERY_CANCELED, Fault, fault_of, sqlstate_of
from db.quarantine import quarantine
from tasks.eventgrid import malformed
from tasks.patience import patiently
from tasks.reasons import Reason
from worker.telemetry import metrics

_log = logging.getLogger(__name__)

_Rows = TypeVar("_Rows")


UNIQUE_VIOLATION = "23505"
#: In listmonk's database our rows refer to its campaigns and subscribers.
FOREIGN_KEY_VIOLATION = "23503"


class Body(NamedTuple):
    """Bytes to be worked: the body of an entry, or one element of it."""

    body: bytes
    entry_id: str | None
    received_at: datetime


@dataclass(slots=True)
class Drained:
    """What became of a batch. Counts add up with ``+=``."""

    attributed: dict[str, int] = field(default_factory=dict)
    parked: int = 0
    released: int = 0
    duplicates: int = 0
    contradictions: int = 0
    taught: int = 0
    ignored: int = 0
    too_old: int = 0
    tracked: int = 0
    known: int = 0
    completed: int = 0
    refused: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)

    def __iadd__(self, other: Drained) -> Drained:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, dict):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, each.name, mine + theirs)
        return self

    def __str__(self) -> str:
        """Say it in a few words for Flower and the log, leaving out what did not happen."""
        return ", ".join(f"{name} {count}" for name, count in self.counts().items()) or "nothing to do"

    def counts(self) -> dict[str, int]:
        """Return what happened, by its name, without what did not."""
        counts = {"attributed": sum(self.attributed.values())}
        counts |= {each.name: getattr(self, each.name) for each in fields(self) if each.type == "int"}
        counts["quarantined"] = sum(self.quarantined.values())
        return {name: count for name, count in counts.items() if count}


class Pipeline(Protocol[_Rows]):
    """What is done to the bodies of one stream."""

    @property
    def kind(self) -> str:
        """What a body is: an event or a message."""
        ...

    @property
    def counted(self) -> bool:
        """Whether what becomes of bodies is counted in the metrics: by a worker, and not by a run of an operator's."""
        ...

    def parse(self, bodies: Sequence[Body]) -> _Rows:
        """Turn bytes into rows, without I/O and without raising."""
        ...

    def keys(self, rows: _Rows) -> set[Key]:
        """Return what the rows would be known again by if they had been erased."""
        ...

    def hide(self, body: bytes) -> bytes:
        """Return bytes that cannot be read as they may be kept."""
        ...

    def record(self, engine: Engine, rows: _Rows) -> Drained:
        """Write the rows in one transaction, count them, and then settle what it left unsettled."""
        ...

    def split(self, body: bytes) -> list[bytes]:
        """Return the elements of a body that holds several, else the body alone."""
        ...


def count_committed(drained: Drained) -> None:
    """Count what a transaction has committed, at once: whatever fails after it, nobody else will count it as new.

    It is recorded, so nothing that happens in counting may fail the batch.
    """
    try:
        metrics.count_outcomes(drained)
    except Exception:
        _log.exception("what was recorded could not be counted")


def work(pipeline: Pipeline[_Rows], engine: Engine, bodies: Sequence[Body], rows: _Rows | None = None) -> Drained:
    """Parse and record ``bodies``; ``rows`` are those of all of them, if the caller has parsed them already.

    When the transaction fails for a reason that lies in the data, the batch is halved until the culprit is alone, which
    is quarantined while the rest goes through. When it fails for a reason that passes, it is tried again for a while.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: PostgreSQL did not get well in time, or the fault is ours. Part of the batch may
            have been committed; working it again changes nothing about that part.
    """
    try:
        return pipeline.record(engine, pipeline.parse(bodies) if rows is None else rows)
    except Exception as error:
        if len(bodies) == 1:
            body = bodies[0]
            bodies = [body._replace(body=part) for part in pipeline.split(body.body)]
        if fault_of(error) is not Fault.DATA and not _may_lie_in_the_batch(error, len(bodies)):
            raise
        culprit = error
    if len(bodies) == 1:
        state = sqlstate_of(culprit)
        deleted = state == FOREIGN_KEY_VIOLATION
        reason = Reason.CAMPAIGN_OR_SUBSCRIBER_DELETED if deleted else Reason.REFUSED_BY_DATABASE
        return set_aside(engine, pipeline, bodies, reason, state or type(culprit).__name__)
    middle = len(bodies) // 2
    drained = work(pipeline, engine, bodies[:middle])
    drained += work(pipeline, engine, bodies[middle:])
    return drained


def _may_lie_in_the_batch(error: Exception, bodies: int) -> bool:
    """Tell of errors that mostly pass by themselves, and have not, whether a smaller batch may do better.

    A unique key lost to nobody else but to the batch itself; a statement that takes longer than it may.
    """
    state = sqlstate_of(error)
    return state == UNIQUE_VIOLATION or (state == QUERY_CANCELED and bodies > 1)


def set_aside(
    engine: Engine, pipeline: Pipeline[Any], bodies: Sequence[Body], reason: Reason, detail: str | None
) -> Drained:
    """Quarantine ``bodies`` whole, in a transaction of its own."""
    kind = pipeline.kind
    parts = [malformed(kind, reason, detail, pipeline.hide(body.body), *body[1:]) for body in bodies]

    def keep() -> None:
        with engine.begin() as conn:
            quarantine(conn, parts)

    patiently(keep)
    _log.error("quarantined %d %s bodies whole: %s (%s)", len(bodies), kind, reason, detail)
    drained = Drained(quarantined={reason.value: len(bodies)})
    if pipeline.counted:
        count_committed(drained)
    return drained
