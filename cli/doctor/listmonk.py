"""listmonk's tables, where this is its database: are they as we know them, and may we write what we write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.findings import Finding, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from cli.doctor.schema import lacking, listed, migrated_database
from db.checkup import expected_foreign_keys, find_foreign_keys, find_missing_privileges, read_listmonk_version
from db.listmonk.tables import Listmonk, find_listmonk

subject: Final = Subject("listmonk", "listmonk")


@subject.check("tables", "listmonk's tables are all there, if this is its database.")
def tables(installation: Installation) -> Iterator[Finding]:
    """Tell what was found of listmonk, and what its settings ask of us."""
    with migrated_database(installation) as conn:
        found = find_listmonk(conn)
        if not found.present:
            yield ok("This is not listmonk's database: results stay in our own tables.")
            return
        try:
            version = read_listmonk_version(conn)
        except SQLAlchemyError:  # another release of listmonk keeps it elsewhere, or this role may not read it
            version = None
    unknown = [name for name in ("views", "clicks", "bounces") if not getattr(found, name)]
    if unknown:
        yield warning(
            f"This is listmonk's database{_of(version)}, and its tables for {listed(unknown)} are not as we know them:"
            " these are stored in our own tables, and listmonk does not show them.",
            "Look whether this release knows that version of listmonk: docs/listmonk.md.",
        )
    else:
        yield ok(f"This is listmonk's database{_of(version)}, with its tables for views, clicks and bounces.")
    yield from _listmonk_settings(found)


@subject.check("keys", "Our rows go with listmonk's campaigns and subscribers.")
def keys(installation: Installation) -> Iterator[Finding]:
    """Look for references to listmonk's tables that are gone, that do not cascade, or that do not hold for old rows."""
    with migrated_database(installation) as conn:
        if not _is_listmonk(conn):
            return
        found = find_foreign_keys(conn)
    gone = [
        f"{column} of {table}" for table, column in expected_foreign_keys() if not found.get((table, column), (0, 0))[0]
    ]
    unchecked = [f"{column} of {table}" for (table, column), (_, validated) in sorted(found.items()) if not validated]
    if gone:
        yield failure(
            f"The foreign key on {listed(gone)} is gone, or does not cascade: who deletes a campaign or a subscriber in"
            " listmonk leaves our rows of it behind, or cannot delete it at all.",
            "Run the statement of migrations/r0001/listmonk.py for it: ON DELETE CASCADE, NOT VALID first, then"
            " VALIDATE.",
        )
    if unchecked:
        yield hint(
            f"The foreign key on {listed(unchecked)} holds for new rows alone: old ones point to campaigns or"
            " subscribers that are gone.",
            "Delete these rows if nobody wants them any more, then ALTER TABLE … VALIDATE CONSTRAINT …",
        )


@subject.check("privileges", "This role may do to listmonk's tables what the pipeline does.")
def privileges(installation: Installation) -> Iterator[Finding]:
    """Compare the role's privileges on listmonk's tables with what the statements need."""
    with migrated_database(installation) as conn:
        if _is_listmonk(conn):
            yield from lacking(find_missing_privileges(conn, listmonk=True))


def _listmonk_settings(found: Listmonk) -> Iterator[Finding]:
    if found.tracking_disabled:
        yield hint(
            "listmonk's privacy.disable_tracking is on: views and clicks are stored here, and not written into its"
            " tables.",
            "Switch it off in listmonk's settings if it is to show them.",
        )
    elif not found.individual_tracking:
        yield hint(
            "listmonk's privacy.individual_tracking is off: views and clicks are written into its tables without their"
            " subscriber, and one act may be harder to tell from another.",
            "Switch it on in listmonk's settings if it is to know who opened and clicked.",
        )


def _is_listmonk(conn: Connection) -> bool:
    return find_listmonk(conn).present


def _of(version: str | None) -> str:
    return f" ({version})" if version else ""
