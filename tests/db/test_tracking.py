"""Send-trackings: idempotent, completed, refused, and those that other programs write."""

from __future__ import annotations

import threading

from sqlalchemy import Engine, text

from db.models import MessageIds, TrackedMessage
from db.parking import release
from db.tracking import Tracked, adopt_foreign, find_foreign, message_ids, respell_foreign, track_messages
from tests.db.rows import azure_id, click, message, record, stored
from tests.waiting import eventually
from worker.message_id import MessageIdInvalid, normalise_message_id


def track(engine: Engine, *messages: TrackedMessage) -> Tracked:
    with engine.begin() as conn:
        return track_messages(conn, messages)


def rows(engine: Engine) -> list[tuple]:  # type: ignore[type-arg]
    with engine.begin() as conn:
        found = conn.execute(
            text(
                "SELECT internet_message_id, azure_message_id, campaign_id, subscriber_id, tracked_via,"
                " set_aside_message_id FROM azure_message_tracking ORDER BY id"
            )
        )
        return [tuple(row) for row in found]


def test_tracking_twice_changes_nothing(engine: Engine) -> None:
    assert track(engine, message()) == Tracked(1, 0, 0, ())
    before = rows(engine)
    assert track(engine, message(), message()) == Tracked(0, 2, 0, ())
    assert rows(engine) == before


def test_a_message_tracked_for_another_campaign_or_subscriber_is_refused_and_stays_as_it_was(engine: Engine) -> None:
    track(engine, message(campaign=7, subscriber=12))
    before = rows(engine)
    refused = track(engine, message("<new@example.com>"), message(campaign=8), message(subscriber=13), message())
    assert refused == Tracked(1, 1, 0, (1, 2))
    assert rows(engine)[:1] == before


def test_of_two_contradictory_trackings_in_one_batch_the_first_wins(engine: Engine) -> None:
    assert track(engine, message(campaign=7), message(campaign=8)) == Tracked(1, 0, 0, (1,))
    assert rows(engine)[0][2] == 7


def test_a_second_tracking_completes_the_id_that_the_first_lacked(engine: Engine) -> None:
    track(engine, message("<a@example.com>"), message(None, azure=azure_id(2)))
    completed = track(
        engine, message("<a@example.com>", azure=azure_id(1)), message("<b@example.com>", azure=azure_id(2))
    )
    assert completed == Tracked(0, 2, 2, ())
    assert {row[:2] for row in rows(engine)} == {("<a@example.com>", azure_id(1)), ("<b@example.com>", azure_id(2))}


def test_a_second_tracking_completes_nothing_where_it_contradicts(engine: Engine) -> None:
    track(engine, message("<a@example.com>", campaign=7))
    assert track(engine, message("<a@example.com>", campaign=8, azure=azure_id(1))).refused == (0,)
    assert rows(engine)[0][1] is None


def test_an_id_of_another_message_is_refused_even_within_one_campaign(engine: Engine) -> None:
    track(engine, message("<a@example.com>", azure=azure_id(1)))
    before = rows(engine)
    assert track(engine, message("<b@example.com>", azure=azure_id(1))) == Tracked(0, 0, 0, (0,))
    assert track(engine, message("<a@example.com>", azure=azure_id(2))) == Tracked(0, 0, 0, (0,))
    assert rows(engine) == before


def test_an_id_is_completed_where_the_first_tracking_named_no_subscriber(engine: Engine) -> None:
    track(engine, message("<a@example.com>", subscriber=None))
    assert track(engine, message("<a@example.com>", azure=azure_id(1))) == Tracked(0, 1, 1, ())
    assert rows(engine)[0][1:4] == (azure_id(1), 7, None)  # the subscriber stays open: it may be a mail to several


def test_two_messages_that_claim_one_azure_id_cost_nobody_else_anything(engine: Engine) -> None:
    track(engine, message("<a@example.com>"), message("<b@example.com>"))
    result = track(
        engine,
        message("<a@example.com>", azure=azure_id(1)),
        message("<b@example.com>", azure=azure_id(1)),
        message("<c@example.com>"),
    )
    assert (result.new, result.completed) == (1, 0)
    assert {row[1] for row in rows(engine)} == {None}


