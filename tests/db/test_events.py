"""Attribution itself: which key matches, what is a duplicate, what a delivery report teaches."""

from __future__ import annotations

import uuid

from sqlalchemy import Engine, text

from db.models import DeliveryEvent, EngagementEvent, TrackedMessage
from db.tracking import track_messages
from tests.db.rows import azure_id, click, message, record, release_in_new_transaction, report, stored


def given(engine: Engine, *rows: TrackedMessage) -> None:
    with engine.begin() as conn:
        track_messages(conn, rows)


def when(engine: Engine, *events: EngagementEvent | DeliveryEvent):  # type: ignore[no-untyped-def]  # noqa: ANN201
    with engine.begin() as conn:
        recorded = record(conn, *events)
    release_in_new_transaction(engine, recorded.unsettled)
    return recorded


def test_the_internet_message_id_names_campaign_and_subscriber(engine: Engine) -> None:
    given(engine, message("<a@example.com>", 1, 10), message("<b@example.com>", 2, 20))
    recorded = when(
        engine, click("e1", "<b@example.com>"), click("e2", "<a@example.com>"), report("d1", "<a@example.com>")
    )
    assert recorded.attributed == {"internet_message_id": 3}
    assert stored(engine) == {
        "e1": ("attributed", 2, 20, "internet_message_id"),
        "e2": ("attributed", 1, 10, "internet_message_id"),
    }
    assert stored(engine, "azure_delivery_events") == {"d1": ("attributed", 1, 10, "internet_message_id")}


def test_the_internet_message_id_wins_over_azures_own(engine: Engine) -> None:
    given(engine, message("<a@example.com>", 1, 10), message(None, 2, 20, azure_id(1)))
    when(engine, click("e1", "<a@example.com>", azure_id(1)))
    assert stored(engine) == {"e1": ("attributed", 1, 10, "internet_message_id")}


def test_azures_own_id_serves_where_the_other_is_missing_or_untracked(engine: Engine) -> None:
    given(engine, message(None, 2, 20, azure_id(1)))
    when(engine, click("e1", None, azure_id(1)), click("e2", "<unknown@example.com>", azure_id(1)))
    assert stored(engine) == {
        "e1": ("attributed", 2, 20, "azure_message_id"),
        "e2": ("attributed", 2, 20, "azure_message_id"),
    }


def test_a_delivery_report_teaches_the_missing_internet_message_id_and_releases_what_waited_for_it(
    engine: Engine,
) -> None:
    given(engine, message(None, 3, 30, azure_id(1)))
    when(engine, click("early", "<late@example.com>"))
    assert stored(engine)["early"][0] == "parked"
    recorded = when(engine, report("d1", "<late@example.com>", azure_id(1)), click("same-batch", "<late@example.com>"))
    assert recorded.taught == 1
    assert stored(engine) == {
        "early": ("attributed", 3, 30, "delivery_report"),
        "same-batch": ("attributed", 3, 30, "delivery_report"),
    }


def test_a_delivery_report_teaches_the_missing_azure_id_for_events_that_carry_no_other(engine: Engine) -> None:
    given(engine, message("<m@example.com>", 3, 30))
    when(engine, click("early", None, azure_id(1)))
    when(engine, report("d1", "<m@example.com>", azure_id(1)))
    when(engine, click("late", None, azure_id(1)))
    assert set(stored(engine).values()) == {("attributed", 3, 30, "delivery_report")}


def test_reports_that_contradict_each_other_teach_nothing(engine: Engine) -> None:
    given(engine, message(None, 3, 30, azure_id(1)), message(None, 4, 40, azure_id(2)))
    recorded = when(
        engine,
        report("d1", "<x@example.com>", azure_id(1)),
        report("d2", "<y@example.com>", azure_id(1)),  # one Azure id, two Message-IDs
        report("d3", "<z@example.com>", azure_id(2)),
        report("d4", "<z@example.com>", azure_id(1)),
    )
    assert recorded.taught == 1  # only azure_id(2) was named once, and its Message-ID by no other
    with engine.begin() as conn:
        taught = conn.execute(
            text("SELECT campaign_id, internet_message_id FROM azure_message_tracking ORDER BY 1")
        ).all()
    assert [tuple(row) for row in taught] == [(3, None), (4, "<z@example.com>")]


