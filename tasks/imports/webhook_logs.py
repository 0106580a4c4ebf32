"""The replaced system's `webhook_logs` as a source: the bodies that Event Grid sent it, as they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine, Row

from db.webhook_logs import has_logs, list_logs, newest_log, read_logs
from tasks.batch import Body
from tasks.cutting import in_batches
from tasks.imports.source import Piece
from tasks.wire import DELIVERY_REPORT, ENGAGEMENT_REPORT
from worker.errors import AttributionError

#: Rows listed at once.
_LISTED: Final = 1000
_EVENT_TYPES: Final = (DELIVERY_REPORT.encode(), ENGAGEMENT_REPORT.encode())


class NoWebhookLogs(AttributionError):
    """This database holds no webhook_logs of the replaced system. Check ATTRIBUTION_DATABASE_URL."""


@dataclass(frozen=True)
class WebhookLogs:
    """The table in the database of ``engine``. Positions are ids of rows, and so is what the progress bar counts."""

    engine: Engine
    key: str = "webhook_logs"
    ends: bool = False

    def newest(self) -> int:
        """Return the id of the newest row.

        Raises:
            NoWebhookLogs: there is no such table.
        """
        with self.engine.begin() as conn:
            if not has_logs(conn):
                raise NoWebhookLogs
            return newest_log(conn)

    def read(self, after: int) -> Iterator[Piece]:
        """Yield the rows behind the row ``after``, in small transactions.

        A row is ours if it names one of our event types. So what other services sent is none of ours, nor a handshake,
        whatever the row's webhook_type says; and a body of ours that was cut off is.
        """
        for rows in in_batches(self._list(after), lambda row: (1, row.body_bytes)):
            for row in self._read([row.id for row in rows]):
                body = (row.request_body or "").encode()
                ours = any(event_type in body for event_type in _EVENT_TYPES)
                received_at = row.created_at or datetime.now(UTC)
                yield Piece(row.id, row.id, Body(body, None, received_at) if ours else None)

    def _list(self, after: int) -> Iterator[Row[Any]]:
        while True:
            with self.engine.begin() as conn:
                rows = list_logs(conn, after=after, limit=_LISTED)
            yield from rows
            if len(rows) < _LISTED:
                return
            after = rows[-1].id

    def _read(self, ids: Sequence[int]) -> Sequence[Row[Any]]:
        with self.engine.begin() as conn:
            return read_logs(conn, ids)
