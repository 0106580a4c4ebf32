"""A fake listmonk: the tables that attribution writes to, and the pixel and redirect that write to them natively.

Written from the columns, keys and indexes that listmonk's tables have, as far as they matter here. Its UUIDs follow
from the ids, so that a link can be written without asking the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import psycopg

#: The subscriber's place in links of a listmonk that does not track individuals.
NOBODY: Final = "00000000-0000-0000-0000-000000000000"

_TABLES: Final = """
CREATE TYPE bounce_type AS ENUM ('soft', 'hard', 'complaint');
CREATE TABLE campaigns (
    id serial PRIMARY KEY, uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'running', created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE subscribers (
    id serial PRIMARY KEY, uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), email text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'enabled');
CREATE TABLE campaign_views (
    id bigserial PRIMARY KEY, campaign_id integer NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    subscriber_id integer NULL REFERENCES subscribers (id) ON DELETE SET NULL, created_at timestamptz DEFAULT now());
CREATE INDEX idx_views_camp_id ON campaign_views (campaign_id);
CREATE INDEX idx_views_subscriber_id ON campaign_views (subscriber_id);
CREATE INDEX idx_views_date ON campaign_views ((timezone('UTC', created_at)::date));
CREATE TABLE links (
    id serial PRIMARY KEY, uuid uuid NOT NULL UNIQUE, url text NOT NULL UNIQUE, created_at timestamptz DEFAULT now());
CREATE TABLE link_clicks (
    id bigserial PRIMARY KEY, campaign_id integer NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    link_id integer NOT NULL REFERENCES links (id) ON DELETE CASCADE,
    subscriber_id integer NULL REFERENCES subscribers (id) ON DELETE SET NULL, created_at timestamptz DEFAULT now());
CREATE INDEX idx_clicks_camp_id ON link_clicks (campaign_id);
CREATE INDEX idx_clicks_link_id ON link_clicks (link_id);
CREATE INDEX idx_clicks_sub_id ON link_clicks (subscriber_id);
CREATE INDEX idx_clicks_date ON link_clicks ((timezone('UTC', created_at)::date));
CREATE TABLE bounces (
    id serial PRIMARY KEY, subscriber_id integer NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    campaign_id integer NULL REFERENCES campaigns (id) ON DELETE SET NULL, type bounce_type NOT NULL DEFAULT 'hard',
    source text NOT NULL DEFAULT '', meta jsonb NOT NULL DEFAULT '{}', created_at timestamptz DEFAULT now());
CREATE INDEX idx_bounces_sub_id ON bounces (subscriber_id);
CREATE INDEX idx_bounces_camp_id ON bounces (campaign_id);
CREATE TABLE settings (
    key text NOT NULL UNIQUE, value jsonb NOT NULL DEFAULT '{}', updated_at timestamptz DEFAULT now());
"""

_SETTINGS: Final = {"privacy.individual_tracking": True, "privacy.disable_tracking": False}

_SET: Final = """
INSERT INTO settings (key, value) VALUES (%s, %s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()
"""


def install(
    connection: psycopg.Connection[Any],
    *,
    campaigns: int = 0,
    subscribers: int = 0,
    settings: Mapping[str, object] = _SETTINGS,
) -> None:
    """Make listmonk's tables, with campaigns 1, 2, … and subscribers 1, 2, … in them.

    Individual tracking is on here, unlike in a new listmonk, unless ``settings`` say otherwise.
    """
    connection.execute(_TABLES.encode())
    connection.execute(
        "INSERT INTO campaigns (uuid, name) SELECT CAST(md5('campaign ' || n) AS uuid), 'campaign ' || n"
        " FROM generate_series(1, %s) AS n",
        [campaigns],
    )
    connection.execute(
        "INSERT INTO subscribers (uuid, email) SELECT CAST(md5('subscriber ' || n) AS uuid), 'reader' || n ||"
        " '@example.net' FROM generate_series(1, %s) AS n",
        [subscribers],
    )
    for key, value in settings.items():
        set_setting(connection, key, value)


def uuid_of(kind: str, name: int | str) -> UUID:
    """Return the UUID of a ``campaign``, a ``subscriber`` (by its id) or a ``link`` (by its URL)."""
    return UUID(md5(f"{kind} {name}".encode(), usedforsecurity=False).hexdigest())


def set_setting(connection: psycopg.Connection[Any], key: str, value: object) -> None:
    """Change one of listmonk's settings, as its settings page does."""
    connection.execute(_SET, [key, json.dumps(value)])


def name_campaign(connection: psycopg.Connection[Any], campaign_id: int, name: str, status: str) -> None:
    """Give a campaign its name and status."""
    connection.execute(
        "UPDATE campaigns SET name = %s, status = %s, updated_at = now() WHERE id = %s", [name, status, campaign_id]
    )


def view(
    connection: psycopg.Connection[Any], campaign_id: int, subscriber_id: int | None, at: datetime | None = None
) -> int:
    """Count a view natively, as the pixel does; return the row's id."""
    return _insert(
        connection,
        "INSERT INTO campaign_views (campaign_id, subscriber_id, created_at) VALUES (%s, %s, coalesce(%s, now()))"
        " RETURNING id",
        [campaign_id, subscriber_id, at],
    )


def click(
    connection: psycopg.Connection[Any],
    campaign_id: int,
    subscriber_id: int | None,
    link_id: int,
    at: datetime | None = None,
) -> int:
    """Count a click natively, as the redirect does; return the row's id."""
    return _insert(
        connection,
        "INSERT INTO link_clicks (campaign_id, subscriber_id, link_id, created_at)"
        " VALUES (%s, %s, %s, coalesce(%s, now())) RETURNING id",
        [campaign_id, subscriber_id, link_id, at],
    )


def link(connection: psycopg.Connection[Any], url: str) -> int:
    """Register a link, as listmonk does when it renders a campaign; return its id."""
    return _insert(
        connection,
        "INSERT INTO links (uuid, url) VALUES (%s, %s) ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id",
        [uuid_of("link", url), url],
    )


def tracked_link(
    connection: psycopg.Connection[Any],
    link_id: int,
    campaign_id: int,
    subscriber_id: int | None,
    *,
    root: str = "https://news.example.com",
) -> str:
    """Return the URL that listmonk puts into a mail in place of a link."""
    row = connection.execute(
        "SELECT l.uuid, c.uuid, (SELECT uuid FROM subscribers WHERE id = %s) FROM links AS l, campaigns AS c"
        " WHERE l.id = %s AND c.id = %s",
        [subscriber_id, link_id, campaign_id],
    ).fetchone()
    if row is None:
        raise LookupError("There is no such link or campaign.")
    return f"{root}/link/{row[0]}/{row[1]}/{row[2] or NOBODY}"


def _insert(connection: psycopg.Connection[Any], statement: str, values: list[object]) -> int:
    row = connection.execute(statement.encode(), values).fetchone()
    if row is None:
        raise LookupError("Nothing was inserted.")
    return int(row[0])
