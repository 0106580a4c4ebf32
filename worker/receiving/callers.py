"""Who may call: a shared secret out of a list, or Event Grid's own Microsoft Entra ID token.

Nothing a caller presents is ever logged.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from pydantic import SecretStr

from worker.receiving.answers import NOT_FOUND, UNAVAILABLE, Refused
from worker.receiving.entra import EntraTokens, KeysUnavailable, TokenRefused
from worker.settings import ReceiverSettings
from worker.telemetry import metrics
from worker.telemetry.logs import Throttle

_log = logging.getLogger(__name__)

#: Seconds between two log lines about refused callers, who may be anybody and call as often as they like.
_LOG_SECONDS = 10.0

Headers = Mapping[bytes, bytes]


class _Secrets:
    """The secrets that are valid now: the old and the new one while they are rotated."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        self._secrets = [secret.get_secret_value().encode() for secret in secrets]

    def __len__(self) -> int:
        return len(self._secrets)

    def hold_any(self, candidates: Iterable[bytes]) -> bool:
        """Compare every candidate with every secret, in a time that tells nothing of what they hold."""
        found = False
        for candidate in candidates:
            for secret in self._secrets:
                found |= hmac.compare_digest(candidate, secret)
        return found


class _Refusals:
    """Counts the refused callers of one route, and logs them now and then."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._throttle = Throttle(_LOG_SECONDS)

    def note(self, reason: str, detail: str, headers: Headers) -> Refused:
        metrics.CALLERS_REFUSED.labels(self._route, reason).inc()
        if count := self._throttle.count():
            subscription = headers.get(b"aeg-subscription-name", b"")[:100].decode("latin-1")
            _log.warning(
                "refused %d request(s) to /%s with 404, the last one because %s",
                count, self._route, detail, extra={"subscription": subscription},
            )  # fmt: skip
        return Refused(NOT_FOUND)


class EventCallers:
    """Callers of ``POST /eventgrid``."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._anyone = settings.insecure
        self._secrets = _Secrets(settings.event_secrets)
        self._tokens = EntraTokens.from_settings(settings)
        self._refusals = _Refusals("eventgrid")

    async def admit(self, headers: Headers, query: bytes) -> None:
        """Return if the caller proved itself, by any one of a secret in the query, one in a header, and a token.

        Raises:
            Refused: it did not (404), or its token cannot be checked because Entra's keys cannot be had (503).
        """
        if self._anyone:
            return
        candidates = _query_values(query, b"code") + _header_values(headers, b"x-attribution-secret")
        if self._secrets.hold_any(candidates):
            return
        token = _bearer(headers)
        if self._tokens is None or not token:
            reason = "secret" if candidates else "missing"
            raise self._refusals.note(reason, "its secret is wrong" if candidates else "it brought no secret", headers)
        try:
            await self._tokens.verify(token[0].decode("latin-1"))
        except TokenRefused as error:
            raise self._refusals.note("token", str(error), headers) from None
        except KeysUnavailable:
            raise Refused(UNAVAILABLE) from None


class MessageCallers:
    """Callers of ``POST /messages``. Without a secret in the settings the route is switched off."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._anyone = settings.insecure
        self._secrets = _Secrets(settings.message_secrets)
        self._refusals = _Refusals("messages")

    def admit(self, headers: Headers) -> None:
        """Return if the caller proved itself by a secret, as a bearer token or in a header of ours.

        Raises:
            Refused: it did not (404).
        """
        if self._anyone:
            return
        candidates = _bearer(headers) + _header_values(headers, b"x-attribution-secret")
        if self._secrets.hold_any(candidates):
            return
        if not self._secrets:
            raise self._refusals.note("missing", "ATTRIBUTION_MESSAGE_SECRETS is not set", headers)
        reason = "secret" if candidates else "missing"
        raise self._refusals.note(reason, "its secret is wrong" if candidates else "it brought no secret", headers)


def _header_values(headers: Headers, name: bytes) -> list[bytes]:
    return [headers[name].strip()] if name in headers else []


def _bearer(headers: Headers) -> list[bytes]:
    scheme, _, credentials = headers.get(b"authorization", b"").strip().partition(b" ")
    return [credentials.strip()] if scheme.lower() == b"bearer" else []


def _query_values(query: bytes, name: bytes) -> list[bytes]:
    """Return the values of a query parameter, percent-decoded. A plus stays one: secrets are often base64."""
    prefix = name + b"="
    return [unquote_to_bytes(pair[len(prefix) :]) for pair in query.split(b"&") if pair.startswith(prefix)]
