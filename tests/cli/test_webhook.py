"""`attribution webhook`, as an operator uses it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cli.main import main
from db.engine import create_engine
from db.outbox import Failure, Webhook, count_unsent, enqueue, list_webhooks, note_failed, take

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_URL", "https://user:hunter2@hooks.example.com:8443/token-hunter2")
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_SECRETS", SECRET)
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def attribution(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["webhook", *arguments], input=input)


def fill(engine: Engine, count: int) -> None:
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "INSERT INTO azure_engagement_events"
                " (event_key, engagement_type, campaign_id, event_timestamp, attributed_at, state)"
                " SELECT gen_random_uuid(), 'view', 7, now(), '2026-01-31 09:30:00Z', 'attributed'"
                " FROM generate_series(1, :count) RETURNING id"
            ),
            {"count": count},
        ).scalars()
        enqueue(conn, engagements=list(rows), deliveries=[])


def failed(engine: Engine, events: int, failure: Failure = Failure.REFUSED, *, given_up: bool = False) -> Webhook:
    """Leave a batch behind of which one attempt has failed."""
    with engine.begin() as conn:
        webhook = take(conn, batch=events, lease=timedelta(minutes=1))
        assert webhook is not None
        wait = None if given_up else timedelta(hours=1)
        assert note_failed(conn, webhook, failure=failure, error="answered 422", wait=wait)
    return webhook


def kept(engine: Engine) -> dict[str, str]:
    with engine.begin() as conn:
        return {str(row.id): row.state for row in list_webhooks(conn, limit=100)}


def unsent(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(count_unsent(conn).events)


def test_nothing_waits_and_only_the_host_is_named(engine: Engine) -> None:
    assert attribution().output == (
        "Attributed events go to https://hooks.example.com:8443, signed with 1 secret.\nNothing waits.\n"
    )


def test_what_waits_is_shown_with_its_last_error(engine: Engine) -> None:
    fill(engine, 10)
    waiting, given_up = failed(engine, 2), failed(engine, 3, given_up=True)
    with engine.begin() as conn:
        under_way = take(conn, batch=1, lease=timedelta(minutes=1))
    assert under_way is not None
    shown = attribution().output
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert lines["unsent"].split() == ["unsent", "4", "2026-01-31", "09:30Z"]
    assert lines["waiting"].split()[1:3] == ["2", "3"]
    assert lines["given"].split()[1:4] == ["up", "1", "3"]
    assert lines[str(waiting.id)].endswith("answered 422")
    assert lines[str(waiting.id)].split()[1] == "2"
    assert "given up" in lines[str(given_up.id)]
    assert "under way" in lines[str(under_way.id)]
    assert "answered 410" not in shown
    assert "2 batches more" in attribution("--limit", "1").output


def test_without_a_url_it_says_that_what_waits_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(engine, 1)
    monkeypatch.delenv("ATTRIBUTION_WEBHOOK_URL")
    shown = attribution().output
    assert "No webhook is configured" in shown
    assert "unsent" in shown


def test_after_410_it_says_that_nothing_is_sent(engine: Engine) -> None:
    fill(engine, 1)
    webhook = failed(engine, 1, Failure.GONE, given_up=True)
    assert "410 Gone: nothing is sent until you retry or drop" in attribution().output
    attribution("retry", str(webhook.id))
    assert "410 Gone" not in attribution().output


def test_some_or_all_are_retried(engine: Engine) -> None:
    fill(engine, 2)
    one, other = failed(engine, 1, given_up=True), failed(engine, 1, given_up=True)
    assert attribution("retry", str(one.id)).output == "1 batch due now; a sender looks each second.\n"
    assert kept(engine) == {str(one.id): "waiting", str(other.id): "given_up"}
    assert attribution("retry", "--all").output.startswith("2 batches due now")
    assert set(kept(engine).values()) == {"waiting"}


def test_a_drop_says_what_it_means_and_asks(engine: Engine) -> None:
    fill(engine, 9)
    failed(engine, 2), failed(engine, 3, given_up=True)
    asked = attribution("drop", "--all", input="n\n")
    assert asked.exit_code == 1
    assert "never be told of 9 events, 2 batches among them. The events stay stored here." in asked.output
    assert (len(kept(engine)), unsent(engine)) == (2, 4)
    assert "of 3 events, 1 batch among them" in attribution("drop", "--given-up", input="n\n").output
    assert attribution("drop", "--given-up", input="y\n").output.endswith("1 batch dropped, 3 events in all.\n")
    assert set(kept(engine).values()) == {"waiting"}
    assert attribution("drop", "--all", "--yes").output == "1 batch dropped, 6 events in all.\n"
    assert (kept(engine), unsent(engine)) == ({}, 0)
    with engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM azure_engagement_events")).scalar() == 9


def test_named_batches_are_dropped_and_those_that_are_not_there_are_said(engine: Engine) -> None:
    fill(engine, 2)
    one, other = failed(engine, 1), failed(engine, 1)
    stranger = "00000000-0000-0000-0000-000000000001"
    result = attribution("drop", str(one.id), stranger, "--yes")
    assert result.stdout == "1 batch dropped, 1 event in all.\n"
    assert "1 batch of these ids not found" in result.stderr
    assert list(kept(engine)) == [str(other.id)]


@pytest.mark.parametrize(
    "arguments", [("retry",), ("drop",), ("drop", "--all", "--given-up", "--yes"), ("retry", "17"), ("drop", "--yes")]
)
def test_an_unclear_choice_changes_nothing_and_says_what_to_give(engine: Engine, arguments: tuple[str, ...]) -> None:
    fill(engine, 1)
    failed(engine, 1, given_up=True)
    result = attribution(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output
    assert list(kept(engine).values()) == ["given_up"]


def test_nothing_confidential_is_shown(engine: Engine) -> None:
    fill(engine, 2)
    failed(engine, 1)
    assert "hunter2" not in attribution().output
    assert SECRET not in attribution().output
