"""What the user's webhook is told of events: who did what, and nothing by which a stranger could act as the reader.

URLs and programs' names for themselves are strangers' text of any length, so all that is done here is linear in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from db.listmonk.links import canonical_url, find_uuids, tracked_link
from db.outbox import Webhook

#: Longest name of a program that is told, in characters. URLs are as long as those that are counted.
LONGEST_USER_AGENT: Final = 500

#: What an address cannot reach beyond.
_RUN: Final = re.compile(r"""[^\s/?&=#:;,<>()"']+""")
#: An address in such a run, also where it is escaped, once or more often; and no name of a file such as `logo@2x.png`.
_ADDRESS: Final = re.compile(
    r".(?:@|%(?:25){0,8}40)(?:[^@.]{1,63}\.){1,8}(?!(?:png|jpe?g|gif|webp|svg|css|js|html?|pdf)(?![\w-]))[^\W\d_]{2}",
    re.IGNORECASE,
)
_HIDDEN: Final = "(address)"


def body_of(webhook: Webhook, *, personal_parameters: Collection[str]) -> str:
    """Return the payload: the same at each attempt, unless the events themselves have changed or gone.

    URLs are told as they are counted: without ``personal_parameters``, which are in lower case.
    """
    payload = {
        "type": "events.attributed",
        "timestamp": webhook.created_at.astimezone(UTC),
        "data": {"events": [_told(event, personal_parameters) for event in webhook.events]},
    }
    return msgspec.json.encode(payload).decode()


def _told(event: dict[str, Any], personal_parameters: Collection[str]) -> dict[str, Any]:
    """Return an event as it is told: instants in UTC, and in free text neither an address nor a reader's UUID."""
    told: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in event.items()
    }
    if url := told.get("url"):
        told["url"] = _impersonal(url, personal_parameters)
    if user_agent := told.get("user_agent"):
        told["user_agent"] = _without_addresses(user_agent)[:LONGEST_USER_AGENT]
    return told


def _impersonal(url: str, personal_parameters: Collection[str]) -> str | None:
    """Return ``url`` as it is counted, whoever clicked it; None if it is too long to be counted."""
    counted = canonical_url(url, personal_parameters=personal_parameters, readers=_possible_readers(url))
    return _without_addresses(counted) if counted else None


def _possible_readers(url: str) -> frozenset[str]:
    """Return the UUIDs in ``url`` that may be a reader's: all but link and campaign in listmonk's tracked links.

    Whose they are only listmonk could say, and most senders of webhooks are other mailers. Escaped, for a program that
    checks links carries the true one in its own, they are found as well.
    """
    found: set[str] = set()
    known: set[str] = set()
    for text in (url, once := unquote(url), unquote(once)):
        found |= find_uuids(text)
        if link := tracked_link(text):
            known |= {str(link.link), str(link.campaign)}
    return frozenset(found - known)


def _without_addresses(text: str) -> str:
    return _RUN.sub(lambda run: _HIDDEN if _ADDRESS.search(run[0]) else run[0], text)
