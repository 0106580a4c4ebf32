"""The past of the demo, and the oracle of its repair: it finds what is off before, after and half-way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, LiteralString

import psycopg
import pytest

from simulator import oracle, past
from simulator.accident import NEW, OLD, Accident
from simulator.repair_oracle import judge_repair, provable_events
from simulator.story import CANCELLED, NAMES, READERS, RUNNING, offer

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[Connection]:
    with oracle.connect(empty_database_url) as connection:
        yield connection


def put_right(connection: Connection, accident: Accident) -> None:
    """Do by the truth what a repair has to find out."""
    for table, events in (
        ("azure_engagement_events", accident.engagements),
        ("azure_delivery_events", accident.deliveries),
    ):
        for row, campaign in events.items():
            if campaign is not None:
                connection.execute(f"UPDATE {table} SET campaign_id = %s WHERE id = %s".encode(), (campaign, row))
    counts: Mapping[str, tuple[str, Mapping[int, int]]] = {
        "campaign_views": ("campaign_id", accident.true_views),
        "link_clicks": ("link_id, campaign_id", accident.true_clicks),
        "bounces": ("subscriber_id, campaign_id", accident.true_bounces),
    }
    for table, (columns, true) in counts.items():
        connection.execute(f"DELETE FROM {table} WHERE campaign_id IN ({OLD}, {NEW})".encode())
        for campaign, count in true.items():
            one = "1, " if "," in columns else ""
            insert = f"INSERT INTO {table} ({columns}) SELECT {one}%s FROM generate_series(1, %s)"
            connection.execute(insert.encode(), (campaign, count))


def test_past_has_the_storys_campaigns_readers_and_links(connection: Connection) -> None:
    past.install(connection)
    campaigns = dict(connection.execute("SELECT id, name || ', ' || status FROM campaigns").fetchall())
    assert campaigns[CANCELLED] == f"{NAMES[CANCELLED]}, cancelled"
    assert campaigns[RUNNING] == f"{NAMES[RUNNING]}, running"
    assert campaigns[OLD] == "Spring fair (cancelled), cancelled"
    assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (READERS,)
    links = {url for (url,) in connection.execute("SELECT url FROM links")}
    assert {offer(CANCELLED), offer(RUNNING)} <= links


def test_accident_that_nobody_has_repaired_is_off(connection: Connection) -> None:
    accident = past.install(connection)
    faults = judge_repair(accident, connection)
    assert any(fault.subject == f"campaign {OLD}" and "campaign_views" in fault.sentence for fault in faults)
    assert sum("and is credited to campaign 64" in fault.sentence for fault in faults) > 150


def test_accident_that_was_put_right_is_sound(connection: Connection) -> None:
    accident = past.install(connection)
    put_right(connection, accident)
    assert judge_repair(accident, connection) == ()
    assert provable_events(accident) > 500


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "UPDATE azure_delivery_events SET campaign_id = 64 WHERE id = 12",
            ("row 12 of azure_delivery_events", "belongs to campaign 65, and is credited to campaign 64"),
        ),
        ("DELETE FROM azure_engagement_events WHERE id = 3", ("row 3 of azure_engagement_events", "is gone")),
        ("UPDATE campaign_views SET campaign_id = 41 WHERE id = (SELECT max(id) FROM campaign_views)", None),
        ("DELETE FROM bounces WHERE id = (SELECT max(id) FROM bounces)", None),
        ("INSERT INTO link_clicks (campaign_id, link_id) VALUES (64, 1)", None),
    ],
)
def test_single_thing_that_is_off_is_found(
    connection: Connection, statement: LiteralString, fault: tuple[str, str] | None
) -> None:
    accident = past.install(connection)
    put_right(connection, accident)
    connection.execute(statement)
    (found,) = judge_repair(accident, connection)
    if fault:
        assert found == fault
    else:
        assert found.subject in {"campaign 64", "campaign 65"}
        assert "rows in" in found.sentence


def test_row_that_cannot_be_proven_may_be_anywhere(connection: Connection) -> None:
    accident = past.install(connection)
    put_right(connection, accident)
    unknown = next(row for row, campaign in accident.engagements.items() if campaign is None)
    connection.execute("UPDATE azure_engagement_events SET campaign_id = 65 WHERE id = %s", (unknown,))
    assert judge_repair(accident, connection) == ()
