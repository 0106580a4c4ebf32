"""The one spelling of a Message-ID that every part of the system compares."""

from __future__ import annotations

import re

#: Longest Message-ID we track or match, in characters. Longer ones would not fit a PostgreSQL index either.
LONGEST_MESSAGE_ID = 250


#: What is spelt as it should be already, which nearly every one is.
_NORMAL = re.compile(r"<[!-;=?-~]{0,120}@[!-;=?\[-~]{0,120}>")


class MessageIdInvalid(ValueError):
    """The text cannot be a Message-ID. The exception's text says why, without repeating it."""


def normalise_message_id(text: str) -> str:
    """Return ``text`` as ``<local@domain>``: trimmed, in brackets, its domain in lower case.

    The local part keeps its case: two mails may differ in nothing else.

    Raises:
        MessageIdInvalid: it is empty, too long, or holds a character no header can carry.
    """
    if _NORMAL.fullmatch(text):
        return text
    text = text.strip()
    if text[:1] == "<" and text[-1:] == ">":
        text = text[1:-1].strip()
    if not text:
        raise MessageIdInvalid("it is empty")
    if len(text) > LONGEST_MESSAGE_ID - 2:
        raise MessageIdInvalid(f"it is longer than {LONGEST_MESSAGE_ID} characters")
    if not (text.isascii() and text.isprintable()) or " " in text or "<" in text or ">" in text:
        raise MessageIdInvalid("it holds a space, a bracket or a character outside printable ASCII")
    local, at, domain = text.rpartition("@")
    return f"<{local}{at}{domain.lower()}>"
