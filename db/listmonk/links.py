"""What a clicked URL says: whose tracked link it is, whether it is a way out, and what to count it as. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import SplitResult, unquote_plus, urlsplit
from uuid import UUID

#: What listmonk writes in the place of the subscriber where it names none. Links with it lead somewhere all the same.
NOBODY = "00000000-0000-0000-0000-000000000000"

#: Longest URL that is counted, in characters. A longer one does not fit the unique index of ``links``.
LONGEST_URL = 2000

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TRACKED = re.compile(rf"/link/({_UUID})/({_UUID})/({_UUID})(?![\w-])", re.IGNORECASE)
#: listmonk's pages for one reader: unsubscribe, preferences, double opt-in, and the mail in the browser.
_PERSONAL_PAGE = re.compile(rf"(/(?:subscription|campaign)/{_UUID}/){_UUID}(?![\w-])", re.IGNORECASE)
_WAY_OUT = re.compile(
    rf"/subscription/(?:{_UUID}/{_UUID}|(?:optin|export|wipe)/{_UUID})(?![\w-])"  # listmonk's
    r"|(?:/|[/?&][^/?&#=]*[^a-z/?&#=])(?:unsubscribe|opt-?out)(?![a-z])"  # anybody's: a word in the path
    r"|[?&](?:unsubscribe|opt-?out)(?=[=&#]|$)"
    r"|^mailto:[^?]*unsubscribe",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[^\s@/]+@[^\s@/]+\.[^\s@/]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class TrackedLink(NamedTuple):
    """The three UUIDs in a link that listmonk put in the place of another: link, campaign, subscriber."""

    link: UUID
    campaign: UUID
    subscriber: UUID


def tracked_link(url: str) -> TrackedLink | None:
    """Return what listmonk's tracked link names, or None if ``url`` is no such link."""
    if "/link/" not in url:  # what most are, and quickly told
        return None
    found = _TRACKED.search(url)
    return TrackedLink(*map(UUID, found.groups())) if found else None


def is_way_out(url: str) -> bool:
    """Tell whether ``url`` leads to unsubscribing or to one's preferences, which shows no interest in the mail."""
    return _WAY_OUT.search(url) is not None


def canonical_url(url: str, *, personal_parameters: Collection[str], subscriber_uuid: str | None = None) -> str | None:
    """Return the URL that a click is counted under: the same for every reader; None if there is no such URL.

    Scheme and host are written in lower case; a URL that Azure reports without a scheme gets https. Gone are the query
    parameters in ``personal_parameters`` (in lower case), those that hold an e-mail address or ``subscriber_uuid``, and
    the reader in the path: that UUID, anywhere, and whoever listmonk's own pages are made for. The rest stays byte for
    byte.
    """
    url = url.strip()
    if not url:
        return None
    if not _SCHEME.match(url):
        url = f"https://{url.removeprefix('//')}"
    elif re.match(r"[^/:]+:\d+(?:[/?#]|$)", url):  # a host and its port, no scheme
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no IPv6 address: what is clickable in some mail program
        return _within_limit(url, None)
    reader = subscriber_uuid.lower() if subscriber_uuid else None
    path = _PERSONAL_PAGE.sub(rf"\g<1>{NOBODY}", parts.path)
    if reader and reader in path.lower():
        path = re.sub(re.escape(reader), NOBODY, path, flags=re.IGNORECASE)
    query = "&".join(each for each in parts.query.split("&") if not _is_personal(each, personal_parameters, reader))
    parts = parts._replace(scheme=parts.scheme.lower(), netloc=_lower_host(parts.netloc), path=path, query=query)
    return _within_limit(parts.geturl(), parts)


def _is_personal(parameter: str, names: Collection[str], reader: str | None) -> bool:
    name, _, value = parameter.partition("=")
    value = unquote_plus(value)
    return (
        unquote_plus(name).lower() in names
        or (reader is not None and reader in value.lower())
        or _ADDRESS.search(value) is not None
    )


def _lower_host(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    return f"{user}{at}{host.lower()}"


def _within_limit(url: str, parts: SplitResult | None) -> str | None:
    if len(url) > LONGEST_URL and parts is not None:
        url = parts._replace(query="", fragment="").geturl()
    return url if len(url) <= LONGEST_URL else None
