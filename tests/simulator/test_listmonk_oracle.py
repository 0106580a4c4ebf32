"""The oracle finds every way in which listmonk's tables can be wrong about the truth, and none in right ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, LiteralString

import psycopg
import pytest

from simulator import listmonk, oracle
from simulator.report import last_line
from simulator.scenario import Traffic, in_listmonk, play_out
from simulator.truth import Emitted, Expectation, Fate, Listmonk, Native
from simulator.verdict import Verdict
from tests.simulator.honest import VIEW, ledger, store

Connection = psycopg.Connection[Any]

TRAFFIC = in_listmonk(Traffic(messages=260, seed=6))
TRUTH = ledger(play_out(TRAFFIC), Listmonk(individual_tracking=True))
NAMELESS = ledger(play_out(Traffic(messages=60, seed=6, personal_links=0.5)), Listmonk(individual_tracking=False))
BOTH = {act.event_id for act in TRUTH.native}


@pytest.fixture
def connection(listmonk_database_url: str) -> Iterator[Connection]:
    """Connect to a database of listmonk's that is right about `TRUTH`."""
    with oracle.connect(listmonk_database_url) as connection:
        with connection.transaction():
            store(connection, TRUTH)
        yield connection


def an(what: str, fits: Callable[[Expectation], bool] = lambda _: True, *, fate: Fate = Fate.ATTRIBUTED) -> Emitted:
    """Pick an event of one reader that listmonk has not counted itself."""
    return next(
        expected.event
        for expected in TRUTH.expectations()
        if expected.event.what == what
        and expected.fates == {fate}
        and expected.event.event_id not in BOTH
        and expected.message is not None
        and expected.message.subscriber_id is not None
        and fits(expected)
    )


def row_of(connection: Connection, event: Emitted) -> int:
    """Return the id of the row that counts an event, as of now."""
    row = connection.execute(
        "SELECT -id FROM azure_engagement_events WHERE event_id = %s", (event.event_id,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def change(connection: Connection, statement: LiteralString, *values: object) -> None:
    assert connection.execute(statement, values).rowcount == 1


def only_fault(connection: Connection, kind: str) -> tuple[str, str]:
    """Judge; return the subject and sentence of the one fault that there must be."""
    verdict = oracle.judge(TRUTH, connection)
    faults: Mapping[str, Any] = {"lost": verdict.lost, "twice": verdict.twice, "wrong": verdict.wrong}
    assert {name: len(found) for name, found in faults.items() if found} == {kind: 1}
    assert "1 events and rows are not" in last_line(verdict).plain
    subject, sentence = faults[kind][0]
    return subject, sentence


def test_tables_without_fault_are_sound(connection: Connection) -> None:
    verdict = oracle.judge(TRUTH, connection)
    assert (verdict.lost, verdict.twice, verdict.wrong) == ((), (), ())
    rows = verdict.in_listmonk
    (counted,) = connection.execute("SELECT count(*) FROM campaign_views").fetchall()
    assert rows["views"] == counted[0]
    assert rows["clicks"] > 0
    assert rows["bounces"] > 0
    views = Counter(event.what for event in TRUTH.events.values())["view"]
    assert rows["counted once, though both saw it"] > 50
    assert rows["views"] <= views + sum(act.event_id is None for act in TRUTH.native)
    assert f"each of {rows['views'] + rows['clicks'] + rows['bounces']:,} rows" in last_line(verdict).plain


def test_every_kind_of_act_is_among_them() -> None:
    clicks = [event for event in TRUTH.events.values() if event.what == "click"]
    assert any(event.link is None for event in clicks)
    assert any(event.names_reader for event in clicks)
    assert any(event.names_reader and event.event_id not in BOTH for event in clicks)
    assert any(act.event_id is None for act in TRUTH.native)
    assert {act.what for act in TRUTH.native} == {"view", "click"}
    assert {event.bounce for event in TRUTH.events.values()} == {None, "hard", "soft", "complaint"}
    assert any(event.what == "forward" for event in TRUTH.events.values())


def test_tables_that_name_nobody_are_sound_where_individuals_are_not_tracked(listmonk_database_url: str) -> None:
    with oracle.connect(listmonk_database_url) as connection:
        store(connection, NAMELESS)
        assert oracle.judge(NAMELESS, connection).sound
        connection.execute(
            "UPDATE campaign_views SET subscriber_id = 12 WHERE id = (SELECT max(id) FROM campaign_views)"
        )
        verdict = oracle.judge(NAMELESS, connection)
    (fault,) = verdict.wrong
    assert fault.sentence == "must name nobody in campaign_views, by listmonk's settings, and names 12"
    assert not verdict.lost


def test_ledger_of_another_mailer_says_nothing_of_listmonks_tables(connection: Connection) -> None:
    connection.execute("DELETE FROM campaign_views")
    truth = ledger(play_out(TRAFFIC))
    assert truth.native
    truth.native.clear()
    verdict = oracle.judge(truth, connection)
    assert verdict.in_listmonk == {}
    assert not any("campaign_views" in fault.sentence for fault in verdict.lost)


def test_view_that_is_missing_is_lost(connection: Connection) -> None:
    event = an("view")
    change(connection, "DELETE FROM campaign_views WHERE id = %s", row_of(connection, event))
    assert only_fault(connection, "lost") == (
        f"event {event.event_id}",
        "is attributed, and has no row in campaign_views",
    )


def test_view_that_is_counted_again_is_twice(connection: Connection) -> None:
    event = an("view")
    change(
        connection,
        "INSERT INTO campaign_views (campaign_id, subscriber_id, created_at)"
        " SELECT campaign_id, subscriber_id, created_at FROM campaign_views WHERE id = %s",
        row_of(connection, event),
    )
    subject, sentence = only_fault(connection, "twice")
    assert subject == f"event {event.event_id}"
    assert "once more" in sentence


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("campaign_id = campaign_id %% 3 + 1", "and is counted for campaign"),
        ("campaign_id = 50", "and is counted for campaign 50"),
        ("subscriber_id = subscriber_id + 1", "is of subscriber"),
        ("subscriber_id = NULL", "and is counted for None"),
    ],
)
def test_view_that_is_counted_for_another_is_wrong(
    connection: Connection, assignment: LiteralString, sentence: str
) -> None:
    event = an("view")
    change(connection, "UPDATE campaign_views SET " + assignment + " WHERE id = %s", row_of(connection, event))
    subject, found = only_fault(connection, "wrong")
    assert subject == f"event {event.event_id}"
    assert sentence in found


