"""Undoing: every row as it was, to the byte, unless somebody has changed it since."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db.engine import create_engine
from db.runs import start_run
from tasks.repair import CannotUndo, count_to_undo
from tests.repair.conftest import RESTORED, Site
from tests.repair.correcting import put_right, repair, undo
from tests.repair.rows import AT, READER, SECOND, TRUE, WRONG, counted, event, track, view


def state(site: Site, run: int) -> str:
    return str(site.rows("SELECT state FROM attribution_runs WHERE id = %s", run)[0][0])


def test_twice_is_harmless_and_a_repair_afterwards_is_a_new_one(site: Site) -> None:
    before = site.dump(*RESTORED)
    _, first = put_right(site.engine)
    after = site.dump("campaign_views", "link_clicks", "bounces")
    assert undo(site.engine, first).restored
    assert state(site, first) == "undone"
    again = undo(site.engine, first)
    assert (again.restored, again.refused) == ({}, [])
    assert site.dump(*RESTORED) == before

    _, second = put_right(site.engine)
    assert second != first
    assert site.dump("campaign_views", "link_clicks", "bounces") == after
    undo(site.engine, second)
    assert site.dump(*RESTORED) == before


def test_interrupted_it_goes_on(site: Site) -> None:
    before = site.dump(*RESTORED)
    _, run = put_right(site.engine)
    undo(site.engine, run, stop_after=3)
    assert site.dump(*RESTORED) != before
    undo(site.engine, run)
    assert site.dump(*RESTORED) == before


def test_an_interrupted_run_can_be_undone_and_is_not_gone_on_with(site: Site) -> None:
    before = site.dump(*RESTORED)
    from tests.repair.correcting import backfill

    journal, _ = backfill(site.engine, stop_after=2)
    undo(site.engine, journal.run_id)
    assert site.dump(*RESTORED) == before
    assert backfill(site.engine)[0] != journal


def test_a_row_that_has_changed_since_stays_and_the_others_are_restored(site: Site) -> None:
    before = {row[0]: row for row in site.rows("SELECT * FROM campaign_views")}
    _, run = put_right(site.engine)
    moved = [
        row
        for (row,) in site.rows(
            "SELECT row_id FROM attribution_journal WHERE table_name = 'campaign_views' AND was IS NOT NULL"
            " AND became IS NOT NULL ORDER BY row_id"
        )
    ]
    (removed,) = site.rows(
        "SELECT row_id FROM attribution_journal WHERE table_name = 'campaign_views' AND became IS NULL LIMIT 1"
    )
    changed, gone = moved[:2]
    site.change("UPDATE campaign_views SET campaign_id = 63 WHERE id = %s", changed)
    site.change("DELETE FROM campaign_views WHERE id = %s", gone)
    site.change("INSERT INTO campaign_views (id, campaign_id) VALUES (%s, 62)", removed[0])
    undone = undo(site.engine, run)
    assert sorted(undone.refused) == sorted(("campaign_views", row) for row in (changed, gone, removed[0]))
    after = {row[0]: row for row in site.rows("SELECT * FROM campaign_views")}
    assert after[changed][1] == 63
    assert gone not in after
    assert after[removed[0]][1] == 62
    left = {changed, gone, removed[0]}
    assert {row: after[row] for row in after if row not in left} == {
        row: before[row] for row in before if row not in left
    }
    # Once they are as the run had made them, the rest can be had.
    site.change("UPDATE campaign_views SET campaign_id = 65 WHERE id = %s", changed)
    assert undo(site.engine, run).restored == {"campaign_views": 1}


def test_a_row_changed_by_somebody_between_two_steps_of_a_run_is_not_restored(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site)
    row = view(site)
    _, run = repair(site.engine)
    # As if the same run had changed the row once more, from what somebody else had made of it.
    site.change(
        "INSERT INTO attribution_journal (run_id, table_name, row_id, was, became, reason)"
        " SELECT run_id, table_name, row_id, jsonb_set(became, '{campaign_id}', '9'), became, reason"
        " FROM attribution_journal WHERE table_name = 'campaign_views'"
    )
    assert undo(site.engine, run).refused == [("campaign_views", row)]
    assert counted(site) == {row: (TRUE, READER)}


def test_what_may_not_be_restored_any_more_is_refused_and_keeps_nothing_else(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened = event(site)
    view(site)
    view(site, TRUE, at=AT + SECOND)
    other = event(site, campaign=63, at=AT + 60 * SECOND)
    row = view(site, 63, at=AT + 60 * SECOND)
    _, run = repair(site.engine)
    site.change("DELETE FROM campaigns WHERE id = %s", WRONG)
    undone = undo(site.engine, run)
    # The event cannot go back to a campaign that is gone, nor can the row that went.
    assert {each[0] for each in undone.refused} == {"azure_engagement_events", "campaign_views"}
    assert ("azure_engagement_events", opened) in undone.refused
    assert counted(site)[row] == (63, READER)
    assert site.rows("SELECT campaign_id FROM azure_engagement_events WHERE id = %s", other) == [(63,)]


def test_columns_of_listmonks_that_we_do_not_know_come_back(listmonk_site: Site) -> None:
    site = listmonk_site
    site.change(
        "ALTER TABLE campaign_views ADD COLUMN client jsonb, ADD COLUMN score numeric, ADD COLUMN note text,"
        " ADD COLUMN doubled int GENERATED ALWAYS AS (campaign_id * 2) STORED"
    )
    track(site, "<m@example.com>")
    event(site)
    removed = view(site)
    site.change("""UPDATE campaign_views SET client = '{"a": [1, null]}', score = 1.50, note = E'tab\\there'""")
    view(site, TRUE, at=AT + SECOND)
    event(site, at=AT + 60 * SECOND)
    moved = view(site, at=AT + 60 * SECOND)
    # A JSON null in a column that is not changed must not become none.
    site.change("UPDATE campaign_views SET client = 'null' WHERE id = %s", moved)
    before = site.dump(*RESTORED)
    _, run = repair(site.engine)
    assert removed not in counted(site)
    site.change("ALTER TABLE campaign_views ADD COLUMN later text DEFAULT 'new'")
    undo(site.engine, run)
    site.change("ALTER TABLE campaign_views DROP COLUMN later")
    assert site.dump(*RESTORED) == before


@pytest.mark.parametrize("zone", ["America/St_Johns", "Asia/Kathmandu"])
def test_the_sessions_time_zone_is_of_no_account(site: Site, zone: str) -> None:
    before = site.dump(*RESTORED)
    elsewhere = create_engine(f"{site.url}?options=-c%20TimeZone%3D{zone.replace('/', '%2F')}", poolclass=sa.NullPool)
    with elsewhere.begin() as conn:
        assert conn.exec_driver_sql("SHOW TimeZone").scalar_one() == zone
    _, run = put_right(elsewhere)
    assert undo(site.engine, run).refused == []
    assert site.dump(*RESTORED) == before


def test_only_repairs_and_backfills_can_be_undone(listmonk_site: Site) -> None:
    with listmonk_site.engine.begin() as conn:
        replay = start_run(conn, "replay", {})
    with pytest.raises(CannotUndo, match="of the kind `replay`"):
        count_to_undo(listmonk_site.engine, replay)
    with pytest.raises(CannotUndo, match="There is no run 99"):
        count_to_undo(listmonk_site.engine, 99)
