"""Results for people who ask: the view's numbers, those since a time, the rows behind them, how well proven."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from db.engine import create_engine
from db.models import EngagementEvent
from db.reporting import (
    campaign_stats,
    count_alike,
    count_by_key,
    list_disagreements,
    measure_accuracy,
    read_only,
    stream_events,
)
from db.results import Results
from db.tracking import track_messages
from simulator import listmonk
from tests.db.listmonk.counts import record as record_in_listmonk
from tests.db.rows import NOW, azure_id, click, message

ROOT = Path(__file__).parents[2]
START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_COUNTS = {
    "sent": 0,
    "delivered": 0,
    "bounced_hard": 0,
    "bounced_soft": 0,
    "bounced_complaint": 0,
    "opens": 0,
    "unique_opens": 0,
    "clicks": 0,
    "unique_clicks": 0,
    "unsubscribe_clicks": 0,
    "parked": 0,
    "first_event_at": None,
    "last_event_at": None,
    "population_rate": None,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as conn:
        yield conn


def insert(conn: Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        values = ", ".join(f":{column}" for column in row)
        conn.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)


def sent(conn: Connection, campaign: int, message: str | None = None, **columns: Any) -> None:
    insert(conn, "azure_message_tracking", {"campaign_id": campaign, "internet_message_id": message, **columns})


def attributed(campaign: int | None, **columns: Any) -> dict[str, Any]:
    return {
        "campaign_id": campaign,
        "event_timestamp": START,
        "state": "attributed",
        "matched_by": "internet_message_id",
        "created_at": START,
        "attributed_at": START,
        **columns,
    }


def act(conn: Connection, kind: str, campaign: int | None, **columns: Any) -> None:
    insert(conn, "azure_engagement_events", {"engagement_type": kind, **attributed(campaign, **columns)})


def delivery(conn: Connection, status: str, campaign: int | None, **columns: Any) -> None:
    insert(conn, "azure_delivery_events", {"status": status, **attributed(campaign, **columns)})


def stats(conn: Connection, **given: Any) -> dict[int, dict[str, Any]]:
    rows = [row._asdict() for row in campaign_stats(conn, **given)]
    assert [row["campaign_id"] for row in rows] == sorted(row["campaign_id"] for row in rows)
    return {row.pop("campaign_id"): row for row in rows}


# What the columns count.


def test_nothing_is_known_of_an_empty_database(conn: Connection) -> None:
    assert stats(conn) == {}
    assert stats(conn, since=START) == {}


def test_sends_reports_and_acts_of_a_campaign_do_not_multiply_each_other(conn: Connection) -> None:
    for number in range(5):
        sent(conn, 7, f"<m{number}@example.com>", subscriber_id=number + 1)
    for number in range(3):
        delivery(conn, "Delivered", 7, subscriber_id=number + 1)
    for _ in range(4):
        act(conn, "view", 7, subscriber_id=1)
    act(conn, "click", 7, subscriber_id=1)
    act(conn, "click", 7, subscriber_id=2)
    assert stats(conn)[7] == NO_COUNTS | {
        "sent": 5,
        "delivered": 3,
        "opens": 4,
        "unique_opens": 1,
        "clicks": 2,
        "unique_clicks": 2,
        "first_event_at": START,
        "last_event_at": START,
        "population_rate": 1,
    }


def test_a_campaign_is_listed_whichever_side_alone_knows_it(conn: Connection) -> None:
    sent(conn, 1, "<m1@example.com>")
    delivery(conn, "Delivered", 2)
    act(conn, "view", 3, subscriber_id=1)
    found = stats(conn)
    assert found[1] == NO_COUNTS | {"sent": 1, "population_rate": 1}
    times = {"first_event_at": START, "last_event_at": START}
    assert found[2] == NO_COUNTS | times | {"delivered": 1}
    assert found[3] == NO_COUNTS | times | {"opens": 1, "unique_opens": 1}


def test_bounces_are_counted_by_type_and_other_statuses_are_neither_bounced_nor_delivered(conn: Connection) -> None:
    for bounce_type in ("hard", "hard", "soft", "complaint"):
        delivery(conn, "Bounced", 1, bounce_type=bounce_type)
    delivery(conn, "Expanded", 1)
    delivery(conn, "hard", 1)  # Azure's word for something, some day; not our type
    found = stats(conn)[1]
    assert (found["bounced_hard"], found["bounced_soft"], found["bounced_complaint"]) == (2, 1, 1)
    assert found["delivered"] == 0


def test_people_are_subscribers_and_where_none_is_known_the_readers_of_one_mail(conn: Connection) -> None:
    act(conn, "view", 1, subscriber_id=5, internet_message_id="<a@example.com>")
    act(conn, "view", 1, subscriber_id=5, internet_message_id="<b@example.com>")
    act(conn, "view", 1, internet_message_id="<c@example.com>")
    act(conn, "view", 1, internet_message_id="<c@example.com>")
    act(conn, "view", 1, internet_message_id="<C@example.com>")
    act(conn, "view", 1, azure_message_id=azure_id(1))
    assert stats(conn)[1]["opens"] == 6
    assert stats(conn)[1]["unique_opens"] == 4


@pytest.mark.parametrize(
    ("uncounted", "counts"),
    [
        (None, (1, 1, 0)),
        ("native", (1, 1, 0)),
        ("unsubscribe_link", (0, 0, 1)),
        ("tracking_disabled", (0, 0, 0)),
        ("campaign_deleted", (0, 0, 0)),
        ("unknown_type", (0, 0, 0)),
    ],
)
def test_a_click_counts_once_unless_something_said_it_does_not(
    conn: Connection, uncounted: str | None, counts: tuple[int, int, int]
) -> None:
    act(conn, "click", 1, subscriber_id=5, uncounted=uncounted)
    found = stats(conn)[1]
    assert (found["clicks"], found["unique_clicks"], found["unsubscribe_clicks"]) == counts
    assert found["first_event_at"] == START  # it happened, whether it counts or not


def test_parked_counts_the_events_that_had_waited_before_they_were_attributed(conn: Connection) -> None:
    act(conn, "view", 1)
    act(conn, "view", 1, attributed_at=START + timedelta(microseconds=1))
    act(conn, "view", 1, attributed_at=None, matched_by="replaced_system")
    delivery(conn, "Delivered", 1, attributed_at=START + HOUR)
    act(conn, "view", None, state="parked", matched_by=None, attributed_at=None)
    assert stats(conn)[1]["parked"] == 2


def test_the_population_rate_is_the_share_of_messages_whose_message_id_is_known(conn: Connection) -> None:
    sent(conn, 1, "<m@example.com>")
    for number in range(2):
        sent(conn, 1, None, azure_message_id=azure_id(number))
    assert stats(conn)[1]["sent"] == 3
    assert float(stats(conn)[1]["population_rate"]) == 0.3333


def test_a_message_counts_since_it_was_sent_or_written_if_nobody_said_when(conn: Connection) -> None:
    sent(conn, 1, "<a@example.com>", sent_at=START - HOUR)
    sent(conn, 1, "<b@example.com>", sent_at=START)
    sent(conn, 1, "<c@example.com>", sent_at=None, created_at=START)
    sent(conn, 1, "<d@example.com>", sent_at=None, created_at=None)
    assert stats(conn)[1]["sent"] == 4
    assert stats(conn, since=START)[1]["sent"] == 2


# The same numbers, however they are asked for.


def expected(facts: list[tuple[str, dict[str, Any]]], since: datetime | None) -> dict[int, dict[str, Any]]:
    """Count ``facts`` once more, one by one."""
    found: dict[int, dict[str, Any]] = {}
    people: dict[tuple[int, str], set[object]] = {}
    known: dict[int, int] = {}
    for table, row in facts:
        at = row["sent_at"] if table == "tracking" else row["event_timestamp"]
        if (since and at < since) or row.get("state", "attributed") != "attributed":
            continue
        campaign = row["campaign_id"]
        numbers = found.setdefault(campaign, dict(NO_COUNTS))
        if table == "tracking":
            numbers["sent"] += 1
            known[campaign] = known.get(campaign, 0) + (row["internet_message_id"] is not None)
            numbers["population_rate"] = round(known[campaign] / numbers["sent"], 4)
            continue
        numbers["first_event_at"] = min(numbers["first_event_at"] or at, at)
        numbers["last_event_at"] = max(numbers["last_event_at"] or at, at)
        numbers["parked"] += row["attributed_at"] > row["created_at"]
        if table == "delivery":
            if row["bounce_type"]:
                numbers[f"bounced_{row['bounce_type']}"] += 1
            elif row["status"] == "Delivered":
                numbers["delivered"] += 1
            continue
        if row["uncounted"] == "unsubscribe_link":
            numbers["unsubscribe_clicks"] += 1
        elif row["uncounted"] in (None, "native") and row["engagement_type"] in ("view", "click"):
            name = {"view": "opens", "click": "clicks"}[row["engagement_type"]]
            numbers[name] += 1
            people.setdefault((campaign, name), set()).add(row["subscriber_id"] or row["internet_message_id"])
            numbers[f"unique_{name}"] = len(people[campaign, name])
    return found


def varied_facts(chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """Return some 700 sends and events of ten campaigns, of every sort."""
    facts: list[tuple[str, dict[str, Any]]] = []
    for number in range(200):
        at = START + chance.randrange(100) * HOUR
        known = f"<sent{number}@example.com>" if chance.random() < 0.8 else None
        row = {"campaign_id": chance.randint(1, 8), "internet_message_id": known, "azure_message_id": azure_id(number)}
        facts.append(("tracking", row | {"sent_at": at}))
    for _ in range(500):
        at = START + chance.randrange(100) * HOUR
        waits = chance.random() < 0.1
        row = attributed(
            None if waits else chance.randint(3, 10),
            state=chance.choice(["parked", "expired"]) if waits else "attributed",
            event_timestamp=at,
            created_at=at,
            attributed_at=None if waits else at + chance.choice([0, 0, 1]) * HOUR,
            subscriber_id=chance.choice([None, 1, 2, 3]),
            internet_message_id=f"<read{chance.randrange(6)}@example.com>",
        )
        if chance.random() < 0.4:
            status = chance.choice(["Delivered", "Delivered", "Bounced", "Expanded"])
            bounce_type = chance.choice(["hard", "soft", "complaint"]) if status == "Bounced" else None
            facts.append(("delivery", row | {"status": status, "bounce_type": bounce_type}))
        else:
            kind = chance.choice(["view", "view", "click", "print"])
            reasons = [None, None, "native", "tracking_disabled", *(["unsubscribe_link"] if kind == "click" else [])]
            facts.append(("engagement", row | {"engagement_type": kind, "uncounted": chance.choice(reasons)}))
    return facts


@pytest.mark.parametrize("seed", range(3))
def test_the_view_and_the_numbers_since_a_time_are_those_of_counting_by_hand(conn: Connection, seed: int) -> None:
    facts = varied_facts(random.Random(seed))
    tables = {"tracking": "azure_message_tracking"}
    for name, row in facts:
        insert(conn, tables.get(name, f"azure_{name}_events"), row)
    everything = comparable(expected(facts, None))
    assert len(everything) == 10
    assert comparable(stats(conn)) == everything
    assert comparable(stats(conn, since=START - HOUR)) == everything
    for hours in (1, 50, 99):
        since = START + hours * HOUR
        assert comparable(stats(conn, since=since)) == comparable(expected(facts, since))
    assert comparable(stats(conn, campaigns=[2, 9])) == {number: everything[number] for number in (2, 9)}
    assert comparable(stats(conn, campaigns=[2, 9], since=START)) == {number: everything[number] for number in (2, 9)}
    assert stats(conn, campaigns=[11]) == {}


def comparable(found: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the same numbers with rates that compare: a Decimal here, a float there."""
    rates = {campaign: numbers["population_rate"] for campaign, numbers in found.items()}
    return {
        campaign: numbers | {"population_rate": None if rates[campaign] is None else float(rates[campaign])}
        for campaign, numbers in found.items()
    }


