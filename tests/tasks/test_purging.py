"""The purge of each class, as beat's tick runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from db.archive import keep
from tasks import purging
from tasks.archiving import pack
from tasks.batch import Body
from tasks.context import Context, make_context
from worker.errors import DatabaseAway
from worker.settings import WorkerSettings


def context(database_url: str, retention: str = "P14D", **settings: Any) -> Context:
    overrides: dict[str, Any] = {"database_url": database_url, "archive_retention": retention, **settings}
    return make_context(WorkerSettings(**overrides))


def archive(ctx: Context, *ages: timedelta) -> None:
    with ctx.engine.begin() as conn:
        for age in ages:
            keep(conn, "event", pack([Body(b"{}", None, datetime.now(UTC) - age)]))


def purged(ctx: Context) -> dict[str, int]:
    return dict(purging.purge_classes(ctx))


def count(ctx: Context) -> int:
    with ctx.engine.begin() as conn:
        return int(conn.execute(text("SELECT count(*) FROM attribution_archive")).scalar_one())


def test_bodies_are_kept_for_as_long_as_the_setting_says(database_url: str) -> None:
    ctx = context(database_url)
    archive(ctx, timedelta(days=15), timedelta(days=14, minutes=1), timedelta(days=13, hours=23), timedelta(0))
    assert purged(ctx)["archive"] == 2
    assert purged(ctx)["archive"] == 0
    assert count(ctx) == 2
    ctx.engine.dispose()


def test_a_clock_that_is_ahead_removes_nothing_early(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=30)

    ctx = context(database_url)
    archive(ctx, timedelta(days=1))
    monkeypatch.setattr(purging, "datetime", Ahead)
    assert purged(ctx)["archive"] == 0
    ctx.engine.dispose()


def test_a_retention_of_zero_removes_what_an_earlier_one_kept(database_url: str) -> None:
    ctx = context(database_url, "0")
    archive(ctx, timedelta(days=3), timedelta(seconds=1))
    assert purged(ctx)["archive"] == 2
    ctx.engine.dispose()


def test_what_is_more_than_one_transaction_takes_is_removed_in_several(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PURGE_LIMIT", 3)
    ctx = context(database_url)
    archive(ctx, *[timedelta(days=20)] * 8)
    assert purged(ctx)["archive"] == 8
    assert count(ctx) == 0
    ctx.engine.dispose()


def test_a_run_that_takes_too_long_leaves_the_rest_to_the_next(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "PURGE_LIMIT", 1)
    monkeypatch.setattr(purging, "PURGE_RUN", timedelta(0))
    ctx = context(database_url)
    archive(ctx, timedelta(days=20))
    assert purged(ctx)["archive"] == 0
    assert count(ctx) == 1
    ctx.engine.dispose()


def _too_much(*_arguments: object, **_options: object) -> int:
    raise ProgrammingError("DELETE", {}, ValueError("too much"))


def test_a_class_that_cannot_be_purged_keeps_no_other_from_being_and_the_task_fails_for_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ctx = context(database_url)
    with ctx.engine.begin() as conn:
        conn.execute(text("INSERT INTO attribution_erased VALUES (gen_random_uuid(), now() - interval '10 years')"))
    monkeypatch.setattr(purging, "purge_expired", _too_much)
    with pytest.raises(ProgrammingError):
        dict(purging.purge_classes(ctx))
    assert "expired could not be purged: ProgrammingError" in caplog.text
    with ctx.engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM attribution_erased")).scalar_one() == 0
    ctx.engine.dispose()


def test_where_postgresql_cannot_be_used_at_all_the_other_classes_are_not_tried(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(database_url)
    monkeypatch.setattr(purging, "purge_expired", _too_much)
    monkeypatch.setattr(purging, "purge_webhooks", None)
    monkeypatch.setattr(type(ctx.presence), "require", _away)
    with pytest.raises(DatabaseAway):
        dict(purging.purge_classes(ctx))
    ctx.engine.dispose()


def _away(*_arguments: object) -> None:
    raise DatabaseAway
