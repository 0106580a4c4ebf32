"""Growth, waits and alarms: what keeps each query's cost where it is while the tables grow.

New tables, triggers, indexes built while others write, and settings of storage: nothing here keeps anybody waiting, and
the release before this one goes on working with it.
"""

from __future__ import annotations

from alembic.util import CommandError

from migrations.online import Online
from migrations.r0003 import read

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: How the rows of each table are counted.
SOURCES = {
    "azure_message_tracking": "messages",
    "azure_delivery_events": "deliveries",
    "azure_engagement_events": "engagements",
}
EVENTS = ("azure_engagement_events", "azure_delivery_events")

#: The index for people who ask, of ranges an eighth as long as before. An insert into a page that is summarised, such
#: as one in which an event that was parked has left its place, writes the whole summary of its range anew.
PAGES = "pages_per_range = 4"
LOOKUP = f"""USING brin (
    campaign_id int4_bloom_ops (n_distinct_per_range = 16),
    subscriber_id int4_bloom_ops (n_distinct_per_range = 100),
    internet_message_id text_bloom_ops (n_distinct_per_range = 100),
    azure_message_id uuid_bloom_ops (n_distinct_per_range = 100),
    event_id text_bloom_ops (n_distinct_per_range = 100)
) WITH ({PAGES}, autosummarize = on)"""

#: Vacuum and ANALYZE after a hundredth of a table has changed. By default it is a fifth: millions of rows.
UPKEEP = (
    "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.01,"
    " autovacuum_analyze_scale_factor = 0.01"
)


def upgrade() -> None:
    """Reach the schema that db/tables.py describes."""
    online = Online.of_migration()
    for table in EVENTS:
        online.index(f"{table}_unsettled", table, "(state, id) INCLUDE (created_at) WHERE state <> 'attributed'")
        # Rows come in the order of time, so a stretch of it is a stretch of pages.
        online.index(f"{table}_happened", table, "USING brin (event_timestamp) WITH (autosummarize = on)")
        _replace_lookup(online, table)
        # For the forecast (db/sql/forecast.sql): events that ever waited, and no others.
        online.index(f"{table}_waited", table, "(created_at) WHERE state <> 'attributed' OR attributed_at > created_at")
    online.change("creating tables for alarms", read("alarms.sql"))
    online.change(
        "checking the kinds of incidents",
        "ALTER TABLE attribution_incidents VALIDATE CONSTRAINT attribution_incidents_kind_check",
    )

    _keep_counts(online)
    for table in SOURCES:
        online.change(f"having {table} vacuumed more often", f"ALTER TABLE {table} SET ({UPKEEP})")


def _replace_lookup(online: Online, table: str) -> None:
    name = f"{table}_lookup"
    options = online.value("SELECT reloptions FROM pg_class WHERE oid = to_regclass(%(name)s)", name=name)
    if options is None or PAGES.replace(" ", "") not in options:
        online.index(f"{name}_new", table, LOOKUP)
        online.change(f"replacing {name}", f"DROP INDEX IF EXISTS {name}", f"ALTER INDEX {name}_new RENAME TO {name}")


def _keep_counts(online: Online) -> None:
    """Count every campaign once, and have whatever changes be told from then on."""
    online.change("creating tables for counts", read("tables.sql"), read("facts.sql"), read("changes.sql"))
    for table, source in SOURCES.items():
        triggers = read("triggers.sql").replace("{table}", table).replace("{source}", source)
        # Whoever is writing ends first, and whoever writes afterwards is noticed.
        online.change(f"having changes of {table} noticed", triggers)
    online.change("counting every campaign", read("fill.sql"))
    online.change("creating the view campaign_stats", read("campaign_stats.sql"))


def downgrade() -> None:
    """Refuse, as before it: alarms and counts would be lost, and nothing is in the way of the release before."""
    raise CommandError(
        "There is no downgrade from 0003: names that were seen and accepted would be lost. The release before it works"
        " with these tables as they are."
    )
