"""What is not taken is sent again on a schedule, by the same id with the same events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from db.outbox import Failure, count_unsent, retry_now
from tasks import webhook
from tests.tasks.webhook.sending import fill, kept, make_due, only, run, wait_of
from tests.tasks.webhook_endpoint import WebhookEndpoint
from worker.webhook_post import LONGEST_RETRY_AFTER, Answer, _retry_after


def test_what_was_not_taken_is_sent_again_by_the_same_id_with_the_same_events(
    engine: Engine, sent_to: WebhookEndpoint
) -> None:
    fill(engine, 3)
    sent_to.answer(503, 204)
    assert run() == "failed 1"
    row = only(engine)
    assert (row.state, row.attempts, row.last_error) == ("waiting", 1, "answered 503")
    assert 5 <= wait_of(row) <= 5.5
    assert run() == "nothing due"
    make_due(engine)
    assert run() == "delivered 1, events 3"
    first, second = sent_to.calls
    assert (first.id, first.body) == (second.id, second.body)
    second.verify()
    assert kept(engine) == []


def test_the_timestamp_and_the_signature_are_those_of_the_attempt(
    engine: Engine, sent_to: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)
    sent_to.answer(500, 204)
    run()
    make_due(engine)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=100)

    monkeypatch.setattr("worker.webhook_post.datetime", Later)
    run()
    first, second = sent_to.calls
    assert 99 <= int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) <= 160
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    second.verify()


def test_attempts_follow_the_schedule_and_then_the_batch_is_given_up_until_an_operator_retries(
    engine: Engine, sent_to: WebhookEndpoint
) -> None:
    fill(engine)
    sent_to.answer(422)
    waits = []
    for _ in webhook.SCHEDULE:
        assert run() == "failed 1"
        waits.append(wait_of(only(engine)))
        make_due(engine)
    schedule = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert all(wait <= waited <= 1.1 * wait for wait, waited in zip(schedule, waits, strict=True))
    assert run() == "given up 1"
    row = only(engine)
    assert (row.state, row.attempts, row.last_error) == ("given_up", 10, "answered 422")
    assert run() == "nothing due"
    with engine.begin() as conn:
        retry_now(conn, [row.id])
    sent_to.answer(200)
    assert run() == "delivered 1, events 1"
    assert {call.id for call in sent_to.calls} == {str(row.id)}
    assert len({call.body for call in sent_to.calls}) == 1


def test_410_ends_it_at_once_and_the_rest_waits(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine, 501)
    sent_to.answer(410)
    assert run() == "given up 1"
    assert run() == "nothing due"
    assert len(sent_to.calls) == 1
    with engine.begin() as conn:
        assert count_unsent(conn).events == 1
        retry_now(conn, None)
    sent_to.answer(200)
    assert run() == "delivered 2, events 501"


def test_an_answer_may_ask_for_a_longer_wait(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine)
    sent_to.answer(429, retry_after="1000")
    run()
    assert 1000 <= wait_of(only(engine)) <= 1100


def test_the_wait_that_is_asked_for_is_read_in_both_ways_and_has_bounds() -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert _retry_after("120") == timedelta(seconds=120)
    assert _retry_after("9" * 30) == LONGEST_RETRY_AFTER
    assert _retry_after(format_datetime(in_an_hour, usegmt=True)) == pytest.approx(
        timedelta(hours=1), abs=timedelta(seconds=5)
    )
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == timedelta(0)
    for nonsense in (None, "", "soon", "-5", "1e9", "²"):
        assert _retry_after(nonsense) is None


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(None, "no answer"), Failure.AWAY),
        *((Answer(status, ""), Failure.AWAY) for status in (302, 401, 403, 404, 408, 429, 500, 502, 503, 504)),
        *((Answer(status, ""), Failure.REFUSED) for status in (400, 409, 413, 415, 422)),
        (Answer(410, ""), Failure.GONE),
    ],
)
def test_what_a_failure_says(answer: Answer, failure: Failure) -> None:
    assert not answer.is_success
    assert webhook.failure_of(answer) is failure


def test_a_redirect_is_not_followed(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine)
    for status in (301, 302, 303, 307, 308):
        sent_to.answer(status, location=sent_to.url.replace("/hook/", "/elsewhere/"))
        assert run() == "failed 1"
        assert only(engine).last_error == f"answered {status}"
        make_due(engine)
    assert {call.path for call in sent_to.calls} == {"/hook/token-hunter2"}
