"""Recipients: an address in a body is replaced by a pseudonym before anything is parsed, packed or stored. Pure.

What is parsed is what is archived, so a replay reads what was read the first time. The pseudonym has the shape of an
address, keeps the domain, and is its own pseudonym: the same body comes out however often it goes through here.

A recipient is known by the keys that name one. Each other occurrence of that address in its body is replaced as well,
in any letter case, JSON-escaped, percent-encoded however often, or with an HTML escape for its @; a Message-ID never,
for it is what events are attributed by. Everything here is linear in the body, whatever a stranger has put into it.
What spells an address otherwise is not worth what looking for it in every body would cost: `tasks.privacy.witness`
finds it when somebody is erased.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import unquote_to_bytes

from tasks.privacy.spellings import ENCODED, in_encoded, unescaped
from worker.settings import WorkerSettings

#: What pseudonyms begin with, and where there is no key, all that stands for a recipient.
HASHED: Final = "hashed-"
HIDDEN: Final = "hidden-recipient"

_PSEUDONYM: Final = re.compile(rb"hashed-([0-9a-f]{32})(?=@|\Z)")
_KEY: Final = b'"recipient'
_SERVER: Final = b'"recipientmailserverhostname"'
_USUAL: Final = re.compile(rb'"recipient":\s?"([a-z0-9._+-]++(@[a-z0-9.-]++))"')
_VALUE: Final = re.compile(rb'"recipient[a-z_-]*+"\s*+:\s*+"([^"\\]*+(?:\\.[^"\\]*+)*+)', re.DOTALL)
#: Keys under which other programs name recipients, and what follows: a list, a string, or what stands bare.
_LOOSE: Final = re.compile(
    rb"""(?<![a-z])(?:recipients?|rcpt|to|cc|bcc|e-?mail|address)(?:[_-]?[a-z]+)?\\?["']?\s*+[:=]\s*+"""
    rb"""(\[[^\]]{0,10000}+|\\?"[^"\\]{0,2000}+|'[^'\\]{0,2000}+|[^\s"'\[{,&]{1,500}+)"""
)
#: Only where one may begin, or a long run of anything would be tried from each of its characters.
_ADDRESS: Final = re.compile(
    rb"""(?<![^\s@"'<>()\[\],;:\\=])[^\s@"'<>()\[\],;:\\=]{1,255}+@[^\s@"'<>()\[\],;:\\=&?#/|{}%]{1,255}+"""
)
#: An address whose name is in quotes, as JSON writes those: they are its own, where JSON's end a value.
_QUOTED: Final = re.compile(
    rb"""(?<!\\)(\\++")(?=[^\s"])[^\s@"'\\:,{}\[\]<>]{1,64}+(?: [^\s@"'\\:,{}\[\]<>]{1,64}+){0,4}\1"""
    rb"""@[^\s@"'<>()\[\],;:\\=&?#/|{}%]{1,255}+"""
)
_WHOLLY_QUOTED: Final = re.compile(
    rb"""\\"(?:[^"\\]|\\\\(?:\\["\\]|[^"\\])){1,250}+\\"@[^\s@"'<>()\[\],;:\\=&?#/|{}%]{1,255}+""", re.DOTALL
)
_BETWEEN: Final = re.compile(rb"[:,{}\[\]]")
_AT: Final = re.compile(rb"@|%(?:25)*+40|&(?:#0*+64|#x0*+40|commat);")
_LABEL: Final = rb"[a-z0-9\x80-\xff-]{1,63}+"
_DOMAIN: Final = re.compile(_LABEL + rb"(?:\." + _LABEL + rb"){0,10}+")
_AT_DOMAIN: Final = re.compile(rb"@" + _DOMAIN.pattern)
#: Read backwards from the @: what no address goes beyond; and within it, behind what one may begin, the last few.
_BEFORE: Final = re.compile(rb"""[^\s@"<>()\[\],;:\\]{1,300}""")
_WITHIN: Final = re.compile(rb"[=&?#/|'{}*!$^`~+]|%(?:25)*[0-9a-f]{2}")
_DEEP: Final = re.compile(rb"%(?:25)++(?=[0-9a-f]{2})")
_BEGINNINGS: Final = 6
#: The value of a key that names a message, as far as it goes, plainly or in JSON within JSON. No longer one is read.
_ID: Final = re.compile(rb'"[a-z_-]{0,30}message[_-]?id(?:"\s*:\s*"(?:[^"\\]|\\.)*+|\\"\s*:\s*\\"[^"]*+)\Z', re.DOTALL)
_ID_REACH: Final = 600
_HASHED: Final = HASHED.encode()
_HIDDEN: Final = HIDDEN.encode()
_MADE: Final = (_HASHED, _HIDDEN)

