"""Links as readers find them in their mails: what Azure reports of a click on one, and what that click counts as."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from simulator.listmonk import uuid_of

#: Where listmonk's own pages are.
_ROOT: Final = "https://news.example.com"


class Link(NamedTuple):
    """A link in one reader's mail.

    ``counted_as`` is the same for every reader; None if a click shows no interest in the mail. ``names_reader``: it
    names campaign and reader by listmonk's UUIDs.
    """

    url: str
    counted_as: str | None
    names_reader: bool = False


def plain(url: str) -> Link:
    """Link to ``url``, in the same words for everybody."""
    return Link(url, url)


def personal(url: str, subscriber_id: int, rng: Random) -> Link:
    """Link to ``url``, which has no query, as mailers do that put the reader into it."""
    uuid = uuid_of("subscriber", subscriber_id)
    return rng.choice(
        (
            Link(f"{url}?utm_source=mail&uid={subscriber_id}", f"{url}?utm_source=mail"),
            Link(f"{url}?email=reader{subscriber_id}%40example.net&utm_source=mail", f"{url}?utm_source=mail"),
            Link(f"{url}?for={uuid}", url),
            Link(f"{url}?Subscriber={str(uuid).upper()}#top", f"{url}#top"),
            # Azure leaves the scheme away now and then.
            Link(f"{url.removeprefix('https://')}?mc_eid={subscriber_id:08x}", url),
        )
    )


def tracked(url: str, campaign_id: int, subscriber_id: int) -> Link:
    """Link to ``url`` through listmonk's redirect."""
    uuids = uuid_of("link", url), uuid_of("campaign", campaign_id), uuid_of("subscriber", subscriber_id)
    return Link(f"{_ROOT}/link/{'/'.join(map(str, uuids))}", url, names_reader=True)


def way_out(campaign_id: int, subscriber_id: int) -> Link:
    """Link to listmonk's page for unsubscribing."""
    uuids = uuid_of("campaign", campaign_id), uuid_of("subscriber", subscriber_id)
    return Link(f"{_ROOT}/subscription/{'/'.join(map(str, uuids))}", None)
