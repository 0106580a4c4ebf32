"""All rows of the hostile corpus. A row's name never changes: docs/reliability.md calls it by that."""

from __future__ import annotations

from typing import Final

from tests.hostile.bad_events import BAD_EVENTS
from tests.hostile.bad_requests import BAD_REQUESTS
from tests.hostile.bad_trackings import BAD_TRACKINGS
from tests.hostile.case import Case

#: The bad inputs that the system must be able to answer, whatever else; and the rows that hold them. One has a test of
#: its own instead: a receiver without secrets does not start, so there is nobody to send anything to.
LEAST: Final[dict[str, tuple[str, ...]]] = {
    "not JSON": ("not-json", "empty-body", "truncated-body", "call-not-json", "entry-not-json"),
    "invalid UTF-8": ("invalid-utf8", "invalid-utf8-unread", "latin-1", "overlong-utf8", "call-invalid-utf8"),
    "NUL in an id": ("nul-in-id", "nul-in-text", "message-id-nul", "message-nul"),
    "lone surrogate": ("lone-surrogate", "lone-low-surrogate", "surrogate-in-key", "utf8-surrogate", "call-surrogate"),
    "UTF-16 or byte order mark": ("utf-16-body", "utf-16-without-mark", "byte-order-mark", "call-utf-16"),
    "NaN, Infinity, 1e400": ("nan", "infinity", "1e400", "1e400-unread", "call-nan", "entry-nan"),
    "5,000 digits, beyond int64": ("5000-digits", "beyond-int64", "header-5000-digits", "campaign-beyond-int64"),
    "nesting 100,000 deep": ("deep-array", "deep-object", "deep-part", "deep-unread", "call-deep", "entry-deep"),
    "duplicate keys": ("duplicate-keys", "duplicate-data"),
    "id not a string": ("id-number", "id-null", "id-array"),
    "id empty or 10 kB": ("id-empty", "id-10kb", "message-id-10kb"),
    "SQL, CR/LF, control characters": ("sql-in-id", "crlf-in-id", "control-in-id", "message-id-sql", "message-crlf"),
    "impossible timestamps": ("timestamp-infinity", "timestamp-now", "timestamp-year-99999", "sent-infinity"),
    "same id, different content": ("same-id-other-content",),
    "same id, different source": ("same-id-other-source", "same-source-other-case"),
    "duplicate inside one body": ("duplicate-in-body", "call-twice"),
    "body over the limit, chunked, lying length": (
        *("body-too-large", "wire-chunks-over-limit", "wire-length-over-limit"),
        *("wire-length-too-short", "wire-length-too-long", "call-too-large"),
    ),
    "compressed or slow body": ("encoding-gzip", "gzip-undeclared", "wire-body-slow", "wire-head-slow", "call-gzip"),
    "wrong or non-ASCII secret": ("secret-wrong", "secret-non-ascii", "secret-missing", "call-with-wrong-secret"),
    "validation with a validationUrl": ("handshake-of-stranger", "handshake-with-url", "handshake-undeclared"),
}

CORPUS: Final[dict[str, Case]] = {case.name: case for case in [*BAD_EVENTS, *BAD_TRACKINGS, *BAD_REQUESTS]}
