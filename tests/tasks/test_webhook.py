"""From the outbox to the other side: signed, once for all attempts the same, and patient with endpoints that fail."""

from __future__ import annotations

import json
import logging
import runpy
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from standardwebhooks import WebhookVerificationError

from db.listmonk.links import NOBODY
from db.outbox import Failure, Webhook, count_unsent, enqueue, list_webhooks, retry_now
from tasks import webhook
from tasks.context import Context
from tasks.webhook_payload import LONGEST_USER_AGENT, body_of
from tests.tasks.webhook_endpoint import OLD_SECRET, SECRET, Call, WebhookEndpoint, serving
from tests.waiting import eventually
from tests.worker.certificates import write_certificate
from worker.settings import WorkerSettings
from worker.webhook_post import (
    ANSWER_LIMIT_BYTES,
    LONGEST_RETRY_AFTER,
    Answer,
    ClientUnavailable,
    Endpoint,
    _retry_after,
)

ROOT = Path(__file__).parents[2]
CELERY = ROOT / "worker" / "celeryconfig.py"
EXAMPLE = ROOT / "docs" / "examples" / "verify_webhook.py"

LINK, CAMPAIGN, READER = (f"{n}b1e3c44-0000-4000-8000-0000000000ab" for n in (1, 2, 3))

