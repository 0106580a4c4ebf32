"""Nothing of a person, a payload or a secret is told: in logs, metrics, Flower, Sentry, traces, answers, Redis's keys.

Everything is driven with marked ones, at DEBUG, through sound servers and broken ones: tests/acceptance/marked_drive.py
says where marks may stand. The same drive of a build that leaks shows that the search would find them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import StartProgram
from tests.acceptance.marked_drive import Driven
from tests.acceptance.marks import MARKS, find_marks
from tests.acceptance.test_tracing import Collector, collector  # noqa: F401 - a fixture
from tests.sentry_server import SentryServer, sentry_server
from tests.tasks import webhook_endpoint
from tests.tasks.webhook_endpoint import WebhookEndpoint

LEAKY = Path(__file__).with_name("leaky")


@pytest.fixture
def sentry() -> Iterator[SentryServer]:
    with sentry_server() as server:
        yield server


@pytest.fixture
def webhook() -> Iterator[WebhookEndpoint]:
    with webhook_endpoint.serving() as endpoint:
        yield endpoint


@pytest.fixture
def said(
    request: pytest.FixtureRequest,
    start: StartProgram,
    database_url: str,
    redis_url: str,
    redis_client: redis.Redis,
    sentry: SentryServer,
    collector: Collector,  # noqa: F811
    webhook: WebhookEndpoint,
) -> Iterator[dict[str, str]]:
    environment: dict[str, Any] = {"pythonpath": LEAKY} if request.param else {}
    driven = Driven(start, database_url, redis_url, redis_client, sentry, collector, webhook, environment)
    try:
        driven.begin()
        driven.drive()
        yield driven.said()
    finally:
        driven.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("said", [False], indirect=True, ids=["as it is"])
def test_nothing_confidential_is_told_anywhere(said: dict[str, str]) -> None:
    assert find_marks(said) == {}
    assert all(said.values()), {place for place, text in said.items() if not text}
    assert "recorded a batch" in said["log of the worker"]
    assert "a batch was not finished" in said["sentry"]
    assert "a request is on its stream" in said["log of the receiver"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("said", [True], indirect=True, ids=["with leaks"])
def test_leaks_that_are_put_in_on_purpose_are_found_wherever_they_are(said: dict[str, str]) -> None:
    found = find_marks(said)
    assert {"user_agent", "recipient"} <= found["log of the receiver"]
    assert {"user_agent", "recipient"} <= found["metrics of the receiver"]
    assert "refused_tracking" in found["answers"]
    assert "user_agent" in found["log of the worker"]
    assert "user_agent" in found["metrics of the worker"]
    assert "celery" in found["flower"]
    assert "user_agent" in found["sentry"]
    assert "header" in found["traces"]
    assert {"celery", "unknown_task"} & found["redis"]  # whichever came last


@pytest.mark.parametrize("text", [
    "x zqagentzq y", "ZQAGENTZQ", "7a716167656e747a71", "enFhZ2VudHpxIQ==", "IXpxYWdlbnR6cSEh", "ISF6cWFnZW50enEh",
])  # fmt: skip
def test_a_mark_is_found_in_whatever_spelling(text: str) -> None:
    assert find_marks({"somewhere": text, "elsewhere": "nothing"}) == {"somewhere": {"user_agent"}}
    assert MARKS.user_agent == "zqagentzq"
