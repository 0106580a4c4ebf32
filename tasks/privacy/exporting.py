"""The export of a person: every row and every part of a body that a search has found, as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from db.people import ARCHIVE, LOGS, PEOPLE, QUARANTINE, read_bodies, read_rows
from tasks.archiving import ArchiveUnreadable
from tasks.privacy.searching import Found, Search, unpacked

_BODIES: Final = (ARCHIVE, QUARANTINE, LOGS)
#: Rows read at once.
_READ: Final = 200


def export(search: Search, found: Found) -> dict[str, Any]:
    """Return what was found as one document: who it is, rows by table, and what bodies hold of him.

    Of bodies only what is his or names him: what else came in them is about others.
    """
    person = search.person
    return {
        "person": {
            "subscribers": sorted(person.subscribers),
            "addresses": sorted(person.addresses),
            "subscriber_uuids": sorted(person.uuids),
            "stored_as": sorted(person.recipients - person.addresses),
        },
        "tables": {table: list(_rows(search, found, table)) for table in found.counts() if table not in _BODIES},
        "bodies": {table: list(_bodies(search, found, table)) for table in _BODIES if found.rows.get(table)},
    }


def _rows(search: Search, found: Found, table: str) -> Iterator[Any]:
    ids = [*found.rows.get(table, ()), *found.named.get(table, ())]
    if table == PEOPLE:
        yield from ({"campaign_id": campaign, "fact": fact, "person": str(person)} for campaign, fact, person in ids)
        return
    for start in range(0, len(ids), _READ):
        with search.engine.begin() as conn:
            yield from read_rows(conn, table, ids[start : start + _READ])


def _bodies(search: Search, found: Found, table: str) -> Iterator[Any]:
    witness = search.witness()
    for row_id in found.rows[table]:
        with search.engine.begin() as conn:
            rows, columns = read_bodies(conn, table, [row_id]), read_rows(conn, table, [row_id])
        for row in rows:
            try:
                bodies = unpacked(table, row)
            except ArchiveUnreadable:  # damaged since it was found
                continue
            parts = [part for body in bodies for part in witness.parts(row.kind, body.body)]
            if parts:
                yield {"row": columns[0] if columns else {"id": row_id}, "parts": [_readable(part) for part in parts]}


def _readable(part: bytes) -> Any:
    try:
        return msgspec.json.decode(part)
    except (ValueError, RecursionError):
        return part.decode(errors="replace")
