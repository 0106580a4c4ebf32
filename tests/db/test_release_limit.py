"""A release of at most so many events, so that a million of them need no statement that takes minutes."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from db.models import MessageIds
from db.parking import Released, release
from db.tracking import message_ids, track_messages
from tests.db.rows import azure_id, click, message, record, report, stored
from tests.db.test_race import _assert_someone_waits_for_a_lock
from tests.waiting import eventually

IDS = MessageIds(frozenset({"<m@example.com>"}))


def park_and_track(engine: Engine, events: int) -> None:
    with engine.begin() as conn:
        record(conn, *(click(f"e{number}") for number in range(events)))
        track_messages(conn, [message()])


def released(engine: Engine, limit: int | None) -> Released:
    with engine.begin() as conn:
        return release(conn, IDS, limit=limit)


def test_a_release_takes_no_more_than_its_limit_and_says_that_there_may_be_more(engine: Engine) -> None:
    park_and_track(engine, events=7)
    taken = [released(engine, limit=3) for _ in range(4)]
    assert [(each.events, each.more) for each in taken] == [(3, True), (3, True), (1, False), (0, False)]
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}


def test_without_a_limit_it_takes_all(engine: Engine) -> None:
    park_and_track(engine, events=7)
    assert released(engine, limit=None) == Released(events=7, engagements=tuple(range(1, 8)))


def test_the_limit_holds_for_each_table_and_each_kind_of_id(engine: Engine) -> None:
    with engine.begin() as conn:
        record(conn, *(click(f"e{number}", None, azure_id(1)) for number in range(2)), click("open"), report("d"))
        track_messages(conn, [message(azure=azure_id(1))])
    with engine.begin() as conn:
        taken = release(conn, message_ids([message(azure=azure_id(1))]), limit=2)
    assert (taken.events, taken.more) == (4, True)


def test_a_release_that_finds_all_taken_by_another_just_now_still_says_that_there_may_be_more(engine: Engine) -> None:
    park_and_track(engine, events=5)
    second: list[Released] = []
    with engine.connect() as first:
        assert release(first, IDS, limit=3).events == 3  # holds their locks
        other = threading.Thread(target=lambda: second.append(released(engine, limit=3)))
        other.start()
        eventually(lambda: _assert_someone_waits_for_a_lock(engine))
        first.commit()
    other.join(10)
    assert [(each.events, each.more) for each in second] == [(0, True)]
    assert released(engine, limit=3).events == 2


def test_in_pieces_as_well_the_message_id_has_precedence_over_azures_own(engine: Engine) -> None:
    """Most name a message by its Message-ID, and another one by Azure's id, and would be found by that first."""
    messages = [message("<m@example.com>", campaign=1), message(None, campaign=2, azure=azure_id(1))]
    with engine.begin() as conn:
        record(conn, click("first", "<m@example.com>"), click("second", "<m@example.com>"))
        record(conn, *(click(f"e{number}", "<m@example.com>", azure_id(1)) for number in range(5)))
        track_messages(conn, messages)
    more = True
    while more:
        with engine.begin() as conn:
            more = release(conn, message_ids(messages), limit=2).more
    assert {row[1:] for row in stored(engine).values()} == {(1, 12, "internet_message_id")}


def test_many_ids_come_in_pieces_of_neighbours_the_internets_first() -> None:
    internet = frozenset(f"<{number}@example.com>" for number in range(5))
    ids = MessageIds(internet, frozenset({azure_id(1), azure_id(2)}))
    pieces = list(ids.pieces(3))
    assert [len(piece) for piece in pieces] == [3, 2, 2]
    assert [sorted(piece.internet) for piece in pieces] == [sorted(internet)[:3], sorted(internet)[3:], []]
    assert list(ids.pieces(7)) == [ids]
    assert list(MessageIds().pieces(3)) == [MessageIds()]