def test_an_id_taught_meanwhile_is_not_overwritten(engine: Engine) -> None:
    track(engine, message("<a@example.com>"))
    completed: list[Tracked] = []
    with engine.connect() as teacher:
        teacher.execute(
            text("UPDATE azure_message_tracking SET azure_message_id = :id, learned_id = 'azure_message_id'"),
            {"id": azure_id(9)},
        )
        mailer = threading.Thread(
            target=lambda: completed.append(track(engine, message("<a@example.com>", azure=azure_id(1))))
        )
        mailer.start()
        eventually(lambda: _assert_someone_waits(engine))
        teacher.commit()
    mailer.join(10)
    assert completed == [Tracked(0, 0, 0, (0,))]
    assert rows(engine)[0][1] == azure_id(9)


def _assert_someone_waits(engine: Engine) -> None:
    with engine.begin() as conn:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert conn.execute(text(waiting)).scalar_one()


def test_batches_with_the_same_messages_in_opposite_order_never_deadlock(engine: Engine) -> None:
    messages = [message(f"<{number}@example.com>", azure=azure_id(number)) for number in range(300)]
    new: list[int] = []
    start = threading.Barrier(2)

    def work(batch: list[TrackedMessage]) -> None:
        start.wait()
        new.append(track(engine, *batch).new)

    for _ in range(5):
        with engine.begin() as conn:
            conn.execute(text("TRUNCATE azure_message_tracking"))
        new.clear()
        threads = [threading.Thread(target=work, args=(batch,)) for batch in (messages, messages[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sum(new) == 300


def normalise(spelling: str) -> str | None:
    try:
        return normalise_message_id(spelling)
    except MessageIdInvalid:
        return None


def insert_foreign(engine: Engine, *internet_message_ids: str | None) -> None:
    """Insert as the replaced system's mailer does."""
    with engine.begin() as conn:
        for position, spelling in enumerate(internet_message_ids):
            conn.execute(
                text(
                    "INSERT INTO azure_message_tracking"
                    " (azure_message_id, campaign_id, subscriber_id, internet_message_id)"
                    " VALUES (:azure, 7, 12, :spelling)"
                ),
                {"azure": azure_id(position), "spelling": spelling},
            )


def adopt(engine: Engine) -> int:
    with engine.begin() as conn:
        respell_foreign(conn, normalise, limit=100)
    with engine.begin() as conn:
        foreign = find_foreign(conn, limit=100)
        released = release(conn, foreign.ids)
    with engine.begin() as conn:
        adopt_foreign(conn, foreign.rows)
    return released.events


def test_events_of_a_message_that_another_program_tracked_are_released_once(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, click("e1", "<a@example.com>"), click("e2", None, azure_id(0)), click("e3", "<b@example.com>"))
    insert_foreign(engine, "a@EXAMPLE.COM")
    assert adopt(engine) == 2
    assert adopt(engine) == 0
    assert {event: state for event, (state, *_) in stored(engine).items()} == {
        "e1": "attributed",
        "e2": "attributed",
        "e3": "parked",
    }


def test_foreign_spellings_become_ours_and_what_is_no_message_id_is_set_aside(engine: Engine) -> None:
    insert_foreign(engine, " x@Example.COM ", "<x@example.com>", "two words", None, "y@example.com", "<Y@x>")
    adopt(engine)
    assert [(row[0], row[4], row[5]) for row in rows(engine)] == [
        (None, "foreign", " x@Example.COM "),  # the second row had this id first, rightly spelt
        ("<x@example.com>", "foreign", None),
        (None, "foreign", "two words"),
        (None, "foreign", None),
        ("<y@example.com>", "foreign", None),
        ("<Y@x>", "foreign", None),
    ]


def test_a_foreign_row_never_takes_an_id_from_one_of_ours(engine: Engine) -> None:
    track(engine, message("<x@example.com>", campaign=3))
    insert_foreign(engine, "x@example.com")
    adopt(engine)
    assert [(row[0], row[2], row[5]) for row in rows(engine)] == [
        ("<x@example.com>", 3, None),
        (None, 7, "x@example.com"),
    ]


def test_message_ids_are_all_the_ids_of_a_batch() -> None:
    ids = message_ids(
        [message("<a@example.com>"), message(None, azure=azure_id(1)), message("<b@x>", azure=azure_id(2))]
    )
    assert ids == MessageIds(frozenset({"<a@example.com>", "<b@x>"}), frozenset({azure_id(1), azure_id(2)}))
