"""The one spelling of a Message-ID that every part of the system compares."""

from __future__ import annotations

import re

#: Longest Message-ID we track or match, in characters. Longer ones would not fit a PostgreSQL index either.
LONGEST_MESSAGE_ID = 250


#: What is spelt as it should be already, which nearly every one is.
_NORMAL = re.compile(r"<[!-;=?-~]{0,120}@[!-;=?\[-~]{0,120}>")

_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOTTED = rf"{_WORD}(?:\.{_WORD})*"
#: RFC 2822's msg-id, without its obsolete forms: words and dots on either side, or a quoted left, or a bracketed right.
#: A domain needs no dot there.
_WELL_FORMED = re.compile(
    rf"<(?:{_DOTTED}|\"(?:[^\s\"\\]|\\[!-~])*\")@(?:{_DOTTED}|\[(?:[^\s\[\]\\]|\\[!-~])*\])>", re.ASCII
)


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


def would_be_replaced(message_id: str) -> str | None:
    """Return why ACS would put a Message-ID of its own in the place of this one, or None if its form will do.

    Microsoft documents that ACS replaces an id that has not RFC 2822's form, or that was used before; only the form can
    be seen here. ``message_id`` is normalised. The sentence repeats nothing of it.
    """
    if _WELL_FORMED.fullmatch(message_id):
        return None
    local, at, domain = message_id[1:-1].rpartition("@")
    if not at:
        what = "has no @"
    elif not local or not domain:
        what = f"has nothing {'after' if local else 'before'} the @"
    elif ".." in message_id or local[0] == "." or local[-1] == "." or domain[0] == "." or domain[-1] == ".":
        what = "has a dot where none may stand"
    else:
        what = "holds a character that may not stand in one"
    return (
        f"ACS will replace this Message-ID by one of its own, because it {what}; events will then carry an id that was"
        " never tracked: make it <something-unique@your-domain>"
    )
