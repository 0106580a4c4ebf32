"""The rows of closed campaigns are removed a few at a time, found by one look at a table: no index has them in order.

To look anew for each few would read what others wrote before them each time: on a large table no purge would ever end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from db.sql import load_queries

#: Rows of a table that are remembered from one look: some seconds of removing.
LOOKED: Final = 200_000
#: The tables of a campaign's rows, when what they tell of took place, and the incidents that are about one of them.
_TABLES: Final = {
    "azure_delivery_events": ("event_timestamp", "message_id_replaced"),
    "azure_engagement_events": ("event_timestamp", "keys_disagree"),
    "azure_message_tracking": ("coalesce(sent_at, created_at)", None),
}
_QUERIES: Final = {
    table: load_queries("emptying.sql", table=table, happened_at=happened_at)
    for table, (happened_at, _) in _TABLES.items()
}
_ANY: Final = _QUERIES["azure_message_tracking"]
_REPORTING: Final = load_queries("reporting.sql")


@dataclass
class Emptying:
    """What the last look has found of a closed campaign, and is not removed yet.

    ``all_seen``: there was no more than that. ``passed_over`` are those that somebody was using.
    """

    campaign: int | None = None
    ids: dict[str, list[int]] = field(default_factory=dict)
    all_seen: bool = False
    passed_over: int = 0

    def forget(self) -> None:
        """Look anew the next time: what was about to be removed may be there still."""
        self.campaign = None

    def look(self, conn: Connection, campaign: int, older_than: datetime, looked: int) -> None:
        """Find rows of ``campaign`` that may go, up to ``looked`` of each table."""
        parameters = {"campaign_id": campaign, "older_than": older_than, "looked": looked}
        conn.execute(_REPORTING["look_up_by_index"])
        self.ids = {
            table: sorted(conn.execute(_QUERIES[table]["find_rows"], parameters).scalars()) for table in _TABLES
        }
        conn.execute(_REPORTING["plan_as_usual"])
        self.campaign, self.passed_over = campaign, 0
        self.all_seen = all(len(ids) < looked for ids in self.ids.values())


def purge_closed(
    conn: Connection, emptying: Emptying, older_than: datetime, *, age: timedelta, limit: int, looked: int = LOOKED
) -> int | None:
    """Remove up to ``limit`` rows of each table that belong to one closed campaign; return how many.

    A transaction of its own after that which closed the campaign; if it fails, ``emptying`` is to `forget`. ``age`` is
    the retention that ``older_than`` is made of. None: no closed campaign has rows left that may go, or somebody is
    using those of one: try again later.
    """
    conn.execute(_ANY["note_who_may_not_know"])
    campaign = conn.execute(_ANY["find_closed"], {"older_than": older_than, "age": age}).scalar()
    if campaign is None:
        return None
    if emptying.campaign != campaign:
        emptying.look(conn, campaign, older_than, looked)
    parameters = {"campaign_id": campaign, "older_than": older_than, "limit": limit}
    removed = 0
    for table, (_, incident) in _TABLES.items():
        chosen, emptying.ids[table] = emptying.ids[table][:limit], emptying.ids[table][limit:]
        if chosen:
            rows = conn.execute(_QUERIES[table]["purge_closed"], {**parameters, "ids": chosen}).scalars().all()
            if incident and rows:
                conn.execute(_ANY["purge_incidents"], {"kind": incident, "subject_ids": rows})
            removed += len(rows)
            emptying.passed_over += len(chosen) - len(rows)
    people = conn.execute(_ANY["forget_people"], parameters).rowcount
    if not any(emptying.ids.values()):
        if emptying.passed_over or not emptying.all_seen:
            emptying.forget()
            return removed or None
        if people < limit:
            conn.execute(_ANY["mark_emptied"], {"campaign_id": campaign})
            emptying.forget()
    return removed
