"""What a clicked URL says: whose tracked link it is, whether it is a way out, and what to count it as. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit
from uuid import UUID

#: What listmonk writes in the place of the subscriber where it names none. Links with it lead somewhere all the same.
NOBODY = "00000000-0000-0000-0000-000000000000"

#: Longest URL that is counted, in bytes. A longer one does not fit the unique index of ``links``.
LONGEST_URL = 2000
#: Longest URL that is looked at, in characters; browsers and mail programs know none as long.
_LONGEST_READ = 16_384

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ANY_UUID = re.compile(rf"(?<![0-9a-f-]){_UUID}(?![\w-])", re.IGNORECASE)
_TRACKED = re.compile(rf"/link/({_UUID})/({_UUID})/({_UUID})(?![\w-])", re.IGNORECASE)
#: listmonk's pages for one reader: unsubscribe and preferences, the mail in the browser, and its tracked links.
_PERSONAL_PAGE = re.compile(rf"(/(?:subscription|campaign|link/{_UUID})/{_UUID}/){_UUID}(?![\w-])", re.IGNORECASE)
_WAY_OUT = re.compile(
    rf"/subscription/(?:{_UUID}/{_UUID}|(?:optin|export|wipe)/{_UUID})(?![\w-])"  # listmonk's
    r"|/(?:unsubscribe|opt-?out)(?![a-z])"  # anybody's: at the beginning or at the end of a part of the path
    r"|/[^/?&#=]{1,100}[^a-z/?&#=](?:unsubscribe|opt-?out)(?=[/?#.]|$)"
    r"|[?&](?:unsubscribe|opt-?out)(?=[=&#]|$)"
    r"|^mailto:[^?]{0,200}unsubscribe",
    re.IGNORECASE,
)
#: An e-mail address, and not the name of a file such as `logo@2x.png`.
_ADDRESS = re.compile(
    r"[^\s@/?&=#;:]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}(?!(?:png|jpe?g|gif|webp|svg|css|js|html?|pdf)\b)[a-z]{2,24}(?![\w-])",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(?:localhost|[\w-]+(?:\.[\w-]+)+):\d+(?:[/?#]|$)", re.IGNORECASE)


class TrackedLink(NamedTuple):
    """The three UUIDs in a link that listmonk put in the place of another: link, campaign, subscriber."""

    link: UUID
    campaign: UUID
    subscriber: UUID


def tracked_link(url: str) -> TrackedLink | None:
    """Return what listmonk's tracked link names, or None if ``url`` is no such link."""
    if "/link/" not in url or len(url) > _LONGEST_READ:
        return None
    found = _TRACKED.search(url)
    return TrackedLink(*map(UUID, found.groups())) if found else None


def is_way_out(url: str) -> bool:
    """Tell whether ``url`` leads to unsubscribing or to one's preferences, which shows no interest in the mail."""
    return len(url) <= _LONGEST_READ and _WAY_OUT.search(url) is not None


def uncounted_because(engagement_type: str, url: str | None) -> str | None:
    """Return why an engagement event shows no interest, if that shows from the event itself."""
    if engagement_type == "click":
        return "unsubscribe_link" if url and is_way_out(url) else None
    return None if engagement_type == "view" else "unknown_type"


def find_uuids(url: str) -> frozenset[str]:
    """Return the UUIDs in ``url``, in lower case."""
    if len(url) > _LONGEST_READ or "-" not in url:
        return frozenset()
    return frozenset(found.lower() for found in _ANY_UUID.findall(url))