def plan_of(conn: Connection, query: str) -> list[dict[str, Any]]:
    """Return every node of a query's plan."""
    (root,) = conn.execute(text(f"EXPLAIN (FORMAT JSON) {query}")).scalar_one()
    nodes = [root["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize("chosen", ["campaign_id = 65", "campaign_id = ANY('{64,65}')", "campaign_id IN (64, 65)"])
def test_a_campaign_that_is_named_reaches_every_table_that_is_counted_from(conn: Connection, chosen: str) -> None:
    nodes = plan_of(conn, f"SELECT * FROM attribution_counts_by_rows WHERE {chosen}")
    scans = {node["Relation Name"]: node for node in nodes if "Relation Name" in node}
    assert set(scans) == {"azure_message_tracking", "azure_delivery_events", "azure_engagement_events"}
    for scan in scans.values():
        assert "campaign_id" in scan.get("Filter", "") + scan.get("Recheck Cond", "") + scan.get("Index Cond", "")


# Beside listmonk's own count.

_IN_LISTMONK = """
SELECT (SELECT count(*) FROM campaign_views WHERE campaign_id = 7),
       (SELECT count(*) FROM link_clicks WHERE campaign_id = 7)
"""


def test_in_listmonks_database_its_count_is_ours_and_the_native_acts_that_azure_did_not_report(
    listmonk_database_url: str,
) -> None:
    def view(number: int, **fields: Any) -> EngagementEvent:
        return click(f"view {number}", engagement_type="view", engagement_context="", **fields)

    at = [NOW - minutes * timedelta(minutes=1) for minutes in range(6)]
    engine = create_engine(listmonk_database_url, for_batches=True)
    with engine.begin() as conn:
        track_messages(conn, [message(campaign=7, subscriber=12)])
    with psycopg.connect(listmonk_database_url, autocommit=True) as native:
        link = listmonk.link(native, "https://www.example.com/offer")
        listmonk.view(native, 7, 12, at[1])  # also reported by Azure, later
        listmonk.click(native, 7, 12, link, at[1])
        listmonk.view(native, 7, 13, at[5])  # never reported
        record_in_listmonk(
            engine,
            *(view(number, event_timestamp=at[number]) for number in range(4)),
            *(click(f"click {number}", event_timestamp=at[number]) for number in range(2)),
            click("unsubscribe", uncounted="unsubscribe_link"),
            click("no address", engagement_context=None),
        )
        listmonk.view(native, 7, 12, at[2])  # also reported by Azure, before
        with engine.begin() as conn:
            Results().watch_native(conn)
        views, clicks = native.execute(_IN_LISTMONK).fetchone() or (0, 0)
    with engine.begin() as conn:
        found = stats(conn)[7]
        reasons = {event.event_id: event.uncounted for event in stream_events(conn, campaign=7)}
    engine.dispose()
    assert [event for event, reason in reasons.items() if reason == "native"] == ["view 2", "click 1", "view 1"]
    assert (found["opens"], found["clicks"], found["unsubscribe_clicks"]) == (4, 2, 1)
    assert (views, clicks) == (found["opens"] + 1, found["clicks"])


# The rows behind the numbers.


def ids(rows: Iterator[Any]) -> list[str]:
    return [row.event_id for row in rows]


@pytest.fixture
def some_events(conn: Connection) -> Connection:
    sent(conn, 65, "<a@example.com>", azure_message_id=azure_id(1))
    act(
        conn,
        "click",
        65,
        event_id="click",
        subscriber_id=12,
        internet_message_id="<a@example.com>",
        engagement_context="https://www.example.com/offer",
        event_timestamp=START + 3 * HOUR,
        user_agent="Mozilla/5.0",
    )
    act(conn, "View", 65, event_id="open", subscriber_id=13, event_timestamp=START + HOUR, engagement_context="x")
    delivery(conn, "Bounced", 65, event_id="bounce", subscriber_id=12, azure_message_id=azure_id(1), bounce_type="hard")
    act(
        conn,
        "view",
        None,
        event_id="waits",
        state="parked",
        matched_by=None,
        attributed_at=None,
        internet_message_id="<a@example.com>",
        event_timestamp=START + 2 * HOUR,
    )
    act(conn, "view", 66, event_id="other", subscriber_id=12, event_timestamp=START + 4 * HOUR)
    return conn


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"campaign": 65}, ["bounce", "open", "click"]),
        ({"subscriber": 12}, ["bounce", "click", "other"]),
        ({"campaign": 65, "subscriber": 12}, ["bounce", "click"]),
        ({"message": "<a@example.com>"}, ["bounce", "waits", "click"]),
        ({"message": azure_id(1)}, ["bounce", "waits", "click"]),
        ({"message": "<b@example.com>"}, []),
        ({"message": azure_id(2)}, []),
        ({"campaign": 65, "since": START + HOUR}, ["open", "click"]),
        ({"campaign": 65, "since": START + 9 * HOUR}, []),
    ],
)
def test_events_are_found_by_campaign_person_and_either_id_of_their_message(
    some_events: Connection, given: dict[str, Any], found: list[str]
) -> None:
    assert ids(stream_events(some_events, **given)) == found


