"""`attribution accuracy`, as people and their programs use it."""

from __future__ import annotations

import json

from sqlalchemy import Engine, text

from tests.cli.results.reading import attribution


def test_accuracy_counts_what_two_keys_prove_and_lists_who_disagrees(engine: Engine) -> None:
    lines = [line.split() for line in attribution("accuracy").stdout.splitlines()]
    assert ["2", "2", "1", "1", "50.0%", "50.0%"] in lines
    (incident,) = [line for line in lines if "click" in line and "says" not in line and "65," in line]
    assert " ".join(incident[2:]).endswith("campaign 65, subscriber 2 campaign 66")
    assert ["internet_message_id", "3", "1", "57.1%"] in lines
    assert ["(parked)", "1", "0", "14.3%"] in lines
    assert lines[-1] == ["6", "of", "7", "events", "are", "attributed:", "85.7%."]


def test_accuracy_as_json_has_both_sides_of_each_disagreement(engine: Engine) -> None:
    document = json.loads(attribution("accuracy", "--format", "json").stdout)
    assert document["clicks"] == {
        "clicks": 2,
        "two_keys": 2,
        "agreeing": 1,
        "disagreeing": 1,
        "proven_share": 0.5,
        "agreement_share": 0.5,
    }
    (incident,) = document["disagreements"]
    assert incident["event_id"] == "click 1"
    assert incident["message"] == {"campaign_id": 65, "subscriber_id": 2}
    assert incident["link"] == {"campaign_id": 66, "subscriber_id": None}
    assert document["events"]["attributed"] == 6
    assert document["events"]["by_key"][0] == {
        "state": "attributed",
        "matched_by": "internet_message_id",
        "engagements": 3,
        "deliveries": 1,
    }
    assert json.loads(attribution("accuracy", "--format", "json", "--limit", "0").stdout)["disagreements"] == []


def test_accuracy_counts_acts_that_are_alike_but_for_their_id(engine: Engine) -> None:
    assert "their event id" not in attribution("accuracy").stdout
    with engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE azure_engagement_events SET engagement_type = 'click', azure_message_id = NULL,"
                " internet_message_id = '<one@example.com>', engagement_context = NULL, user_agent = NULL,"
                " event_timestamp = now()"
            )
        )
        alike = conn.scalar(text("SELECT count(*) - 1 FROM azure_engagement_events"))
    assert f"{alike} opens and clicks are like another one" in " ".join(attribution("accuracy").stdout.split())
    assert json.loads(attribution("accuracy", "--format", "json").stdout)["events"]["alike"] == alike


def test_accuracy_claims_nothing_where_no_click_carries_a_second_key(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE azure_engagement_events SET link_campaign_id = NULL"))
    assert "Of 2 clicks, no click carries a second key" in attribution("accuracy").stdout
    clicks = json.loads(attribution("accuracy", "--format", "json").stdout)["clicks"]
    assert (clicks["proven_share"], clicks["agreement_share"]) == (0.0, None)


def test_accuracy_of_an_empty_database_claims_nothing(empty: Engine) -> None:
    assert attribution("accuracy").stdout == "There are no clicks.\n\nThere are no events.\n"
    document = json.loads(attribution("accuracy", "--format", "json", "--since", "7d").stdout)
    assert document["clicks"]["proven_share"] is None
    assert document["events"] == {"total": 0, "attributed": 0, "attributed_share": None, "by_key": [], "alike": 0}