def test_view_counted_at_another_time_is_lost_and_wrong(connection: Connection) -> None:
    event = an("view")
    change(
        connection,
        "UPDATE campaign_views SET created_at = created_at + interval '1 ms' WHERE id = %s",
        row_of(connection, event),
    )
    verdict = oracle.judge(TRUTH, connection)
    assert [fault.subject for fault in verdict.lost] == [f"event {event.event_id}"]
    assert [fault.subject for fault in verdict.wrong] == [f"row {row_of(connection, event)} of campaign_views"]


def test_click_that_is_counted_under_its_readers_own_url_is_wrong(connection: Connection) -> None:
    event = an("click", lambda expected: expected.event.link is not None)
    own = listmonk.link(connection, "https://www.example.com/news?uid=12")
    change(connection, "UPDATE link_clicks SET link_id = %s WHERE id = %s", own, row_of(connection, event))
    assert only_fault(connection, "wrong")[1].endswith("and is counted as https://www.example.com/news?uid=12")


def test_way_out_that_is_counted_is_wrong(connection: Connection) -> None:
    event = an("click", lambda expected: expected.event.link is None)
    link = listmonk.link(connection, "https://www.example.com/offer")
    change(
        connection,
        "INSERT INTO link_clicks (campaign_id, link_id, created_at) VALUES (1, %s, %s)",
        link,
        event.at,
    )
    assert "must not be counted" in only_fault(connection, "wrong")[1]


def test_view_that_waits_and_is_counted_is_wrong(connection: Connection) -> None:
    event = an("view", fate=Fate.WAITING)
    change(connection, VIEW, -1_000_000, 1, 1, event.at)
    assert "is not attributed, and has row" in only_fault(connection, "wrong")[1]


def test_row_of_nothing_is_wrong(connection: Connection) -> None:
    change(connection, VIEW, -1_000_000, 1, 1, "2026-01-09T00:00Z")
    assert only_fault(connection, "wrong")[0] == "row -1000000 of campaign_views"


