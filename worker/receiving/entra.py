"""Microsoft Entra ID tokens, which Event Grid sends with each delivery if a subscription is set up that way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from time import monotonic, time
from typing import Any, Self

import jwt
from jwt import PyJWK, PyJWKClient

from worker.settings import ReceiverSettings

_log = logging.getLogger(__name__)

#: How long the tenant's keys are taken for current.
_KEYS_FRESH_SECONDS = 3600.0
#: How long they are used beyond that, if no newer ones can be had: Entra's outage need not be ours.
_KEYS_STALE_SECONDS = 24 * 3600.0
#: Least time between two fetches, whatever key ids strangers make up.
_FETCH_PAUSE_SECONDS = 30.0
_FETCH_TIMEOUT_SECONDS = 5.0
#: How long a token that was verified once is taken for good unseen: the signature costs more than all the rest of a
#: request, and Event Grid sends the same token for hours.
_PROVED_SECONDS = 60.0
#: How far Entra's clock and ours may be apart.
_LEEWAY = timedelta(seconds=60)


class TokenRefused(Exception):
    """The token proves nothing. The exception's text says why, without repeating any of it."""


class KeysUnavailable(Exception):
    """The tenant's keys cannot be had, so no token can be judged. That is our trouble, not the caller's."""


class SigningKeys:
    """The keys published at ``url``: fetched when they are needed, in a thread, by one request for all that wait."""

    def __init__(self, url: str, *, clock: Callable[[], float] = monotonic) -> None:
        # Its own cache would fetch again and again, for each caller and in its thread, while fetching fails.
        self._client = PyJWKClient(url, cache_jwk_set=False, timeout=_FETCH_TIMEOUT_SECONDS)
        self._clock = clock
        self._keys: Mapping[str, PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._failure: str | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> PyJWK:
        """Return the key. If ours are old they are fetched behind the caller's back; if it is not among them, at once.

        Raises:
            TokenRefused: there is no such key.
            KeysUnavailable: we could not look.
        """
        age_seconds = self._clock() - self._fetched_at
        key = self._keys.get(key_id) if age_seconds < _KEYS_STALE_SECONDS else None
        if key is not None and age_seconds < _KEYS_FRESH_SECONDS:
            return key
        self._begin_to_fetch()
        if key is None and self._fetching is not None:
            await asyncio.shield(self._fetching)  # others wait for it, too
            key = self._keys.get(key_id)
        if key is not None:
            return key
        if self._failure is not None:
            raise KeysUnavailable(self._failure)
        raise TokenRefused("no key of the tenant has signed its token")

    def _begin_to_fetch(self) -> None:
        if self._fetching is None and self._clock() - self._tried_at >= _FETCH_PAUSE_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            keys = await asyncio.to_thread(self._client.get_signing_keys)
        except (jwt.PyJWTError, OSError, ValueError) as error:
            self._failure = f"the keys of the Entra tenant cannot be fetched ({type(error).__name__})"
            _log.error("%s from %s", self._failure, self._client.uri)
        else:
            self._keys = {key.key_id: key for key in keys if key.key_id and key.key_type == "RSA"}
            self._fetched_at = self._clock()
            self._failure = None
        finally:
            self._fetching = None


class EntraTokens:
    """Judges bearer tokens: signature, lifetime, issuer, audience, tenant, application and, if asked for, role."""

    def __init__(
        self, *, authority: str, tenant_id: str, audience: str, app_ids: Sequence[str], role: str | None = None
    ) -> None:
        authority = authority.rstrip("/")
        self._keys = SigningKeys(f"{authority}/{tenant_id}/discovery/v2.0/keys")
        # Version 1 tokens name the first, version 2 tokens the second, whichever cloud it is.
        self._issuers = [f"https://sts.windows.net/{tenant_id}/", f"{authority}/{tenant_id}/v2.0"]
        self._tenant_id = tenant_id.lower()
        self._audience = audience
        self._app_ids = {app_id.lower() for app_id in app_ids}
        self._role = role
        self._proved: dict[bytes, float] = {}

    @classmethod
    def from_settings(cls, settings: ReceiverSettings) -> Self | None:
        """Return the judge that the settings describe, or None if they describe none."""
        if settings.entra_tenant_id is None or settings.entra_audience is None:
            return None
        return cls(
            authority=str(settings.entra_authority),
            tenant_id=settings.entra_tenant_id,
            audience=settings.entra_audience,
            app_ids=settings.entra_app_ids,
            role=settings.entra_role,
        )

    async def verify(self, token: str) -> None:
        """Return if ``token`` was issued to an application that may call us.

        Raises:
            TokenRefused: it was not.
            KeysUnavailable: it cannot be told.
        """
        digest = sha256(token.encode()).digest()
        if time() < self._proved.get(digest, 0.0):
            return
        expires_at = await self._verify(token)
        now = time()
        self._proved = {known: until for known, until in self._proved.items() if now < until}
        self._proved[digest] = min(now + _PROVED_SECONDS, expires_at)

    async def _verify(self, token: str) -> float:
        """Return when the token expires, as a Unix time."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused("its token is none") from None
        if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
            raise TokenRefused("its token is not signed with RS256 and a key id")
        key = await self._keys.find(header["kid"])
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self._issuers,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"its token does not hold ({type(error).__name__})") from None
        self._judge(claims)
        return float(claims["exp"])

    def _judge(self, claims: Mapping[str, Any]) -> None:
        if str(claims.get("tid", "")).lower() != self._tenant_id:
            raise TokenRefused("its token is another tenant's")
        # `appid` in version 1 tokens, `azp` in version 2.
        if str(claims.get("appid") or claims.get("azp") or "").lower() not in self._app_ids:
            raise TokenRefused("its token is another application's")
        roles = claims.get("roles")
        if self._role is not None and not (isinstance(roles, list) and self._role in roles):
            raise TokenRefused("its token lacks the role")
