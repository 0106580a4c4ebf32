"""Databases as the replaced system leaves them at each of its versions, with rows good and bad.

Written from the columns that its tables have, not copied from it. Which version brought which table is not known for
certain, so the odd combinations at the end are there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

TRACKING = "azure_message_tracking"
ENGAGEMENT = "azure_engagement_events"
DELIVERY = "azure_delivery_events"
TABLES = (TRACKING, ENGAGEMENT, DELIVERY)

_LISTMONK = """
CREATE TABLE campaigns (id serial PRIMARY KEY, uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), name text);
CREATE TABLE subscribers (id serial PRIMARY KEY, uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid());
INSERT INTO campaigns (name) SELECT 'campaign ' || n FROM generate_series(1, 9) AS n;
INSERT INTO subscribers SELECT FROM generate_series(1, 99);
"""

_TRACKING = """
CREATE TABLE azure_message_tracking (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL UNIQUE, campaign_id int NOT NULL {campaigns},
    subscriber_id int NOT NULL {subscribers}, smtp_server_uuid uuid, sent_at timestamptz DEFAULT now(),
    created_at timestamptz DEFAULT now());
CREATE INDEX idx_tracking_campaign ON azure_message_tracking (campaign_id);
"""

_ENGAGEMENT = """
CREATE TABLE azure_engagement_events (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL, campaign_id int {campaigns},
    subscriber_id int {subscribers}, engagement_type varchar(20) NOT NULL, engagement_context text, user_agent text,
    event_timestamp timestamptz NOT NULL, created_at timestamptz DEFAULT now());
CREATE INDEX idx_engagement_type ON azure_engagement_events (engagement_type);
"""

_DELIVERY = """
CREATE TABLE azure_delivery_events (
    id bigserial PRIMARY KEY, azure_message_id uuid NOT NULL, campaign_id int {campaigns},
    subscriber_id int {subscribers}, status varchar(50) NOT NULL, status_reason text, delivery_status_details text,
    event_timestamp timestamptz NOT NULL, created_at timestamptz DEFAULT now());
"""

_LOGS = """
CREATE TABLE webhook_logs (
    id bigserial PRIMARY KEY, webhook_type varchar(50) NOT NULL, event_type varchar(100), request_headers jsonb,
    request_body text, response_status int, response_body text, processed bool DEFAULT false, error_message text,
    created_at timestamptz DEFAULT now());
INSERT INTO webhook_logs (webhook_type, event_type, request_headers, request_body, response_status, processed)
VALUES ('azure', 'Microsoft.Communication.EmailEngagementTrackingReportReceived', '{{"a": "b"}}', '[]', 200, true);
"""

_TRACKING_IDS = """
ALTER TABLE azure_message_tracking ADD COLUMN internet_message_id text;
CREATE INDEX idx_tracking_internet_message_id ON azure_message_tracking (internet_message_id);
"""
_ENGAGEMENT_IDS = """
ALTER TABLE azure_engagement_events ADD COLUMN internet_message_id text;
CREATE INDEX idx_engagement_internet_message_id ON azure_engagement_events (internet_message_id)
    WHERE internet_message_id IS NOT NULL;
