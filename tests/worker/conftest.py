"""A receiver to call, on the tests' own Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.worker.receiving import Caller, ServeReceiver, receiver_settings, serving


@pytest.fixture
def serve() -> Iterator[ServeReceiver]:
    """Start receivers on a Redis; keywords are settings."""
    with ExitStack() as contexts:

        def _serve(redis_url: str, **settings: Any) -> Caller:
            return contexts.enter_context(serving(receiver_settings(redis_url, **settings)))

        yield _serve


@pytest.fixture(scope="module")
def caller(redis_url: str) -> Iterator[Caller]:
    """A receiver with the tests' settings, one for the module. Redis is emptied before each test."""
    with serving(receiver_settings(redis_url)) as caller:
        yield caller
