"""Links that the simulator writes into mails: what they count as is what they are, for every reader and spelling."""

from __future__ import annotations

from random import Random
from typing import Any

import psycopg
import pytest

from db.listmonk.links import canonical_url, is_way_out, tracked_link
from simulator import links, listmonk, oracle

OFFER = "https://www.example.com/offers/41"
#: What the system strips unless it is told otherwise.
PERSONAL = {"uid", "email", "subscriber", "mc_eid"}


@pytest.mark.parametrize("seed", range(40))
def test_personal_links_name_their_reader_and_count_as_one_for_all(seed: int) -> None:
    ours, theirs = (links.personal(OFFER, reader, Random(seed)) for reader in (12, 13))
    assert ours.url != theirs.url
    assert ours.counted_as == theirs.counted_as
    uuid = str(listmonk.uuid_of("subscriber", 12))
    assert canonical_url(ours.url, personal_parameters=PERSONAL, readers={uuid}) == ours.counted_as
    assert not is_way_out(ours.url)


def test_every_way_to_name_a_reader_is_drawn() -> None:
    assert len({links.personal(OFFER, 12, Random(seed)) for seed in range(40)}) == 5


def test_tracked_links_are_those_that_listmonk_writes(listmonk_database_url: str) -> None:
    link = links.tracked(OFFER, 41, 12)
    with oracle.connect(listmonk_database_url) as connection:
        written = listmonk.tracked_link(connection, listmonk.link(connection, OFFER), 41, 12)
    assert link == links.Link(written, OFFER, names_reader=True)
    named = tracked_link(link.url)
    assert named == tuple(listmonk.uuid_of(*what) for what in (("link", OFFER), ("campaign", 41), ("subscriber", 12)))


def test_way_out_is_one_and_counts_as_nothing() -> None:
    link = links.way_out(41, 12)
    assert is_way_out(link.url)
    assert link.counted_as is None
    assert not is_way_out(links.plain(OFFER).url)


def test_uuids_are_those_in_the_database(listmonk_database_url: str) -> None:
    with oracle.connect(listmonk_database_url) as connection:
        campaign = _one(connection, "SELECT uuid FROM campaigns WHERE id = 41")
        subscriber = _one(connection, "SELECT uuid FROM subscribers WHERE id = 12")
    assert (campaign, subscriber) == (listmonk.uuid_of("campaign", 41), listmonk.uuid_of("subscriber", 12))


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
