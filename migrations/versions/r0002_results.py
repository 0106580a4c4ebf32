"""Results: what attributed events are turned into, what they came from, and how the past is put right.

Columns without a default, new tables, a view, and indexes built while others write: nothing here keeps anybody waiting,
and the release before this one goes on working with it.
"""

from __future__ import annotations

from alembic.util import CommandError

from migrations.online import Online
from migrations.r0002 import read

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("azure_engagement_events", "azure_delivery_events")

#: A few bytes a page, and nothing to be kept up with each insert: enough to find one campaign, person or message among
#: millions of rows, for people who ask. The pipeline has indexes of its own.
LOOKUP = """USING brin (
    campaign_id int4_bloom_ops (n_distinct_per_range = 64),
    subscriber_id int4_bloom_ops (n_distinct_per_range = 700),
    internet_message_id text_bloom_ops (n_distinct_per_range = 700),
    azure_message_id uuid_bloom_ops (n_distinct_per_range = 700),
    event_id text_bloom_ops (n_distinct_per_range = 700)
) WITH (pages_per_range = 32, autosummarize = on)"""

#: Reports whose Message-ID attributed nothing.
UNEXPLAINED = "(created_at) WHERE state <> 'attributed' OR matched_by IN ('azure_message_id', 'header')"
#: A few bytes a page, as above. Rows come in the order of time, so a stretch of it is a stretch of pages.
RECENT = "USING brin ({}) WITH (autosummarize = on)"


def upgrade() -> None:
    """Reach the schema that db/tables.py describes."""
    online = Online.of_migration()
    online.change("adding columns for results", read("events.sql"), read("tracking.sql"))
    online.change("creating tables for results", read("tables.sql"))
    online.change("looking for rows of ours in listmonk's tables", read("ids.sql"))
    for table in TABLES:
        online.index(f"{table}_lookup", table, LOOKUP)
        # For adoption (db/sql/adoption.sql): rows of the replaced system alone, so no insert of ours touches it.
        online.index(f"{table}_unclaimed", table, "(azure_message_id) WHERE event_key IS NULL")
    online.index(
        "azure_engagement_events_native",
        "azure_engagement_events",
        "(engagement_type, native_id) WHERE native_id IS NOT NULL",
        unique=True,
    )
    for suffix, column in (("", "internet_message_id"), ("_azure", "azure_message_id")):
        online.index(
            f"azure_engagement_events_by_link{suffix}",
            "azure_engagement_events",
            f"({column}) WHERE matched_by = 'link'",
        )
    # For the rewrite alarm (db/sql/rewrites.sql), which looks at the last hours, every few minutes.
    online.index("azure_delivery_events_unexplained", "azure_delivery_events", UNEXPLAINED)
    online.index("azure_delivery_events_recent", "azure_delivery_events", RECENT.format("created_at"))
    online.index("azure_message_tracking_recent", "azure_message_tracking", RECENT.format("sent_at, campaign_id"))
    online.change("creating the view campaign_stats", read("campaign_stats.sql"))


def downgrade() -> None:
    """Refuse: archive, journal and outbox hold what is nowhere else."""
    raise CommandError(
        "There is no downgrade from 0002: the archive, the journal of repairs and the outbox would be lost. The release"
        " before it works with these tables as they are."
    )