def test_an_id_that_another_message_has_is_taught_to_nobody(engine: Engine) -> None:
    given(engine, message("<m@example.com>", 3, 30), message(None, 4, 40, azure_id(1)))
    recorded = when(engine, report("d1", "<m@example.com>", azure_id(1)))
    assert recorded.taught == 0


def test_several_events_of_one_message_are_all_kept_and_repeat_clicks_are_not_duplicates(engine: Engine) -> None:
    given(engine, message())
    recorded = when(engine, *(click(f"e{n}") for n in range(5)), click("view", engagement_type="view"))
    assert recorded.attributed == {"internet_message_id": 6}
    assert len(stored(engine)) == 6


def test_a_redelivered_event_changes_nothing(engine: Engine) -> None:
    given(engine, message())
    when(engine, click("e1"), click("parked", "<unknown@example.com>"))
    before = stored(engine)
    recorded = when(engine, click("e1"), click("e1"), click("parked", "<unknown@example.com>"))
    assert (recorded.attributed, recorded.parked, recorded.duplicates, recorded.contradictions) == ({}, 0, 3, 0)
    assert stored(engine) == before


def test_the_same_event_twice_in_one_batch_is_written_once(engine: Engine) -> None:
    given(engine, message())
    recorded = when(engine, click("e1"), click("e1"))
    assert (recorded.attributed, recorded.duplicates) == ({"internet_message_id": 1}, 1)


def test_of_two_events_with_one_id_and_different_content_the_first_wins_and_the_other_is_counted(
    engine: Engine,
) -> None:
    given(engine, message())
    when(engine, click("e1"))
    recorded = when(engine, click("e1", engagement_context="https://www.example.com/other"))
    assert (recorded.duplicates, recorded.contradictions) == (1, 1)
    with engine.begin() as conn:
        context = conn.execute(text("SELECT engagement_context FROM azure_engagement_events")).scalar_one()
    assert context == "https://www.example.com/offer"


def test_a_redelivery_of_a_drain_killed_before_its_re_check_releases_what_was_parked(engine: Engine) -> None:
    with engine.connect() as conn:
        record(conn, click("e1"))
        given(engine, message())
        conn.commit()
    # The drain is dead: nobody re-checked. Its batch comes again, all duplicates.
    recorded = when(engine, click("e1"))
    assert recorded.duplicates == 1
    assert stored(engine)["e1"][0] == "attributed"


def test_echoed_headers_attribute_where_no_id_does(engine: Engine) -> None:
    given(engine, message("<m@example.com>", 3, 30))
    when(
        engine,
        click("by header", "<unknown@example.com>", header_campaign="41", header_subscriber="5"),
        click("by id", "<m@example.com>", header_campaign="41"),
        click("nonsense", "<unknown@example.com>", header_campaign="x'); DROP TABLE azure_message_tracking; --"),
    )
    assert stored(engine) == {
        "by header": ("attributed", 41, 5, "header"),
        "by id": ("attributed", 3, 30, "internet_message_id"),
        "nonsense": ("parked", None, None, None),
    }


def test_in_listmonks_database_echoed_headers_may_be_uuids_and_must_exist(engine: Engine) -> None:
    campaign, subscriber = uuid.uuid4(), uuid.uuid4()
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE campaigns (id int PRIMARY KEY, uuid uuid)"))
        conn.execute(text("CREATE TABLE subscribers (id int PRIMARY KEY, uuid uuid)"))
        conn.execute(text("INSERT INTO campaigns VALUES (41, :uuid)"), {"uuid": campaign})
        conn.execute(text("INSERT INTO subscribers VALUES (5, :uuid)"), {"uuid": subscriber})
    when(
        engine,
        click("by uuid", None, header_campaign=str(campaign), header_subscriber=str(subscriber)),
        click("by id", None, header_campaign="41"),
        click("deleted", "<x@example.com>", header_campaign="42"),
    )
    assert stored(engine) == {
        "by uuid": ("attributed", 41, 5, "header"),
        "by id": ("attributed", 41, None, "header"),
        "deleted": ("parked", None, None, None),
    }