@pytest.mark.parametrize(
    ("look_up", "given", "found"),
    [
        (campaign_stats, {"campaigns": [64, 65], "since": START}, 2),
        (stream_events, {"campaign": 65}, 99),
        (stream_events, {"subscriber": 65}, 99),
        (stream_events, {"message": "<m65@example.com>"}, 99),
        (stream_events, {"message": azure_id(65)}, 0),
        (stream_events, {"subscriber": 65, "since": START}, 99),
    ],
)
def test_one_of_very_many_is_looked_up_in_the_index_though_its_ids_are_anywhere(
    conn: Connection, look_up: Callable[..., Iterable[Any]], given: dict[str, Any], found: int
) -> None:
    conn.execute(
        text(
            "INSERT INTO azure_engagement_events"
            " (campaign_id, subscriber_id, internet_message_id, engagement_type, event_timestamp, state)"
            " SELECT n * 31 % 101, n * 31 % 101, '<m' || n * 31 % 101 || '@example.com>', 'view', now(), 'attributed'"
            " FROM generate_series(1, 10000) AS n"
        )
    )
    conn.execute(text("ANALYZE azure_engagement_events"))
    assert _scans(conn) == (0, 0)
    assert len(list(look_up(conn, **given))) == found
    assert conn.scalar(text("SHOW enable_seqscan")) == "on"
    whole, by_index = _scans(conn)
    assert whole == 0
    assert by_index > 0


