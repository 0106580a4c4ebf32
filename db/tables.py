"""Our tables, as the migrations leave them: what Alembic compares a database with.

Queries do not go through these objects; they are SQL in db/sql. listmonk's own tables are foreign and are not here,
which is why the foreign keys to `campaigns` and `subscribers`, present in listmonk's database alone, are not either.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem

#: Alembic's own table, named so that it cannot meet that of another application in the same database.
VERSION_TABLE = "attribution_alembic_version"

metadata = MetaData(naming_convention={"uq": "%(table_name)s_%(column_0_name)s_key"})

_INSTANT = DateTime(timezone=True)
_NOW = text("now()")
_MESSAGE_ID = Text(collation="C")


STATE = Enum("attributed", "parked", "expired", name="attribution_state", metadata=metadata)
KEY = Enum(
    "internet_message_id",
    "azure_message_id",
    "delivery_report",
    "header",
    "link",
    "replaced_system",
    name="attribution_key",
    metadata=metadata,
)

message_tracking = Table(
    "azure_message_tracking",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("azure_message_id", Uuid, unique=True),
    Column("campaign_id", Integer, nullable=False),
    Column("subscriber_id", Integer),
    Column("smtp_server_uuid", Uuid),
    Column("sent_at", _INSTANT, server_default=_NOW),
    Column("created_at", _INSTANT, server_default=_NOW),
    Column("internet_message_id", _MESSAGE_ID, unique=True),
    Column("tracked_via", Text),
    Column("learned_id", Text),
    Column("set_aside_message_id", Text),
    Column("recipient_domain", Text),
    CheckConstraint(
        "azure_message_id IS NOT NULL OR internet_message_id IS NOT NULL OR set_aside_message_id IS NOT NULL",
        name="azure_message_tracking_identified",
    ),
    CheckConstraint(
        "learned_id IN ('internet_message_id', 'azure_message_id')", name="azure_message_tracking_learned_id_check"
    ),
)
Index("azure_message_tracking_foreign", message_tracking.c.id, postgresql_where=text("tracked_via IS NULL"))
Index(
    "azure_message_tracking_recent",
    message_tracking.c.sent_at,
    message_tracking.c.campaign_id,
    postgresql_using="brin",
    postgresql_with={"autosummarize": "on"},
)


#: How events of one campaign, person or message are found when somebody asks; the pipeline has the indexes above.
_LOOKUP = {
    "campaign_id": "int4_bloom_ops (n_distinct_per_range = 16)",
    "subscriber_id": "int4_bloom_ops (n_distinct_per_range = 100)",
    "internet_message_id": "text_bloom_ops (n_distinct_per_range = 100)",
    "azure_message_id": "uuid_bloom_ops (n_distinct_per_range = 100)",
    "event_id": "text_bloom_ops (n_distinct_per_range = 100)",
}


def _events(name: str, *kind: SchemaItem) -> Table:
    """Return a table of events: its own columns ``kind`` among those that every event has."""
    table = Table(
        name,
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("azure_message_id", Uuid),
        Column("campaign_id", Integer),
        Column("subscriber_id", Integer),
        *kind,
        Column("event_timestamp", _INSTANT, nullable=False),
        Column("created_at", _INSTANT, server_default=_NOW),
        Column("internet_message_id", _MESSAGE_ID),
        Column("event_key", Uuid, unique=True),
        Column("event_id", Text),
        Column("state", STATE, nullable=False),
        Column("matched_by", KEY),
        Column("received_at", _INSTANT),
        Column("attributed_at", _INSTANT),
        Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
        Column("next_attempt_at", _INSTANT),
        Column("expired_at", _INSTANT),
        Column("expired_reason", Text),
        Column("header_campaign", Text),
        Column("header_subscriber", Text),
        Column("run_id", Integer),
        Column("recipient", Text),
        CheckConstraint("state <> 'attributed' OR campaign_id IS NOT NULL", name=f"{name}_attributed_has_campaign"),
    )
    waiting = "state <> 'attributed' AND {} IS NOT NULL"
    Index(
        f"{name}_waiting",
        table.c.internet_message_id,
        postgresql_where=text(waiting.format("internet_message_id")),
    )
    Index(f"{name}_waiting_azure", table.c.azure_message_id, postgresql_where=text(waiting.format("azure_message_id")))
    Index(f"{name}_due", table.c.next_attempt_at, postgresql_where=text("state = 'parked'"))
    Index(f"{name}_unclaimed", table.c.azure_message_id, postgresql_where=text("event_key IS NULL"))
    Index(
        f"{name}_waited",
        table.c.created_at,
        postgresql_where=text("state <> 'attributed' OR attributed_at > created_at"),
    )
    Index(
        f"{name}_lookup",
        *(table.c[column] for column in _LOOKUP),
        postgresql_using="brin",
        postgresql_ops=_LOOKUP,
        postgresql_with={"pages_per_range": 4, "autosummarize": "on"},
    )
    Index(
        f"{name}_unsettled",
        table.c.state,
        table.c.id,
        postgresql_include=["created_at"],
        postgresql_where=text("state <> 'attributed'"),
    )
    Index(
        f"{name}_happened",
        table.c.event_timestamp,
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    return table


engagement_events = _events(
    "azure_engagement_events",
    Column("engagement_type", Text, nullable=False),
    Column("engagement_context", Text),
    Column("user_agent", Text),
    Column("link_campaign_id", Integer),
    Column("link_subscriber_id", Integer),
    Column("uncounted", Text),
    Column("native_id", BigInteger),
)
Index(
    "azure_engagement_events_native",
    engagement_events.c.engagement_type,
    engagement_events.c.native_id,
    unique=True,
    postgresql_where=text("native_id IS NOT NULL"),
)
Index(
    "azure_engagement_events_by_link",
    engagement_events.c.internet_message_id,
    postgresql_where=text("matched_by = 'link'"),
)
Index(
    "azure_engagement_events_by_link_azure",
    engagement_events.c.azure_message_id,
    postgresql_where=text("matched_by = 'link'"),
)
delivery_events = _events(
    "azure_delivery_events",
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("delivery_status_details", Text),
    Column("bounce_type", Text),
    Column("recipient_domain", Text),
)
Index(
    "azure_delivery_events_unexplained",
    delivery_events.c.created_at,
    postgresql_where=text("state <> 'attributed' OR matched_by IN ('azure_message_id', 'header')"),
)
Index(
    "azure_delivery_events_recent",
    delivery_events.c.created_at,
    postgresql_using="brin",
    postgresql_with={"autosummarize": "on"},
)

campaign_counts = Table(
    "attribution_campaign_counts",
    metadata,
    Column("source", Text, primary_key=True),
    Column("campaign_id", Integer, primary_key=True, autoincrement=False),
    Column("fact", Text, primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("people", BigInteger, nullable=False),
    Column("waited", BigInteger, nullable=False),
    Column("first_at", _INSTANT),
    Column("last_at", _INSTANT),
    CheckConstraint(
        "source IN ('messages', 'deliveries', 'engagements')", name="attribution_campaign_counts_source_check"
    ),
)

closed_campaigns = Table(
    "attribution_closed_campaigns",
    metadata,
    Column("campaign_id", Integer, primary_key=True, autoincrement=False),
    Column("closed_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("closed_by", BigInteger, nullable=False),
    Column("emptied_at", _INSTANT),
)

campaign_people = Table(
    "attribution_campaign_people",
    metadata,
    Column("campaign_id", Integer, primary_key=True, autoincrement=False),
    Column("fact", Text, primary_key=True),
    Column("person", Uuid, primary_key=True),
)

count_changes = Table(
    "attribution_count_changes",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("source", Text, nullable=False),
    Column("campaign_id", Integer, nullable=False),
    Column("fact", Text),
    Column("times", BigInteger, nullable=False),
    Column("waited", BigInteger, nullable=False),
    Column("first_at", _INSTANT),
    Column("last_at", _INSTANT),
    Column("row_ids", ARRAY(BigInteger)),
    Column("recount", Boolean, nullable=False),
    Column("changed_by", BigInteger, nullable=False),
    CheckConstraint(
        "source IN ('messages', 'deliveries', 'engagements')", name="attribution_count_changes_source_check"
    ),
)
Index(
    "attribution_count_changes_recounts",
    count_changes.c.source,
    count_changes.c.campaign_id,
    postgresql_where=text("recount"),
)
Index("attribution_count_changes_acts", count_changes.c.changed_by, postgresql_where=text("row_ids IS NOT NULL"))

quarantine = Table(
    "attribution_quarantine",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("content_key", Uuid, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text),
    Column("body", LargeBinary, nullable=False),
    Column("entry_id", Text),
    Column("received_at", _INSTANT),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("kind IN ('event', 'message')", name="attribution_quarantine_kind_check"),
)

erased = Table(
    "attribution_erased",
    metadata,
    Column("key", Uuid, primary_key=True),
    Column("erased_at", _INSTANT, nullable=False, server_default=_NOW),
)

native_marks = Table(
    "attribution_native_marks",
    metadata,
    Column("engagement_type", Text, primary_key=True),
    Column("seen_id", BigInteger, nullable=False),
    Column("pending_id", BigInteger, nullable=False),
    Column("pending_xid", BigInteger, nullable=False),
    Column("pending_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("engagement_type IN ('view', 'click')", name="attribution_native_marks_type_check"),
)

incidents = Table(
    "attribution_incidents",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("found_at", _INSTANT, nullable=False, server_default=_NOW),
    UniqueConstraint("kind", "subject_id"),
    CheckConstraint(
        "kind IN ('keys_disagree', 'message_id_replaced', 'poison', 'drift', 'id_missing')",
        name="attribution_incidents_kind_check",
    ),
)

tallies = Table(
    "attribution_tallies",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("counted_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("events", Integer, nullable=False),
    Column("malformed", Integer, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("engagements", Integer, nullable=False),
    Column("without_id", Integer, nullable=False),
    Column("reasons", JSONB),
)
Index("attribution_tallies_counted", tallies.c.counted_at)

names = Table(
    "attribution_names",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("seen_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("accepted_at", _INSTANT),
    UniqueConstraint("kind", "name"),
    CheckConstraint(
        "kind IN ('event_type', 'envelope_key', 'data_key', 'details_key', 'status', 'engagement_type')",
        name="attribution_names_kind_check",
    ),
)

archive = Table(
    "attribution_archive",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("first_received_at", _INSTANT, nullable=False),
    Column("last_received_at", _INSTANT, nullable=False),
    Column("bodies", Integer, nullable=False),
    Column("raw_bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('event', 'message')", name="attribution_archive_kind_check"),
)
Index("attribution_archive_received", archive.c.last_received_at)

runs = Table(
    "attribution_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("parameters", JSONB, nullable=False),
    Column("summary", JSONB),
    Column("started_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("finished_at", _INSTANT),
    CheckConstraint("kind IN ('replay', 'import', 'backfill', 'repair', 'erase')", name="attribution_runs_kind_check"),
    CheckConstraint("state IN ('running', 'finished', 'undone')", name="attribution_runs_state_check"),
)

imports = Table(
    "attribution_imports",
    metadata,
    Column("source", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("finished_at", _INSTANT),
    Column(
        "run_id", Integer, ForeignKey("attribution_runs.id", name="attribution_imports_run_id_fkey"), nullable=False
    ),
)

journal = Table(
    "attribution_journal",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column(
        "run_id", Integer, ForeignKey("attribution_runs.id", name="attribution_journal_run_id_fkey"), nullable=False
    ),
    Column("table_name", Text, nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("was", JSONB),
    Column("became", JSONB),
    Column("reason", Text, nullable=False),
    Column("changed_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("undone_at", _INSTANT),
)
Index("attribution_journal_run", journal.c.run_id, journal.c.id)
Index("attribution_journal_row", journal.c.table_name, journal.c.row_id)

outbox = Table(
    "attribution_outbox",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("event_row", BigInteger, nullable=False),
    CheckConstraint("kind IN ('engagement', 'delivery')", name="attribution_outbox_kind_check"),
)

webhooks = Table(
    "attribution_webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("engagements", ARRAY(BigInteger), nullable=False),
    Column("deliveries", ARRAY(BigInteger), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("next_attempt_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("leased_until", _INSTANT),
    Column("last_attempt_at", _INSTANT),
    Column("failure", Text),
    Column("last_error", Text),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("state IN ('waiting', 'given_up')", name="attribution_webhooks_state_check"),
    CheckConstraint("failure IN ('away', 'refused', 'gone')", name="attribution_webhooks_failure_check"),
)
Index("attribution_webhooks_due", webhooks.c.next_attempt_at, postgresql_where=text("state = 'waiting'"))
