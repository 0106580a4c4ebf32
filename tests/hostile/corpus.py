"""All rows of the hostile corpus, and which of them show what docs/reliability.md tells of bad input."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.hostile.bad_events import BAD_EVENTS
from tests.hostile.bad_requests import BAD_REQUESTS
from tests.hostile.bad_trackings import BAD_TRACKINGS
from tests.hostile.case import Case


class Bad(NamedTuple):
    """A kind of bad input: what becomes of it, as docs/reliability.md tells, and the rows that show it."""

    outcome: str
    rows: tuple[str, ...]


#: The bad inputs that the system must be able to answer, whatever else; and the rows that hold them. One has a test of
#: its own instead: a receiver without secrets does not start, so there is nobody to send anything to.
LEAST: Final[dict[str, Bad]] = {
    "not JSON": Bad(
        "The bytes are kept in quarantine, `not_json`",
        ("not-json", "empty-body", "truncated-body", "call-not-json", "entry-not-json"),
    ),
    "invalid UTF-8": Bad(
        "That event in quarantine, `not_json`; its neighbours go through",
        ("invalid-utf8", "invalid-utf8-unread", "latin-1", "overlong-utf8", "call-invalid-utf8"),
    ),
    "NUL in an id": Bad(
        "That event in quarantine, with the reason of that field; its neighbours go through",
        ("nul-in-id", "nul-in-text", "message-id-nul", "message-nul"),
    ),
    "lone surrogate": Bad(
        "That event in quarantine, `not_json`; its neighbours go through",
        ("lone-surrogate", "lone-low-surrogate", "surrogate-in-key", "utf8-surrogate", "call-surrogate"),
    ),
    "UTF-16 or byte order mark": Bad(
        "The bytes are kept in quarantine, `not_json`: one parser decides, and it reads UTF-8",
        ("utf-16-body", "utf-16-without-mark", "byte-order-mark", "call-utf-16"),
    ),
    "NaN, Infinity, 1e400": Bad(
        "That event in quarantine; 1e400 in a field that nobody reads does no harm",
        ("nan", "infinity", "1e400", "1e400-unread", "call-nan", "entry-nan"),
    ),
    "5,000 digits, beyond int64": Bad(
        "That event in quarantine, `field_invalid`",
        ("5000-digits", "beyond-int64", "header-5000-digits", "campaign-beyond-int64"),
    ),
    "nesting 100,000 deep": Bad(
        "That event, or the whole body, in quarantine, `too_deep`; no process ends",
        ("deep-array", "deep-object", "deep-part", "deep-unread", "call-deep", "entry-deep"),
    ),
    "duplicate keys": Bad(
        "The last one counts, everywhere",
        ("duplicate-keys", "duplicate-data"),
    ),
    "id not a string": Bad(
        "That event in quarantine, `event_id_invalid`",
        ("id-number", "id-null", "id-array"),
    ),
    "id empty or 10 kB": Bad(
        "That event in quarantine, `event_id_invalid` or `message_id_invalid`",
        ("id-empty", "id-10kb", "message-id-10kb"),
    ),
    "SQL, CR/LF, control characters": Bad(
        "SQL is text like any other, and is never run; control characters go into quarantine; logs escape them",
        ("sql-in-id", "crlf-in-id", "control-in-id", "message-id-sql", "message-crlf"),
    ),
    "impossible timestamps": Bad(
        "That event in quarantine, `timestamp_invalid`",
        ("timestamp-infinity", "timestamp-now", "timestamp-year-99999", "sent-infinity"),
    ),
    "same id, different content": Bad(
        "The first counts; the other is counted as a contradiction",
        ("same-id-other-content",),
    ),
    "same id, different source": Bad(
        "Two events",
        ("same-id-other-source", "same-source-other-case"),
    ),
    "duplicate inside one body": Bad(
        "Counted once",
        ("duplicate-in-body", "call-twice"),
    ),
    "body over the limit, chunked, lying length": Bad(
        "413 as soon as it is over; 408 for one that does not come to its end",
        (
            "body-too-large",
            "wire-chunks-over-limit",
            "wire-length-over-limit",
            "wire-length-too-short",
            "wire-length-too-long",
            "call-too-large",
        ),
    ),
    "compressed or slow body": Bad(
        "415, or 408; Event Grid tries both again",
        ("encoding-gzip", "gzip-undeclared", "wire-body-slow", "wire-head-slow", "call-gzip"),
    ),
    "wrong or non-ASCII secret": Bad(
        "404, which Event Grid tries again; a receiver whose own secret is missing does not start",
        ("secret-wrong", "secret-non-ascii", "secret-missing", "call-with-wrong-secret"),
    ),
    "validation with a validationUrl": Bad(
        "404 without the secret; with it the code is echoed, and the URL is never fetched",
        ("handshake-of-stranger", "handshake-with-url", "handshake-undeclared"),
    ),
}

CORPUS: Final[dict[str, Case]] = {case.name: case for case in [*BAD_EVENTS, *BAD_TRACKINGS, *BAD_REQUESTS]}
