"""Attributed events into listmonk's tables: views, clicks, bounces. In the transaction that attributes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row

from db.listmonk.links import canonical_url, tracked_link
from db.listmonk.native import CLICKS, VIEWS
from db.listmonk.tables import Listmonk
from db.sql import load_queries

_QUERIES = load_queries("listmonk.sql")


def count_acts(
    conn: Connection,
    listmonk: Listmonk,
    events: Sequence[int],
    *,
    personal_parameters: Collection[str],
    window: timedelta,
) -> None:
    """Count the views and clicks among ``events``, rows of azure_engagement_events that were attributed just now.

    What is not counted by a row of ours says why, in its column ``uncounted``.
    """
    if listmonk.tracking_disabled:
        conn.execute(_QUERIES["leave_uncounted"], {"ids": events, "reason": "tracking_disabled"})
        return
    parameters = {"ids": events, "individual": listmonk.individual_tracking}
    if not listmonk.watched:
        begin_watching(conn, listmonk)
    rows = 0
    if listmonk.views:
        rows += conn.execute(_QUERIES["count_views"], parameters).rowcount
    if listmonk.clicks:
        rows += _count_clicks(conn, listmonk, events, personal_parameters)
    if rows < len(events):
        conn.execute(_QUERIES["explain_missing"], {"ids": events})
    absorb_native(conn, listmonk, events, window=window)


def begin_watching(conn: Connection, listmonk: Listmonk) -> None:
    """Remember from where on native rows are to be watched, unless that is remembered already."""
    if listmonk.views:
        VIEWS.begin_watching(conn)
    if listmonk.clicks:
        CLICKS.begin_watching(conn)


def absorb_native(conn: Connection, listmonk: Listmonk, events: Sequence[int], *, window: timedelta) -> int:
    """Let listmonk's native rows count the ``events`` that they are one act with; return how many."""
    absorbed = 0
    if listmonk.views:
        absorbed += VIEWS.absorb(conn, events, window)
    if listmonk.clicks:
        absorbed += CLICKS.absorb(conn, events, window)
    return absorbed


def watch_native(conn: Connection, listmonk: Listmonk, *, window: timedelta) -> int:
    """Let native rows that came after our events count them, where they are one act; return how many."""
    watched = 0
    if listmonk.views:
        watched += VIEWS.watch(conn, window)
    if listmonk.clicks:
        watched += CLICKS.watch(conn, window)
    return watched


def count_bounces(conn: Connection, events: Sequence[int]) -> None:
    """Write the bounces among ``events``, rows of azure_delivery_events that were attributed just now.

    A report without a subscriber, or whose subscriber is gone, has no place there.
    """
    conn.execute(_QUERIES["count_bounces"], {"ids": events})


def note_disagreements(conn: Connection, events: Sequence[int]) -> int:
    """Make an incident of each of ``events`` whose clicked link names another campaign or reader than its message.

    Returns how many are new.
    """
    return conn.execute(_QUERIES["note_disagreements"], {"ids": events}).rowcount


def note_late_disagreements(conn: Connection, internet_message_ids: Collection[str]) -> int:
    """Do the same for clicks attributed by their link alone, whose messages are known only now."""
    parameters = {"internet_message_ids": "\n".join(internet_message_ids)}
    return conn.execute(_QUERIES["note_late_disagreements"], parameters).rowcount


def _count_clicks(
    conn: Connection, listmonk: Listmonk, events: Sequence[int], personal_parameters: Collection[str]
) -> int:
    clicks = conn.execute(_QUERIES["find_clicks"], {"ids": events}).all()
    if not clicks:
        return 0
    link_ids = _link_ids(conn, clicks, personal_parameters)
    counted = [click.id for click in clicks if click.id in link_ids]
    if len(counted) < len(clicks):
        missing = [click.id for click in clicks if click.id not in link_ids]
        conn.execute(_QUERIES["leave_uncounted"], {"ids": missing, "reason": "no_url"})
    parameters = {
        "ids": counted,
        "link_ids": [link_ids[event] for event in counted],
        "individual": listmonk.individual_tracking,
    }
    return len(clicks) - len(counted) + conn.execute(_QUERIES["count_clicks"], parameters).rowcount


def _link_ids(conn: Connection, clicks: Sequence[Row[Any]], personal_parameters: Collection[str]) -> dict[int, int]:
    """Return the id in ``links`` for each click, by the event's id; links that are not there yet are added.

    A tracked link is the one it names. Any other URL is the link that listmonk has registered in exactly those words,
    if it has; else the one of its canonical form.
    """
    tracked = {click.id: link.link for click in clicks if (link := tracked_link(click.url or ""))}
    by_uuid = dict(_rows(conn, "find_links_by_uuid", uuids=sorted(set(tracked.values()))))
    found = {event: by_uuid[uuid] for event, uuid in tracked.items() if uuid in by_uuid}
    others = [click for click in clicks if click.id not in found and click.url]
    personal = frozenset(personal_parameters)
    canonical = {
        click.id: _canonical(
            click.url,
            personal,
            # Most URLs say nothing of their reader, and are then the same question for all of them.
            click.subscriber_uuid if click.subscriber_uuid and click.subscriber_uuid in click.url.lower() else None,
        )
        for click in others
    }
    wanted = {url for url in canonical.values() if url is not None}
    by_url = dict(_rows(conn, "find_links_by_url", urls=sorted(wanted | {click.url for click in others})))
    if missing := wanted - by_url.keys():
        by_url |= dict(_rows(conn, "add_links", urls=sorted(missing)))
    if missing := wanted - by_url.keys():  # another batch has added them meanwhile
        by_url |= dict(_rows(conn, "find_links_by_url", urls=sorted(missing)))
    for click in others:
        url = click.url if click.url in by_url else canonical[click.id]
        if url in by_url:
            found[click.id] = by_url[url]
    return found


@lru_cache(maxsize=10_000)
def _canonical(url: str, personal_parameters: frozenset[str], subscriber_uuid: str | None) -> str | None:
    return canonical_url(url, personal_parameters=personal_parameters, subscriber_uuid=subscriber_uuid)


def _rows(conn: Connection, query: str, **parameters: Sequence[object]) -> Sequence[Any]:
    """Return the rows of ``query``, which there is no need to ask for nothing at all."""
    return conn.execute(_QUERIES[query], parameters).all() if all(parameters.values()) else ()
