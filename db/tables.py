"""Our tables, as the migrations leave them: what Alembic compares a database with.

Queries do not go through these objects; they are SQL in db/sql. listmonk's own tables are foreign and are not here,
which is why the foreign keys to `campaigns` and `subscribers`, present in listmonk's database alone, are not either.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Enum,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
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
    CheckConstraint(
        "azure_message_id IS NOT NULL OR internet_message_id IS NOT NULL OR set_aside_message_id IS NOT NULL",
        name="azure_message_tracking_identified",
    ),
    CheckConstraint(
        "learned_id IN ('internet_message_id', 'azure_message_id')", name="azure_message_tracking_learned_id_check"
    ),
)
Index("azure_message_tracking_foreign", message_tracking.c.id, postgresql_where=text("tracked_via IS NULL"))


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
    return table


engagement_events = _events(
    "azure_engagement_events",
    Column("engagement_type", Text, nullable=False),
    Column("engagement_context", Text),
    Column("user_agent", Text),
)
delivery_events = _events(
    "azure_delivery_events",
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("delivery_status_details", Text),
)

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
