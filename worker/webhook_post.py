"""One signed POST to the user's webhook, after Standard Webhooks 1.0: made, timed, and answered or not.

Nothing of an answer's body is kept, and nothing of an exception but its type: both may repeat what is confidential.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Self

import httpx
from pydantic import SecretStr
from standardwebhooks import Webhook as Signer

from worker.errors import AttributionError
from worker.settings import WorkerSettings

#: Most of an answer's body that is read, unseen, so that the connection can be used again.
ANSWER_LIMIT_BYTES: Final = 64 * 1024
_ANSWER_TIMEOUT_SECONDS: Final = 1.0
#: Longest wait that an answer may ask for.
LONGEST_RETRY_AFTER: Final = timedelta(days=1)

# They log the URL, which may hold a token, at INFO, and headers at DEBUG.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to post, the secrets that sign, and the time the other side has. Its repr shows nothing confidential."""

    url: SecretStr
    secrets: tuple[SecretStr, ...]
    timeout: timedelta

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self | None:
        """Return the endpoint that the settings name, or None if they name none."""
        if settings.webhook_url is None:
            return None
        return cls(settings.webhook_url, settings.webhook_secrets, settings.webhook_timeout)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said: a ``status``, or None and, in ``error``, how it failed to say anything."""

    status: int | None
    error: str
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Tell whether the other side has taken what was posted: any 2xx, and nothing else."""
        return self.status is not None and 200 <= self.status <= 299


class ClientUnavailable(AttributionError):
    """The webhook cannot be posted to at all: what the environment says of certificates or proxies cannot be used."""


def open_client() -> httpx.AsyncClient:
    """Return a client that verifies TLS, follows no redirect, and heeds HTTPS_PROXY and SSL_CERT_FILE.

    Raises:
        ClientUnavailable: a file of certificates is not there or damaged, or a proxy is of a kind that is not spoken.
    """
    try:
        return httpx.AsyncClient(
            follow_redirects=False,
            timeout=None,  # noqa: S113 - each post has one limit for all of it
            headers={"content-type": "application/json", "user-agent": "engagement-attribution"},
        )
    except Exception as error:  # what its text repeats may hold a proxy's password
        raise ClientUnavailable(
            f"Nothing can be posted to the webhook ({type(error).__name__}): SSL_CERT_FILE or SSL_CERT_DIR names no"
            " certificates, or HTTPS_PROXY or ALL_PROXY no HTTP proxy. Correct it and restart; nothing is lost."
        ) from None


async def post(client: httpx.AsyncClient, endpoint: Endpoint, *, webhook_id: str, body: str) -> Answer:
    """Post ``body`` to ``endpoint``, signed with each of its secrets; return what came of it.

    Connecting, sending and the answer's head have the endpoint's ``timeout`` together. Failures do not raise.
    """
    headers = sign(endpoint.secrets, webhook_id, datetime.now(UTC), body)
    seconds = endpoint.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            request = client.build_request(
                "POST", endpoint.url.get_secret_value(), content=body.encode(), headers=headers
            )
            response = await client.send(request, stream=True)
    except TimeoutError:
        return Answer(None, f"no answer within {seconds:g} s")
    except Exception as error:  # httpx lets some through that are not its own, such as groups of exceptions
        return Answer(None, f"no answer ({_cause_of(error)})")
    with suppress(Exception):  # the answer stands, whatever becomes of the rest of it
        async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
            await _read_away(response)
    with suppress(Exception):
        await response.aclose()
    status = response.status_code
    return Answer(status, f"answered {status}", _retry_after(response.headers.get("retry-after")))


def sign(secrets: Sequence[SecretStr], webhook_id: str, at: datetime, body: str) -> dict[str, str]:
    """Return the three headers of Standard Webhooks, with one signature for each secret."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(
            Signer(secret.get_secret_value()).sign(webhook_id, at, body) for secret in secrets
        ),
    }


async def _read_away(response: httpx.Response) -> None:
    size = 0
    async for chunk in response.aiter_raw():  # not decoded: a small body could unpack into a large one
        size += len(chunk)
        if size > ANSWER_LIMIT_BYTES:
            return


def _cause_of(error: BaseException) -> str:
    """Return the name of the first cause: a certificate that is not accepted lies three exceptions deep."""
    while (cause := _next_cause(error)) is not None:
        error = cause
    return type(error).__name__


def _next_cause(error: BaseException) -> BaseException | None:
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def _retry_after(value: str | None) -> timedelta | None:
    """Read the header: seconds, or a date. What cannot be read was not said."""
    if value is None:
        return None
    try:
        if value.isascii() and value.isdecimal():
            wait = timedelta(seconds=min(int(value[:9]), LONGEST_RETRY_AFTER.total_seconds()))
        else:
            at = parsedate_to_datetime(value)
            wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return max(timedelta(0), min(wait, LONGEST_RETRY_AFTER))