"""

#: What each version's tables are made of.
VERSIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "v6.1": (_TRACKING, _LOGS),
    "v6.2": (_TRACKING, _LOGS, _ENGAGEMENT, _DELIVERY),
    "v7.2": (_TRACKING, _LOGS, _ENGAGEMENT, _DELIVERY, _TRACKING_IDS, _ENGAGEMENT_IDS),
    "engagement alone": (_ENGAGEMENT,),
    "no delivery": (_TRACKING, _ENGAGEMENT, _TRACKING_IDS),
    "no tracking": (_ENGAGEMENT, _DELIVERY, _ENGAGEMENT_IDS),
    "columns missing": (
        _TRACKING,
        _ENGAGEMENT,
        "ALTER TABLE azure_message_tracking DROP COLUMN smtp_server_uuid, DROP COLUMN created_at, DROP COLUMN sent_at",
        "ALTER TABLE azure_engagement_events DROP COLUMN user_agent, DROP COLUMN created_at, DROP COLUMN subscriber_id",
    ),
}

LONG_ID = "x" * 300 + "@example.com"


@dataclass(frozen=True)
class OldTracking:
    """A tracking row of the replaced system, and where its internet_message_id must end up."""

    number: int
    message_id: str | None
    kept: str | None = None
    set_aside: str | None = None
    campaign: int = 1
    subscriber: int = 1


#: `number` is the row's id and the last digits of its azure_message_id.
OLD_TRACKING = (
    OldTracking(1, "<one@example.com>", kept="<one@example.com>"),
    OldTracking(2, "  Two@Mail.EXAMPLE.com\t", kept="<Two@mail.example.com>"),
    OldTracking(3, None),
    OldTracking(4, ""),
    OldTracking(5, ""),
    OldTracking(6, "   "),
    OldTracking(7, "two words@example.com", set_aside="two words@example.com"),
    OldTracking(8, LONG_ID, set_aside=LONG_ID),
    OldTracking(9, "<\u00e9@example.com>", set_aside="<\u00e9@example.com>"),
    # Three rows that agree, alike only once they are spelt alike: the earliest keeps it.
    OldTracking(10, "agree@example.com", kept="<agree@example.com>", campaign=2, subscriber=7),
    OldTracking(11, "<agree@EXAMPLE.com>", set_aside="<agree@example.com>", campaign=2, subscriber=7),
    OldTracking(12, "<agree@example.com>", set_aside="<agree@example.com>", campaign=2, subscriber=7),
    # Two campaigns, and two subscribers, that claim one id: none keeps it.
    OldTracking(13, "<torn@example.com>", set_aside="<torn@example.com>", campaign=3),
    OldTracking(14, "<torn@example.com>", set_aside="<torn@example.com>", campaign=4),
    OldTracking(15, "<shared@example.com>", set_aside="<shared@example.com>", campaign=5, subscriber=1),
    OldTracking(16, "<shared@example.com>", set_aside="<shared@example.com>", campaign=5, subscriber=2),
    # Local parts differ in their case alone: two messages.
    OldTracking(17, "<Case@example.com>", kept="<Case@example.com>"),
    OldTracking(18, "<case@example.com>", kept="<case@example.com>"),
)

#: (id, internet_message_id, campaign) of events; a row without a campaign waits.
OLD_EVENTS = (
    (1, "<one@example.com>", 1),
    (2, " two@EXAMPLE.com ", 2),
    (3, None, 3),
    (4, "", 3),
    (5, "not one", 4),
    (6, "WAITS@Example.COM", None),
    (7, None, None),
    (8, "", None),
    (9, LONG_ID * 20, None),
)


def azure_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def install(connection: psycopg.Connection[Any], version: str, *, listmonk: bool) -> None:
    """Make the tables of ``version``, inside listmonk's database or standing alone."""
    if listmonk:
        connection.execute(_LISTMONK)
    references = {
        "campaigns": "REFERENCES campaigns (id) ON DELETE CASCADE" if listmonk else "",
        "subscribers": "REFERENCES subscribers (id) ON DELETE CASCADE" if listmonk else "",
    }
    for statement in VERSIONS[version]:
        connection.execute(statement.format_map(references).encode())


def fill(connection: psycopg.Connection[Any]) -> None:
    """Put the rows above into those tables, and the columns of them, that are there."""
    for row in OLD_TRACKING:
        insert(
            connection,
            TRACKING,
            azure_message_id=azure_id(row.number),
            campaign_id=row.campaign,
            subscriber_id=row.subscriber,
            smtp_server_uuid=azure_id(99),
            internet_message_id=row.message_id,
        )
    kinds: dict[str, dict[str, object]] = {
        ENGAGEMENT: {"engagement_type": "click", "engagement_context": "https://example.net/", "user_agent": "Mail/1"},
        DELIVERY: {"status": "Bounced", "status_reason": "550", "delivery_status_details": "{}"},
    }
    for table, kind in kinds.items():
        for number, message_id, campaign in OLD_EVENTS:
            if table == DELIVERY or "internet_message_id" not in columns(connection, table):
                message_id = None
            insert(
                connection,
                table,
                azure_message_id=azure_id(number),
                campaign_id=campaign,
                subscriber_id=campaign,
                internet_message_id=message_id,
                event_timestamp="2026-01-10T10:26:32Z",
                **kind,
            )


def insert(connection: psycopg.Connection[Any], table: str, **row: object) -> None:
    """Insert ``row``, as far as ``table`` and its columns are there."""
    there = columns(connection, table)
    values = {name: value for name, value in row.items() if name in there}
    if there:
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f'%({name})s' for name in values)})"
        connection.execute(statement.encode(), values)


def columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """Return the columns of ``table``; none if it is not there."""
    cursor = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        [table],
    )
    return [name for (name,) in cursor]


def contents(connection: psycopg.Connection[Any], *tables: str) -> dict[str, dict[int, dict[str, object]]]:
    """Return every row of ``tables``, those that are there, by table and id."""
    return {
        table: {
            identity: row
            for identity, row in connection.execute(f"SELECT id, to_jsonb(t) FROM {table} AS t ORDER BY id".encode())
        }
        for table in tables
        if columns(connection, table)
    }
