"""Our tables, and listmonk's where there are some: are they what this release works with, and may it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection

from cli.doctor.findings import Finding, Missing, Subject, failure, hint
from cli.doctor.installation import Installation
from db.checkup import (
    EXPECTED_TRIGGERS,
    find_differences,
    find_invalid_indexes,
    find_missing_privileges,
    find_triggers,
    missing_tables,
    read_database,
)
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
    revision = _revision(installation)
    if revision is not None and (reason_to_migrate(revision) or not is_known(revision)):
        raise Missing("the database is at another release's schema", failure("That is told of above.", _MIGRATE))
    with migrated_database(installation) as conn:
        tables = missing_tables(conn)
        differences = find_differences(conn)
    if tables:
        yield failure(
            f"{listed(tables)} {are(tables)} not there, though the database was migrated: somebody has dropped"
            f" {'it' if len(tables) == 1 else 'them'}, or this role looks into another schema.",
            "Look at search_path, and at backups. What is lost of events may come back by `attribution replay`.",
        )
    if differences:
        yield failure(
            f"Somebody has changed our tables: {listed(differences)} {are(differences)} missing or otherwise than it"
            " was made.",
            "Put it back as migrations/ makes it. Without a unique key events may be counted twice.",
        )


@subject.check("indexes", "Every index is valid.")
def indexes(installation: Installation) -> Iterator[Finding]:
    """Look for indexes whose building was broken off."""
    with migrated_database(installation) as conn:
        invalid = find_invalid_indexes(conn)
    if invalid:
        yield failure(
            f"{listed(invalid)} {are(invalid)} invalid: no search uses it, no uniqueness is kept by it, and each write"
            " pays for it. Its building was broken off.",
            f"REINDEX INDEX CONCURRENTLY {invalid[0]};" + (" and so for each." if len(invalid) > 1 else ""),
        )


@subject.check("triggers", "Every trigger is there, and on.")
def triggers(installation: Installation) -> Iterator[Finding]:
    """Look for triggers that are gone or switched off."""
    with migrated_database(installation) as conn:
        found = find_triggers(conn)
    off = [f"{name} on {table}" for (table, name), enabled in sorted(found.items()) if not enabled]
    gone = [f"{name} on {table}" for table, name in EXPECTED_TRIGGERS if (table, name) not in found]
    if off:
        table = off[0].partition(" on ")[2]
        yield failure(
            f"The trigger {listed(off)} {are(off)} switched off: campaigns' numbers go wrong, or other programs'"
            " inserts fail.",
            f"ALTER TABLE {table} ENABLE TRIGGER {off[0].partition(' on ')[0]}; {_RECOUNT}",
        )
    if gone:
        yield failure(
            f"The trigger {listed(gone)} {are(gone)} not there: campaigns' numbers go wrong, or other programs' inserts"
            " fail.",
            f"Put it back as migrations/ makes it. {_RECOUNT}",
        )


@subject.check("privileges", "This role may do what the pipeline does.")
def privileges(installation: Installation) -> Iterator[Finding]:
    """Compare the role's privileges with what the statements need."""
    with migrated_database(installation) as conn:
        yield from lacking(find_missing_privileges(conn, listmonk=False))
        if not read_database(conn).temporary:
            yield failure(
                "This role may not make temporary tables, through which each batch goes: nothing can be recorded.",
                "GRANT TEMPORARY ON DATABASE … TO the role of ATTRIBUTION_DATABASE_URL.",
            )


def lacking(found: dict[str, list[str]]) -> Iterator[Finding]:
    """Say which privileges there are not, if any are missing."""
    if found:
        what = listed([f"{', '.join(privileges)} on {table}" for table, privileges in found.items()])
        yield failure(
            f"The role of ATTRIBUTION_DATABASE_URL lacks {what}: batches that need it fail, and wait on the stream.",
            "As the tables' owner: GRANT"
            f" {', '.join(each for each in next(iter(found.values())) if ' ' not in each) or 'USAGE'} ON"
            f" {next(iter(found))} TO that role; and so for each.",
        )


def migrated_database(installation: Installation) -> Connection:
    """Return a connection to a database that has our tables."""
    if _revision(installation) is None:
        raise Missing("the database was never migrated", failure("The database was never migrated.", _MIGRATE))
    return installation.engine.connect()


def _revision(installation: Installation) -> str | None:
    _ = installation.engine  # one that is away is told of once
    return current(installation.worker.database_url.get_secret_value())


def listed(names: Sequence[str]) -> str:
    """Return up to four names, and how many more there are."""
    shown, more = names[:4], len(names) - 4
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def are(names: Sequence[str]) -> str:
    """Return the verb for so many."""
    return "is" if len(names) == 1 else "are"
