"""What the statements of a repair say of each table: how its rows are told, and what they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import TextClause

from db.journal import BOUNCES, CLICKS, DELIVERIES, ENGAGEMENTS, VIEWS
from db.sql import load_queries

_STILL_THERE: Final = (
    "EXISTS (SELECT FROM campaigns AS c WHERE c.id = t.campaign_id)"
    " AND (t.subscriber_id IS NULL OR EXISTS (SELECT FROM subscribers AS s WHERE s.id = t.subscriber_id))"
)

#: What the statements say of each of the two event tables.
EVENTS: Final = {
    DELIVERIES: {
        "act_of": "CASE WHEN lower(e.status) NOT IN ('delivered', 'expanded') THEN 'bounce' END",
        "url_of": "''",
        "uncounted_of": "CAST(NULL AS text)",
        "counted": "",
    },
    ENGAGEMENTS: {
        "act_of": "lower(e.engagement_type)",
        "url_of": "CASE WHEN lower(e.engagement_type) = 'click' THEN coalesce(e.engagement_context, '') ELSE '' END",
        "uncounted_of": "e.uncounted",
        # The row that counts the event from now on is not one of ours: it has no other way of saying which one it is.
        "counted": ", uncounted = CASE WHEN b.native_id IS NOT NULL OR b.row_id > 0 THEN 'native' ELSE e.uncounted END,"
        " native_id = coalesce(b.native_id, CASE WHEN b.row_id > 0 THEN b.row_id END, e.native_id)",
    },
}

_NOT_COUNTED_BY = (
    "NOT EXISTS (SELECT FROM azure_engagement_events AS n WHERE n.engagement_type = '{}' AND n.native_id = r.id)"
)
_READER = "CASE WHEN r.subscriber_id IS NOT NULL THEN b.true_subscriber_id END"
#: The link that was clicked, if it was one that listmonk had put into the mail, else the one that was counted.
_TRUE_LINK = (
    "coalesce((SELECT k.id FROM links AS k WHERE k.uuid ="
    r" CAST(substring(p.url FROM '/link/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/') AS uuid)), p.row_link_id)"
)


class Counted(NamedTuple):
    """One of listmonk's tables of results: what is counted there, for which events."""

    act: str
    results: str
    events: str
    names: Mapping[str, str]


COUNTED: Final = (
    Counted(
        "view",
        VIEWS,
        ENGAGEMENTS,
        {
            "rows": "campaign_views AS r",
            "row_url": "''",
            "link_id": "CAST(NULL AS integer)",
            "true_link_id": "CAST(NULL AS integer)",
            "of_event": "r.id = -p.event_id",
            "has_own_row": "EXISTS (SELECT FROM campaign_views AS o WHERE o.id = -e.id)",
            "not_ours": f"r.id > 0 AND {_NOT_COUNTED_BY.format('view')}",
            "reader": _READER,
        },
    ),
    Counted(
        "click",
        CLICKS,
        ENGAGEMENTS,
        {
            "rows": "link_clicks AS r JOIN links AS l ON l.id = r.link_id",
            "row_url": "l.url",
            "link_id": "r.link_id",
            "true_link_id": _TRUE_LINK,
            "of_event": "r.id = -p.event_id",
            "has_own_row": "EXISTS (SELECT FROM link_clicks AS o WHERE o.id = -e.id)",
            "not_ours": f"r.id > 0 AND {_NOT_COUNTED_BY.format('click')}",
            "reader": _READER,
        },
    ),
    Counted(
        "bounce",
        BOUNCES,
        DELIVERIES,
        {
            "rows": "bounces AS r",
            "row_url": "''",
            "link_id": "CAST(NULL AS integer)",
            "true_link_id": "CAST(NULL AS integer)",
            "of_event": "r.subscriber_id = p.subscriber_id AND r.meta ->> 'event_row' = CAST(p.event_id AS text)",
            "has_own_row": "EXISTS (SELECT FROM bounces AS o WHERE o.subscriber_id = e.subscriber_id"
            " AND o.meta ->> 'event_row' = CAST(e.id AS text))",
            "not_ours": "r.meta -> 'event_row' IS NULL",
            # A bounce must have a reader; a message to several people names none.
            "reader": "coalesce(b.true_subscriber_id, r.subscriber_id)",
        },
    ),
)

#: Whose native row may count the act: listmonk names the reader, or, where it tracks no individuals, nobody.
_SAME_READER: Final = (
    "r.subscriber_id = p.true_subscriber_id AND p.row_subscriber_id IS NOT NULL",
    "r.subscriber_id IS NULL AND p.row_subscriber_id IS NULL",
)


def _load(events: str, counted: Counted | None = None, **more: str) -> Mapping[str, TextClause]:
    names = {"events": events, **EVENTS[events], **more}
    if counted is not None:
        names |= {"act": counted.act, "results": counted.results, **counted.names}
    return load_queries("repair.sql", **names)


#: The statements about an event table, by its name and by whether listmonk is here.
OF_EVENTS: Final = {
    (events, listmonk): _load(events, still_there=_STILL_THERE if listmonk else "true")
    for events in EVENTS
    for listmonk in (False, True)
}
#: The statements about what is counted, by act: for rows that name their reader, and for rows that name nobody.
#: The statements about what is counted, by act: for rows that name their reader, and for rows that name nobody.
OF_RESULTS: Final = {
    counted.act: [_load(counted.events, counted, same_reader=same_reader) for same_reader in _SAME_READER]
    for counted in COUNTED
}