def _scans(conn: Connection) -> tuple[int, int]:
    """Return how often this transaction has read engagement reports whole, and looked into their index for people."""
    whole, by_index = conn.execute(
        text(
            "SELECT pg_stat_get_xact_numscans(CAST('azure_engagement_events' AS regclass)),"
            " pg_stat_get_xact_numscans(CAST('azure_engagement_events_lookup' AS regclass))"
        )
    ).one()
    return whole, by_index


def test_a_row_tells_what_happened_in_one_form_for_both_kinds(some_events: Connection) -> None:
    bounce, opened, clicked = stream_events(some_events, campaign=65)
    assert (bounce.kind, bounce.status, bounce.bounce_type, bounce.url) == ("delivery", "Bounced", "hard", None)
    assert (opened.kind, opened.status, opened.url) == ("open", None, None)
    assert (clicked.kind, clicked.url) == ("click", "https://www.example.com/offer")
    assert (clicked.state, clicked.matched_by, clicked.user_agent) == (
        "attributed",
        "internet_message_id",
        "Mozilla/5.0",
    )


def test_any_number_of_events_passes_through_little_memory(conn: Connection) -> None:
    rows, url_bytes = 60_000, 400
    conn.execute(
        text(
            "INSERT INTO azure_engagement_events"
            " (campaign_id, engagement_type, engagement_context, event_timestamp, state)"
            " SELECT 1, 'click', rpad('https://www.example.com/' || n, :length, 'x'), now(), 'attributed'"
            " FROM generate_series(1, :rows) AS n"
        ),
        {"rows": rows, "length": url_bytes},
    )
    tracemalloc.start()
    try:
        seen = sum(len(row.url) for row in stream_events(conn, campaign=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == rows * url_bytes
    assert peak < seen / 4


def test_what_is_read_changes_nothing_is_of_one_moment_and_may_pause(engine: Engine) -> None:
    with engine.begin() as reading, engine.begin() as writing:
        read_only(reading)
        assert stats(reading) == {}
        sent(writing, 1, "<m@example.com>")
        writing.commit()
        assert stats(reading) == {}
        assert reading.scalar(text("SELECT current_setting('idle_in_transaction_session_timeout')")) == "0"
        assert reading.scalar(text("SELECT current_setting('transaction_read_only')")) == "on"


# How well the clicks are proven.


def accuracy(conn: Connection, **given: Any) -> tuple[int, int, int, int]:
    found = measure_accuracy(conn, **given)
    return found.clicks, found.two_keys, found.agreeing, found.disagreeing


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({}, None),
        ({"link_campaign_id": 1}, True),
        ({"link_campaign_id": 1, "link_subscriber_id": 5}, True),
        ({"link_campaign_id": 1, "link_subscriber_id": 6}, False),
        ({"link_campaign_id": 2}, False),
        ({"link_campaign_id": 2, "link_subscriber_id": 5}, False),
        ({"link_campaign_id": 1, "matched_by": "azure_message_id"}, True),
        ({"link_campaign_id": 1, "matched_by": "delivery_report"}, True),
        ({"link_campaign_id": 1, "matched_by": "header"}, True),
        ({"link_campaign_id": 1, "matched_by": "replaced_system"}, None),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<nobody@example.com>"}, None),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<one@example.com>"}, True),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<two@example.com>"}, False),
        ({"link_campaign_id": 1, "matched_by": "link", "internet_message_id": "<person@example.com>"}, False),
        ({"link_campaign_id": 1, "matched_by": "link", "azure_message_id": azure_id(1)}, True),
        ({"link_campaign_id": 1, "matched_by": "link", "azure_message_id": UUID(int=7)}, None),
    ],
)
def test_two_keys_of_a_click_agree_disagree_or_are_one(
    conn: Connection, columns: dict[str, Any], verdict: bool | None
) -> None:
    sent(conn, 1, "<one@example.com>", azure_message_id=azure_id(1))
    sent(conn, 2, "<two@example.com>", azure_message_id=azure_id(2))
    sent(conn, 1, "<person@example.com>", subscriber_id=6)
    act(conn, "click", 1, subscriber_id=5, **columns)
    assert accuracy(conn) == (1, verdict is not None, verdict is True, verdict is False)