#: Where an address stands in a body, and what takes its place.
_Named = tuple[int, int, bytes]


class Recipients:
    """How recipients are written down: as pseudonyms made with ``key``, as nobody without one, or ``plain``.

    ``old_keys`` are what pseudonyms were made with before. Any thread may call it.
    """

    def __init__(self, *, plain: bool = False, key: str | None = None, old_keys: Sequence[str] = ()) -> None:
        self.plain = plain
        self._hash = _keyed(key) if key else None
        self._old_hashes = [_keyed(old) for old in old_keys]

    def hash_of(self, address: str) -> str | None:
        """Return what is stored for ``address``, in any letter case: 32 hexadecimal digits; None without a key."""
        return self._hash_of(normalise_address(address).encode())

    def hashes_of(self, address: str) -> set[str]:
        """Return what is stored for ``address``, or was with an earlier key."""
        normal = normalise_address(address).encode()
        hashes = {_digest(each, normal) for each in self._old_hashes}
        return hashes if self._hash is None else hashes | {_digest(self._hash, normal)}

    def _hash_of(self, address: bytes) -> str | None:
        return None if self._hash is None else _digest(self._hash, address)

    def kept(self, recipient: str | None) -> str | None:
        """Return what the column `recipient` of an event is to hold, given its body's as it was after `hide`."""
        if not recipient or "@" not in recipient or "\0" in recipient:
            return None
        if pseudonym := _PSEUDONYM.search(recipient.encode()):
            return pseudonym[1].decode()
        if self.plain:
            return normalise_address(recipient)
        return None if recipient.startswith(HIDDEN) else self.hash_of(recipient)

    def hide(self, body: bytes) -> bytes:
        """Return ``body`` with each recipient that its events name replaced, wherever he is named in it."""
        if self.plain:
            return body
        # Nearly every body is one event that names its recipient once. It takes half of the time.
        lowered = body.lower()
        at = lowered.find(_KEY)
        odd = at < 0 or b"%" in lowered or b"\\" in lowered
        # A search for one byte costs a fifth of one for several.
        odd = odd or (b"&" in lowered and _holds_html(lowered)) or (b"_" in lowered and ENCODED in lowered)
        usual = None if odd else _USUAL.match(lowered, at)
        if usual and _names_no_more(lowered, usual.end()) and lowered.count(usual[2]) == 1:
            start, end = usual.span(1)
            return body[:start] + self._instead(usual[1]) + body[end:]
        return self._hide(body, _recipients)

    def hide_loosely(self, body: bytes) -> bytes:
        """Do the same for bytes of any kind: recipients are looked for under all keys that may name one."""
        return body if self.plain else self._hide(body, _anybody)

    def _hide(self, body: bytes, find: Callable[[bytes], Iterator[tuple[int, int]]]) -> bytes:
        body = unescaped(body)
        lowered = body.lower()
        if b"_" in lowered and ENCODED in lowered:
            body = in_encoded(body, self.hide_loosely, b64encode)
            lowered = body.lower()
        people: dict[bytes, bytes] = {}
        named: list[_Named] = []
        for start, end in find(lowered):
            address = lowered[start:end]
            instead = people.get(address)
            if instead is None:
                if address.startswith(b"\\"):
                    address = _unquoted(address)
                instead = people[address] = self._instead(address)
            named.append((start, end, instead))
        if not named:
            return body
        if not _are_all(lowered, named, people):
            named = sorted({*named, *_named_elsewhere(lowered, people)})
        if len(named) == 1:
            start, end, instead = named[0]
            return body[:start] + instead + body[end:]
        pieces: list[bytes] = []
        done = 0
        for start, end, instead in named:
            if start >= done:
                pieces += body[done:start], instead
                done = end
        return b"".join((*pieces, body[done:]))

    def _instead(self, address: bytes) -> bytes:
        """Return the pseudonym of an address in lower case."""
        at = address.rindex(b"@")
        if address.startswith(_MADE) and (_PSEUDONYM.match(address) or address[:at] == _HIDDEN):
            return address
        if not address.isascii():
            address = normalise_address(address.decode(errors="replace")).encode()
            at = address.rindex(b"@")
        hashed = self._hash_of(address)
        return (_HASHED + hashed.encode() if hashed else _HIDDEN) + address[at:]


