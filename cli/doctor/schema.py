"""Our tables, and listmonk's where there are some: are they what this release works with, and may it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection

from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from db.checkup import (
    EXPECTED_TRIGGERS,
    expected_foreign_keys,
    find_differences,
    find_foreign_keys,
    find_invalid_indexes,
    find_missing_privileges,
    find_triggers,
    missing_tables,
    read_database,
    read_listmonk_version,
)
from db.listmonk.tables import Listmonk, find_listmonk
from db.migrate import current, is_known, reason_to_migrate

subject: Final = Subject("schema", "Tables")

_RECOUNT: Final = "What came meanwhile is not in campaigns' numbers: ask for a recount, as docs/doctor.md shows."
_MIGRATE: Final = "Run `attribution migrate`, as the owner of the tables."


@subject.check("migrated", "The database is at this release's schema.")
def migrated(installation: Installation) -> Iterator[Finding]:
    """Compare the database's revision with the one that this release needs."""
    revision = _revision(installation)
    if reason := reason_to_migrate(revision):
        yield failure(reason.partition(" Run ")[0], _MIGRATE)
    elif not is_known(revision):
        yield hint(
            f"The database is at revision {revision}, of a newer release than this one. It will do.",
            "Upgrade this machine, too, unless this is a deploy that is being rolled back.",
        )


@subject.check("complete", "No table, column, index or unique key is missing.")
def complete(installation: Installation) -> Iterator[Finding]:
    """Compare our tables with what the migrations make."""
    with _migrated(installation) as conn:
        tables = missing_tables(conn)
        differences = find_differences(conn)
    if tables:
        yield failure(
            f"{_list(tables)} {_are(tables)} not there, though the database was migrated: somebody has dropped"
            f" {'it' if len(tables) == 1 else 'them'}, or this role looks into another schema.",
            "Look at search_path, and at backups. What is lost of events may come back by `attribution replay`.",
        )
    if differences:
        yield failure(
            f"Somebody has changed our tables: {_list(differences)} {_are(differences)} missing or otherwise than it"
            " was made.",
            "Put it back as migrations/ makes it. Without a unique key events may be counted twice.",
        )


@subject.check("indexes", "Every index is valid.")
def indexes(installation: Installation) -> Iterator[Finding]:
    """Look for indexes whose building was broken off."""
    with _migrated(installation) as conn:
        invalid = find_invalid_indexes(conn)
    if invalid:
        yield failure(
            f"{_list(invalid)} {_are(invalid)} invalid: no search uses it, no uniqueness is kept by it, and each write"
            " pays for it. Its building was broken off.",
            f"REINDEX INDEX CONCURRENTLY {invalid[0]};" + (" and so for each." if len(invalid) > 1 else ""),
        )


@subject.check("triggers", "Every trigger is there, and on.")
def triggers(installation: Installation) -> Iterator[Finding]:
    """Look for triggers that are gone or switched off."""
    with _migrated(installation) as conn:
        found = find_triggers(conn)
    off = [f"{name} on {table}" for (table, name), enabled in sorted(found.items()) if not enabled]
    gone = [f"{name} on {table}" for table, name in EXPECTED_TRIGGERS if (table, name) not in found]
    if off:
        table = off[0].partition(" on ")[2]
        yield failure(
            f"The trigger {_list(off)} {_are(off)} switched off: campaigns' numbers go wrong, or other programs'"
            " inserts fail.",
            f"ALTER TABLE {table} ENABLE TRIGGER {off[0].partition(' on ')[0]}; {_RECOUNT}",
        )
    if gone:
        yield failure(
            f"The trigger {_list(gone)} {_are(gone)} not there: campaigns' numbers go wrong, or other programs' inserts"
            " fail.",
            f"Put it back as migrations/ makes it. {_RECOUNT}",
        )


@subject.check("privileges", "This role may do what the pipeline does.")
def privileges(installation: Installation) -> Iterator[Finding]:
    """Compare the role's privileges with what the statements need."""
    with _migrated(installation) as conn:
        yield from _missing(find_missing_privileges(conn, listmonk=False))
        if not read_database(conn).temporary:
            yield failure(
                "This role may not make temporary tables, through which each batch goes: nothing can be recorded.",
                "GRANT TEMPORARY ON DATABASE … TO the role of ATTRIBUTION_DATABASE_URL.",
            )


