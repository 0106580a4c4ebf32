"""Senders that are killed, doubled, out of time or switched off."""

from __future__ import annotations

import runpy
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.outbox import count_unsent
from tasks import webhook
from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import execute, fill, kept, run
from tests.tasks.webhook_endpoint import SECRET, WebhookEndpoint
from worker.settings import WorkerSettings
from worker.webhook_post import Endpoint

CELERY = Path(__file__).parents[3] / "worker" / "celeryconfig.py"


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
