"""Compares the truth with listmonk's tables, act by act: each must be counted once, where it belongs.

Which native row and which event are one act the ledger knows, for the simulator has made both. So nothing is matched by
nearness here, as the system must do it. An act that listmonk has counted keeps listmonk's row and has no other; any
other act has one row, with the campaign, reader and instant of its event.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from simulator.truth import ENGAGEMENTS, Emitted, Native, Truth
from simulator.verdict import Fault, Faults

_VIEWS: Final = "campaign_views"
_CLICKS: Final = "link_clicks"
_BOUNCES: Final = "bounces"
_ROWS: Final = {
    _VIEWS: "SELECT id, campaign_id, subscriber_id, created_at, '' FROM campaign_views",
    _CLICKS: "SELECT c.id, campaign_id, subscriber_id, c.created_at, url"
    " FROM link_clicks AS c JOIN links ON links.id = link_id",
    _BOUNCES: "SELECT id, campaign_id, subscriber_id, created_at, type::text FROM bounces WHERE source = 'azure'",
}
_NAMES: Final = {_VIEWS: "views", _CLICKS: "clicks", _BOUNCES: "bounces"}
#: Times are stored in microseconds, of which Azure's seventh digit is rounded or cut off.
_TOLERANCE: Final = (timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1))


class Row(NamedTuple):
    """A row of one of listmonk's tables. ``detail`` is the URL of a click, or the type of a bounce."""

    id: int
    campaign_id: int | None
    subscriber_id: int | None
    at: datetime
    detail: str

    @property
    def says(self) -> tuple[int | None, int | None, str]:
        """What it says but for the time: campaign, reader, and detail."""
        return self.campaign_id, self.subscriber_id, self.detail


Tables = Mapping[str, Sequence[Row]]


def read_tables(connection: psycopg.Connection[Any]) -> Tables:
    """Read every row, in the transaction of the caller."""
    return {table: [Row(*row) for row in connection.execute(query.encode())] for table, query in _ROWS.items()}


def judge_tables(truth: Truth, tables: Tables, attributed: Collection[str], faults: Faults) -> dict[str, int]:
    """Add what is wrong to ``faults``, and return how many rows there are by what they count.

    Only events that are ``attributed`` in the database are to have rows: whether they should be is another question.
    Rows of campaigns that the ledger does not know are none of its business.
    """
    campaigns = {message.campaign_id for message in truth.messages.values()}
    counts: Counter[str] = Counter()
    for table, rows in tables.items():
        counts[_NAMES[table]] = sum(row.campaign_id in campaigns for row in rows)
        native = {act.row_id: act for act in truth.native if _table_of(act) == table}
        ours = list(_without_native(table, rows, native, faults))
        by_event = {act.event_id: act for act in native.values() if act.event_id}
        _Judge(truth, table, ours, by_event, faults).judge(attributed, campaigns)
    counts["counted once, though both saw it"] = sum(act.event_id in attributed for act in truth.native)
    return dict(counts)


def _table_of(act: Native) -> str:
    return _VIEWS if act.what == "view" else _CLICKS


def _without_native(table: str, rows: Sequence[Row], native: Mapping[int, Native], faults: Faults) -> Iterator[Row]:
    """Yield the rows that are not listmonk's own. Those must all be there, as listmonk has written them."""
    missing = dict(native)
    for row in rows:
        act = missing.pop(row.id, None)
        if act is None:
            yield row
        elif (row.says, row.at) != ((act.campaign_id, act.subscriber_id, act.link or ""), act.at):
            faults.wrong.append(Fault.of_row(table, row.id, "was written by listmonk itself, and has been changed"))
    for row_id in missing:
        faults.lost.append(Fault.of_row(table, row_id, "was written by listmonk itself, and is gone"))


