"""Evidence that ACS replaced a Message-ID: when it is found, when it is not, and when it is withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db.engine import create_engine
from db.rewrites import _ELSEWHERE, _parameters, find_suspicions, list_incidents, note, take_turns, withdraw
from db.suspicion import Spans, Suspicion
from tests.db.rows import azure_id

SPANS = Spans()
#: Minutes before now, well within what is looked at, after the patience.
SENT, REPORTED = 90, 85


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def listmonk_engine(listmonk_database_url: str) -> Iterator[Engine]:
    engine = create_engine(listmonk_database_url, for_batches=True)
    yield engine
    engine.dispose()


def execute(engine: Engine, statement: str, **parameters: Any) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement), parameters)


def track(engine: Engine, message: str | None, *, minutes: float = SENT, **columns: Any) -> None:
    """Track a message that was sent so many minutes ago."""
    values = {
        "internet_message_id": message,
        "azure_message_id": None,
        "campaign_id": 7,
        "subscriber_id": 12,
        "recipient_domain": "example.net",
        "set_aside_message_id": None,
    } | columns
    execute(
        engine,
        f"INSERT INTO azure_message_tracking (sent_at, tracked_via, {', '.join(values)})"
        f" VALUES (now() - make_interval(secs => :seconds), 'stream', {', '.join(f':{name}' for name in values)})",
        seconds=minutes * 60,
        **values,
    )


def report(engine: Engine, message: str | None, *, minutes: float = REPORTED, **columns: Any) -> None:
    """Record a delivery report that came so many minutes ago, parked unless it is said otherwise."""
    values = {
        "event_id": f"of {message}",
        "internet_message_id": message,
        "azure_message_id": None,
        "recipient_domain": "example.net",
        "state": "parked",
        "matched_by": None,
        "campaign_id": None,
    } | columns
    execute(
        engine,
        f"INSERT INTO azure_delivery_events (status, event_timestamp, created_at, {', '.join(values)})"
        " VALUES ('Delivered', now() - make_interval(secs => :seconds), now() - make_interval(secs => :seconds),"
        f" {', '.join(f':{name}' for name in values)})",
        seconds=minutes * 60,
        **values,
    )


def attributed(engine: Engine, message: str, *, minutes: float = REPORTED, campaign_id: int = 7) -> None:
    report(
        engine,
        message,
        minutes=minutes,
        state="attributed",
        matched_by="internet_message_id",
        campaign_id=campaign_id,
    )


def suspicions(engine: Engine, limit: int = 100) -> list[Suspicion]:
    with engine.begin() as conn:
        assert take_turns(conn)
        return find_suspicions(conn, SPANS, limit=limit)


def named(engine: Engine) -> dict[str, list[str]]:
    """Return the messages that each suspicious report may be of."""
    return {
        str(each.report.internet_message_id): [c.message_id for c in each.candidates] for each in suspicions(engine)
    }


def note_all(engine: Engine) -> int:
    with engine.begin() as conn:
        details = {
            each.report.row: {
                "certain": each.certain,
                "cause": "unknown",
                "candidates": [
                    {
                        "message_id": c.message_id,
                        "sent_at": c.sent_at.isoformat(),
                        "tracked_again": c.tracked_again,
                        "cause": "form" if "@" not in c.message_id else "unknown",
                    }
                    for c in each.candidates
                ],
            }
            for each in find_suspicions(conn, SPANS, limit=100)
        }
        return note(conn, details)


def withdraw_all(engine: Engine) -> int:
    with engine.begin() as conn:
        return withdraw(conn, SPANS)


def incidents(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(list_incidents(conn, kind=None, limit=100))


def test_a_report_of_an_unknown_id_beside_a_silent_message_to_the_same_domain_is_suspicious(engine: Engine) -> None:
    track(engine, "<guid>", campaign_id=64)
    report(engine, "<made-by-acs@example.org>", azure_message_id=azure_id(1))
    (found,) = suspicions(engine)
    assert (found.report.internet_message_id, found.report.azure_message_id, found.report.event_id) == (
        "<made-by-acs@example.org>",
        azure_id(1),
        "of <made-by-acs@example.org>",
    )
    assert (found.report.domain, found.certain) == ("example.net", False)
    (candidate,) = found.candidates
    assert (candidate.message_id, candidate.campaign_id, candidate.used_before) == ("<guid>", 64, False)


def test_in_listmonks_database_the_subscriber_says_where_a_message_goes(listmonk_engine: Engine) -> None:
    track(listmonk_engine, "<guid>", recipient_domain=None)
    execute(listmonk_engine, "UPDATE subscribers SET email = 'reader@Elsewhere.EXAMPLE.net' WHERE id = 13")
    track(listmonk_engine, "<other>", recipient_domain=None, subscriber_id=13)
    report(listmonk_engine, "<new@example.org>")
    report(listmonk_engine, "<newer@example.org>", recipient_domain="elsewhere.example.net")
    assert named(listmonk_engine) == {"<new@example.org>": ["<guid>"], "<newer@example.org>": ["<other>"]}


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        pytest.param({"recipient_domain": "example.com"}, {}, id="to another domain"),
        pytest.param({"recipient_domain": None}, {}, id="to nobody knows where"),
        pytest.param({}, {"recipient_domain": None}, id="a report that does not say to whom"),
        pytest.param({"minutes": 200}, {}, id="sent long before"),
        pytest.param({"minutes": 70}, {}, id="sent after the report"),
        pytest.param({"minutes": 31}, {"minutes": 30}, id="the mailer may still track it"),
        pytest.param({"minutes": 58}, {"minutes": 50}, id="the report is not an hour old"),
        pytest.param({"minutes": 305}, {"minutes": 300}, id="too long ago"),
        pytest.param(
            {}, {"state": "attributed", "matched_by": "header", "campaign_id": 8}, id="a header says another campaign"
        ),
    ],
)
def test_a_report_and_a_message_that_have_nothing_to_do_with_each_other_are_left_alone(
    engine: Engine, sent: dict[str, Any], reported: dict[str, Any]
) -> None:
    track(engine, "<silent@example.com>", **sent)
    report(engine, "<unknown@example.org>", **reported)
    assert suspicions(engine) == []


def test_a_message_that_did_report_is_never_named(engine: Engine) -> None:
    track(engine, "<a@example.com>")
    track(engine, "<b@example.com>", azure_message_id=azure_id(2))
    attributed(engine, "<a@example.com>")
    report(engine, None, azure_message_id=azure_id(2), state="attributed", matched_by="azure_message_id", campaign_id=7)
    report(engine, "<unknown@example.org>")
    assert suspicions(engine) == []


def test_a_slow_mailer_in_a_busy_hour_raises_no_alarm(engine: Engine) -> None:
    for number in range(30):
        report(engine, f"<slow{number}@example.com>", minutes=REPORTED - number / 60)
    track(engine, "<silent@example.com>")
    for number in range(30):
        track(engine, f"<slow{number}@example.com>", minutes=REPORTED + 1)
    assert suspicions(engine) == [], "a report waits, but its id is tracked by now"


def test_reports_of_another_program_that_outnumber_the_silent_messages_raise_no_alarm(engine: Engine) -> None:
    track(engine, "<slow-delivery@example.com>")
    for number in range(20):
        report(engine, f"<foreign{number}@example.org>", minutes=REPORTED + 20 - number)
    assert suspicions(engine) == []
    execute(engine, "DELETE FROM azure_delivery_events WHERE event_timestamp < now() - make_interval(mins => 90)")
    assert list(named(engine)) == ["<foreign16@example.org>"], "the first; the message cannot account for the others"


def test_silence_that_suppressed_mails_explain_raises_no_alarm(engine: Engine) -> None:
    track(engine, "<suppressed@example.com>")
    report(engine, None, event_id="suppressed", azure_message_id=azure_id(3))
    report(engine, "<foreign@example.org>")
    assert suspicions(engine) == []
    track(engine, "<guid>")
    assert named(engine) == {"<foreign@example.org>": ["<guid>", "<suppressed@example.com>"]}


def test_the_five_latest_messages_before_the_report_are_named(engine: Engine) -> None:
    for number in range(8):
        track(engine, f"<{number}>", minutes=SENT + 10 - number)
    report(engine, "<new@example.org>")
    assert named(engine) == {"<new@example.org>": ["<7>", "<6>", "<5>", "<4>", "<3>"]}


def test_several_reports_of_one_id_are_one_suspicion(engine: Engine) -> None:
    track(engine, "<guid>")
    for number in range(3):
        report(engine, "<new@example.org>", event_id=f"recipient {number}")
    assert [each.report.event_id for each in suspicions(engine)] == ["recipient 0"]


def test_azures_own_id_proves_it(engine: Engine) -> None:
    track(engine, "<mine@example.com>", azure_message_id=azure_id(4), recipient_domain=None, minutes=5)
    report(
        engine,
        "<new@example.org>",
        minutes=1,
        azure_message_id=azure_id(4),
        state="attributed",
        matched_by="azure_message_id",
        campaign_id=7,
        recipient_domain=None,
    )
    (found,) = suspicions(engine)
    assert found.certain
    assert [each.message_id for each in found.candidates] == ["<mine@example.com>"]


@pytest.mark.parametrize("listmonk", [False, True])
@pytest.mark.parametrize("minutes", [3 * 24 * 60, 150], ids=["days before", "an hour before"])
def test_an_id_that_an_earlier_mail_had_is_a_duplicate(
    engine: Engine, listmonk_engine: Engine, listmonk: bool, minutes: float
) -> None:
    database = listmonk_engine if listmonk else engine
    attributed(database, "<used@example.com>", minutes=minutes)
    track(database, "<used@example.com>")
    track(database, None, set_aside_message_id="<aside@example.com>", azure_message_id=azure_id(5), minutes=SENT + 1)
    report(database, "<new@example.org>")
    (found,) = suspicions(database)
    assert {each.message_id: each.used_before for each in found.candidates} == {
        "<used@example.com>": True,
        "<aside@example.com>": True,
    }


def test_a_message_tracked_again_for_another_campaign_is_named_though_the_first_reported(engine: Engine) -> None:
    track(engine, "<twice@example.com>", minutes=SENT + 60, campaign_id=64)
    attributed(engine, "<twice@example.com>", minutes=SENT + 55, campaign_id=64)
    execute(
        engine,
        "INSERT INTO attribution_quarantine (content_key, kind, reason, body, received_at)"
        " VALUES (gen_random_uuid(), 'message', 'tracking_refused', convert_to(:body, 'UTF8'),"
        " now() - make_interval(mins => :sent))",
        body='{"campaign_id":65,"internet_message_id":"<twice@example.com>","recipient_domain":"example.net"}',
        sent=SENT,
    )
    report(engine, "<new@example.org>")
    (found,) = suspicions(engine)
    (candidate,) = found.candidates
    assert (candidate.message_id, candidate.campaign_id, candidate.tracked_again) == ("<twice@example.com>", 65, True)
    note_all(engine)
    attributed(engine, "<twice@example.com>", minutes=1, campaign_id=64)
    assert withdraw_all(engine) == 0, "that report is of the first of the two"


def test_an_incident_is_noted_once(engine: Engine) -> None:
    track(engine, "<guid>")
    report(engine, "<new@example.org>")
    assert note_all(engine) == 1
    assert suspicions(engine) == []
    assert note_all(engine) == 0
    (incident,) = incidents(engine)
    assert (incident.event_id, incident.internet_message_id) == ("of <new@example.org>", "<new@example.org>")


def test_it_is_withdrawn_when_the_id_is_tracked_after_all(engine: Engine) -> None:
    track(engine, "<guid>")
    report(engine, "<late@example.com>")
    note_all(engine)
    assert withdraw_all(engine) == 0
    track(engine, "<late@example.com>", minutes=0)
    assert withdraw_all(engine) == 1
    assert incidents(engine) == []
    assert suspicions(engine) == []


def test_messages_that_report_after_all_are_no_longer_named(engine: Engine) -> None:
    track(engine, "<guid>")
    track(engine, "<slow@example.com>")
    report(engine, "<new@example.org>")
    note_all(engine)
    attributed(engine, "<guid>", minutes=1)
    assert withdraw_all(engine) == 0
    (incident,) = incidents(engine)
    assert [each["message_id"] for each in incident.details["candidates"]] == ["<slow@example.com>"]
    assert incident.details["cause"] == "unknown"
    attributed(engine, "<slow@example.com>", minutes=1)
    assert withdraw_all(engine) == 1
    assert incidents(engine) == []


def test_one_detection_runs_at_a_time(engine: Engine) -> None:
    with engine.begin() as first, engine.begin() as second:
        assert take_turns(first)
        assert not take_turns(second)


def test_detection_changes_no_event_and_no_tracking_row(engine: Engine) -> None:
    track(engine, "<guid>")
    report(engine, "<new@example.org>")
    snapshot = (
        "SELECT CAST(array_agg(e ORDER BY e.id) AS text), (SELECT CAST(array_agg(t) AS text)"
        " FROM azure_message_tracking t) FROM azure_delivery_events AS e"
    )
    with engine.begin() as conn:
        before = conn.execute(text(snapshot)).one()
    assert note_all(engine) == 1
    with engine.begin() as conn:
        assert conn.execute(text(snapshot)).one() == before


def test_no_query_has_to_read_a_whole_table(engine: Engine) -> None:
    parameters = _parameters(SPANS) | {"limit": 100, "domains": ["example.net"]}
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        for name in ("find_unexplained", "find_contradicted", "find_silent", "find_used_before"):
            values = parameters | {"message_ids": ["<a@example.com>"], "sent_ats": [None]}
            plan = "\n".join(conn.execute(text(f"EXPLAIN {_ELSEWHERE[name].text}"), values).scalars())
            assert "azure_delivery_events" in plan
            assert "Seq Scan on azure_" not in plan, plan
