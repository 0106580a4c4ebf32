"""What a database says about itself, and about what is in it: what `attribution doctor` asks. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, Row

from db.engine import create_engine
from db.sql import load_queries
from db.tables import VERSION_TABLE, metadata

_QUERIES = load_queries("doctor.sql")

#: Our tables, by name.
TABLES: Final = sorted(metadata.tables)
#: Those that refer to listmonk's campaigns and subscribers.
_REFERRING: Final = ("azure_delivery_events", "azure_engagement_events", "azure_message_tracking")
#: What counts each statement's changes. Over the replaced system's tables there are more.
EXPECTED_TRIGGERS: Final = tuple(
    (table, f"attribution_counts_{what}") for table in _REFERRING for what in ("insert", "update", "delete", "truncate")
)
#: What the pipeline does to listmonk's tables.
_LISTMONK_PRIVILEGES: Final = {
    "campaigns": ("SELECT",),
    "subscribers": ("SELECT",),
    "settings": ("SELECT",),
    "campaign_views": ("SELECT", "INSERT", "DELETE"),
    "link_clicks": ("SELECT", "INSERT", "DELETE"),
    "links": ("SELECT", "INSERT"),
    "bounces": ("SELECT", "INSERT"),
}


def connect(database_url: str, *, statement_timeout: timedelta) -> Engine:
    """Return connections for looking, of which one has answered. Each statement is a transaction of its own.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: PostgreSQL cannot be used.
        ValueError: the address cannot be read.
    """
    engine = create_engine(
        database_url,
        application_name="attribution doctor",
        statement_timeout=statement_timeout,
        pool_size=4,
        isolation_level="AUTOCOMMIT",
    )
    engine.connect().close()
    return engine


def read_settings(conn: Connection) -> Mapping[str, str]:
    """Return the settings of the server that matter here, as they are for this session."""
    return {row.name: row.setting for row in conn.execute(_QUERIES["read_settings"])}


def read_database(conn: Connection) -> Row[Any]:
    """Return in_recovery, now, transactions (the age of the oldest id of one), temporary (may we make such tables)."""
    return conn.execute(_QUERIES["read_database"]).one()


def count_connections(conn: Connection) -> int:
    """Return how many connections the server has, of everybody."""
    return int(conn.execute(_QUERIES["count_connections"]).scalar_one())


def find_long_transactions(conn: Connection, older_than: timedelta) -> Row[Any]:
    """Return times, seconds (of the longest) and idle (one waits for its program), as far as we may see them."""
    return conn.execute(_QUERIES["find_long_transactions"], {"older_than": older_than}).one()


def count_prepared(conn: Connection, older_than: timedelta) -> int:
    """Return how many transactions were prepared for a commit in two phases that has not come."""
    return int(conn.execute(_QUERIES["count_prepared"], {"older_than": older_than}).scalar_one())


def find_idle_slots(conn: Connection) -> Row[Any]:
    """Return slots (replication slots that nobody reads from) and bytes (of log that they keep)."""
    return conn.execute(_QUERIES["find_idle_slots"]).one()


def missing_tables(conn: Connection) -> list[str]:
    """Return our tables that are not there."""
    return [row.name for row in conn.execute(_QUERIES["find_tables"], {"tables": TABLES}) if not row.found]


def find_differences(conn: Connection) -> list[str]:
    """Return what our tables lack, or have otherwise, compared with db/tables.py: ``column x of t``, ``index i of t``.

    What there is besides is left alone: listmonk's foreign keys, the replaced system's indexes.
    """
    context = MigrationContext.configure(
        conn,
        opts={
            "version_table": VERSION_TABLE,
            "target_metadata": metadata,
            "compare_type": False,
            "include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables,
            "include_object": lambda _item, _name, _kind, reflected, match: not (reflected and match is None),
        },
    )
    differences: list[Any] = compare_metadata(context, metadata)
    # What is altered in a column comes as a list of differences.
    each_one = [one for each in differences for one in (each if isinstance(each, list) else [each])]
    gone = {table.name for kind, table, *_ in each_one if kind == "add_table"}
    return sorted({name for kind, *about in each_one for name in _name_difference(kind, about, gone)})


def _name_difference(kind: str, about: list[Any], gone: set[str]) -> Iterator[str]:
    """Yield what a difference is called, unless it is in a table that is gone as a whole."""
    match kind:
        case "add_column":
            yield f"column {about[2].name} of {about[1]}"
        case "modify_nullable":
            yield f"column {about[2]} of {about[1]}"
        case "add_index" | "add_constraint" | "add_fk" if about[0].table.name not in gone:
            what = {"add_index": "index", "add_constraint": "unique key", "add_fk": "foreign key"}[kind]
            yield f"{what} {about[0].name}"


def find_invalid_indexes(conn: Connection) -> list[str]:
    """Return indexes of our tables whose building was broken off: they cost writes, and no search uses them."""
    return [row.name for row in conn.execute(_QUERIES["find_invalid_indexes"], {"tables": TABLES})]


def find_triggers(conn: Connection) -> dict[tuple[str, str], bool]:
    """Return whether each trigger of our tables is enabled, by the table and its own name."""
    rows = conn.execute(_QUERIES["find_triggers"], {"tables": TABLES})
    return {(row.table_name, row.name): row.enabled for row in rows}


def find_unvacuumed(conn: Connection) -> list[str]:
    """Return those of our tables that autovacuum was told to leave alone."""
    return list(conn.execute(_QUERIES["find_unvacuumed"], {"tables": TABLES}).scalars())


def find_foreign_keys(conn: Connection) -> dict[tuple[str, str], tuple[bool, bool]]:
    """Return our references to listmonk's tables, by table and column: do they cascade, were old rows checked."""
    rows = conn.execute(_QUERIES["find_foreign_keys"], {"tables": list(_REFERRING)})
    return {(row.table_name, row.column_name): (row.cascades, row.validated) for row in rows}