def test_acts_alike_but_for_their_event_id_are_counted_and_those_that_differ_in_anything_are_not(
    conn: Connection,
) -> None:
    told = {"internet_message_id": "<m@example.com>", "engagement_context": "https://example.com/", "user_agent": "A"}
    ids = (f"e{number}" for number in itertools.count())
    for _ in range(3):
        act(conn, "click", 1, event_id=next(ids), **told)
    assert count_alike(conn) == 2
    for column, value in (
        ("internet_message_id", "<other@example.com>"),
        ("azure_message_id", azure_id(1)),
        ("engagement_context", "https://example.com/2"),
        ("user_agent", "B"),
        ("event_timestamp", START + timedelta(microseconds=1)),
    ):
        act(conn, "click", 1, event_id=next(ids), **(told | {column: value}))
    act(conn, "view", 1, event_id=next(ids), **told)
    for _ in range(2):
        act(conn, "click", 1, event_id=next(ids))  # of which message, nobody knows
    assert count_alike(conn) == 2
    assert count_alike(conn, since=START + HOUR) == 0
    assert stats(conn)[1]["clicks"] == 10


def test_only_the_clicks_that_the_results_count_are_judged(conn: Connection) -> None:
    act(conn, "click", 1, link_campaign_id=1)
    act(conn, "click", 1, link_campaign_id=1, uncounted="native", event_timestamp=START + HOUR)
    act(conn, "click", 1, uncounted="unsubscribe_link")
    act(conn, "view", 1, link_campaign_id=1)
    act(conn, "click", None, state="parked", matched_by=None, attributed_at=None)
    assert accuracy(conn) == (2, 2, 2, 0)
    assert accuracy(conn, since=START + HOUR) == (1, 1, 1, 0)
    assert stats(conn)[1]["clicks"] == 2


