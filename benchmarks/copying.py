"""The best that PostgreSQL can do: the same rows, finished, by COPY into the same indexed table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.servers import connect

#: Bytes in one write.
_BLOCK: Final = 128 * 1024


@dataclass(frozen=True)
class FinishedRows:
    """Rows in COPY's text format, ready to be sent. What ``columns`` leave out gets its default, as in the pipeline."""

    table: str
    columns: Sequence[str]
    blocks: Sequence[bytes]

    def time_copy(self, database_url: str) -> float:
        """Copy them, on one connection and in one transaction, and return the seconds that took, commit included."""
        with connect(database_url) as connection, connection.cursor() as cursor:
            started = time.perf_counter()
            with cursor.copy(f"COPY {self.table} ({', '.join(self.columns)}) FROM STDIN") as copy:
                for block in self.blocks:
                    copy.write(block)
            return time.perf_counter() - started


def take_rows(database_url: str, table: str, columns: Sequence[str], where: str = "true") -> FinishedRows:
    """Return the rows of a table, in the order in which they lie there, which is that of the pipeline's own inserts."""
    blocks: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    rows = f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY id"
    with (
        connect(database_url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({rows}) TO STDOUT") as copy,
    ):
        for row in copy:
            gathered.append(bytes(row))
            size += len(row)
            if size >= _BLOCK:
                blocks.append(b"".join(gathered))
                gathered, size = [], 0
    blocks.append(b"".join(gathered))
    return FinishedRows(table, columns, blocks)