def expected_foreign_keys() -> list[tuple[str, str]]:
    """Return the references that there have to be in listmonk's database."""
    return [(table, column) for table in _REFERRING for column in ("campaign_id", "subscriber_id")]


def find_missing_privileges(conn: Connection, *, listmonk: bool) -> dict[str, list[str]]:
    """Return what the pipeline needs to do and this session's role may not, by table: ours, or listmonk's."""
    ours = dict.fromkeys(TABLES, ("SELECT", "INSERT", "UPDATE", "DELETE"))
    wanted = [
        (table, each) for table, all_of in (_LISTMONK_PRIVILEGES if listmonk else ours).items() for each in all_of
    ]
    parameters = {"tables": [table for table, _ in wanted], "privileges": [privilege for _, privilege in wanted]}
    missing: dict[str, list[str]] = {}
    for row in conn.execute(_QUERIES["find_missing_privileges"], parameters):
        missing.setdefault(row.table_name, []).append(row.privilege)
    tables = list(_LISTMONK_PRIVILEGES) if listmonk else TABLES
    for table in conn.execute(_QUERIES["find_missing_sequences"], {"tables": tables}).scalars():
        if not listmonk or "INSERT" in _LISTMONK_PRIVILEGES[table]:
            missing.setdefault(table, []).append("USAGE on its sequence")
    return missing


def read_listmonk_version(conn: Connection) -> str | None:
    """Return listmonk's version, if its settings tell it."""
    version: str | None = conn.execute(_QUERIES["read_listmonk_version"]).scalar()
    return version


def last_push(conn: Connection) -> tuple[datetime | None, datetime]:
    """Return when the newest event that is stored came in, if there is one, and what time the database has."""
    row = conn.execute(_QUERIES["last_push"]).one()
    return row.at, row.now


def trackings_since(conn: Connection, since: datetime) -> Row[Any]:
    """Return messages (how many of the newest thousand were sent since) and first_at (when the first of them was)."""
    return conn.execute(_QUERIES["last_trackings"], {"since": since}).one()


def overdue(conn: Connection) -> timedelta:
    """Return for how long the next attempt of a parked event has been due: not at all if there is none."""
    return _waited(conn.execute(_QUERIES["overdue"]).one())


def endless_campaigns(conn: Connection, age: timedelta, *, most: int) -> list[tuple[int, datetime]]:
    """Return up to ``most`` campaigns that are open though they began ``age`` ago or before, the oldest first."""
    rows = conn.execute(_QUERIES["endless_campaigns"], {"age": age, "most": most})
    return [(row.campaign_id, row.first_at) for row in rows]


def foreign_rows(conn: Connection) -> tuple[int, timedelta]:
    """Return how many foreign rows wait to be adopted, and for how long the oldest has."""
    row = conn.execute(_QUERIES["foreign_rows"]).one()
    return row.rows, _waited(row)


def _waited(row: Row[Any]) -> timedelta:
    return max(timedelta(0), row.now - row.since) if row.since else timedelta(0)


def uncounted_changes(conn: Connection, *, most: int) -> int:
    """Return how many changes of campaigns' numbers wait to be added up; ``most`` if there are that many or more."""
    return int(conn.execute(_QUERIES["uncounted_changes"], {"most": most}).scalar_one())


def quarantined_since(conn: Connection, since: datetime) -> Row[Any]:
    """Return parts (how many were quarantined since then) and reason (the most frequent)."""
    return conn.execute(_QUERIES["quarantined_lately"], {"since": since}).one()


def open_alarms(conn: Connection) -> dict[str, timedelta]:
    """Return the alarms that are on, and for how long each has been. Nothing is redated, unlike in `db.drift`."""
    return {row.kind: row.age for row in conn.execute(_QUERIES["open_alarms"])}
