"""PostgreSQL as a server: is it one that keeps what it commits, and will it still do so next month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cli.doctor.clock import judge_clock
from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from db.checkup import (
    count_connections,
    count_prepared,
    find_idle_slots,
    find_long_transactions,
    find_unvacuumed,
    read_database,
    read_settings,
)

subject: Final = Subject("database", "PostgreSQL")

_OLDEST_VERSION: Final = 15
#: Share of its connections in use above which there soon are none.
_MANY_CONNECTIONS: Final = 0.8
#: A transaction that lasts for longer keeps vacuum from removing what was deleted meanwhile.
LONG_TRANSACTION: Final = timedelta(minutes=15)
#: Bytes of log kept for a replica that is gone, above which it is more than a restart of that replica.
_MUCH_LOG: Final = 1024**3
#: PostgreSQL freezes old rows at one `autovacuum_freeze_max_age`. Much older means that it cannot.
_FREEZE_AGES: Final = 3


@subject.check("reachable", "PostgreSQL answers.")
def reachable(installation: Installation) -> Iterator[Finding]:
    """Connect to PostgreSQL."""
    _ = installation.worker
    try:
        _ = installation.engine
    except Missing as missing:
        yield missing.finding


@subject.check("version", "PostgreSQL is new enough.")
def version(installation: Installation) -> Iterator[Finding]:
    """Compare the server's version with the oldest that the statements are written for."""
    number = int(_settings(installation)["server_version_num"])
    yield judge_version(number // 10000)


def judge_version(major: int) -> Finding:
    """Judge a version of PostgreSQL."""
    if major < _OLDEST_VERSION:
        return failure(
            f"This is PostgreSQL {major}, and {_OLDEST_VERSION} is the oldest that will do.",
            "Upgrade it, with pg_upgrade.",
        )
    return ok(f"This is PostgreSQL {major}.")


@subject.check("encoding", "The database holds every character.")
def encoding(installation: Installation) -> Iterator[Finding]:
    """Look whether the database is in UTF-8."""
    found = _settings(installation)["server_encoding"]
    if found != "UTF8":
        yield failure(
            f"The database's encoding is {found}: an event with a character that it lacks cannot be stored.",
            "Make a database with ENCODING 'UTF8' TEMPLATE template0, and move the data with pg_dump.",
        )


@subject.check("writable", "The database takes writes.")
def writable(installation: Installation) -> Iterator[Finding]:
    """Look for a standby, and for a read-only setting."""
    with installation.engine.connect() as conn:
        in_recovery = read_database(conn).in_recovery
    if in_recovery:
        yield failure(
            "ATTRIBUTION_DATABASE_URL leads to a standby, which is read-only: nothing can be recorded.",
            "Name the primary, or all hosts with commas between them and ?target_session_attrs=read-write at the end.",
        )
    elif _settings(installation)["transaction_read_only"] == "on":
        yield failure(
            "Transactions of this role in this database are read-only: nothing can be recorded.",
            "SELECT source, sourcefile FROM pg_settings WHERE name = 'default_transaction_read_only' says where it is"
            " on: take it back with ALTER SYSTEM, ALTER ROLE or ALTER DATABASE … RESET, then SELECT pg_reload_conf(). A"
            " provider may have switched it on because the disk is full: make room first.",
        )


@subject.check("durability", "What is committed is on the disk.")
def durability(installation: Installation) -> Iterator[Finding]:
    """Look for settings with which a commit is lost by a crash: its entries are acknowledged by then."""
    settings = _settings(installation)
    if settings["fsync"] == "off":
        yield failure(
            "fsync is off: if the power fails, the whole database may be unreadable.", "ALTER SYSTEM SET fsync = on."
        )
    if settings["full_page_writes"] == "off":
        yield failure(
            "full_page_writes is off: if the power fails, pages may be half old and half new.",
            "ALTER SYSTEM SET full_page_writes = on, unless the file system writes pages as wholes.",
        )
    if settings["synchronous_commit"] == "off":
        yield failure(
            "synchronous_commit is off: a crash loses the last commits, whose entries are already off the stream.",
            "Set it on: look at postgresql.conf, ALTER ROLE, ALTER DATABASE, and the options in"
            " ATTRIBUTION_DATABASE_URL.",
        )
    elif settings["synchronous_commit"] == "local" and settings["synchronous_standby_names"]:
        yield warning(
            "synchronous_commit is local: a failover loses what the standby had not received yet.",
            "Set it on, so that a commit waits for the synchronous standby that there is.",
        )


@subject.check("vacuum", "Vacuum runs by itself.")
def vacuum(installation: Installation) -> Iterator[Finding]:
    """Look whether autovacuum is on, for the server and for each of our tables."""
    settings = _settings(installation)
    if "off" in (settings["autovacuum"], settings["track_counts"]):
        yield failure(
            "autovacuum is off: tables and indexes grow without end, and queries lose their plans.",
            "ALTER SYSTEM SET autovacuum = on, and track_counts = on.",
        )
    with installation.engine.connect() as conn:
        tables = find_unvacuumed(conn)
    if tables:
        yield warning(
            f"autovacuum leaves {' and '.join(tables)} alone.", f"ALTER TABLE {tables[0]} RESET (autovacuum_enabled)."
        )


@subject.check("connections", "There are connections to spare.")
def connections(installation: Installation) -> Iterator[Finding]:
    """Compare the connections in use with the most that there may be."""
    settings = _settings(installation)
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    with installation.engine.connect() as conn:
        used = count_connections(conn)
    if used >= _MANY_CONNECTIONS * most:
        yield warning(
            f"{used} of {most} connections are in use: soon there is none for a worker that starts.",
            "End what idles, or raise max_connections. A worker takes two for each drain process and for each task"
            " slot.",
        )


@subject.check("transactions", "No transaction stays open.")
def transactions(installation: Installation) -> Iterator[Finding]:
    """Look for transactions, and prepared ones, that keep vacuum from its work."""
    with installation.engine.connect() as conn:
        found = find_long_transactions(conn, LONG_TRANSACTION)
        prepared = count_prepared(conn, LONG_TRANSACTION)
    if found.times:
        how = ", and waits for its program rather than for PostgreSQL" if found.idle else ""
        yield warning(
            f"{found.times} transaction{'s' * (found.times != 1)} of this database"
            f" {'have' if found.times != 1 else 'has'} been open for {found.seconds / 60:.0f} minutes and more{how}:"
            " what is deleted meanwhile cannot be removed, migrations wait, and queries grow slower.",
            "SELECT pid, usename, state, xact_start FROM pg_stat_activity ORDER BY xact_start shows it;"
            " SELECT pg_terminate_backend(pid) ends it.",
        )
    if prepared:
        yield warning(
            f"{_times(prepared, 'transaction')} prepared for a commit in two phases that has not come: rows stay"
            " locked.",
            "SELECT gid FROM pg_prepared_xacts; then COMMIT PREPARED or ROLLBACK PREPARED. We prepare none.",
        )


@subject.check("slots", "No replication slot fills the disk.")
def slots(installation: Installation) -> Iterator[Finding]:
    """Look for replication slots that nobody reads from."""
    with installation.engine.connect() as conn:
        found = find_idle_slots(conn)
    if found.slots:
        text = (
            f"{_times(found.slots, 'replication slot')} read by nobody, and PostgreSQL keeps"
            f" {found.bytes / 1024**2:,.0f} MiB of its log for it."
        )
        fix = "SELECT slot_name FROM pg_replication_slots WHERE NOT active; then SELECT pg_drop_replication_slot(…)."
        yield warning(f"{text} It ends when the disk is full.", fix) if found.bytes > _MUCH_LOG else hint(text, fix)


@subject.check("freezing", "Old rows are frozen in time.")
def freezing(installation: Installation) -> Iterator[Finding]:
    """Compare the oldest transaction id with the age at which PostgreSQL should have frozen it."""
    allowed = int(_settings(installation)["autovacuum_freeze_max_age"])
    with installation.engine.connect() as conn:
        age = int(read_database(conn).transactions)
    if age > _FREEZE_AGES * allowed:
        yield failure(
            f"The oldest transaction id is {age:,} transactions old, and vacuum should have frozen it at {allowed:,}:"
            " at two thousand million PostgreSQL stops taking writes.",
            "Find what keeps vacuum from it (long transactions, prepared ones, replication slots), then VACUUM"
            " (FREEZE).",
        )


@subject.check("clock", "PostgreSQL's clock and this machine's agree.")
def clock(installation: Installation) -> Iterator[Finding]:
    """Compare the clocks: deadlines and waits are PostgreSQL's, ages of entries are Redis's."""
    with installation.engine.connect() as conn:
        yield from judge_clock("PostgreSQL", lambda: read_database(conn).now.timestamp())


def _settings(installation: Installation) -> dict[str, str]:
    with installation.engine.connect() as conn:
        return dict(read_settings(conn))


def _times(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"
