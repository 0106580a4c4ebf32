"""Events that claim the same rows: paired off where they can be, and left where they cannot."""

from __future__ import annotations

import pytest

from tests.repair.conftest import Site
from tests.repair.correcting import reasons, repair
from tests.repair.rows import READER, SECOND, TRUE, WRITTEN, WRONG, counted, counted_by, credited, event, track, view


@pytest.mark.parametrize("rival", ["of another campaign", "rightly credited", "of an unknown message"])
def test_a_row_that_events_of_different_campaigns_claim_stays(listmonk_site: Site, rival: str) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, "<other@example.com>", 63 if rival == "of another campaign" else WRONG)
    first = event(site)
    second = event(site, None if rival == "of an unknown message" else "<other@example.com>")
    row = view(site)
    found = reasons(site.engine)
    assert found["several_claim"] == (2 if rival == "of another campaign" else 1)
    repair(site.engine, size=1)  # a batch holds together what must be
    assert counted(site) == {row: (WRONG, READER)}
    assert credited(site)[first][0] == TRUE
    assert credited(site)[second][0] == (63 if rival == "of another campaign" else WRONG)


def two_rivals(site: Site) -> None:
    """Store two events of one instant, each of another campaign's message, credited to the same wrong campaign."""
    track(site, "<m@example.com>")
    track(site, "<other@example.com>", 63)
    event(site)
    event(site, "<other@example.com>")


def test_a_repair_interrupted_among_rival_claims_does_not_forget_one(listmonk_site: Site) -> None:
    """Were one of the two corrected and the other left, the next repair would see a single claim, and move the row."""
    site = listmonk_site
    two_rivals(site)
    row = view(site)
    repair(site.engine, size=1, stop_after=1)
    repair(site.engine)
    assert counted(site) == {row: (WRONG, READER)}


def test_as_many_rows_as_events_pair_off_whatever_they_belong_to(listmonk_site: Site) -> None:
    site = listmonk_site
    two_rivals(site)
    view(site)
    view(site)
    repair(site.engine, size=1)
    assert sorted(counted(site).values()) == [(63, READER), (TRUE, READER)]


def test_an_event_delivered_twice_and_counted_once_moves_its_one_row(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    both = [event(site), event(site, written=WRITTEN + SECOND)]
    row = view(site)
    assert reasons(site.engine) == {"counted_once": 1}
    repair(site.engine)
    assert counted(site) == {row: (TRUE, READER)}
    assert [counted_by(site, each)[1] for each in both] == [row, None]
    assert {campaign for campaign, _, _ in credited(site).values()} == {TRUE}
