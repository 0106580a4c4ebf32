"""`attribution why` of an event that was attributed: by which key."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from simulator import listmonk as fake
from tests.cli.why.asking import execute, row_of, said, timeline
from tests.db.listmonk.acts import Listmonk, link_uuids, track, view
from tests.db.listmonk.counts import record
from tests.db.rows import azure_id, click, message, report


def test_an_event_whose_message_was_tracked_before(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"))
    told = timeline("v")
    assert list(told) == ["happened", "received", "tracked", "recorded", "attributed", "counted"]
    assert told["tracked"].startswith("its message <m@example.com> was tracked")
    assert told["attributed"] == (
        "attributed to campaign 7, subscriber 12 by internet_message_id: the mail's own Message-ID"
    )
    assert told["counted"] == f"counted in campaign_views, row {-row_of(engine, 'v')}, and in campaign_stats"
    assert "parked" not in told
    assert "Event v: view, engagement:" in said("v")


@pytest.mark.parametrize(
    ("tracked", "event", "key"),
    [
        (message(None, azure=azure_id(1)), click("e", None, azure_id(1)), "azure_message_id: the id that ACS answered"),
        (
            message(None, azure=azure_id(1)),
            click("e", "<taught@example.com>"),
            "delivery_report: an id that a delivery",
        ),
        (None, click("e", "<x@example.com>", header_campaign="9"), "header: a header of the mailer's"),
    ],
)
def test_each_key_is_told_in_words(engine: Engine, tracked: Any, event: Any, key: str) -> None:
    if tracked:
        track(engine, tracked)
    if "taught" in (event.internet_message_id or ""):
        record(engine, report("d", "<taught@example.com>", azure_id(1)))
    record(engine, event)
    told = timeline("e")
    assert f" by {key}" in told["attributed"]
    assert told["counted"].startswith("counted in link_clicks, row -")
    if "taught" in (event.internet_message_id or ""):
        assert "a delivery report taught its internet_message_id" in told["tracked"]


def test_the_link_key(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, "https://www.example.com/offer")
    url = fake.tracked_link(listmonk, link, 9, 33)
    record(engine, click("e", "<x@example.com>", engagement_context=url, **link_uuids(listmonk, 9, 33)))
    told = timeline("e")
    assert told["attributed"].startswith("attributed to campaign 9, subscriber 33 by link: listmonk's tracked link")
    assert "second_key" not in told


def test_the_replaced_systems_events_have_no_id_and_are_asked_for_by_their_row(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO azure_engagement_events"
        " (azure_message_id, campaign_id, subscriber_id, engagement_type, event_timestamp)"
        " VALUES (gen_random_uuid(), 7, 12, 'view', now())",
    )
    told = timeline("engagement:1")
    assert "by replaced_system: the replaced system, which kept no reason" in told["attributed"]
    assert told["no_row"].startswith("the replaced system attributed it")
    assert "An event without an id: view, engagement:1" in said("engagement:1")
