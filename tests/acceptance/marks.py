"""Words that name a person, a payload or a secret for a leak test, and the search for them in whatever was said."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple


class Marks(NamedTuple):
    """One word for each kind of thing that nobody may be told; none of them can come about by chance."""

    recipient: str = "zqrecipientzq"
    sender: str = "zqsenderzq"
    message_id: str = "zqmessageidzq"
    subject: str = "zqsubjectzq"
    link: str = "zqlinkzq"
    user_agent: str = "zqagentzq"
    diagnosis: str = "zqdiagnosiszq"
    malformed: str = "zqmalformedzq"
    tracked: str = "zqtrackedzq"
    refused_tracking: str = "zqrefusedzq"
    celery: str = "zqceleryzq"
    unknown_task: str = "zqunknownzq"
    header: str = "zqheaderzq"
    path: str = "zqpathzq"
    wrong_secret: str = "zqwrongsecretzq"
    event_secret: str = "zqeventsecretzq"
    message_secret: str = "zqmessagesecretzq"
    recipient_key: str = "zqrecipientkeyzq"
    webhook_token: str = "zqtokenzq"
    webhook_answer: str = "zqanswerzq"
    password: str = "zqpasswordzq"


MARKS: Final = Marks()


def spellings(mark: str) -> Iterator[str]:
    """Yield a mark as it stands, in hexadecimal, and in base64 wherever in a text it may begin."""
    yield mark
    yield mark.encode().hex()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + mark.encode()).decode()
        # At both ends neighbours have a part in what is written.
        yield encoded[4 if before else 0 : len(encoded) - 4]


_SPELLINGS: Final = {name: tuple(spellings(mark)) for name, mark in MARKS._asdict().items()}


def find_marks(said: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which marks stand where, in whatever spelling; of places where there are none, nothing."""
    found: dict[str, set[str]] = {}
    for place, text in said.items():
        lower = text.lower()
        names = {name for name, ways in _SPELLINGS.items() if any(way in text or way in lower for way in ways)}
        if names:
            found[place] = names
    return found