def test_disagreements_are_listed_newest_first_with_both_sides(conn: Connection) -> None:
    for number in (1, 2, 3):
        act(conn, "click", 64, event_id=f"e{number}", event_timestamp=START + number * HOUR)
        conn.execute(
            text(
                "INSERT INTO attribution_incidents (kind, subject_id, details)"
                " SELECT 'keys_disagree', max(id), jsonb_build_object('message', jsonb_build_object('campaign_id', 64,"
                " 'subscriber_id', 1), 'link', jsonb_build_object('campaign_id', 65, 'subscriber_id', NULL))"
                " FROM azure_engagement_events"
            )
        )
    conn.execute(text("INSERT INTO attribution_incidents VALUES (99, 'message_id_replaced', 1, '{}')"))
    newest, second = list_disagreements(conn, limit=2)
    assert (newest.event_id, second.event_id) == ("e3", "e2")
    assert (newest.message_campaign_id, newest.message_subscriber_id) == (64, 1)
    assert (newest.link_campaign_id, newest.link_subscriber_id) == (65, None)
    assert [row.event_id for row in list_disagreements(conn, limit=9, since=START + 2 * HOUR)] == ["e3", "e2"]


def test_every_event_is_counted_under_one_key_or_as_waiting(conn: Connection) -> None:
    act(conn, "click", 1, matched_by="link")
    act(conn, "view", 1)
    act(conn, "view", 1, event_timestamp=START - HOUR)
    delivery(conn, "Delivered", 1)
    delivery(conn, "Delivered", None, state="expired", matched_by=None, attributed_at=None)
    act(conn, "view", None, state="parked", matched_by=None, attributed_at=None)
    rows = [
        ("attributed", "internet_message_id", 2, 1),
        ("attributed", "link", 1, 0),
        ("parked", None, 1, 0),
        ("expired", None, 0, 1),
    ]
    assert [tuple(row) for row in count_by_key(conn)] == rows
    rows[0] = ("attributed", "internet_message_id", 1, 1)
    assert [tuple(row) for row in count_by_key(conn, since=START)] == rows
