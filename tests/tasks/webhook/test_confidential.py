"""What is told, logged and kept names no reader, no address and no secret."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from db.listmonk.links import NOBODY
from db.outbox import Webhook
from tasks.webhook_payload import LONGEST_USER_AGENT, body_of
from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import fill, kept, make_due, run
from tests.tasks.webhook_endpoint import SECRET, WebhookEndpoint
from worker.webhook_post import Endpoint

LINK, CAMPAIGN, READER = (f"{n}b1e3c44-0000-4000-8000-0000000000ab" for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://www.example.com/?email=ada@example.net&a=1", "https://www.example.com/?a=1"),
        ("https://www.example.com/u/ada%40example.net#x", "https://www.example.com/u/nobody#x"),
        ("https://www.example.com/?u=ada%2540mail.example.net", "https://www.example.com/"),
        ("https://www.example.com/u/ada%252540example.net/", "https://www.example.com/u/nobody/"),
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
