"""Which of listmonk's tables are in this database, and what its settings ask for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from db.sql import load_queries

_QUERIES = load_queries("listmonk.sql")


@dataclass(frozen=True, slots=True)
class Listmonk:
    """What is here of listmonk. Nothing is, in the database of any other mailer."""

    #: Campaigns and subscribers: its links can be read, and our rows refer to them.
    present: bool = False
    views: bool = False
    clicks: bool = False
    bounces: bool = False
    #: `privacy.individual_tracking`: views and clicks name their subscriber.
    individual_tracking: bool = False
    #: `privacy.disable_tracking`: no views and clicks are to be counted at all.
    tracking_disabled: bool = False
    #: Native rows of both kinds are being watched.
    watched: bool = False


def find_listmonk(conn: Connection) -> Listmonk:
    """Look for listmonk's tables and read its settings, as they are now. Three short queries."""
    tables = set(conn.execute(_QUERIES["find_tables"]).scalars())
    if not {"campaigns", "subscribers"} <= tables:
        return Listmonk()
    settings = set(conn.execute(_QUERIES["read_settings"]).scalars()) if "settings" in tables else set()
    return Listmonk(
        present=True,
        views="campaign_views" in tables,
        clicks={"links", "link_clicks"} <= tables,
        bounces="bounces" in tables,
        individual_tracking="privacy.individual_tracking" in settings,
        tracking_disabled="privacy.disable_tracking" in settings,
        watched=conn.execute(_QUERIES["count_marks"]).scalar_one() == 2,
    )
