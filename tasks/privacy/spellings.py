"""The spellings that a text may have: plain, escaped for JSON or HTML, percent-encoded, or in base64. Pure."""

from __future__ import annotations

import html
import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

#: The key under which CloudEvents hold bytes, and its value.
ENCODED: Final = b"data_base64"
_DATA: Final = re.compile(rb'("data_base64"\s*+:\s*+")([A-Za-z0-9+/=_\\-]++)(?=")')

_ESCAPED: Final = re.compile(rb"(?<!\\)((?:\\\\)*+)\\u([0-9a-fA-F]{4})")
_SLASHED: Final = re.compile(rb"\\++([\"/])")
_DEEP: Final = re.compile(rb"%(?:25)++(?=[0-9a-fA-F]{2})")
_ZEROS: Final = re.compile(rb"&#([xX]?)0++")
_REFERENCE: Final = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,31});?")
_OTHERWISE: Final = re.compile(rb"[%&]|data_base64")
#: Each takes one layer off. Nobody wraps an address in more of different kinds; of one kind there may be any number.
_ROUNDS: Final = 4


def unescaped(body: bytes) -> bytes:
    """Return ``body`` with each character as itself that JSON need not have escaped."""
    return _ESCAPED.sub(_unescape, body) if b"\\" in body and b"\\u" in body else body


def in_encoded(body: bytes, change: Callable[[bytes], bytes], encode: Callable[[bytes], bytes]) -> bytes:
    """Return ``body`` with what it holds in base64 as ``change`` returns it, by ``encode``, if that changes it."""

    def changed(found: re.Match[bytes]) -> bytes:
        data = _decoded(found[2])
        if data is None or (made := change(data)) == data:
            return found[0]
        return found[1] + encode(made)

    return _DATA.sub(changed, body) if ENCODED in body else body


def spelled_out(text: bytes) -> bytes:
    """Return a text with nothing escaped or encoded in it, to look for somebody in; itself, if nothing is.

    What is looked for is not to be cut out of this, for nothing stands where it stood.
    """
    if not _OTHERWISE.search(text):
        return text
    text = unescaped(text)
    if ENCODED in text:
        text = in_encoded(text, lambda data: b" " + data, lambda data: data + b" ")
    for _ in range(_ROUNDS):
        plainer = unquote_to_bytes(_DEEP.sub(b"%", text)) if b"%" in text else text
        if b"&" in plainer:
            plainer = _REFERENCE.sub(_character, _ZEROS.sub(rb"&#\1", plainer))
        plainer = _SLASHED.sub(rb"\1", unescaped(plainer))
        if plainer == text:
            break
        text = plainer
    return text


def _character(reference: re.Match[bytes]) -> bytes:
    return html.unescape(reference[0].decode()).encode(errors="replace")


def _decoded(data: bytes) -> bytes | None:
    data = data.replace(b"\\", b"").rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return b64decode(data + b"=" * (-len(data) % 4))
    except Error:
        return None


def _unescape(escaped: re.Match[bytes]) -> bytes:
    """Return a character in place of JSON's escape of it, where JSON means the same by both."""
    code = int(escaped[2], 16)
    if code < 0x20 or code in (0x22, 0x5C) or 0xD800 <= code < 0xE000:
        return escaped[0]
    return escaped[1] + chr(code).encode()