Configure = Callable[..., Context]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine uses, the endpoint is on the loopback address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def endpoint() -> Iterator[WebhookEndpoint]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def configure(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Return a function that gives the task these settings: a URL, secrets, a batch, a timeout in seconds."""

    def configure(url: str | None, *, secrets: tuple[str, ...] = (SECRET,), **others: Any) -> Context:
        update = {
            "webhook_url": SecretStr(url) if url else None,
            "webhook_secrets": tuple(SecretStr(secret) for secret in secrets),
            **others,
        }
        configured = replace(ctx, settings=ctx.settings.model_copy(update=update))
        monkeypatch.setattr("tasks.webhook.context", lambda: configured)
        return configured

    return configure


@pytest.fixture
def sent_to(configure: Configure, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """Return the endpoint that the task is configured to post to."""
    configure(endpoint.url)
    return endpoint


def run() -> str:
    return str(webhook.send_webhooks.run())


def fill(engine: Engine, count: int = 1, **columns: str) -> None:
    """Attribute so many clicks; ``columns`` replace what is stored of them."""
    values = {
        "internet_message_id": "<m@example.com>",
        "engagement_context": "https://www.example.com/offer?a=1",
        "user_agent": "Mozilla/5.0",
    } | columns
    with engine.begin() as conn:
        rows = conn.execute(
            text(
                "INSERT INTO azure_engagement_events (event_key, event_id, engagement_type, campaign_id, subscriber_id,"
                " event_timestamp, received_at, attributed_at, state, matched_by,"
                " internet_message_id, engagement_context, user_agent)"
                " SELECT gen_random_uuid(), 'e' || n, 'click', 7, 12, now(), now(), now(), 'attributed',"
                " 'internet_message_id', :internet_message_id, :engagement_context, :user_agent"
                " FROM generate_series(1, :count) AS n RETURNING id"
            ),
            {"count": count, **values},
        ).scalars()
        enqueue(conn, engagements=list(rows), deliveries=[])


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def make_due(engine: Engine) -> None:
    execute(engine, "UPDATE attribution_webhooks SET next_attempt_at = now(), leased_until = NULL")


def kept(engine: Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(list_webhooks(conn, limit=1000))


def only(engine: Engine) -> Any:
    (row,) = kept(engine)
    return row


def wait_of(row: Any) -> float:
    """Return the seconds from an attempt that failed to the next one."""
    return float((row.next_attempt_at - row.last_attempt_at).total_seconds())


# What is posted.


def test_what_is_posted_is_signed_and_says_who_did_what_when(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine)
    assert run() == "delivered 1, events 1"
    (call,) = sent_to.calls
    call.verify()
    assert call.headers["content-type"] == "application/json"
    assert abs(int(call.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert call.payload["type"] == "events.attributed"
    assert datetime.fromisoformat(call.payload["timestamp"]).tzinfo is not None
    (event,) = call.payload["data"]["events"]
    told = {name: event[name] for name in ("kind", "type", "campaign_id", "subscriber_id", "matched_by", "url")}
    assert told == {
        "kind": "engagement",
        "type": "click",
        "campaign_id": 7,
        "subscriber_id": 12,
        "matched_by": "internet_message_id",
        "url": "https://www.example.com/offer?a=1",
    }
    assert all(event[name].endswith("Z") for name in ("occurred_at", "received_at", "attributed_at"))
    assert kept(engine) == []
    assert run() == "nothing due"


def test_a_changed_body_another_secret_and_an_old_timestamp_do_not_pass(
    engine: Engine, sent_to: WebhookEndpoint
) -> None:
    fill(engine)
    run()
    (call,) = sent_to.calls
    an_hour_ago = str(int(call.headers["webhook-timestamp"]) - 3600)
    with pytest.raises(WebhookVerificationError):
        replace(call, body=call.body.replace('"campaign_id":7', '"campaign_id":8')).verify()
    with pytest.raises(WebhookVerificationError):
        call.verify(OLD_SECRET)
    with pytest.raises(WebhookVerificationError):
        replace(call, headers=call.headers | {"webhook-timestamp": an_hour_ago}).verify()


def test_while_secrets_are_rotated_either_verifies(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure
) -> None:
    configure(endpoint.url, secrets=(SECRET, OLD_SECRET))
    fill(engine)
    run()
    (call,) = endpoint.calls
    assert len(call.headers["webhook-signature"].split(" ")) == 2
    call.verify(SECRET)
    call.verify(OLD_SECRET)


def test_two_thousand_events_go_in_four_batches_each_once(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine, 2000)
    assert run() == "delivered 4, events 2000"
    for call in sent_to.calls:
        call.verify()
    assert [len(call.keys) for call in sent_to.calls] == [500] * 4
    assert len({key for call in sent_to.calls for key in call.keys}) == 2000
    assert len({call.id for call in sent_to.calls}) == 4
    assert sent_to.connections <= webhook.SENDERS


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://www.example.com/?email=ada@example.net&a=1", "https://www.example.com/?a=1"),
        ("https://www.example.com/u/ada%40example.net#x", "https://www.example.com/u/(address)#x"),
        ("https://www.example.com/?u=ada%2540mail.example.net", "https://www.example.com/"),
        ("https://www.example.com/u/ada%252540example.net/", "https://www.example.com/u/(address)/"),
        ("https://www.example.com/u/ada@example.net/", "https://www.example.com/u/nobody/"),
        ("mailto:ada.l+news@example.net?subject=x", "mailto:(address)?subject=x"),
        ("https://www.example.com/@ada/code@1.2.3", "https://www.example.com/@ada/code@1.2.3"),
        ("https://cdn.example.com/logo@2x.png?v=1", "https://cdn.example.com/logo@2x.png?v=1"),
    ],
)
def test_no_address_is_told_even_where_a_link_holds_one(
    engine: Engine, sent_to: WebhookEndpoint, url: str, told: str
) -> None:
    fill(engine, engagement_context=url, user_agent="bot (ada@example.net)")
    run()
    (event,) = sent_to.calls[0].payload["data"]["events"]
    assert event["url"] == told
    assert event["user_agent"] == "bot ((address))"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{READER}?utm_source=x",
            f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{NOBODY}?utm_source=x",
        ),
        (f"https://news.example.com/subscription/{CAMPAIGN}/{READER}", None),
        (f"https://news.example.com/subscription/optin/{READER.upper()}?l=1", None),
        (f"https://shop.example.com/for/{READER}?who={READER}&size=7", f"https://shop.example.com/for/{NOBODY}?size=7"),
        (
            f"https://safe.example.com/?url=https%3A%2F%2Fnews.example.com%2Flink%2F{LINK}%2F{CAMPAIGN}%2F{READER}&d=1",
            "https://safe.example.com/?d=1",
        ),
        (f"https://safe.example.com/to/https%3A%2F%2Fexample.com%2Fu%2F{READER}", None),
        ("https://shop.example.com/?size=7&MC_EID=reader9", "https://shop.example.com/?size=7"),
    ],
)
def test_no_url_that_is_told_names_its_reader(
    engine: Engine, sent_to: WebhookEndpoint, url: str, told: str | None
) -> None:
    fill(engine, engagement_context=url)
    run()
    (event,) = sent_to.calls[0].payload["data"]["events"]
    assert READER not in event["url"].lower()
    assert "reader9" not in event["url"]
    if told:
        assert event["url"] == told


def told_of(**free_text: str | None) -> dict[str, Any]:
    """Return an event as it is told, by what strangers have written of it."""
    at = datetime.now(UTC)
    batch = Webhook(uuid4(), created_at=at, attempts=1, leased_until=at, events=[free_text])
    (event,) = json.loads(body_of(batch, personal_parameters=()))["data"]["events"]
    return dict(event)


@pytest.mark.parametrize("piece", ["a", "a.%40", "a@", "%25", "a@b.", "@", "a.%40b.", "%2525"])
def test_what_strangers_wrote_is_looked_through_at_once_whatever_its_length(piece: str) -> None:
    """It runs in the sender's event loop: the square of the length would kill the run, and the next, for ever."""
    text = piece * 20_000
    told = told_of(url=f"https://example.com/{text}", user_agent=text)
    assert told["url"] is None
    assert len(told["user_agent"]) <= LONGEST_USER_AGENT
    short = told_of(url=f"https://example.com/?x={text[:200]}", user_agent=None)
    assert short["url"].startswith("https://example.com/")


def test_an_address_at_the_end_of_what_is_told_of_a_program_is_not_cut_into_view() -> None:
    told = told_of(url=None, user_agent="x" * (LONGEST_USER_AGENT - 5) + " ada@example.net")
    assert told == {"url": None, "user_agent": "x" * (LONGEST_USER_AGENT - 5) + " (add"}


# What is not taken.


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


def test_a_dead_endpoint_costs_one_attempt_a_run_however_much_there_is_to_send(
    engine: Engine, configure: Configure
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    configure(url, webhook_batch=1)
    fill(engine, 20)
    assert run() == "failed 1"
    assert only(engine).last_error == "no answer (ConnectionRefusedError)"
    make_due(engine)
    assert run() == "failed 1"
    assert len(kept(engine)) == 1


def test_a_failure_in_the_middle_ends_the_run(engine: Engine, endpoint: WebhookEndpoint, configure: Configure) -> None:
    configure(endpoint.url, webhook_batch=1)
    fill(engine, 50)
    endpoint.reply = lambda number: (204 if number < 10 else 500, {})
    run()
    assert 11 <= len(endpoint.calls) <= 10 + webhook.SENDERS
    failed = len(endpoint.calls) - 10
    assert len(kept(engine)) == failed
    with engine.begin() as conn:
        assert count_unsent(conn).events == 40 - failed


def test_an_endpoint_that_is_slow_is_left_when_its_time_is_up(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure
) -> None:
    configure(endpoint.url, webhook_timeout=timedelta(seconds=0.3))
    released = threading.Event()

    def hang(_number: int) -> tuple[int, dict[str, str]]:
        released.wait(30)
        return 204, {}

    endpoint.reply = hang
    fill(engine)
    try:
        assert run() == "failed 1"
    finally:
        released.set()
    assert only(engine).last_error == "no answer within 0.3 s"


def test_an_endpoint_that_trickles_its_answer_is_left_when_its_time_is_up(engine: Engine, configure: Configure) -> None:
    """Each byte comes well within any limit on a single read; the whole never ends."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        configure(f"http://127.0.0.1:{server.getsockname()[1]}/", webhook_timeout=timedelta(seconds=0.5))

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"y")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        fill(engine)
        try:
            assert run() == "failed 1"
        finally:
            stop.set()
            thread.join()
    assert only(engine).last_error == "no answer within 0.5 s"


def test_an_answer_without_end_is_a_success_and_is_not_read(engine: Engine, configure: Configure) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        configure(f"http://127.0.0.1:{server.getsockname()[1]}/")

        def flood() -> None:
            nonlocal sent
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                try:
                    while True:
                        sent += connection.send(bytes(65536))
                except OSError:
                    return

        thread = threading.Thread(target=flood)
        thread.start()
        fill(engine)
        assert run() == "delivered 1, events 1"
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert sent < 200 * ANSWER_LIMIT_BYTES  # what fits into the sockets' buffers


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_its_issuer_is_named(
    engine: Engine, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path)
    with serving(certificate) as endpoint:
        configure(endpoint.url)
        fill(engine)
        assert run() == "failed 1"
        assert only(engine).last_error == "no answer (SSLCertVerificationError)"
        assert endpoint.calls == []
        make_due(engine)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert run() == "delivered 1, events 1"


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("SSL_CERT_FILE", "/nowhere/hunter2.pem", "FileNotFoundError"),
        ("ALL_PROXY", "gopher://user:hunter2@127.0.0.1:1", "ValueError"),
    ],
)
def test_where_nothing_can_be_posted_at_all_nothing_is_cut_and_no_attempt_is_spent(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure, name: str, value: str, cause: str
) -> None:
    configure(endpoint.url, webhook_batch=1)
    fill(engine, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        for _ in range(2):
            with pytest.raises(
                ClientUnavailable, match=f"Nothing can be posted to the webhook \\({cause}\\)"
            ) as raised:
                run()
            assert "hunter2" not in str(raised.value)
            assert kept(engine) == []
            with engine.begin() as conn:
                assert count_unsent(conn).events == 3
    assert run() == "delivered 3, events 3"


def test_whatever_goes_wrong_in_a_post_is_an_attempt_that_failed(
    engine: Engine, sent_to: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)

    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("of a connection to hunter2", [OSError("hunter2"), ValueError()])

    with monkeypatch.context() as patch:
        patch.setattr("httpx.AsyncClient.send", fail)
        assert run() == "failed 1"
    row = only(engine)
    assert (row.attempts, row.is_being_sent, row.last_error) == (1, False, "no answer (OSError)")
    make_due(engine)
    assert run() == "delivered 1, events 1"


@pytest.mark.parametrize("broken", ["body_of", "post"])
def test_a_batch_that_cannot_even_be_put_together_runs_out_of_attempts(
    engine: Engine, sent_to: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    fill(engine)

    def fail(*_: object, **__: object) -> None:
        raise TypeError("hunter2")

    monkeypatch.setattr(f"tasks.webhook.{broken}", fail)
    for attempt in range(1, 2 + len(webhook.SCHEDULE)):
        run()
        row = only(engine)
        assert (row.attempts, row.last_error) == (attempt, "no answer (TypeError)")
        make_due(engine)
    assert row.state == "given_up"


def test_what_breaks_behind_the_answers_head_takes_nothing_from_the_answer(
    engine: Engine, sent_to: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)

    async def fail(_response: object) -> None:
        raise ExceptionGroup("of a connection", [OSError()])

    monkeypatch.setattr("worker.webhook_post._read_away", fail)
    assert run() == "delivered 1, events 1"


# Killed, doubled, switched off.


def test_a_sender_killed_between_post_and_commit_has_its_batch_sent_again_by_the_same_id(
    engine: Engine, sent_to: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, 2)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tasks.webhook.note_delivered", die)
        with pytest.raises(Killed):
            run()
    assert run() == "nothing due"  # its lease is not over
    execute(engine, "UPDATE attribution_webhooks SET leased_until = now()")
    assert run() == "delivered 1, events 2"
    first, second = sent_to.calls
    assert (first.id, first.body) == (second.id, second.body)
    assert kept(engine) == []


def test_a_second_sender_does_nothing_while_the_first_waits_for_its_answer(
    engine: Engine, sent_to: WebhookEndpoint
) -> None:
    arrived, released = threading.Event(), threading.Event()

    def hold(_number: int) -> tuple[int, dict[str, str]]:
        arrived.set()
        assert released.wait(30)
        return 204, {}

    sent_to.reply = hold
    fill(engine, 2)
    outcomes: list[str] = []
    first = threading.Thread(target=lambda: outcomes.append(run()))
    first.start()
    assert arrived.wait(30)
    fill(engine)
    assert run() == "another sender is at work"
    released.set()
    first.join()
    assert outcomes == ["delivered 2, events 3"]
    assert len({call.id for call in sent_to.calls}) == len(sent_to.calls) == 2


def test_even_without_that_no_batch_is_sent_by_two_at_once(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure
) -> None:
    """The first sender's lock is lost with its connection while its post is under way: the lease still holds."""
    ctx = configure(endpoint.url, webhook_batch=1)
    target = Endpoint.of(ctx.settings)
    assert target is not None
    arrived, released = threading.Event(), threading.Event()

    def hold_the_first(number: int) -> tuple[int, dict[str, str]]:
        if number == 0:
            arrived.set()
            assert released.wait(30)
        return 204, {}

    endpoint.reply = hold_the_first
    fill(engine, 5)
    first = threading.Thread(target=lambda: webhook.Run(ctx, target).send())
    first.start()
    assert arrived.wait(30)
    assert webhook.Run(ctx, target).send() == "delivered 4, events 4"
    assert len(kept(engine)) == 1
    released.set()
    first.join()
    assert kept(engine) == []
    assert len({key for call in endpoint.calls for key in call.keys}) == len(endpoint.calls) == 5


def test_a_run_whose_time_is_up_begins_no_new_post(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(endpoint.url, webhook_batch=1)
    monkeypatch.setattr("tasks.webhook.RUN", timedelta(0))
    fill(engine, 3)
    assert run() == "delivered 1, events 1"
    assert len(endpoint.calls) == 1


def test_posts_go_side_by_side(engine: Engine, endpoint: WebhookEndpoint, configure: Configure) -> None:
    """Each answer but the first comes only when as many posts as there are senders wait for theirs."""
    configure(endpoint.url, webhook_batch=1)
    together = threading.Barrier(webhook.SENDERS, timeout=30)

    def meet(number: int) -> tuple[int, dict[str, str]]:
        if number > 0:
            together.wait()
        return 204, {}

    endpoint.reply = meet
    fill(engine, 1 + 2 * webhook.SENDERS)
    assert run() == f"delivered {1 + 2 * webhook.SENDERS}, events {1 + 2 * webhook.SENDERS}"


def test_beat_asks_each_second_if_a_webhook_is_configured_and_else_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
    assert "webhooks" not in runpy.run_path(str(CELERY))["beat_schedule"]
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_URL", "https://hooks.example.com/")
    monkeypatch.setenv("ATTRIBUTION_WEBHOOK_SECRETS", SECRET)
    entry = runpy.run_path(str(CELERY))["beat_schedule"]["webhooks"]
    assert (entry["task"], entry["schedule"].run_every) == ("send_webhooks", timedelta(seconds=1))


def test_a_run_ends_before_celery_would_end_it_and_a_lease_after_celery_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
    celery = runpy.run_path(str(CELERY))
    (longest,) = (
        each.le for each in WorkerSettings.model_fields["webhook_timeout"].metadata if getattr(each, "le", None)
    )
    assert (webhook.RUN + longest).total_seconds() < celery["task_soft_time_limit"]
    assert webhook.LEASE.total_seconds() > celery["task_time_limit"]


def test_without_a_url_what_waits_stays(engine: Engine, configure: Configure) -> None:
    configure(None)
    fill(engine)
    assert run() == "no webhook is configured"
    with engine.begin() as conn:
        assert count_unsent(conn).events == 1


def test_nothing_confidential_is_logged_or_kept(
    engine: Engine, sent_to: WebhookEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    sent_to.answer_body = b"leaked: ada@example.net hunter2"
    fill(engine, internet_message_id="<ada.l@example.net>")
    with caplog.at_level(logging.DEBUG):
        for status in (500, 422, 301, 200):
            sent_to.answer(status)
            run()
            logged = " ".join([caplog.text, *(str(vars(record)) for record in caplog.records)])
            stored = " ".join(str(row) for row in kept(engine))
            for secret in ("ada@", "ada.l", "hunter2", SECRET, SECRET[6:], "webhook-signature"):
                assert secret not in logged + stored
            make_due(engine)
    assert "answered 500" in caplog.text
    assert kept(engine) == []


def test_the_endpoint_does_not_print_its_url_or_secrets(configure: Configure) -> None:
    ctx = configure("https://user:hunter2@hooks.example.com/token")
    assert not {"hunter2", "token", SECRET} & set(repr(Endpoint.of(ctx.settings)).replace("/", "'").split("'"))


# The example.


@pytest.mark.parametrize("verify", ["verify_by_library", "verify_by_hand"])
def test_the_example_verifies_what_is_posted_and_nothing_else(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure, verify: str
) -> None:
    configure(endpoint.url, secrets=(OLD_SECRET, SECRET))
    fill(engine, 3)
    run()
    (call,) = endpoint.calls
    check = runpy.run_path(str(EXAMPLE), run_name="example")[verify]
    assert check(SECRET, call.headers, call.body.encode()) == call.payload

    def changed(**headers: str) -> Call:
        return replace(call, headers=call.headers | {name.replace("_", "-"): value for name, value in headers.items()})

    for wrong in (
        replace(call, body=call.body + " "),
        changed(webhook_id="x"),
        changed(webhook_timestamp="1"),
        changed(webhook_timestamp="soon"),
        changed(webhook_timestamp=str(int(call.headers["webhook-timestamp"]) + 3600)),
        changed(webhook_signature="v1,AAAA"),
        changed(webhook_signature=""),
        replace(call, headers={}),
    ):
        with pytest.raises(Exception, match=r".") as refused:
            check(SECRET, wrong.headers, wrong.body.encode())
        assert type(refused.value).__name__ in {"WebhookVerificationError", "Refused"}


def test_the_example_stores_each_event_once_however_often_it_is_posted(
    engine: Engine, configure: Configure, tmp_path: Path
) -> None:
    command = [sys.executable, "-I", str(EXAMPLE), "--port=0", f"--database={tmp_path / 'events.sqlite'}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={"WEBHOOK_SECRET": SECRET}
    ) as receiver:
        try:
            assert receiver.stdout is not None
            url = receiver.stdout.readline().split()[-1]
            configure(url)
            fill(engine, 2)
            execute(
                engine,
                "INSERT INTO attribution_outbox (kind, event_row) SELECT kind, event_row FROM attribution_outbox",
            )
            assert run() == "delivered 1, events 4"
            stored = runpy.run_path(str(EXAMPLE), run_name="example")["stored"]
            eventually(lambda: _equal(stored(tmp_path / "events.sqlite"), 2))
            configure(url, secrets=(OLD_SECRET,))
            fill(engine)
            assert run() == "failed 1"
            assert only(engine).last_error == "answered 401"
        finally:
            receiver.terminate()


def _equal(one: object, other: object) -> None:
    assert one == other
