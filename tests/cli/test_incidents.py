"""`attribution incidents`: each kind in words, and the end of an alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from cli.main import main
from db.drift import learn_names
from db.engine import create_engine

HEADER = "x-ms-acsemail-validate-message-id: true"


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def incident(engine: Engine, kind: str, subject: int, details: dict[str, Any]) -> None:
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO attribution_incidents (kind, subject_id, details)"
                " VALUES (:kind, :subject, CAST(:d AS jsonb))"
            ),
            {"kind": kind, "subject": subject, "d": json.dumps(details)},
        )


def replaced(engine: Engine, subject: int = 1, cause: str = "form", *, certain: bool = False) -> None:
    candidates = [{"message_id": "<guid>", "campaign_id": 64}, {"message_id": "<b@example.com>", "campaign_id": 65}]
    report = {"event_id": "d1", "internet_message_id": "<new@example.org>"}
    details = {"certain": certain, "cause": cause, "report": report, "candidates": candidates}
    incident(engine, "message_id_replaced", subject, details)


def disagreeing(engine: Engine) -> None:
    sides = {"message": {"campaign_id": 7, "subscriber_id": 12}, "link": {"campaign_id": 8, "subscriber_id": None}}
    incident(engine, "keys_disagree", 5, sides)


def incidents(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["incidents", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_any_it_says_so(engine: Engine) -> None:
    assert incidents() == "0 incidents.\n"


def test_a_replaced_id_names_mails_campaigns_cause_and_the_header_that_stops_it(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_delivery_events (event_id, internet_message_id, status, state, event_timestamp)"
                " VALUES ('d1', '<new@example.org>', 'Delivered', 'parked', now())"
            )
        )
    replaced(engine)
    shown = incidents()
    assert "event d1: ACS has probably replaced a Message-ID: the report of <new@example.org> is of" in shown
    assert "<guid> of campaign 64, <b@example.com> of campaign 65" in shown
    assert "its form is not that of a Message-ID" in shown
    assert HEADER in shown
    assert shown.endswith("\n1 incident.\n")


@pytest.mark.parametrize(
    ("cause", "words"), [("duplicate", "an earlier mail had the same id"), ("unknown", "the cause is unknown")]
)
def test_each_cause_in_words(engine: Engine, cause: str, words: str) -> None:
    replaced(engine, cause=cause, certain=True)
    shown = incidents()
    assert words in shown
    assert "ACS has replaced a Message-ID" in shown
    assert "event row 1, which is gone:" in shown


def test_disagreeing_keys_tell_both_sides(engine: Engine) -> None:
    disagreeing(engine)
    shown = incidents()
    assert "the message says campaign 7, subscriber 12, the clicked link says campaign 8; the message's word" in shown
    assert HEADER not in shown


def test_what_would_steer_a_terminal_is_not_printed(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO azure_delivery_events (event_id, status, state, event_timestamp)"
                " VALUES (:id, 'Delivered', 'parked', now())"
            ),
            {"id": "d\x1b[31m"},
        )
    candidates = [{"message_id": "<\x9bm>", "campaign_id": 64}]
    report = {"event_id": "d", "internet_message_id": "<new\x1b]0;x\x07@example.org>"}
    details = {"certain": True, "cause": "form", "report": report, "candidates": candidates}
    incident(engine, "message_id_replaced", 1, details)
    shown = incidents()
    assert "event d\N{REPLACEMENT CHARACTER}[31m: ACS has replaced" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_one_kind_and_a_limit(engine: Engine) -> None:
    disagreeing(engine)
    for subject in range(3):
        replaced(engine, subject)
    shown = incidents("--kind", "message_id_replaced", "--limit", "2")
    assert "disagree" not in shown
    assert len(re.findall(r"probably replaced", shown)) == 2
    assert "3 incidents, 2 shown." in shown


def test_as_json(engine: Engine) -> None:
    disagreeing(engine)
    replaced(engine)
    document = json.loads(incidents("--format", "json"))
    assert document["counts"] == {"keys_disagree": 1, "message_id_replaced": 1}
    newest, oldest = document["incidents"]
    assert (newest["kind"], newest["details"]["cause"]) == ("message_id_replaced", "form")
    assert oldest["details"]["link"] == {"campaign_id": 8, "subscriber_id": None}


POISON = {
    "events": 5120,
    "bad": 5003,
    "malformed": 5000,
    "unknown": 3,
    "reasons": {"field_invalid": 4990, "data_invalid": 10},
}


def test_an_alarm_that_slows_the_drain_says_why_until_when_and_how_to_end_it(engine: Engine) -> None:
    incident(engine, "poison", 1, POISON | {"slows_until": "2999-01-10T12:00:00+00:00", "times": 2})
    shown = incidents()
    assert (
        "alarm: of 5,120 events 5,000 could not be read (field_invalid 4,990, data_invalid 10) and 3 were of a type or"
        " status that is not known; it is on, 2 times, and slows the drain until 2999-01-10 12:00Z;"
        " `attribution incidents dismiss` ends it."
    ) in shown


def test_an_alarm_that_nobody_ended_slows_no_longer_and_says_so(engine: Engine) -> None:
    incident(engine, "poison", 1, POISON | {"slows_until": "2026-01-10T12:00:00+00:00"})
    assert "it is on, and slows the drain no longer, so that Event Grid does not give up." in incidents()


@pytest.mark.parametrize(("by", "words"), [("itself", "it ended by itself"), ("operator", "an operator ended it")])
def test_an_alarm_that_has_ended_says_when_and_by_whom(engine: Engine, by: str, words: str) -> None:
    ended = {"ended_at": "2026-01-10T03:10:00+00:00", "ended_by": by}
    incident(engine, "poison", 1, POISON | {"slows_until": "2026-01-10T12:00:00+00:00"} | ended)
    assert f"{words} at 2026-01-10 03:10Z." in incidents("--kind", "poison")


def test_engagements_without_an_id_are_told_with_the_keys_of_one(engine: Engine) -> None:
    incident(engine, "id_missing", 1, {"events": 300, "bad": 300, "keys": ["engagementType", "messageId"]})
    shown = incidents("--kind", "id_missing")
    assert (
        "alarm: 300 of 300 engagement events carried no internetMessageId; keys of one: engagementType, messageId;"
        " it is on." in shown
    )


def test_drift_is_told_by_the_names_that_were_learnt(engine: Engine) -> None:
    with engine.begin() as conn:
        names = [("data_key", "region"), ("status", "OutForDelivery")]
        assert learn_names(conn, names) == names
        assert learn_names(conn, names) == []
    shown = incidents("--kind", "drift")
    assert "drift: events carry the key region in `data`, which this release does not know." in shown
    assert "drift: delivery reports have the status OutForDelivery, which this release does not know." in shown
    document = json.loads(incidents("--format", "json"))
    assert {each["name"] for each in document["incidents"]} == {"region", "OutForDelivery"}


def test_dismissing_ends_every_alarm_and_accepts_every_name(engine: Engine) -> None:
    incident(engine, "poison", 1, POISON | {"slows_until": "2999-01-10T12:00:00+00:00"})
    incident(engine, "id_missing", 1, {"events": 300, "bad": 300, "keys": []})
    disagreeing(engine)
    with engine.begin() as conn:
        learn_names(conn, [("data_key", "region")])
    assert incidents("dismiss") == "2 alarms ended, 1 name accepted.\n"
    shown = incidents()
    assert shown.count("an operator ended it") == 2
    assert "which this release does not know, and an operator has accepted." in shown
    assert incidents("dismiss") == "0 alarms ended, 0 names accepted.\n"
