"""The facts behind a campaign's numbers add up to them, with listmonk's tables and without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from cli.why_campaign import Number, numbers
from db.engine import create_engine
from db.explaining import CampaignFacts, Explainer
from db.parking import release
from db.reporting import read_only
from db.results import Results
from db.tracking import message_ids, track_messages
from simulator import listmonk as fake
from tests.db.listmonk.counts import record, watch
from tests.db.rows import NOW, azure_id, click, message, report

CAMPAIGN, OTHER = 7, 8


@pytest.fixture
def alone(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(listmonk_database_url: str) -> Iterator[Engine]:
    engine = create_engine(listmonk_database_url, for_batches=True)
    yield engine
    engine.dispose()


def view(event_id: str, of: str = "<m1@example.com>", **fields: Any) -> Any:
    return click(event_id, of, **{"engagement_type": "view", "engagement_context": ""} | fields)


def play(engine: Engine) -> None:
    """Have two campaigns live through everything that a number may be made of, but for what only listmonk does."""
    messages = [message(f"<m{n}@example.com>", subscriber=n, azure=azure_id(n) if n % 2 else None) for n in range(1, 6)]
    messages.append(message(None, subscriber=6, azure=azure_id(6)))
    others = [message("<o@example.com>", OTHER, 12)]
    with engine.begin() as conn:
        track_messages(conn, [*messages, *others])
    at = NOW - timedelta(hours=1)
    record(engine, *(report(f"d{n}", f"<m{n}@example.com>", event_timestamp=at) for n in (1, 2)))
    record(
        engine,
        report("hard", "<m3@example.com>", status="Bounced", bounce_type="hard"),
        report("soft", "<m4@example.com>", status="Failed", bounce_type="soft"),
        report("junk", "<m5@example.com>", status="FilteredSpam", bounce_type="complaint"),
        report("list", "<m5@example.com>", status="Expanded"),
        report("azure", None, azure_id(6)),
        *(view(f"v{n}", f"<m{n}@example.com>", event_timestamp=at) for n in (1, 2, 3)),
        view("again", event_timestamp=at + timedelta(minutes=5)),
        click("c1", "<m1@example.com>", event_timestamp=at),
        click("c2", None, azure_id(6), event_timestamp=at),
        click("out", "<m1@example.com>", uncounted="unsubscribe_link"),
        click("what", "<m1@example.com>", engagement_type="hover", uncounted="unknown_type"),
        click("no url", "<m1@example.com>", engagement_context=""),
        view("other", "<o@example.com>", event_timestamp=at),
        view("late", "<late@example.com>", event_timestamp=at + timedelta(minutes=9)),
        report("late report", "<late@example.com>"),
    )
    late = [message("<late@example.com>", subscriber=9)]
    with engine.begin() as conn:
        track_messages(conn, late)
    with engine.begin() as conn:
        assert release(conn, message_ids(late), Results()).events == 2


def facts_of(engine: Engine, campaign: int = CAMPAIGN) -> CampaignFacts:
    with engine.begin() as conn:
        read_only(conn)
        found = Explainer(conn).find_campaign(campaign)
    assert found is not None
    return found


def by_name(facts: CampaignFacts) -> dict[str, list[Number]]:
    found: dict[str, list[Number]] = {}
    for number in numbers(facts):
        found.setdefault(number.name, []).append(number)
    return found


def assert_adds_up(facts: CampaignFacts) -> None:
    for name, ways in by_name(facts).items():
        assert len({way.total for way in ways}) == 1, name
        for way in ways:
            assert sum(way.parts.values()) == way.total, way
        if name in facts.stats:
            assert ways[0].total == facts.stats[name], name
    columns = {"sent", "delivered", "bounced_hard", "bounced_soft", "bounced_complaint", "opens", "clicks", "parked"}
    assert columns <= by_name(facts).keys()


def test_every_number_of_campaign_stats_adds_up_from_its_parts(alone: Engine) -> None:
    play(alone)
    facts = facts_of(alone)
    assert_adds_up(facts)
    named = {name: ways[0].total for name, ways in by_name(facts).items()}
    assert (named["sent"], named["delivered"], named["opens"], named["parked"]) == (7, 4, 5, 2)
    assert [named[f"bounced_{kind}"] for kind in ("hard", "soft", "complaint")] == [1, 1, 1]
    assert named["clicks"] == 3
    assert (named["unsubscribe_clicks"], named["not counted"], named["other reports"]) == (1, 1, 1)
    assert (facts.views, facts.clicks, facts.bounces) == (None, None, None)
    assert_adds_up(facts_of(alone, OTHER))


def test_with_listmonk_they_add_up_to_the_rows_of_its_tables_as_well(
    engine: Engine, listmonk_database_url: str
) -> None:
    with psycopg.connect(listmonk_database_url, autocommit=True) as listmonk:
        at = NOW - timedelta(hours=1)
        link = fake.link(listmonk, "https://www.example.com/offer")
        fake.view(listmonk, CAMPAIGN, 1, at + timedelta(seconds=2))  # the same act as v1
        fake.click(listmonk, CAMPAIGN, 1, link, at + timedelta(seconds=1))  # the same act as c1
        fake.view(listmonk, CAMPAIGN, 500, at)  # seen by listmonk alone
        fake.view(listmonk, OTHER, 12, at)  # the same act as other
        play(engine)
        watch(engine)
        listmonk.execute("INSERT INTO bounces (subscriber_id, campaign_id, source) VALUES (1, %s, 'api')", [CAMPAIGN])
        listmonk.execute("DELETE FROM campaign_views WHERE subscriber_id = 3")  # somebody deleted v3's row
        facts = facts_of(engine)
        assert_adds_up(facts)
        found = by_name(facts)
        where = found["opens"][1].parts
        assert where == {
            "in native rows of campaign_views": 1,
            "in rows of ours in campaign_views": 3,
            "without a row in campaign_views": 1,
        }
        assert found["rows of campaign_views"][0].parts == {
            "written for an event of ours": where["in rows of ours in campaign_views"],
            "written for an event that is no longer of this campaign": 0,
            "native, and the same act as an event of ours": 1,
            "native, seen by listmonk alone": 1,
        }
        assert found["rows of link_clicks"][0].parts["native, and the same act as an event of ours"] == 1
        assert found["rows of bounces"][0].parts == {"written for a delivery report": 3, "from elsewhere": 1}
        assert found["not counted"][0].parts.keys() == {
            "it is neither a view nor a click",
            "it names no URL that could be counted",
        }
        for table in ("campaign_views", "link_clicks", "bounces"):
            for campaign in (CAMPAIGN, OTHER):
                row = listmonk.execute(
                    f"SELECT count(*) FROM {table} WHERE campaign_id = %s".encode(), [campaign]
                ).fetchone()
                assert row == (by_name(facts_of(engine, campaign))[f"rows of {table}"][0].total,)
    assert_adds_up(facts_of(engine, OTHER))


def test_the_keys_of_a_number_are_those_of_its_events(alone: Engine) -> None:
    play(alone)
    with alone.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT CAST(matched_by AS text) FROM azure_engagement_events"
                " WHERE campaign_id = 7 AND engagement_type = 'click' AND uncounted IS NULL"
            )
        ).scalars()
        stored = Counter(rows)
    facts = facts_of(alone)
    counted: Counter[str] = Counter()
    for row in facts.acts:
        if row["engagement_type"] == "click" and row["uncounted"] is None:
            counted[row["matched_by"]] += row["events"]
    assert counted == stored
    assert set(stored) == {"internet_message_id", "azure_message_id"}


def test_several_events_may_have_one_id(alone: Engine) -> None:
    with alone.begin() as conn:
        track_messages(conn, [message()])
    record(alone, view("same", "<m@example.com>"), report("same", "<m@example.com>"))
    with alone.begin() as conn:
        found = Explainer(conn).find_events("same")
    assert {each.event["kind"] for each in found} == {"delivery", "engagement"}


@pytest.mark.parametrize(
    ("look_up", "found"),
    [
        (lambda explainer: explainer.find_events("e65", limit=100), 99),
        (lambda explainer: explainer.find_message("<m65@example.com>", limit=100).events, 99),
        (lambda explainer: explainer.find_message(azure_id(65), limit=100).events, 99),
        (lambda explainer: explainer.find_subscriber(65, limit=100)[1], 99),
        (lambda explainer: explainer.find_campaign(65).acts, 1),
    ],
)
def test_what_is_explained_is_looked_up_in_the_index_and_no_table_of_events_read_whole(
    alone: Engine, look_up: Callable[[Explainer], Sequence[Any]], found: int
) -> None:
    with alone.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_engagement_events (event_id, campaign_id, subscriber_id, internet_message_id,"
                " azure_message_id, engagement_type, event_timestamp, state, matched_by)"
                " SELECT 'e' || r, r, r, '<m' || r || '@example.com>',"
                "        CAST('5b1e3c44-0000-4000-8000-' || lpad(to_hex(r), 12, '0') AS uuid),"
                "        'view', now(), 'attributed', 'internet_message_id'"
                " FROM (SELECT n * 31 % 101 AS r FROM generate_series(1, 10000) AS n) AS random"
            )
        )
        conn.execute(text("ANALYZE azure_engagement_events"))
        assert len(look_up(Explainer(conn))) == found
        whole, looked_up = conn.execute(
            text(
                "SELECT pg_stat_get_xact_numscans(CAST('azure_engagement_events' AS regclass)),"
                " pg_stat_get_xact_numscans(CAST('azure_engagement_events_lookup' AS regclass))"
            )
        ).one()
        assert whole == 0
        assert looked_up > 0
        assert conn.scalar(text("SHOW enable_seqscan")) == "on"


def test_nothing_is_known_of_a_campaign_that_was_never_sent(engine: Engine) -> None:
    with engine.begin() as conn:
        assert Explainer(conn).find_campaign(CAMPAIGN) is None


def test_explaining_changes_nothing(engine: Engine) -> None:
    play(engine)
    with engine.begin() as conn:
        read_only(conn)  # PostgreSQL refuses any write from here on
        explainer = Explainer(conn)
        explainer.find_campaign(CAMPAIGN)
        explainer.find_events("v1")
        explainer.find_message("<m1@example.com>", limit=10)
        explainer.find_message(azure_id(1), limit=10)
        explainer.find_subscriber(1, limit=10)
        explainer.find_quarantined("v1")
