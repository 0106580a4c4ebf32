"""Attributed events into listmonk's tables: views, clicks, bounces. In the transaction that attributes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from db.listmonk.links import canonical_url, find_uuids, is_way_out, tracked_link
from db.listmonk.native import CLICKS, VIEWS, Rules, Tally, Watched
from db.listmonk.tables import Listmonk
from db.models import MessageIds
from db.sql import load_queries

_QUERIES = load_queries("listmonk.sql", message_id="internet_message_id", message_id_type="text")
_BY_AZURE_ID = load_queries("listmonk.sql", message_id="azure_message_id", message_id_type="uuid")


def count_acts(
    conn: Connection,
    listmonk: Listmonk,
    events: Sequence[int],
    *,
    personal_parameters: Collection[str],
    window: timedelta,
) -> tuple[int, int]:
    """Count the views and clicks among ``events``, rows of azure_engagement_events that were attributed just now.

    Returns how many rows of views and of clicks there are now that were not. What is not counted by a row of ours says
    why, in its column ``uncounted``.
    """
    if listmonk.tracking_disabled:
        conn.execute(_QUERIES["leave_uncounted"], {"ids": events, "reason": "tracking_disabled"})
        return 0, 0
    parameters = {"ids": events, "individual": listmonk.individual_tracking}
    if not listmonk.watched:
        begin_watching(conn, listmonk)
    views = clicks = explained = 0
    if listmonk.views:
        views = conn.execute(_QUERIES["count_views"], parameters).rowcount
    if listmonk.clicks:
        clicks, explained = _count_clicks(conn, listmonk, events, personal_parameters)
    if views + clicks + explained < len(events):
        conn.execute(_QUERIES["explain_missing"], {"ids": events})
    absorb_native(conn, listmonk, events, window=window)
    return views, clicks


def begin_watching(conn: Connection, listmonk: Listmonk) -> None:
    """Remember from where on native rows are to be watched, unless that is remembered already."""
    for tally in _tallies(listmonk):
        tally.begin_watching(conn)


def absorb_native(conn: Connection, listmonk: Listmonk, events: Sequence[int], *, window: timedelta) -> int:
    """Let listmonk's native rows count the ``events`` that they are one act with; return how many."""
    rules = Rules(window, listmonk.individual_tracking)
    return sum(tally.absorb(conn, events, rules) for tally in _tallies(listmonk))


def watch_native(conn: Connection, listmonk: Listmonk, *, window: timedelta, limit: int) -> Watched:
    """Let native rows that came after our events count them, where they are one act."""
    rules = Rules(window, listmonk.individual_tracking)
    watched = [tally.watch(conn, rules, limit=limit) for tally in _tallies(listmonk)]
    return Watched(sum(each.absorbed for each in watched), any(each.more for each in watched))


def _tallies(listmonk: Listmonk) -> list[Tally]:
    return [tally for tally, here in ((VIEWS, listmonk.views), (CLICKS, listmonk.clicks)) if here]


def count_bounces(conn: Connection, events: Sequence[int]) -> int:
    """Write the bounces among ``events``, rows of azure_delivery_events that were attributed just now; return how many.

    A report without a subscriber, or whose subscriber is gone, has no place there.
    """
    return conn.execute(_QUERIES["count_bounces"], {"ids": events}).rowcount


def note_disagreements(conn: Connection, events: Sequence[int]) -> int:
    """Make an incident of each of ``events`` whose clicked link names another campaign or reader than its message.

    Returns how many are new.
    """
    return conn.execute(_QUERIES["note_disagreements"], {"ids": events}).rowcount


def note_late_disagreements(conn: Connection, ids: MessageIds) -> int:
    """Do the same for clicks attributed by their link alone, whose messages, named by ``ids``, are known only now."""
    noted = 0
    for named, queries in ((ids.internet, _QUERIES), (ids.azure, _BY_AZURE_ID)):
        if named:
            parameters = {"message_ids": "\n".join(map(str, named))}
            noted += conn.execute(queries["note_late_disagreements"], parameters).rowcount
    return noted


def _count_clicks(
    conn: Connection, listmonk: Listmonk, events: Sequence[int], personal_parameters: Collection[str]
) -> tuple[int, int]:
    """Return how many clicks have a row now, and how many have a reason instead."""
    clicks = conn.execute(_QUERIES["find_clicks"], {"ids": events}).all()
    if not clicks:
        return 0, 0
    links = _find_links(conn, clicks, frozenset(personal_parameters))
    reasons = {"no_url": [click.id for click in clicks if click.id not in links]}
    reasons["unsubscribe_link"] = [event for event, link_id in links.items() if link_id is None]
    for reason, uncounted in reasons.items():
        if uncounted:
            conn.execute(_QUERIES["leave_uncounted"], {"ids": uncounted, "reason": reason})
    counted = {event: link_id for event, link_id in links.items() if link_id is not None}
    parameters = {
        "ids": list(counted),
        "link_ids": list(counted.values()),
        "individual": listmonk.individual_tracking,
    }
    return conn.execute(_QUERIES["count_clicks"], parameters).rowcount, len(clicks) - len(counted)


def _find_links(
    conn: Connection, clicks: Sequence[Row[Any]], personal_parameters: frozenset[str]
) -> dict[int, int | None]:
    """Return the id in ``links`` for each click, by the event's id; links that are not there yet are added.

    A tracked link is the one it names, and None if that one leads out. Any other URL is the link that listmonk has
    registered in exactly those words, if it has; else the one of its canonical form.
    """
    tracked = {click.id: link.link for click in clicks if (link := tracked_link(click.url or ""))}
    by_uuid = {row.uuid: row for row in _rows(conn, "find_links_by_uuid", uuids=sorted(set(tracked.values())))}
    found: dict[int, int | None] = {
        event: None if is_way_out(by_uuid[uuid].url) else by_uuid[uuid].id
        for event, uuid in tracked.items()
        if uuid in by_uuid
    }
    others = {click.id: click.url for click in clicks if click.id not in found and click.url}
    named = {url: find_uuids(url) for url in set(others.values())}
    # Whose UUIDs they are is asked of listmonk: a mail that was forwarded names another reader than its own.
    uuids = sorted(set().union(*named.values()))
    readers = {str(row.uuid) for row in _rows(conn, "find_readers", uuids=uuids)}
    canonical = {
        url: canonical_url(url, personal_parameters=personal_parameters, readers=named[url] & readers) for url in named
    }
    wanted = {url for url in canonical.values() if url is not None}
    by_url = dict(_rows(conn, "find_links_by_url", urls=sorted(wanted | {url for url in named if canonical[url]})))
    if missing := wanted - by_url.keys():
        by_url |= dict(_rows(conn, "add_links", urls=sorted(missing)))
    if missing := wanted - by_url.keys():  # another batch has added them meanwhile
        by_url |= dict(_rows(conn, "find_links_by_url", urls=sorted(missing)))
    for event, url in others.items():
        link_id = by_url.get(url, by_url.get(canonical[url] or ""))
        if link_id is not None:
            found[event] = link_id
    return found


def _rows(conn: Connection, query: str, **parameters: Sequence[object]) -> Sequence[Any]:
    """Return the rows of ``query``, which there is no need to ask for nothing at all."""
    return conn.execute(_QUERIES[query], parameters).all() if all(parameters.values()) else ()