def test_rows_of_campaigns_that_the_ledger_does_not_know_are_none_of_its_business(connection: Connection) -> None:
    change(connection, VIEW, -1_000_000, 50, 1, "2026-01-09T00:00Z")
    assert oracle.judge(TRUTH, connection).sound


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("view", "INSERT INTO campaign_views (campaign_id, subscriber_id, created_at) VALUES (%s, %s, %s)"),
        (
            "click",
            "INSERT INTO link_clicks (link_id, campaign_id, subscriber_id, created_at)"
            " SELECT min(id), %s, %s, %s FROM links",
        ),
    ],
)
def test_act_that_has_a_row_of_listmonks_and_one_of_ours_is_twice(
    connection: Connection, what: str, statement: LiteralString
) -> None:
    act = _native(what)
    event = TRUTH.events[act.event_id or ""]
    change(connection, statement, act.campaign_id, act.subscriber_id, event.at)
    assert f"by listmonk's row {act.row_id}, and by row" in only_fault(connection, "twice")[1]


@pytest.mark.parametrize("table", ["campaign_views", "link_clicks"])
def test_row_of_listmonks_own_that_is_gone_is_lost(connection: Connection, table: str) -> None:
    act = _native("view" if table == "campaign_views" else "click")
    connection.execute(f"DELETE FROM {table} WHERE id = %s".encode(), (act.row_id,))
    assert only_fault(connection, "lost") == (
        f"row {act.row_id} of {table}",
        "was written by listmonk itself, and is gone",
    )


def test_row_of_listmonks_own_that_was_changed_is_wrong(connection: Connection) -> None:
    act = _native("view")
    change(connection, "UPDATE campaign_views SET campaign_id = campaign_id %% 3 + 1 WHERE id = %s", act.row_id)
    assert "has been changed" in only_fault(connection, "wrong")[1]


@pytest.mark.parametrize(
    ("statement", "kind", "sentence"),
    [
        ("DELETE FROM bounces WHERE id = %s", "lost", "has no row in bounces"),
        ("UPDATE bounces SET type = 'complaint' WHERE id = %s", "wrong", "is counted as complaint"),
        ("UPDATE bounces SET campaign_id = NULL WHERE id = %s", "wrong", "is counted for campaign None"),
        (
            "INSERT INTO bounces (campaign_id, subscriber_id, type, created_at, source)"
            " SELECT campaign_id, subscriber_id, type, created_at, source FROM bounces WHERE id = %s",
            "twice",
            "of bounces once more",
        ),
    ],
)
def test_bounce_that_is_off_is_found(
    connection: Connection, statement: LiteralString, kind: str, sentence: str
) -> None:
    (row,) = connection.execute("SELECT min(id) FROM bounces WHERE type = 'hard'").fetchall()
    change(connection, statement, row[0])
    assert sentence in only_fault(connection, kind)[1]


def test_report_that_is_no_bounce_and_is_counted_as_one_is_wrong(connection: Connection) -> None:
    event = an("throttled")
    change(
        connection,
        "INSERT INTO bounces (campaign_id, subscriber_id, source, created_at) VALUES (1, 1, 'azure', %s)",
        event.at,
    )
    assert "must not be counted" in only_fault(connection, "wrong")[1]


def test_bounces_of_other_sources_are_none_of_its_business(connection: Connection) -> None:
    change(connection, "INSERT INTO bounces (campaign_id, subscriber_id, source) VALUES (%s, 1, 'ses')", 1)
    assert oracle.judge(TRUTH, connection).sound


def test_event_that_is_parked_by_mistake_is_one_fault_and_its_row_another(connection: Connection) -> None:
    event = an("view")
    change(
        connection,
        "UPDATE azure_engagement_events SET state = 'parked', campaign_id = NULL, subscriber_id = NULL"
        " WHERE event_id = %s",
        event.event_id,
    )
    verdict: Verdict = oracle.judge(TRUTH, connection)
    assert {fault.subject for fault in verdict.wrong} == {f"event {event.event_id}"}
    assert len(verdict.wrong) == 2


def _native(what: str) -> Native:
    return next(act for act in TRUTH.native if act.what == what and act.event_id in _attributed())


def _attributed() -> set[str]:
    return {expected.event.event_id for expected in TRUTH.expectations() if expected.fates == {Fate.ATTRIBUTED}}
