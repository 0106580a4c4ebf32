"""The webhook's other side, and the task configured to post to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.context import Context
from tests.tasks.webhook_endpoint import SECRET, WebhookEndpoint, serving

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
