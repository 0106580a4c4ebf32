"""Taking out of a text what may name a person or repeat a row. Pure.

The net under a rule, and not its replacement: nothing confidential is handed to a logger, and no exception of ours
holds any. What comes through here was worded by others: by servers, libraries, and Python itself.
"""

from __future__ import annotations

import re
from typing import Final

#: PostgreSQL repeats rows behind these words, SQLAlchemy statements and parameters, Redis a command that it does not
#: know. They end an exception's text.
_REPEATED: Final = re.compile(
    r"(?:(?<=\s)|^)(?P<what>DETAIL|CONTEXT|QUERY|STATEMENT|LINE \d+|\[SQL|\[parameters|with args beginning with):"
    r".*?(?=\n\n|\n\(Background|\Z)",
    re.DOTALL,
)
_MESSAGE_ID: Final = re.compile(r"<[^\s<>]+@[^\s<>]+>")
#: It begins where a word does: to try it at each letter of a long word would take the square of its length.
_ADDRESS: Final = re.compile(
    r"(?<![^\s<>\"'(),:;=/&?\[\]{}\\])[^\s<>\"'(),:;=/&?\[\]{}\\]+(?:@|%40)[^\s<>\"'(),:;=/&?\[\]{}\\]+"
)
#: A password may hold what no address does, such as the = at the end of a key.
_LOGIN: Final = re.compile(r"(?<=://)[^\s/?#\"'<>]+@")
#: What callers prove themselves by, in a query of whatever path.
_CODE: Final = re.compile(r"(?<=[?&]code=)[^\s&\"'<>]+")
_QUERY: Final = re.compile(r"(?P<url>\b[a-z][a-z0-9+.-]{0,20}://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)


def scrub_text(text: str) -> str:
    """Return ``text`` without addresses, Message-IDs, passwords and queries of URLs, rows, and statements.

    What is taken out leaves a word in brackets that says what it was.
    """
    if ":" in text:
        text = _REPEATED.sub(lambda found: f"{found['what'].lstrip('[')}: [hidden]", text)
        text = _QUERY.sub(r"\g<url>?[query]", text)
    if "code=" in text:
        text = _CODE.sub("[code]", text)
    if "@" in text or "%40" in text:
        text = _LOGIN.sub("[login]@", text)
        text = _ADDRESS.sub("[address]", _MESSAGE_ID.sub("[message-id]", text))
    return text
