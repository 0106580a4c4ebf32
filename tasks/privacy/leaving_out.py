"""What was erased is left out of a batch, before anything of it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from db.erased import Key, find_erased, has_erased
from db.models import DeliveryEvent, EngagementEvent, Malformed, TrackedMessage
from tasks.batch import Body, Drained, Pipeline
from tasks.privacy.cutting_out import cut_out

_Rows = TypeVar("_Rows")


class Erased(Exception):
    """Something of a batch was erased: its transaction is given up, and it is recorded without that."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__("something of the batch was erased")
        self.keys = keys


def leave_out_erased(conn: Connection, keys: Callable[[], set[Key]]) -> None:
    """Raise `Erased` if any of ``keys``, which are made only if anything was erased lately, is of what was erased."""
    if has_erased(conn) and (erased := find_erased(conn, keys())):
        raise Erased(erased)


def record_the_rest(pipeline: Pipeline[_Rows], engine: Engine, bodies: Sequence[Body], erased: Erased) -> Drained:
    """Record what of ``bodies`` was not erased; in the archive, too, there is nothing else of them."""
    rest: list[Body] = []
    for body in bodies:

        def rest_of(part: bytes, body: Body = body) -> bytes | None:
            keys = pipeline.keys(pipeline.parse([body._replace(body=part)]))
            return part if erased.keys.isdisjoint(keys) else None

        left = cut_out(pipeline.kind, body.body, rest_of)
        if left is not None:
            rest.append(body._replace(body=left))
    return pipeline.record(engine, pipeline.parse(rest)) if rest else Drained()


def keys_of(
    rows: Sequence[DeliveryEvent | EngagementEvent | TrackedMessage], malformed: Sequence[Malformed]
) -> Iterator[Key]:
    """Yield what rows, and bytes that could not be read, would be known again by if they had been erased."""
    for part in malformed:
        yield "content", str(UUID(bytes=part.content_key))
    for row in rows:
        if not isinstance(row, TrackedMessage):
            yield "event", str(UUID(bytes=row.event_key))
        if row.internet_message_id:
            yield "internet", row.internet_message_id
        if row.azure_message_id:
            yield "azure", str(UUID(bytes=row.azure_message_id))
