"""Repairs, case by case: what is moved, what goes, and what cannot be proven and stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db import repair as repairing
from db.results import Results
from simulator import listmonk
from tasks.repair import begin, plan
from tasks.repair import repair as repair_batches
from tests.db.rows import azure_id
from tests.repair.conftest import RESTORED, Site
from tests.repair.correcting import repair, undo

AT = datetime(2026, 1, 9, 10, 26, 32, 123457, tzinfo=UTC)
WRITTEN = AT + timedelta(seconds=2, microseconds=5)
SECOND = timedelta(seconds=1)
OFFER = "https://www.example.com/offer"
#: Who a message is of, and whom the guess credited.
TRUE, WRONG, READER = 65, 64, 12


def track(site: Site, message: str | None, campaign: int = TRUE, reader: int | None = READER, azure: int = 0) -> None:
    site.change(
        "INSERT INTO azure_message_tracking"
        " (internet_message_id, azure_message_id, campaign_id, subscriber_id, tracked_via)"
        " VALUES (%s, %s, %s, %s, 'imported')",
        message,
        azure_id(azure) if azure else None,
        campaign,
        reader,
    )


def event(
    site: Site,
    message: str | None = "<m@example.com>",
    kind: str = "view",
    *,
    campaign: int = WRONG,
    reader: int | None = READER,
    azure: int = 0,
    at: datetime = AT,
    written: datetime = WRITTEN,
    url: str = "",
    **columns: object,
) -> int:
    """Store an event as the replaced system did, credited to ``campaign``; return its row id."""
    columns = {"matched_by": "replaced_system", **columns}
    names = ", ".join(columns)
    values = ", ".join("%s" for _ in columns)
    own = ("engagement_type", "engagement_context") if kind in ("view", "click") else ("status", "status_reason")
    table = "azure_engagement_events" if kind in ("view", "click") else "azure_delivery_events"
    return int(
        site.rows(
            f"INSERT INTO {table} (internet_message_id, azure_message_id, campaign_id, subscriber_id, event_timestamp,"
            f" created_at, state, {own[0]}, {own[1]}, {names})"
            f" VALUES (%s, %s, %s, %s, %s, %s, 'attributed', %s, %s, {values}) RETURNING id",
            message,
            azure_id(azure) if azure else None,
            campaign,
            reader,
            at,
            written,
            kind,
            url,
            *columns.values(),
        )[0][0]
    )


def view(
    site: Site, campaign: int = WRONG, reader: int | None = READER, at: datetime = AT, row: int | None = None
) -> int:
    """Count a view: the replaced system's, or listmonk's own, which look the same, or, with ``row``, one of ours."""
    return int(
        site.rows(
            "INSERT INTO campaign_views (id, campaign_id, subscriber_id, created_at)"
            " VALUES (coalesce(%s, nextval('campaign_views_id_seq')), %s, %s, %s) RETURNING id",
            row,
            campaign,
            reader,
            at,
        )[0][0]
    )


def clicked(site: Site, url: str = OFFER, campaign: int = WRONG, at: datetime = AT) -> int:
    return int(
        site.rows(
            "WITH link AS (INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), %s)"
            " ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id)"
            " INSERT INTO link_clicks (campaign_id, link_id, subscriber_id, created_at)"
            " SELECT %s, id, %s, %s FROM link RETURNING id",
            url,
            campaign,
            READER,
            at,
        )[0][0]
    )


def credited(site: Site, table: str = "azure_engagement_events") -> dict[int, tuple[Any, ...]]:
    """Return campaign, reader and key of each event."""
    rows = site.rows(f"SELECT id, campaign_id, subscriber_id, matched_by::text FROM {table}")
    return {row[0]: tuple(row[1:]) for row in rows}


def counted(site: Site, table: str = "campaign_views") -> dict[int, tuple[int, int | None]]:
    """Return campaign and reader of each row that counts something."""
    return {row[0]: (row[1], row[2]) for row in site.rows(f"SELECT id, campaign_id, subscriber_id FROM {table}")}


def counted_by(site: Site, event_id: int) -> tuple[str | None, int | None]:
    row = site.rows("SELECT uncounted, native_id FROM azure_engagement_events WHERE id = %s", event_id)[0]
    return row[0], row[1]


# What is proven.


@pytest.mark.parametrize("instant", ["the event's", "its row's"])
def test_an_open_and_the_row_of_its_very_instant_move_to_the_campaign_of_the_message(
    listmonk_site: Site, instant: str
) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site), view(site, at=AT if instant == "the event's" else WRITTEN)
    planned, _ = repair(site.engine)
    assert planned.changes() == {
        "azure_engagement_events": {WRONG: -1, TRUE: 1},
        "campaign_views": {WRONG: -1, TRUE: 1},
    }
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (TRUE, READER)}
    # The row that counts it has a positive id: the event names it, so that no other event takes it for listmonk's own.
    assert counted_by(site, opened) == ("native", row)
    assert site.rows("SELECT attributed_at, created_at FROM azure_engagement_events") == [(None, WRITTEN)]


def test_azures_id_proves_as_well_and_the_message_id_goes_before_it(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, None, azure=1)
    track(site, "<both@example.com>", azure=2)
    by_azure = event(site, None, azure=1)
    by_both = event(site, "<both@example.com>", azure=2, at=AT + SECOND)
    repair(site.engine)
    assert credited(site) == {
        by_azure: (TRUE, READER, "azure_message_id"),
        by_both: (TRUE, READER, "internet_message_id"),
    }


def test_the_key_is_the_delivery_report_where_it_taught_the_id(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    site.change("UPDATE azure_message_tracking SET learned_id = 'internet_message_id'")
    wrong, right = event(site), event(site, campaign=TRUE, at=AT + SECOND)
    repair(site.engine)
    assert credited(site) == {wrong: (TRUE, READER, "delivery_report"), right: (TRUE, READER, "delivery_report")}


def test_a_wrong_reader_is_corrected_like_a_wrong_campaign(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>", WRONG, 13)
    opened, row = event(site), view(site)
    planned, _ = repair(site.engine)
    assert planned.changes() == {}  # campaign by campaign nothing changes
    assert credited(site) == {opened: (WRONG, 13, "internet_message_id")}
    assert counted(site) == {row: (WRONG, 13)}


def test_a_click_moves_with_the_row_of_its_instant_and_its_link_only(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    row, other = clicked(site), clicked(site, "https://www.example.com/another")
    event(site, kind="click", url=OFFER)
    repair(site.engine)
    assert counted(site, "link_clicks") == {row: (TRUE, READER), other: (WRONG, READER)}


def test_a_bounce_moves_with_its_report(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>", reader=13)
    report = event(site, kind="Bounced")
    delivered = event(site, kind="Delivered", at=AT + SECOND)
    site.change(
        "INSERT INTO bounces (subscriber_id, campaign_id, source, created_at)"
        " VALUES (12, 64, 'azure', %s), (12, 64, 'x', %s)",
        AT,
        AT + SECOND,
    )
    repair(site.engine)
    true = (TRUE, 13, "internet_message_id")
    assert credited(site, "azure_delivery_events") == {report: true, delivered: true}
    # What lies at the instant of a delivery was not made of it.
    assert counted(site, "bounces") == {1: (TRUE, 13), 2: (WRONG, READER)}


def test_a_row_of_ours_is_its_events_whatever_it_looks_like(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened = event(site, matched_by="link")
    view(site, reader=None, at=AT + 9 * SECOND, row=-opened)
    bounced = event(site, kind="Bounced", matched_by="header")
    site.change(
        "INSERT INTO bounces (subscriber_id, campaign_id, source, meta, created_at)"
        " VALUES (12, 64, 'azure', jsonb_build_object('event_row', %s::int), now())",
        bounced,
    )
    repair(site.engine)
    # listmonk was told to track no individuals: the row names nobody afterwards, either.
    assert counted(site) == {-opened: (TRUE, None)}
    assert counted(site, "bounces") == {1: (TRUE, READER)}
    assert counted_by(site, opened) == (None, None)


def test_without_listmonk_the_events_alone_are_corrected(lone_site: Site) -> None:
    track(lone_site, "<m@example.com>")
    opened, reported = event(lone_site), event(lone_site, kind="Bounced")
    planned, run = repair(lone_site.engine)
    assert planned.unproven == []
    assert credited(lone_site) == {opened: (TRUE, READER, "internet_message_id")}
    assert credited(lone_site, "azure_delivery_events") == {reported: (TRUE, READER, "internet_message_id")}
    assert undo(lone_site.engine, run).restored == {"azure_engagement_events": 1, "azure_delivery_events": 1}


def test_a_right_guess_gets_the_key_that_proves_it_and_nothing_else_changes(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site, campaign=TRUE), view(site, campaign=TRUE)
    planned, _ = repair(site.engine)
    assert (planned.corrections, planned.confirmable) == ([], 1)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (TRUE, READER)}
    assert repair(site.engine)[0].confirmable == 0


# An act that listmonk counted itself.


def test_a_row_goes_where_listmonk_counted_the_act_in_the_true_campaign(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, native = event(site), view(site, TRUE, at=AT + 4 * SECOND)
    view(site)
    planned, _ = repair(site.engine)
    assert planned.changes()["campaign_views"] == {WRONG: -1}
    assert counted(site) == {native: (TRUE, READER)}
    assert counted_by(site, opened) == ("native", native)


def test_one_native_row_counts_one_act_and_as_many_as_can_be_are_counted_once(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    # The second native row is within reach of the last open alone; the first is nearest to that one, too.
    opens = [event(site, at=AT), event(site, at=AT + 3 * SECOND), event(site, at=AT + 4 * SECOND)]
    for at in (AT, AT + 3 * SECOND, AT + 4 * SECOND):
        view(site, at=at)
    natives = [view(site, TRUE, at=AT + 4.4 * SECOND), view(site, TRUE, at=AT + 8.5 * SECOND)]
    repair(site.engine)
    kept = [counted_by(site, opened)[1] for opened in opens]
    assert set(natives) < set(kept)
    assert len(counted(site)) == 3
    assert {campaign for campaign, _ in counted(site).values()} == {TRUE}


def test_a_row_of_another_open_of_the_same_reader_seconds_before_is_not_the_act(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site, campaign=TRUE, at=AT - 3 * SECOND)
    earlier = view(site, TRUE, at=AT - 3 * SECOND)
    event(site)
    row = view(site)
    repair(site.engine)
    assert counted(site) == {earlier: (TRUE, READER), row: (TRUE, READER)}


def test_a_native_click_on_the_tracked_link_counts_the_click_on_it(listmonk_site: Site) -> None:
    import psycopg

    site = listmonk_site
    track(site, "<m@example.com>")
    with psycopg.connect(site.url, autocommit=True) as connection:
        link = listmonk.link(connection, OFFER)
        url = listmonk.tracked_link(connection, link, TRUE, READER)
        native = listmonk.click(connection, TRUE, READER, link, AT + SECOND)
    event(site, kind="click", url=url)
    clicked(site, url)  # the replaced system made a link of each reader's URL
    repair(site.engine)
    assert counted(site, "link_clicks") == {native: (TRUE, READER)}


# What is not proven.


def reasons(site: Site) -> dict[str, int]:
    return plan(site.engine, Results()).reasons()


def test_a_row_near_the_instant_but_not_at_it_stays(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site), view(site, at=AT + timedelta(microseconds=1))
    assert reasons(site) == {"near_row": 1, "untraced": 1}
    repair(site.engine)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (WRONG, READER)}
    assert counted_by(site, opened) == (None, None)


def test_an_event_without_a_row_is_corrected_and_no_row_is_made(listmonk_site: Site) -> None:
    track(listmonk_site, "<m@example.com>")
    event(listmonk_site)
    assert reasons(listmonk_site) == {"no_row": 1}
    repair(listmonk_site.engine)
    assert counted(listmonk_site) == {}


def test_an_event_of_an_unknown_message_stays_with_its_row(listmonk_site: Site) -> None:
    site = listmonk_site
    opened, row = event(site, None), view(site)
    assert reasons(site) == {"message_unknown": 1}
    repair(site.engine)
    assert credited(site) == {opened: (WRONG, READER, "replaced_system")}
    assert counted(site) == {row: (WRONG, READER)}


def test_a_row_that_no_event_accounts_for_stays(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site)
    view(site)
    stray = view(site, at=AT + timedelta(hours=1))
    assert reasons(site) == {"untraced": 1}
    repair(site.engine)
    assert counted(site)[stray] == (WRONG, READER)


@pytest.mark.parametrize("rival", ["of another campaign", "rightly credited", "of an unknown message"])
def test_a_row_that_events_of_different_campaigns_claim_stays(listmonk_site: Site, rival: str) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, "<other@example.com>", 63 if rival == "of another campaign" else WRONG)
    first = event(site)
    second = event(site, None if rival == "of an unknown message" else "<other@example.com>")
    row = view(site)
    found = reasons(site)
    assert found["several_claim"] == (2 if rival == "of another campaign" else 1)
    repair(site.engine, size=1)  # a batch holds together what must be
    assert counted(site) == {row: (WRONG, READER)}
    assert credited(site)[first][0] == TRUE
    assert credited(site)[second][0] == (63 if rival == "of another campaign" else WRONG)


def test_a_repair_interrupted_among_rival_claims_does_not_forget_one(listmonk_site: Site) -> None:
    """Were one of the two corrected and the other left, the next repair would see a single claim, and move the row."""
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, "<other@example.com>", 63)
    event(site)
    event(site, "<other@example.com>")
    row = view(site)
    repair(site.engine, size=1, stop_after=1)
    repair(site.engine)
    assert counted(site) == {row: (WRONG, READER)}


def test_as_many_rows_as_events_pair_off_whatever_they_belong_to(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, "<other@example.com>", 63)
    event(site)
    event(site, "<other@example.com>")
    view(site)
    view(site)
    repair(site.engine, size=1)
    assert sorted(counted(site).values()) == [(63, READER), (TRUE, READER)]


def test_an_event_delivered_twice_and_counted_once_moves_its_one_row(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    both = [event(site), event(site, written=WRITTEN + SECOND)]
    row = view(site)
    assert reasons(site) == {"counted_once": 1}
    repair(site.engine)
    assert counted(site) == {row: (TRUE, READER)}
    assert [counted_by(site, each)[1] for each in both] == [row, None]
    assert {campaign for campaign, _, _ in credited(site).values()} == {TRUE}


def test_an_event_that_a_native_row_of_the_wrong_campaign_counts_leaves_that_row(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    native = view(site, at=AT + SECOND)
    opened = event(site, matched_by="link", uncounted="native", native_id=native)
    assert reasons(site) == {"counted_natively": 1}
    repair(site.engine)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {native: (WRONG, READER)}


def test_ids_that_name_messages_of_different_campaigns_prove_nothing(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, None, 63, azure=1)
    event(site, azure=1)
    assert reasons(site) == {"ids_disagree": 1}
    assert repair(site.engine)[0].corrections == []


def test_what_listmonk_has_deleted_is_credited_with_nothing(listmonk_site: Site) -> None:
    site = listmonk_site
    site.change("ALTER TABLE azure_message_tracking DROP CONSTRAINT azure_message_tracking_campaign_id_fkey")
    track(site, "<m@example.com>", 4711)
    opened = event(site)
    assert reasons(site) == {"deleted": 1}
    repair(site.engine)
    assert credited(site) == {opened: (WRONG, READER, "replaced_system")}


# Beside others.


def test_what_has_changed_since_it_was_planned_is_left_for_the_next_repair(listmonk_site: Site) -> None:
    site = listmonk_site
    for number in (1, 2, 3):
        track(site, f"<{number}@example.com>")
    opens = [event(site, f"<{number}@example.com>", at=AT + number * SECOND) for number in (1, 2, 3)]
    rows = [view(site, at=AT + number * SECOND) for number in (1, 2, 3)]
    planned = plan(site.engine, Results())
    site.change("UPDATE azure_engagement_events SET campaign_id = 63 WHERE id = %s", opens[0])
    site.change("DELETE FROM campaign_views WHERE id = %s", rows[1])
    journal, _ = begin(site.engine, "repair", {})
    assert sum(repair_batches(site.engine, journal, planned)) == 1
    assert [credited(site)[each][0] for each in opens] == [63, WRONG, TRUE]
    assert counted(site) == {rows[0]: (WRONG, READER), rows[2]: (TRUE, READER)}
    repair(site.engine)
    assert [credited(site)[each][0] for each in opens] == [TRUE, TRUE, TRUE]


def test_two_repairs_of_one_plan_correct_each_event_once(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site)
    row = view(site)
    planned = plan(site.engine, Results())
    journal, _ = begin(site.engine, "repair", {})
    assert [sum(repair_batches(site.engine, journal, planned)) for _ in range(2)] == [1, 0]
    assert counted(site) == {row: (TRUE, READER)}


def test_a_plan_changes_and_locks_nothing(site: Site) -> None:
    before = site.dump(*RESTORED)
    with site.engine.begin() as conn:
        from db.repair import plan_repair

        plan_repair(conn, Results().listmonk(conn), window=timedelta(seconds=5))
        modes = site.rows(
            "SELECT DISTINCT mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation"
            " WHERE c.relname = ANY(%s)",
            list(RESTORED),
        )
        assert modes == [("AccessShareLock",)]
    assert site.dump(*RESTORED) == before


def test_looking_for_what_is_wrong_may_take_longer_than_a_batch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(conn: Connection, *_arguments: Any, **_options: Any) -> repairing.Plan:
        seen.append(conn.connection.driver_connection.longest_silence)  # type: ignore[union-attr]
        seen.append(conn.execute(text("SHOW statement_timeout")).scalar_one())
        return repairing.Plan()

    monkeypatch.setattr(repairing, "_plan", look)
    with site.engine.begin() as conn:
        repairing.plan_repair(conn, Results().listmonk(conn), window=timedelta(seconds=5))
        usual = conn.connection.driver_connection.longest_silence  # type: ignore[union-attr]
    assert seen[0] > repairing.LONGEST_LOOK > usual
    assert seen[1] == "1h"
