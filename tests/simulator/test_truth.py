"""What the ledger concludes: what must become of an event, given what the system was told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator.truth import (
    BOTH,
    Answered,
    Emitted,
    Expectation,
    Fate,
    Id,
    Listmonk,
    Native,
    Record,
    Sent,
    Tracked,
    Truth,
)

AT = datetime(2026, 1, 10, tzinfo=UTC)
INTERNET: tuple[Id, ...] = ("internet",)
AZURE: tuple[Id, ...] = ("azure",)
MESSAGE = "<m@example.com>"
SENT = Sent(MESSAGE, "5b1e3c44-0000-4000-8000-0000000000aa", 7, 70, ("ada@example.net",), AT)
OPEN = Emitted("open", "followed", "view", MESSAGE, BOTH, AT)


def tracked(ids: tuple[Id, ...] = INTERNET, *, confirmed: bool = True) -> Tracked:
    return Tracked(MESSAGE, ids, door="http", confirmed=confirmed)


def report(ids: tuple[Id, ...] = BOTH) -> Emitted:
    return Emitted("report", "followed", "delivered", MESSAGE, ids, AT)


def taken(*event_ids: str) -> Answered:
    return Answered(event_ids, acknowledged=True)


def expected(event_id: str, *records: Record) -> Expectation:
    expectations = {expectation.event.event_id: expectation for expectation in Truth.of(records).expectations()}
    return expectations[event_id]


def fates(event_id: str, *records: Record) -> set[str]:
    return {fate.value for fate in expected(event_id, *records).fates}


def test_event_of_a_tracked_message_must_be_attributed_to_it() -> None:
    expectation = expected("open", SENT, tracked(), OPEN, taken("open"))
    assert expectation.fates == {Fate.ATTRIBUTED}
    assert expectation.acknowledged
    assert expectation.message == SENT


def test_order_of_tracking_and_event_does_not_matter() -> None:
    assert fates("open", SENT, OPEN, taken("open"), tracked()) == {"attributed"}


def test_event_of_a_message_never_tracked_must_wait() -> None:
    assert fates("open", SENT, OPEN, taken("open")) == {"waiting"}


def test_event_that_names_only_an_id_nobody_tracked_must_wait() -> None:
    only_azure = Emitted("open", "followed", "view", MESSAGE, AZURE, AT)
    assert fates("open", SENT, tracked(INTERNET), only_azure, taken("open")) == {"waiting"}
    assert fates("open", SENT, tracked(AZURE), only_azure, taken("open")) == {"attributed"}


def test_delivery_report_with_both_ids_teaches_the_missing_one() -> None:
    only_azure = Emitted("open", "followed", "view", MESSAGE, AZURE, AT)
    story: list[Record] = [SENT, tracked(INTERNET), only_azure, taken("open")]
    assert fates("open", *story, report(), taken("report")) == {"attributed"}
    assert fates("open", *story, report(AZURE), taken("report")) == {"waiting"}


def test_view_with_both_ids_teaches_nothing() -> None:
    only_azure = Emitted("click", "followed", "click", MESSAGE, AZURE, AT)
    assert fates("click", SENT, tracked(INTERNET), OPEN, only_azure, taken("open", "click")) == {"waiting"}


def test_report_teaches_nothing_of_a_message_never_tracked() -> None:
    assert fates("open", SENT, OPEN, report(), taken("open", "report")) == {"waiting"}


def test_what_was_sent_but_not_answered_allows_either() -> None:
    only_azure = Emitted("open", "followed", "view", MESSAGE, AZURE, AT)
    assert fates("open", SENT, tracked(confirmed=False), OPEN) == {"attributed", "waiting"}
    assert fates("open", SENT, tracked(), only_azure, report(), taken("open")) == {"attributed", "waiting"}


def test_click_whose_link_names_its_reader_waits_for_nothing_in_listmonks_database() -> None:
    click = Emitted("click", "followed", "click", MESSAGE, AZURE, AT, link="https://x.example.com", names_reader=True)
    assert fates("click", SENT, click, taken("click")) == {"waiting"}
    assert fates("click", Listmonk(True), SENT, click, taken("click")) == {"attributed"}
    assert fates("open", Listmonk(True), SENT, OPEN, click, taken("open", "click")) == {"waiting"}


def test_event_of_an_unknown_type_teaches_nothing() -> None:
    only_azure = Emitted("open", "followed", "view", MESSAGE, AZURE, AT)
    unknown = Emitted("forward", "followed", "forward", MESSAGE, BOTH, AT)
    assert fates("open", SENT, tracked(), only_azure, unknown, taken("open", "forward")) == {"waiting"}


@pytest.mark.parametrize(
    ("event", "table"),
    [
        (OPEN, "campaign_views"),
        (Emitted("e", "followed", "click", MESSAGE, BOTH, AT, link="https://x.example.com"), "link_clicks"),
        (Emitted("e", "followed", "click", MESSAGE, BOTH, AT), None),
        (Emitted("e", "followed", "forward", MESSAGE, BOTH, AT), None),
        (Emitted("e", "followed", "bounced", MESSAGE, BOTH, AT, bounce="soft"), "bounces"),
        (Emitted("e", "followed", "delivered", MESSAGE, BOTH, AT), None),
    ],
)
def test_event_has_its_place_in_listmonks_tables(event: Emitted, table: str | None) -> None:
    assert event.table == table


def test_malformed_and_foreign_events() -> None:
    assert fates("bad", Emitted("bad", "malformed", "no id"), taken("bad")) == {"quarantined"}
    assert fates("sms", Emitted("sms", "ignored", "sms"), taken("sms")) == {"ignored"}


def test_event_refused_for_good_is_not_the_systems() -> None:
    expectation = expected("open", SENT, tracked(), OPEN, Answered(("open",), acknowledged=False))
    assert not expectation.acknowledged


def test_event_once_acknowledged_stays_the_systems() -> None:
    story: list[Record] = [SENT, tracked(), OPEN, taken("open"), Answered(("open",), acknowledged=False)]
    assert expected("open", *story).acknowledged


@pytest.mark.parametrize("ids", [INTERNET, AZURE, BOTH])
def test_ledger_reread_is_the_same_ledger(tmp_path: Path, ids: tuple[Id, ...]) -> None:
    listmonk: list[Record] = [Listmonk(True), Native(3, "view", 7, 70, None, AT, "open")]
    bad = Emitted("bad", "malformed", "text")
    truth = Truth.of([*listmonk, SENT, tracked(ids), OPEN, report(), bad, taken("open", "bad")])
    truth.save(tmp_path / "truth.jsonl")
    assert Truth.read(tmp_path / "truth.jsonl") == truth
    assert len((tmp_path / "truth.jsonl").read_text().splitlines()) == 8
