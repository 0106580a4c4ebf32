"""Repairs: events credited to the wrong campaign or reader, found by their message's own id, and put right.

The replaced system guessed. An event that carries an id of a tracked message proves it right or wrong; and the row that
it wrote for that event into listmonk's tables is told by its instant, exact to the microsecond. What cannot be proven
is listed and stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from db.allowance import allow_time
from db.journal import DELIVERIES, ENGAGEMENTS, Journal
from db.listmonk.matching import Act, match
from db.listmonk.tables import Listmonk
from db.repair_tables import COUNTED, EVENTS, OF_EVENTS, OF_RESULTS, Counted

#: How far a row may lie from an event to be listed as one that may be its own, though nothing proves it.
NEAR: Final = timedelta(seconds=5)


class Correction(NamedTuple):
    """One event that is credited wrongly: where it is, where it belongs, and the row that counts it."""

    table: str
    event_id: int
    campaign_id: int
    subscriber_id: int | None
    true_campaign_id: int
    true_subscriber_id: int | None
    matched_by: str
    act: str | None
    #: Corrections with the same head stand or fall together, and are made in one transaction.
    head: int
    row_id: int | None
    row_campaign_id: int | None
    row_subscriber_id: int | None
    #: The native row that counts the act already: the row goes, and does not move.
    native_id: int | None


class Unproven(NamedTuple):
    """A row that stays as it is, though it may be wrong."""

    reason: str
    table: str
    row_id: int
    campaign_id: int


@dataclass(slots=True)
class Plan:
    """What a repair is going to do, and what it leaves alone."""

    corrections: list[Correction] = field(default_factory=list)
    confirmable: int = 0
    unproven: list[Unproven] = field(default_factory=list)

    def changes(self) -> dict[str, dict[int, int]]:
        """Return how many rows go to (more than 0) and from (less) each campaign, by table."""
        changes: dict[str, Counter[int]] = {}
        for each in self.corrections:
            events = changes.setdefault(each.table, Counter())
            events[each.campaign_id] -= 1
            events[each.true_campaign_id] += 1
            if each.row_id is not None and each.act is not None and each.row_campaign_id is not None:
                rows = changes.setdefault(_RESULTS[each.act], Counter())
                rows[each.row_campaign_id] -= 1
                if each.native_id is None:
                    rows[each.true_campaign_id] += 1
        counted = {table: {campaign: n for campaign, n in sorted(of.items()) if n} for table, of in changes.items()}
        return {table: counted[table] for table in sorted(counted) if counted[table]}

    def reasons(self) -> dict[str, int]:
        """Return how many rows cannot be proven, by reason."""
        return dict(sorted(Counter(each.reason for each in self.unproven).items()))

    def batches(self, size: int) -> Iterator[list[Correction]]:
        """Yield the corrections by table, some ``size`` at a time; what stands or falls together is never parted."""
        batch: list[Correction] = []
        for (table, _), together in groupby(self.corrections, key=attrgetter("table", "head")):
            members = list(together)
            if batch and (len(batch) + len(members) > size or batch[0].table != table):
                yield batch
                batch = []
            batch += members
        if batch:
            yield batch


#: Longest that one statement may look for what is wrong.
LONGEST_LOOK: Final = timedelta(hours=1)
_RESULTS: Final = {counted.act: counted.results for counted in COUNTED}


def plan_repair(conn: Connection, listmonk: Listmonk, *, window: timedelta) -> Plan:
    """Find what is credited wrongly. Nothing is changed or locked.

    A transaction of its own, which leaves temporary tables until its end. Native rows of listmonk's within ``window``
    count an act already.
    """
    # It reads whole tables, which may take longer than a batch may.
    with allow_time(conn, LONGEST_LOOK):
        return _plan(conn, listmonk, window=window)


def _plan(conn: Connection, listmonk: Listmonk, *, window: timedelta) -> Plan:
    plan = Plan()
    for query in ("create_plan", "create_claims"):
        conn.execute(OF_EVENTS[DELIVERIES, False][query])
    for events in EVENTS:
        queries = OF_EVENTS[events, listmonk.present]
        conn.execute(queries["find_wrong"])
        plan.confirmable += conn.execute(queries["count_confirmable"]).scalar_one()
        plan.unproven += [
            Unproven("message_unknown", events, row.id, row.campaign_id)
            for row in conn.execute(queries["find_unknown"])
        ]
    conn.execute(OF_EVENTS[DELIVERIES, False]["analyse_plan"])
    native: dict[tuple[str, int], int] = {}
    for counted in _present(listmonk):
        queries = OF_RESULTS[counted.act][0]
        conn.execute(queries["find_own_rows"])
        conn.execute(queries["find_claims"])
        conn.execute(queries["pair_rows"])
        conn.execute(queries["explain_rest"], {"near": NEAR})
        if window and counted.act != "bounce":
            native |= {
                (counted.act, event): row for event, row in _match_native(conn, counted.act, window=window).items()
            }
    for row in conn.execute(OF_EVENTS[DELIVERIES, False]["read_plan"]):
        _take_up(plan, row, native)
    campaigns = {each.campaign_id for each in plan.corrections} | {each.campaign_id for each in plan.unproven}
    for counted in _present(listmonk):
        rows = conn.execute(OF_RESULTS[counted.act][0]["find_untraced"], {"campaigns": sorted(campaigns)})
        settled = {each.row_id for each in plan.corrections if each.act == counted.act}
        plan.unproven += [
            Unproven("untraced", counted.results, row.id, row.campaign_id) for row in rows if row.id not in settled
        ]
    return plan


def _present(listmonk: Listmonk) -> list[Counted]:
    there = {"view": listmonk.views, "click": listmonk.clicks, "bounce": listmonk.bounces}
    return [counted for counted in COUNTED if there[counted.act]]


def _match_native(conn: Connection, act: str, *, window: timedelta) -> dict[int, int]:
    """Return which native row counts which event already; each row one event, and as many events as can be."""
    ours: dict[int, Act] = {}
    native: dict[int, Act] = {}
    for queries in OF_RESULTS[act]:
        for row in conn.execute(queries["find_native"], {"window": window}):
            who = (row.campaign_id, row.subscriber_id, row.link_id)
            ours[row.event_id] = Act(row.event_id, *who, row.happened_at)
            native[row.native_id] = Act(row.native_id, *who, row.native_at)
    return match(ours.values(), native.values(), window)


def _take_up(plan: Plan, row: Any, native: Mapping[tuple[str, int], int]) -> None:
    if row.unproven is not None:
        plan.unproven.append(Unproven(row.unproven, row.table_name, row.event_id, row.campaign_id))
        return
    if row.row_unproven is not None:
        plan.unproven.append(Unproven(row.row_unproven, row.table_name, row.event_id, row.campaign_id))
    plan.corrections.append(
        Correction(
            table=row.table_name,
            event_id=row.event_id,
            campaign_id=row.campaign_id,
            subscriber_id=row.subscriber_id,
            true_campaign_id=row.true_campaign_id,
            true_subscriber_id=row.true_subscriber_id,
            matched_by=row.matched_by,
            act=row.act,
            head=row.head,
            row_id=row.row_id,
            row_campaign_id=row.row_campaign_id if row.row_id is not None else None,
            row_subscriber_id=row.row_subscriber_id,
            native_id=native.get((row.act, row.event_id)) if row.row_id is not None else None,
        )
    )


def correct_events(conn: Connection, journal: Journal, batch: Sequence[Correction]) -> int:
    """Make corrections of one table, journalled; return how many.

    Rows are locked in the order of their ids, events before results, as the drain does. What has changed since it was
    planned is left for the next repair.
    """
    table = batch[0].table
    queries = OF_EVENTS[table, False]
    acts = {each.act for each in batch if each.row_id is not None}
    counted = [each for each in COUNTED if each.act in acts]
    conn.execute(queries["create_batch"])
    conn.execute(queries["forget_batch"])
    conn.execute(queries["fill_batch"], _columns(batch))
    if table == ENGAGEMENTS and counted:
        conn.execute(queries["one_at_a_time"])
    journal.watch(conn, table, [each.event_id for each in batch])
    conn.execute(queries["drop_changed_events"])
    for each in counted:
        journal.watch(
            conn, each.results, [row.row_id for row in batch if row.act == each.act and row.row_id is not None]
        )
        conn.execute(OF_RESULTS[each.act][0]["drop_changed_rows"])
    corrected = conn.execute(queries["correct_events"]).rowcount
    journal.write(conn, table, "repaired")
    for each in counted:
        for query in ("move_rows", "remove_rows"):
            conn.execute(OF_RESULTS[each.act][0][query])
        journal.write(conn, each.results, "repaired")
    return corrected


def _columns(batch: Sequence[Correction]) -> dict[str, list[Any]]:
    return {
        "event_ids": [each.event_id for each in batch],
        "campaign_ids": [each.campaign_id for each in batch],
        "subscriber_ids": [each.subscriber_id for each in batch],
        "true_campaign_ids": [each.true_campaign_id for each in batch],
        "true_subscriber_ids": [each.true_subscriber_id for each in batch],
        "matched_bys": [each.matched_by for each in batch],
        "acts": [each.act for each in batch],
        "row_ids": [each.row_id for each in batch],
        "row_campaign_ids": [each.row_campaign_id for each in batch],
        "row_subscriber_ids": [each.row_subscriber_id for each in batch],
        "native_ids": [each.native_id for each in batch],
    }


def confirm_events(conn: Connection, journal: Journal, table: str, *, after: int, limit: int) -> tuple[int, int | None]:
    """Give events behind the row ``after`` that the replaced system guessed rightly the key that proves it, journalled.

    Returns how many, and the last row looked at; None if there are no more.
    """
    queries = OF_EVENTS[table, False]
    ids = list(conn.execute(queries["find_confirmable"], {"after": after, "limit": limit}).scalars())
    if not ids:
        return 0, None
    journal.watch(conn, table, ids)
    conn.execute(queries["confirm_events"], {"ids": ids})
    return journal.write(conn, table, "confirmed"), ids[-1]
