"""`attribution why` compares the two keys of a click as `attribution accuracy` does."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from db.models import Key
from db.reporting import measure_accuracy
from simulator import listmonk as fake
from tests.cli.why.asking import execute, timeline
from tests.db.listmonk.acts import Listmonk, link_uuids, track
from tests.db.listmonk.counts import record
from tests.db.rows import click, message


@pytest.mark.parametrize(("campaign", "subscriber", "agree"), [(7, 12, True), (9, 12, False), (7, 33, False)])
def test_two_keys_are_compared(engine: Engine, listmonk: Listmonk, campaign: int, subscriber: int, agree: bool) -> None:
    track(engine)
    link = fake.tracked_link(listmonk, fake.link(listmonk, "https://www.example.com/"), campaign, subscriber)
    record(engine, click("e", engagement_context=link, **link_uuids(listmonk, campaign, subscriber)))
    told = timeline("e")
    keys = "agree" if agree else "DISAGREE"
    assert told["second_key"] == f"the clicked link names campaign {campaign}, subscriber {subscriber}: the keys {keys}"
    assert told["attributed"].startswith("attributed to campaign 7, subscriber 12 by internet_message_id")
    assert ("incident" in told) is not agree
    if not agree:
        assert "the message's word stands" in told["incident"]


def test_a_subscriber_that_one_key_leaves_open_contradicts_nobody(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(subscriber=None))
    record(engine, click("e", **link_uuids(listmonk, 7, 9)))
    told = timeline("e")
    assert told["second_key"] == "the clicked link names campaign 7, subscriber 9: the keys agree"
    assert "incident" not in told


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("key", [*Key, "replaced_system"])
def test_two_keys_are_told_where_accuracy_counts_two_and_agree_where_they_do(
    engine: Engine, key: str, tracked: bool
) -> None:
    if tracked:
        track(engine, message(campaign=7, subscriber=None))
    record(engine, click("agree"), click("disagree"))
    execute(
        engine,
        "UPDATE azure_engagement_events SET state = 'attributed', matched_by = CAST(:key AS attribution_key),"
        " campaign_id = CASE WHEN CAST(:by_link AS boolean) AND event_id = 'disagree' THEN 8 ELSE 7 END,"
        " subscriber_id = 12, link_subscriber_id = 12,"
        " link_campaign_id = CASE event_id WHEN 'agree' THEN 7 ELSE 8 END, uncounted = NULL, next_attempt_at = NULL,"
        " attributed_at = now()",
        key=key,
        by_link=key == "link",
    )
    with engine.begin() as conn:
        measured = measure_accuracy(conn)
    told = {event: timeline(event).get("second_key", "") for event in ("agree", "disagree")}
    assert [event for event, says in told.items() if says.endswith("the keys agree")] == ["agree"] * measured.agreeing
    assert [event for event, says in told.items() if says.endswith("DISAGREE")] == ["disagree"] * measured.disagreeing
    assert measured.two_keys == sum(map(bool, told.values())) == measured.agreeing + measured.disagreeing
