"""The numbers are those of counting by hand, however they are asked for."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.db.reporting.facts import HOUR, NO_COUNTS, START, attributed, insert, stats
from tests.db.rows import azure_id


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
