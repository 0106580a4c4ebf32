"""Repairs beside other writers, and plans that hold nobody up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db import repair as repairing
from db.results import Results
from tasks.repair import begin, plan
from tasks.repair import repair as repair_batches
from tests.repair.conftest import RESTORED, Site
from tests.repair.correcting import repair
from tests.repair.rows import AT, READER, SECOND, TRUE, WRONG, counted, credited, event, track, view


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
