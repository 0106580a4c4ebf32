"""The backfill: what the log proves is filled in, what contradicts is listed, and it may be stopped at any line."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from db.backfill import Conflict
from db.journal import Journal
from simulator.accident import NEW, SMALL
from tests.db.rows import click, message, record
from tests.repair.conftest import RESTORED, MakeSite, Site
from tests.repair.correcting import backfill, put_right, repair, undo
from tests.waiting import eventually

AZURE_ID = UUID("5b1e3c44-0000-4000-8000-0000000000aa")


def log(site: Site, message_id: str | None, azure_id: UUID | str = AZURE_ID, *, event: str = "e1") -> None:
    """Have the replaced system be sent one more delivery report."""
    data = {
        "sender": "news@mail.example.com",
        "recipient": "ada@example.net",
        "messageId": str(azure_id),
        "status": "Delivered",
        "deliveryAttemptTimestamp": "2026-01-10T10:26:32.99+00:00",
    }
    if message_id:
        data["internetMessageId"] = message_id
    body = {
        "id": event,
        "topic": "/subscriptions/1",
        "subject": "sender",
        "eventType": "Microsoft.Communication.EmailDeliveryReportReceived",
        "eventTime": "2026-01-10T10:28:55.2532364Z",
        "data": data,
    }
    site.change(
        "INSERT INTO webhook_logs (webhook_type, request_body, created_at)"
        " VALUES ('azure', %s, '2026-01-10T10:29:00Z')",
        json.dumps([body]),
    )


def tracking(site: Site, row_id: int) -> Any:
    return site.rows(
        "SELECT internet_message_id, learned_id, tracked_via FROM azure_message_tracking WHERE id = %s", row_id
    )[0]


def own_rule(site: Site, row_id: int) -> str:
    return f"<{site.rows('SELECT azure_message_id FROM azure_message_tracking WHERE id = %s', row_id)[0][0]}@listmonk>"


def contents(site: Site) -> dict[str, list[Any]]:
    """Return the tables without the one instant that differs between two runs: when waiting events were attributed."""
    return {
        table: site.rows(f"SELECT id, to_jsonb(t) - 'attributed_at' FROM {table} AS t ORDER BY id")
        for table in RESTORED
    }


def test_each_message_that_an_event_proves_gets_the_id_it_was_sent_with(site: Site) -> None:
    backfill(site.engine)
    rows = site.rows(
        "SELECT internet_message_id = '<' || azure_message_id || '@listmonk>', learned_id, tracked_via, count(*)::int"
        " FROM azure_message_tracking WHERE campaign_id = 65 GROUP BY 1, 2, 3"
    )
    assert rows == [(True, None, "imported", SMALL.mails)]
    # Of the old campaign, only the messages that were opened are named by an event.
    assert site.rows(
        "SELECT count(*)::int FROM azure_message_tracking WHERE campaign_id = 64 AND internet_message_id IS NOT NULL"
    ) == [(SMALL.old_views,)]


def test_the_journal_says_which_proof_there_was(site: Site) -> None:
    site.change("UPDATE azure_message_tracking SET azure_message_id = %s WHERE id = 1", AZURE_ID)
    log(site, "<said.by.azure@mail.example.com>")
    journal, _ = backfill(site.engine)
    assert tracking(site, 1) == ("<said.by.azure@mail.example.com>", None, "imported")
    reasons = site.rows(
        "SELECT reason, count(*)::int FROM attribution_journal WHERE run_id = %s"
        " AND table_name = 'azure_message_tracking' GROUP BY 1 ORDER BY 1",
        journal.run_id,
    )
    mailers_rule = SMALL.mails - SMALL.with_id + SMALL.old_views
    assert reasons == [("id_filled_by_azure_id", 1), ("id_filled_by_mailers_rule", mailers_rule)]


def test_an_id_is_never_overwritten_nor_given_to_two_rows_and_each_conflict_is_listed(site: Site) -> None:
    old = [
        row for (row,) in site.rows("SELECT id FROM azure_message_tracking WHERE campaign_id = 64 ORDER BY id LIMIT 5")
    ]
    different, taken, aside, first, second = old
    site.change(
        "UPDATE azure_message_tracking SET internet_message_id = '<other@example.com>' WHERE id = %s", different
    )
    log(site, own_rule(site, different), event="1")
    # Another row has it already.
    site.change(
        "UPDATE azure_message_tracking SET internet_message_id = %s WHERE id = %s", own_rule(site, taken), second
    )
    log(site, own_rule(site, taken), event="2")
    # Nobody is to have it, because several rows claimed it.
    site.change(
        "UPDATE azure_message_tracking SET set_aside_message_id = %s WHERE id = %s", own_rule(site, aside), aside
    )
    log(site, own_rule(site, aside), event="3")
    # One request says two things of one message.
    azure_id = site.rows("SELECT azure_message_id FROM azure_message_tracking WHERE id = %s", first)[0][0]
    log(site, "<one@example.com>", azure_id, event="4")
    log(site, "<two@example.com>", azure_id, event="5")

    _, done = backfill(site.engine, size=1000)

    assert sorted(done.listed) == [
        Conflict(different, own_rule(site, different), "<other@example.com>", None),
        Conflict(taken, own_rule(site, taken), None, second),
        Conflict(aside, own_rule(site, aside), None, aside),
        Conflict(first, "<one@example.com>", "<two@example.com>", None),
        Conflict(first, "<two@example.com>", "<one@example.com>", None),
    ]
    assert [tracking(site, row)[0] for row in old] == [
        "<other@example.com>",
        None,
        None,
        None,
        own_rule(site, taken),
    ]


def test_an_id_that_fits_the_rule_but_that_no_event_carries_is_not_made_up(site: Site) -> None:
    backfill(site.engine)
    unproven = site.rows(
        "SELECT count(*)::int FROM azure_message_tracking WHERE campaign_id = 64 AND internet_message_id IS NULL"
    )
    assert unproven == [(SMALL.old_mails - SMALL.old_views,)]


def test_waiting_events_of_messages_that_are_known_now_are_attributed_and_counted(site: Site) -> None:
    waiting = site.rows("SELECT id FROM azure_engagement_events WHERE state = 'parked' ORDER BY id")
    assert len(waiting) == SMALL.homeless_views
    backfill(site.engine)
    assert (
        site.rows(
            "SELECT e.id FROM azure_engagement_events AS e JOIN campaign_views AS v ON v.id = -e.id"
            " WHERE e.state = 'attributed' AND e.campaign_id = 65 AND v.campaign_id = 65 ORDER BY e.id"
        )
        == waiting
    )


@pytest.mark.parametrize("batches", [1, 3])
def test_interrupted_between_two_batches_it_goes_on_under_its_number_to_the_same_end(
    make_site: MakeSite, batches: int
) -> None:
    whole, stopped = make_site(), make_site()
    before = stopped.dump(*RESTORED)
    put_right(whole.engine)
    first, _ = backfill(stopped.engine, stop_after=batches)
    assert contents(stopped) != contents(whole)
    journal, done = backfill(stopped.engine)
    assert journal == first
    assert done.bodies == whole.rows("SELECT count(*)::int FROM webhook_logs")[0][0]
    repair(stopped.engine, journal)
    assert contents(stopped) == contents(whole)
    assert stopped.rows("SELECT count(*)::int FROM attribution_runs") == [(1,)]
    undo(stopped.engine, journal.run_id)
    assert stopped.dump(*RESTORED) == before


#: Where a backfill is struck: a table, and what it is about to do there.
STRIKES = {
    "filling ids": ("azure_message_tracking", "UPDATE", "NEW.id = (SELECT max(id) FROM azure_message_tracking)"),
    "releasing": ("campaign_views", "INSERT", "NEW.id < 0"),
    "keeping its place": ("attribution_imports", "UPDATE", "NEW.position > 30"),
    "moving a view": ("campaign_views", "UPDATE", "NEW.campaign_id = 65"),
    "writing the journal": (
        "attribution_journal",
        "INSERT",
        "NEW.reason = 'repaired' AND NEW.table_name = 'link_clicks'",
    ),
}


@pytest.mark.parametrize("strike", STRIKES)
def test_interrupted_at_any_line_it_comes_to_the_same_end_and_can_be_undone(make_site: MakeSite, strike: str) -> None:
    whole, struck = make_site(), make_site()
    before = struck.dump(*RESTORED)
    put_right(whole.engine)
    table, event, when = STRIKES[strike]
    struck.change(
        "CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {when} THEN RAISE EXCEPTION 'struck' USING ERRCODE = 'XX000'; END IF; RETURN NEW; END $$;"
        f" CREATE TRIGGER strike BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION strike()"
    )
    with pytest.raises(DBAPIError, match="struck"):
        put_right(struck.engine)
    struck.change(f"DROP TRIGGER strike ON {table}")
    _, run = put_right(struck.engine)
    assert contents(struck) == contents(whole)
    assert undo(struck.engine, run).refused == []
    assert struck.dump(*RESTORED) == before


def test_what_the_live_system_writes_meanwhile_is_left_as_it_wrote_it(site: Site) -> None:
    """Between any two batches messages are tracked, opened, and counted natively, on connections of their own."""
    live: list[int] = []

    def write_live(number: int) -> None:
        from db.tracking import track_messages

        site.change("INSERT INTO campaign_views (campaign_id, subscriber_id) VALUES (64, %s)", number)
        with site.engine.begin() as conn:
            track_messages(conn, [message(f"<live{number}@example.com>", NEW, number)])
        with site.engine.begin() as conn:
            record(conn, click(f"live{number}", f"<live{number}@example.com>", engagement_type="view"))
        live.append(number)

    from db.results import Results
    from tasks.backfill import Backfilled, begin_reading
    from tasks.backfill import backfill as read_batches
    from tasks.repair import begin, plan
    from tasks.repair import repair as repair_batches

    journal, _ = begin(site.engine, "backfill", {})
    after, until = begin_reading(site.engine, journal, resumed=False)
    steps = read_batches(site.engine, journal, Results(), Backfilled(), after=after, until=until, size=20)
    for number, _ in enumerate(steps, 1):
        write_live(number)
    for number, _ in enumerate(repair_batches(site.engine, journal, plan(site.engine, Results()), size=20), 101):
        write_live(number)

    assert len(live) > 10
    counted = site.rows(
        "SELECT e.subscriber_id, v.campaign_id FROM azure_engagement_events AS e"
        " JOIN campaign_views AS v ON v.id = -e.id"
        " WHERE e.event_id LIKE 'live%%' ORDER BY 1"
    )
    assert counted == [(number, NEW) for number in sorted(live)]
    assert site.rows("SELECT campaign_id, count(*)::int FROM campaign_views GROUP BY 1 ORDER BY 1") == [
        (64, site.accident.true_views[64] + len(live)),
        (65, site.accident.true_views[65] + len(live)),
    ]
    touched = site.rows(
        "SELECT count(*) FROM attribution_journal AS j JOIN azure_engagement_events AS e ON e.id = j.row_id"
        " WHERE j.table_name = 'azure_engagement_events' AND e.event_id LIKE 'live%%'"
    )
    assert touched == [(0,)]


def test_a_row_that_the_live_system_holds_is_waited_for(site: Site) -> None:
    """A delivery report is being recorded that teaches a row its id; the backfill comes after it, and agrees."""
    row, expected = 1, own_rule(site, 1)
    log(site, expected)
    learnt = threading.Event()

    def backfill_meanwhile() -> None:
        backfill(site.engine, size=1000)
        learnt.set()

    worker = threading.Thread(target=backfill_meanwhile)
    with site.engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE azure_message_tracking SET internet_message_id = %s, learned_id = 'internet_message_id'"
            " WHERE id = %s",
            (expected, row),
        )
        worker.start()
        eventually(lambda: _somebody_waits_for_a_lock(site))
        assert not learnt.is_set()
    worker.join()
    assert tracking(site, row) == (expected, "internet_message_id", "imported")


def _somebody_waits_for_a_lock(site: Site) -> None:
    assert site.rows("SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def test_a_journal_names_the_run_that_it_is_of(site: Site) -> None:
    journal, _ = backfill(site.engine)
    assert journal == Journal(1)
    assert site.rows("SELECT DISTINCT run_id FROM attribution_journal") == [(1,)]