def canonical_url(
    url: str, *, personal_parameters: Collection[str], readers: Collection[str] = frozenset()
) -> str | None:
    """Return the URL that a click is counted under: the same for every reader; None if there is no such URL.

    Scheme and host are written in lower case; a URL that Azure reports without a scheme gets https. Gone are the query
    parameters in ``personal_parameters`` (in lower case), those that hold an e-mail address or one of the UUIDs
    ``readers`` (in lower case, too), and the reader in path and fragment: these UUIDs, addresses, and whoever
    listmonk's own pages are made for. The rest stays byte for byte. A URL that is too long without its query is none.
    """
    url = url.strip()
    if not url or len(url) > _LONGEST_READ:
        return None
    if _HOST_AND_PORT.match(url) or not (_SCHEME.match(url) or url.startswith("/")):
        url = f"https://{url}"
    elif url.startswith("//"):
        url = f"https:{url}"
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no IPv6 address: what is clickable in some mail program
        return _within_limit(_without_readers(re.split(r"[?#]", url)[0], readers))
    scheme = parts.scheme.lower()
    # An address to write to is what a mailto: link leads to.
    path = parts.path if scheme == "mailto" else _without_readers(parts.path, readers)
    fragment = _without_readers(parts.fragment, readers)
    query = "&".join(each for each in parts.query.split("&") if not _is_personal(each, personal_parameters, readers))
    clean = parts._replace(scheme=scheme, netloc=_lower_host(parts.netloc), path=path, query=query, fragment=fragment)
    return _within_limit(clean.geturl()) or _within_limit(clean._replace(query="", fragment="").geturl())


def _without_readers(text: str, readers: Collection[str]) -> str:
    text = _PERSONAL_PAGE.sub(rf"\g<1>{NOBODY}", text)
    for reader in readers:
        text = re.sub(re.escape(reader), NOBODY, text, flags=re.IGNORECASE)
    if "@" in text:
        text = _ADDRESS.sub("nobody", text)
    return "/".join(map(_without_encoded_address, text.split("/"))) if "%" in text else text


def _without_encoded_address(part: str) -> str:
    said = _decoded(part)
    return "nobody" if "@" in said and "@" not in part and _ADDRESS.search(said) else part


def _decoded(text: str) -> str:
    for _ in range(3):  # what one program encodes, the next encodes again
        text = unquote(text)
    return text


def _is_personal(parameter: str, names: Collection[str], readers: Collection[str]) -> bool:
    name, _, _ = parameter.removeprefix("amp;").partition("=")
    said = unquote_plus(unquote_plus(parameter))  # a reader may stand there alone, without a name
    return (
        unquote_plus(name).lower() in names
        or any(reader in said.lower() for reader in readers)
        or ("@" in said and _ADDRESS.search(said) is not None)
    )


def _lower_host(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    return f"{user}{at}{host.lower()}"


def _within_limit(url: str) -> str | None:
    return url if 0 < len(url.encode(errors="replace")) <= LONGEST_URL else None


_PAGE_START = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?(?://[^/]*)?", re.IGNORECASE)
#: What nobody reads: a key that opens a page to whoever has it, such as the one to set a password.
_KEY = re.compile(r"[A-Za-z0-9]{24}|\A(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[\w.~-]{20,}\Z")


def anonymous_url(url: str) -> str:
    """Return what people may see of a clicked URL: which page it led to, neither for whom nor with which key. Decoded.

    Gone are query, fragment, what follows a ``;``, and a name before the host. Of the path a UUID is nobody's, a part
    that holds an address is ``nobody``, and one that looks like a key is ``…``. A short key looks like a word.
    """
    plain = _decoded(url[:_LONGEST_READ])
    page = re.split(r"[?#]", plain, maxsplit=1)[0]
    start = _PAGE_START.match(page)
    before = start.group() if start else ""
    scheme, slashes, host = before.partition("//")
    return scheme + slashes + host.rpartition("@")[2] + "/".join(map(_anonymous_part, page[len(before) :].split("/")))


def _anonymous_part(part: str) -> str:
    part = re.sub(_UUID, NOBODY, part.partition(";")[0], flags=re.IGNORECASE)
    if "@" in part.lstrip("@"):
        return "nobody"
    return "…" if _KEY.search(part) else part