class _Judge:
    """Judges the rows of one table that the system has written."""

    def __init__(
        self, truth: Truth, table: str, rows: Sequence[Row], native: Mapping[str, Native], faults: Faults
    ) -> None:
        self._truth = truth
        self._table = table
        self._native = native
        self._faults = faults
        self._rows: defaultdict[datetime, list[Row]] = defaultdict(list)
        for row in rows:
            self._rows[row.at].append(row)

    def judge(self, attributed: Collection[str], campaigns: Collection[int]) -> None:
        events = [event for event in self._truth.events.values() if event.table == self._table]
        wanted = [event for event in events if event.event_id in attributed and self._is_wanted(event)]
        # Those that are right are taken first: what is left at an instant is then somebody else's, and wrong.
        missing = [event for event in wanted if self._take(event, exactly=True) is None]
        for event in missing:
            row = self._take(event, exactly=False)
            if row is None:
                self._fault(self._faults.lost, event, f"is attributed, and has no row in {self._table}")
            else:
                self._fault(self._faults.wrong, event, self._difference(event, row))
        self._judge_superfluous(attributed, campaigns)

    def _is_wanted(self, event: Emitted) -> bool:
        return event.event_id not in self._native and self._says(event) is not None

    def _says(self, event: Emitted) -> tuple[int, int | None, str] | None:
        """What a row of the event is to say; None if there can be none."""
        message = self._truth.messages.get(event.message or "")
        if message is None or self._truth.listmonk is None:
            return None
        if self._table == _BOUNCES:
            # A bounce is somebody's, or there is no place for it.
            return (message.campaign_id, message.subscriber_id, event.bounce or "") if message.subscriber_id else None
        reader = message.subscriber_id if self._truth.listmonk.individual_tracking else None
        return message.campaign_id, reader, event.link or ""

    def _take(self, event: Emitted, *, exactly: bool) -> Row | None:
        """Find a row at the instant of the event, and strike it off."""
        if event.at is None:
            return None
        for tolerated in _TOLERANCE:
            rows = self._rows.get(event.at + tolerated, [])
            for row in rows:
                if not exactly or row.says == self._says(event):
                    rows.remove(row)
                    return row
        return None

    def _judge_superfluous(self, attributed: Collection[str], campaigns: Collection[int]) -> None:
        left = [row for rows in self._rows.values() for row in rows if row.campaign_id in campaigns]
        happened = {
            event.at + tolerated: event
            for event in self._truth.events.values()
            if event.at is not None and (event.table or _place(event)) == self._table
            for tolerated in _TOLERANCE
        }
        for row in left:
            event = happened.get(row.at)
            if event is None:
                sentence = f"counts for campaign {row.campaign_id}, and nothing happened at {row.at}"
                self._faults.wrong.append(Fault.of_row(self._table, row.id, sentence))
            elif event.event_id in self._native:
                own = self._native[event.event_id].row_id
                sentence = f"is counted in {self._table} by listmonk's row {own}, and by row {row.id} once more"
                self._fault(self._faults.twice, event, sentence)
            elif event.table is None:
                self._fault(self._faults.wrong, event, f"must not be counted, and has row {row.id} of {self._table}")
            elif event.event_id not in attributed:
                self._fault(self._faults.wrong, event, f"is not attributed, and has row {row.id} of {self._table}")
            else:
                self._fault(self._faults.twice, event, f"is counted by row {row.id} of {self._table} once more")

    def _difference(self, event: Emitted, row: Row) -> str:
        """Say in which way a row is not what the event's row must be."""
        campaign_id, subscriber_id, detail = self._says(event) or (None, None, "")
        if row.campaign_id != campaign_id:
            return f"belongs to campaign {campaign_id}, and is counted for campaign {row.campaign_id} in {self._table}"
        if row.subscriber_id != subscriber_id:
            if subscriber_id is None:
                return f"must name nobody in {self._table}, by listmonk's settings, and names {row.subscriber_id}"
            return f"is of subscriber {subscriber_id}, and is counted for {row.subscriber_id} in {self._table}"
        return f"must be counted as {detail} in {self._table}, and is counted as {row.detail}"

    def _fault(self, kind: list[Fault], event: Emitted, sentence: str) -> None:
        kind.append(Fault.of_event(event.event_id, sentence))


def _place(event: Emitted) -> str | None:
    """Return the table in which an event that must not be counted would be, if it were."""
    if event.what == "click":
        return _CLICKS
    return None if event.what in ENGAGEMENTS or event.fate != "followed" else _BOUNCES