@subject.check("listmonk", "listmonk's tables are all there, if this is its database.")
def listmonk(installation: Installation) -> Iterator[Finding]:
    """Tell what was found of listmonk, and what its settings ask of us."""
    with _migrated(installation) as conn:
        found = find_listmonk(conn)
        if not found.present:
            yield ok("This is not listmonk's database: results stay in our own tables.")
            return
        try:
            version = read_listmonk_version(conn)
        except Exception:  # another release of listmonk keeps it elsewhere, or this role may not read it
            version = None
    lacking = [name for name in ("views", "clicks", "bounces") if not getattr(found, name)]
    if lacking:
        yield warning(
            f"This is listmonk's database{_of(version)}, and its tables for {_list(lacking)} are not as we know them:"
            " these are stored in our own tables, and listmonk does not show them.",
            "Look whether this release knows that version of listmonk: docs/listmonk.md.",
        )
    else:
        yield ok(f"This is listmonk's database{_of(version)}, with its tables for views, clicks and bounces.")
    yield from _listmonk_settings(found)


@subject.check("listmonk-keys", "Our rows go with listmonk's campaigns and subscribers.")
def listmonk_keys(installation: Installation) -> Iterator[Finding]:
    """Look for references to listmonk's tables that are gone, that do not cascade, or that do not hold for old rows."""
    with _migrated(installation) as conn:
        if not _is_listmonk(conn):
            return
        found = find_foreign_keys(conn)
    gone = [
        f"{column} of {table}" for table, column in expected_foreign_keys() if not found.get((table, column), (0, 0))[0]
    ]
    unchecked = [f"{column} of {table}" for (table, column), (_, validated) in sorted(found.items()) if not validated]
    if gone:
        yield failure(
            f"The foreign key on {_list(gone)} is gone, or does not cascade: who deletes a campaign or a subscriber in"
            " listmonk leaves our rows of it behind, or cannot delete it at all.",
            "Run the statement of migrations/r0001/listmonk.py for it: ON DELETE CASCADE, NOT VALID first, then"
            " VALIDATE.",
        )
    if unchecked:
        yield hint(
            f"The foreign key on {_list(unchecked)} holds for new rows alone: old ones point to campaigns or"
            " subscribers that are gone.",
            "Delete these rows if nobody wants them any more, then ALTER TABLE … VALIDATE CONSTRAINT …",
        )


@subject.check("listmonk-privileges", "This role may do to listmonk's tables what the pipeline does.")
def listmonk_privileges(installation: Installation) -> Iterator[Finding]:
    """Compare the role's privileges on listmonk's tables with what the statements need."""
    with _migrated(installation) as conn:
        if _is_listmonk(conn):
            yield from _missing(find_missing_privileges(conn, listmonk=True))


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


def _missing(found: dict[str, list[str]]) -> Iterator[Finding]:
    if found:
        what = _list([f"{', '.join(privileges)} on {table}" for table, privileges in found.items()])
        yield failure(
            f"The role of ATTRIBUTION_DATABASE_URL lacks {what}: batches that need it fail, and wait on the stream.",
            "As the tables' owner: GRANT"
            f" {', '.join(each for each in next(iter(found.values())) if ' ' not in each) or 'USAGE'} ON"
            f" {next(iter(found))} TO that role; and so for each.",
        )


def _migrated(installation: Installation) -> Connection:
    """Return a connection to a database that has our tables."""
    if _revision(installation) is None:
        raise Missing("the database was never migrated", failure("The database was never migrated.", _MIGRATE))
    return installation.engine.connect()


def _revision(installation: Installation) -> str | None:
    _ = installation.engine  # one that is away is told of once
    return current(installation.worker.database_url.get_secret_value())


def _is_listmonk(conn: Connection) -> bool:
    return find_listmonk(conn).present


def _of(version: str | None) -> str:
    return f" ({version})" if version else ""


def _list(names: Sequence[str]) -> str:
    """Return up to four names, and how many more there are."""
    shown, more = names[:4], len(names) - 4
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