def make_recipients(settings: WorkerSettings) -> Recipients:
    """Return how recipients are to be written down, by the settings."""
    key = settings.recipient_key
    return Recipients(
        plain=settings.recipients == "plain",
        key=key.get_secret_value() if key else None,
        old_keys=[old.get_secret_value() for old in settings.recipient_old_keys],
    )


def normalise_address(address: str) -> str:
    """Return an address in the one spelling that is hashed and compared: without case, blanks and brackets."""
    return address.strip().removeprefix("<").removesuffix(">").strip().casefold()


def find_addresses(body: bytes, addresses: Collection[str]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return ``body`` without JSON's escapes of what needs none, and where in it any of ``addresses`` stand.

    They are normalised; they are found in any spelling that `Recipients.hide` would replace.
    """
    body = unescaped(body)
    people = {address.encode(): b"" for address in addresses if "@" in address}
    return body, [(start, end) for start, end, _ in _named_elsewhere(body.lower(), people)]


def _holds_html(lowered: bytes) -> bool:
    return b"&#" in lowered or b"&commat" in lowered


def _unquoted(address: bytes) -> bytes:
    """Return an address whose name is in quotes as JSON means it."""
    try:
        return bytes(json.loads(b'"' + address + b'"').encode())
    except ValueError:  # JSON in JSON, or none
        return re.sub(rb"\\+\"", b'"', address)


def _keyed(key: str) -> blake2b:
    # A key may be longer than what the hash takes.
    secret = blake2b(key.encode(), digest_size=32, person=b"recipients").digest()
    return blake2b(digest_size=16, key=secret)


def _digest(keyed: blake2b, address: bytes) -> str:
    digest = keyed.copy()
    digest.update(address)
    return digest.hexdigest()


def _names_no_more(lowered: bytes, at: int) -> bool:
    """Tell whether no key behind ``at`` names a recipient. One that looks like it is in every delivery report."""
    at = lowered.find(_KEY, at)
    if at >= 0 and lowered.startswith(_SERVER, at):
        at = lowered.find(_KEY, at + len(_SERVER))
    return at < 0


def _recipients(lowered: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the recipients of well-formed events and trackings stand."""
    at = lowered.find(_KEY)
    while at >= 0:
        usual = _USUAL.match(lowered, at)
        value = usual or _VALUE.match(lowered, at)
        if value is None:
            at += len(_KEY)
        else:
            start, at = value.span(1)
            if usual or _WHOLLY_QUOTED.fullmatch(lowered, start, at):
                yield start, at
            else:
                yield from _addresses(lowered, start, at)
        at = lowered.find(_KEY, at)


def _anybody(lowered: bytes) -> Iterator[tuple[int, int]]:
    """Yield where anything stands that may be a recipient."""
    for value in _LOOSE.finditer(lowered):
        for start, end in _addresses(lowered, *value.span(1)):
            if not is_message_id(lowered, start):
                yield start, end


def _addresses(lowered: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where addresses stand in a stretch, none of them beginning amid what JSON escapes."""
    for address in _ADDRESS.finditer(lowered, start, end):
        begin = address.start() + _escaped(lowered, address.start())
        if lowered[begin : begin + 1] != b"@":
            yield begin, address.end()
    if lowered.find(b'"@', start, end) >= 0:
        yield from (address.span() for address in _QUOTED.finditer(lowered, start, end))


def _escaped(lowered: bytes, start: int) -> int:
    """Return how many bytes from there on belong to a character that JSON escapes by the backslash before them."""
    if lowered[start - 1 : start] != b"\\":
        return 0
    before = lowered[max(0, start - 1000) : start]
    if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
        return 0
    return 5 if lowered[start : start + 1] == b"u" else 1


def _are_all(lowered: bytes, named: list[_Named], people: dict[bytes, bytes]) -> bool:
    """Tell at little cost of a usual body that its recipients are named nowhere but where they were found."""
    if b"%" in lowered and (b"%40" in lowered or b"2540" in lowered):
        return False
    if b"&" in lowered and _holds_html(lowered):
        return False
    if len(named) == 1:
        (address,) = people
        return lowered.count(address[address.rindex(b"@") :]) == 1
    domains = {address[address.rindex(b"@") :] for address in people}
    return sum(map(domains.__contains__, _AT_DOMAIN.findall(lowered))) == len(named)


def _named_elsewhere(lowered: bytes, people: dict[bytes, bytes]) -> Iterator[_Named]:
    """Yield where else any of ``people`` are named: plainly, percent-encoded, or with an HTML escape for the @."""
    for address in people:
        if address.startswith(b'"'):
            yield from _quoted_elsewhere(lowered, address, people[address])
    domains = {address.rpartition(b"@")[2] for address in people}
    for at in _AT.finditer(lowered):
        domain = _DOMAIN.match(lowered, at.end())
        if not domain or domain[0] not in domains:
            continue
        before = _BEFORE.match(lowered[max(0, at.start() - 300) : at.start()][::-1])
        if not before:
            continue
        start = at.start() - before.end()
        run = lowered[start : at.start()]
        first = _escaped(lowered, start)  # `\nada@…`: the n is none of the address
        for begin in [first, *[each.end() for each in _WITHIN.finditer(run, first)][-_BEGINNINGS:]]:
            instead = people.get(_decoded(run[begin:]) + b"@" + domain[0])
            if instead is not None:
                if not is_message_id(lowered, start + begin):
                    yield start + begin, domain.end(), instead.replace(b"@", at[0])
                break


def _quoted_elsewhere(lowered: bytes, address: bytes, instead: bytes) -> Iterator[_Named]:
    """Yield where somebody is named whose name is in quotes, as JSON escapes those.

    As themselves they are looked for if what is between them cannot be what JSON has between two of its own.
    """
    name, _, domain = address.rpartition(b"@")
    slashes = rb"(?<!\\)(\\++" if _BETWEEN.search(name) else rb"(?<!\\)(\\*+"
    inside = re.escape(name[1:-1]).replace(rb"\\", rb"\\+").replace(b'"', rb'\\*"')
    pattern = slashes + b'")' + inside + rb"\1@" + re.escape(domain) + rb"(?![a-z0-9-]|\.[a-z0-9])"
    for found in re.finditer(pattern, lowered):
        if not is_message_id(lowered, found.start()):
            yield *found.span(), instead


def is_message_id(lowered: bytes, start: int) -> bool:
    """Tell whether what begins there is the value of a key that names a message."""
    return _ID.search(lowered, max(0, start - _ID_REACH), start) is not None


def _decoded(local: bytes) -> bytes:
    for _ in range(4):
        if b"%" not in local:
            break
        local = unquote_to_bytes(_DEEP.sub(b"%", local)).lower()
    return local
