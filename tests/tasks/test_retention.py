"""Retention by class: what is old goes, what is not stays, and numbers outlive the rows they were counted from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db.counting import count_changes
from db.emptying import Emptying, purge_closed
from db.purging import close_campaigns
from tasks import purging
from tasks.context import Context, make_context
from tests.db.rows import click, message, record, report
from worker.errors import SettingsInvalid
from worker.settings import WorkerSettings

AGO = "now() - CAST(:days AS int) * interval '1 day'"


@pytest.fixture
def ctx(database_url: str) -> Iterator[Context]:
    overrides: dict[str, Any] = {"database_url": database_url, "event_retention": timedelta(days=365)}
    context = make_context(WorkerSettings(**overrides))
    yield context
    context.engine.dispose()


def run(ctx: Context, statement: str, **parameters: Any) -> list[Any]:
    with ctx.engine.begin() as conn:
        done = conn.execute(text(statement), parameters)
        return list(done.all()) if done.returns_rows else []


def purge(ctx: Context) -> dict[str, int]:
    return {name: count for name, count in purging.purge_classes(ctx) if count}


def campaign(ctx: Context, number: int, days_ago: int, readers: int = 3) -> None:
    """Have a campaign be sent, delivered, and clicked twice by each reader, so long ago."""
    from db.tracking import track_messages

    at = datetime.now(UTC) - timedelta(days=days_ago)
    ids = [f"<{number}.{days_ago}.{reader}@mail.example.com>" for reader in range(1, readers + 1)]
    with ctx.engine.begin() as conn:
        track_messages(
            conn, [message(each, number, reader + 1)._replace(sent_at=at) for reader, each in enumerate(ids)]
        )
        record(
            conn,
            *(report(f"r{each}", each, event_timestamp=at) for each in ids),
            *(click(f"c{each}{again}", each, event_timestamp=at) for each in ids for again in "ab"),
        )


def track(ctx: Context, message_id: str, number: int, days_ago: int) -> None:
    from db.tracking import track_messages

    sent_at = datetime.now(UTC) - timedelta(days=days_ago)
    with ctx.engine.begin() as conn:
        track_messages(conn, [message(message_id, number)._replace(sent_at=sent_at)])


def counted(ctx: Context) -> None:
    while (some := count_changes(ctx.engine)).changes or some.recounts:
        pass


def stats(ctx: Context) -> list[Any]:
    return run(ctx, "SELECT * FROM campaign_stats ORDER BY campaign_id")


def left(ctx: Context, number: int) -> list[int]:
    tables = (
        "azure_message_tracking",
        "azure_delivery_events",
        "azure_engagement_events",
        "attribution_campaign_people",
    )
    return [run(ctx, f"SELECT count(*) FROM {each} WHERE campaign_id = :n", n=number)[0][0] for each in tables]


def test_numbers_of_a_campaign_outlive_its_rows(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "SMALL_LIMIT", 2)
    for number, days_ago in ((1, 400), (2, 400), (3, 300)):
        campaign(ctx, number, days_ago)
    campaign(ctx, 2, 10)  # it goes on
    counted(ctx)
    before = stats(ctx)
    recent = [left(ctx, 2), left(ctx, 3)]
    assert purge(ctx) == {"campaigns closed": 1, "events": 12}
    assert left(ctx, 1) == [0, 0, 0, 0]
    assert [left(ctx, 2), left(ctx, 3)] == recent
    assert stats(ctx) == before
    counted(ctx)
    assert stats(ctx) == before
    assert purge(ctx) == {}


@pytest.mark.parametrize("aged", [370, 381], ids=["done after the closing", "done before it"])
def test_a_late_act_is_counted_and_its_row_goes_when_it_is_as_old(ctx: Context, aged: int) -> None:
    campaign(ctx, 1, 800)
    counted(ctx)
    purge(ctx)
    campaign(ctx, 1, 5, readers=1)
    counted(ctx)
    assert [row.clicks for row in stats(ctx)] == [8]
    assert purge(ctx) == {}
    for table in ("azure_delivery_events", "azure_engagement_events"):
        run(ctx, f"UPDATE {table} SET event_timestamp = {AGO}", days=aged)
    run(ctx, f"UPDATE azure_message_tracking SET sent_at = {AGO}", days=aged)
    run(ctx, f"UPDATE attribution_closed_campaigns SET closed_at = {AGO}, emptied_at = {AGO}", days=380)
    run(ctx, f"UPDATE attribution_campaign_counts SET last_at = {AGO} WHERE last_at IS NOT NULL", days=aged)
    counted(ctx)
    assert purge(ctx) == {"events": 4}
    assert left(ctx, 1) == [0, 0, 0, 0]
    assert [row.clicks for row in stats(ctx)] == [8]


def test_a_message_that_is_tracked_again_when_its_row_is_gone_is_not_counted_as_sent_again(ctx: Context) -> None:
    for number in (1, 2):
        campaign(ctx, number, 400)
    campaign(ctx, 2, 10)  # it goes on
    counted(ctx)
    purge(ctx)
    before = stats(ctx)
    campaign(ctx, 1, 400, readers=2)  # as the mailer has told already
    late = run(ctx, "SELECT sum(clicks) AS clicks FROM campaign_stats WHERE campaign_id = 1")[0].clicks
    for _ in range(2):  # as the view adds it up, and when it has been counted
        assert [row.sent for row in stats(ctx)] == [row.sent for row in before] == [3, 6]
        counted(ctx)
    assert late == before[0].clicks + 4  # acts are events, which are known by their keys for as long as they are kept
    track(ctx, "<new@mail.example.com>", 1, days_ago=1)
    track(ctx, "<late@mail.example.com>", 2, days_ago=400)
    counted(ctx)
    assert [row.sent for row in stats(ctx)] == [4, 7]
    run(ctx, "UPDATE attribution_closed_campaigns SET emptied_at = NULL")
    assert purge(ctx) == {"events": 8}
    counted(ctx)
    assert [row.sent for row in stats(ctx)] == [4, 7]


def test_no_campaign_is_closed_before_everything_of_it_is_counted(ctx: Context) -> None:
    campaign(ctx, 1, 400)
    assert purge(ctx) == {}
    counted(ctx)
    run(ctx, "DELETE FROM azure_engagement_events WHERE event_id LIKE 'c%a'")  # a recount needs the rows
    assert purge(ctx) == {}
    counted(ctx)
    assert purge(ctx) == {"campaigns closed": 1, "events": 9}
    assert [row.clicks for row in stats(ctx)] == [3]


def test_rows_stay_while_a_transaction_is_open_that_began_before_their_campaign_was_closed(ctx: Context) -> None:
    campaign(ctx, 1, 400)
    counted(ctx)
    with ctx.engine.begin() as older:
        older.execute(
            text("DELETE FROM azure_engagement_events AS e WHERE e.id = (SELECT min(id) FROM azure_engagement_events)")
        )
        assert purge(ctx) == {"campaigns closed": 1}
    assert purge(ctx) == {}  # what it took away has to be counted first
    counted(ctx)
    assert [row.clicks for row in stats(ctx)] == [5]
    assert purge(ctx) == {"events": 11}
    assert [row.clicks for row in stats(ctx)] == [5]


def test_rows_stay_while_a_transaction_is_open_that_began_while_their_campaign_was_being_closed(ctx: Context) -> None:
    """Its number is higher than that of the transaction that closes, and yet it does not know of the closing."""
    campaign(ctx, 1, 400)
    counted(ctx)
    with ctx.engine.connect() as other:
        with ctx.engine.begin() as closing:
            assert close_campaigns(closing, datetime.now(UTC) - timedelta(days=365), limit=1) == 1
            other.execute(text("DELETE FROM azure_engagement_events WHERE event_id LIKE 'c%a'"))
        assert purge(ctx) == {}
        other.commit()
    assert purge(ctx) == {}  # what it took away has to be counted first
    counted(ctx)
    assert purge(ctx) == {"events": 9}
    counted(ctx)
    assert [row.clicks for row in stats(ctx)] == [3]


def test_a_row_that_somebody_has_locked_goes_the_next_time(ctx: Context) -> None:
    campaign(ctx, 1, 400)
    counted(ctx)
    with ctx.engine.begin() as closing:
        close_campaigns(closing, datetime.now(UTC) - timedelta(days=365), limit=1)
    run(ctx, "UPDATE attribution_closed_campaigns SET closed_by = 0")  # long ago: everybody knows
    with ctx.engine.begin() as other:
        other.execute(text("SELECT FROM azure_engagement_events ORDER BY id LIMIT 1 FOR UPDATE"))
        assert purge(ctx) == {"events": 11}
    assert purge(ctx) == {"events": 1}
    assert left(ctx, 1) == [0, 0, 0, 0]


def test_rows_are_looked_for_once_for_many_transactions_and_again_when_one_has_failed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(ctx, 1, 400, readers=10)
    counted(ctx)
    with ctx.engine.begin() as closing:
        close_campaigns(closing, datetime.now(UTC) - timedelta(days=365), limit=1)
    run(ctx, "UPDATE attribution_closed_campaigns SET closed_by = 0")  # long ago: everybody knows
    monkeypatch.setattr(purging, "SMALL_LIMIT", 2)
    looks: list[int] = []
    look, done = Emptying.look, purge_closed
    failing = iter([True])

    def looking(self: Emptying, conn: Connection, number: int, older_than: datetime, looked: int) -> None:
        look(self, conn, number, older_than, 15)
        looks.append(sum(map(len, self.ids.values())))

    def failing_once(conn: Connection, emptying: Emptying, *args: Any, **named: Any) -> int | None:
        removed = done(conn, emptying, *args, **named)
        if next(failing, False):
            conn.execute(text("SET LOCAL statement_timeout = 1"))
            conn.execute(text("SELECT pg_sleep(3)"))
        return removed

    monkeypatch.setattr(Emptying, "look", looking)
    monkeypatch.setattr(purging, "purge_closed", failing_once)
    assert purge(ctx) == {"events": 40}
    assert looks == [35, 35, 5]  # 10 reports, 10 messages, and 15 of 20 clicks; then the rest
    assert left(ctx, 1) == [0, 0, 0, 0]


def test_without_a_retention_events_are_kept_for_ever(ctx: Context, database_url: str) -> None:
    campaign(ctx, 1, 4000)
    counted(ctx)
    overrides: dict[str, Any] = {"database_url": database_url}
    forever = make_context(WorkerSettings(**overrides))
    assert purge(forever) == {}
    forever.engine.dispose()


def test_what_waits_for_nobody_any_more_goes(ctx: Context) -> None:
    with ctx.engine.begin() as conn:
        record(conn, *(click(f"c{n}", f"<{n}@example.com>") for n in range(4)), report("r", "<0@example.com>"))
    for number, days_ago in ((0, 91), (1, 89)):
        run(
            ctx,
            f"UPDATE azure_engagement_events SET state = 'expired', expired_at = {AGO} WHERE event_id = :event",
            event=f"c{number}",
            days=days_ago,
        )
    run(ctx, f"UPDATE azure_delivery_events SET state = 'expired', expired_at = {AGO}", days=100)
    assert purge(ctx) == {"expired": 2}
    assert run(ctx, "SELECT event_id FROM azure_engagement_events ORDER BY 1") == [("c1",), ("c2",), ("c3",)]


def test_quarantine_webhooks_journal_and_what_was_erased_are_kept_for_their_time(ctx: Context) -> None:
    for days_ago in (100, 1):
        run(
            ctx,
            "INSERT INTO attribution_quarantine (content_key, kind, reason, body, created_at)"
            f" VALUES (gen_random_uuid(), 'event', 'not_json', '', {AGO})",
            days=days_ago,
        )
        run(ctx, f"INSERT INTO attribution_erased VALUES (gen_random_uuid(), {AGO})", days=days_ago)
        for state, failure in (("given_up", "refused"), ("given_up", "gone"), ("waiting", "away")):
            run(
                ctx,
                "INSERT INTO attribution_webhooks (id, engagements, deliveries, state, failure, last_attempt_at)"
                f" VALUES (gen_random_uuid(), '{{1}}', '{{}}', :state, :failure, {AGO})",
                state=state, failure=failure, days=days_ago,
            )  # fmt: skip
    for state, days_ago in (("finished", 400), ("running", 400), ("finished", 300)):
        run(
            ctx,
            "WITH r AS (INSERT INTO attribution_runs (kind, state, parameters, finished_at)"
            f" VALUES ('repair', :state, '{{}}', CASE WHEN :state = 'finished' THEN {AGO} END) RETURNING id)"
            " INSERT INTO attribution_journal (run_id, table_name, row_id, reason) SELECT id, 'bounces', 1, 'x' FROM r",
            state=state, days=days_ago,
        )  # fmt: skip
    assert purge(ctx) == {"quarantine": 1, "webhooks": 1, "journal": 1, "erased": 1}
    assert run(ctx, "SELECT count(*) FROM attribution_webhooks WHERE failure = 'gone'") == [(2,)]
    assert run(ctx, "SELECT count(*) FROM attribution_runs") == [(3,)]


def test_the_task_tells_how_much_it_removed_by_either_name(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "context", lambda: ctx)
    assert purging.purge_all.run() == "nothing to purge"
    run(ctx, f"INSERT INTO attribution_erased VALUES (gen_random_uuid(), {AGO})", days=31)
    assert purging.purge_archive.run() == "erased 1"


def test_events_must_outlive_their_bodies(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("ATTRIBUTION_EVENT_RETENTION", "P30D")
    assert WorkerSettings.read().event_retention == timedelta(days=30)
    monkeypatch.setenv("ATTRIBUTION_ARCHIVE_RETENTION", "P40D")
    with pytest.raises(SettingsInvalid, match="a replay would bring back what was removed"):
        WorkerSettings.read()
