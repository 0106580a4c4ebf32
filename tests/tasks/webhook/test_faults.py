"""What goes wrong on our side of a post costs an attempt at most, and never a batch."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from db.outbox import count_unsent
from tasks import webhook
from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import fill, kept, make_due, only, run
from tests.tasks.webhook_endpoint import WebhookEndpoint
from worker.webhook_post import ClientUnavailable


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
