"""What is proven moves, with the row that counts it."""

from __future__ import annotations

import pytest

from tests.repair.conftest import Site
from tests.repair.correcting import repair, undo
from tests.repair.rows import (
    AT,
    OFFER,
    READER,
    SECOND,
    TRUE,
    WRITTEN,
    WRONG,
    clicked,
    counted,
    counted_by,
    credited,
    event,
    track,
    view,
)


@pytest.mark.parametrize("instant", ["the event's", "its row's"])
def test_an_open_and_the_row_of_its_very_instant_move_to_the_campaign_of_the_message(
    listmonk_site: Site, instant: str
) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site), view(site, at=AT if instant == "the event's" else WRITTEN)
    planned, _ = repair(site.engine)
    assert planned.changes() == {
        "azure_engagement_events": {WRONG: -1, TRUE: 1},
        "campaign_views": {WRONG: -1, TRUE: 1},
    }
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (TRUE, READER)}
    # The row that counts it has a positive id: the event names it, so that no other event takes it for listmonk's own.
    assert counted_by(site, opened) == ("native", row)
    assert site.rows("SELECT attributed_at, created_at FROM azure_engagement_events") == [(None, WRITTEN)]


def test_azures_id_proves_as_well_and_the_message_id_goes_before_it(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, None, azure=1)
    track(site, "<both@example.com>", azure=2)
    by_azure = event(site, None, azure=1)
    by_both = event(site, "<both@example.com>", azure=2, at=AT + SECOND)
    repair(site.engine)
    assert credited(site) == {
        by_azure: (TRUE, READER, "azure_message_id"),
        by_both: (TRUE, READER, "internet_message_id"),
    }


def test_the_key_is_the_delivery_report_where_it_taught_the_id(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    site.change("UPDATE azure_message_tracking SET learned_id = 'internet_message_id'")
    wrong, right = event(site), event(site, campaign=TRUE, at=AT + SECOND)
    repair(site.engine)
    assert credited(site) == {wrong: (TRUE, READER, "delivery_report"), right: (TRUE, READER, "delivery_report")}


def test_a_wrong_reader_is_corrected_like_a_wrong_campaign(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>", WRONG, 13)
    opened, row = event(site), view(site)
    planned, _ = repair(site.engine)
    assert planned.changes() == {}  # campaign by campaign nothing changes
    assert credited(site) == {opened: (WRONG, 13, "internet_message_id")}
    assert counted(site) == {row: (WRONG, 13)}


def test_a_click_moves_with_the_row_of_its_instant_and_its_link_only(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    row, other = clicked(site), clicked(site, "https://www.example.com/another")
    event(site, kind="click", url=OFFER)
    repair(site.engine)
    assert counted(site, "link_clicks") == {row: (TRUE, READER), other: (WRONG, READER)}


def test_a_bounce_moves_with_its_report(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>", reader=13)
    report = event(site, kind="Bounced")
    delivered = event(site, kind="Delivered", at=AT + SECOND)
    site.change(
        "INSERT INTO bounces (subscriber_id, campaign_id, source, created_at)"
        " VALUES (12, 64, 'azure', %s), (12, 64, 'x', %s)",
        AT,
        AT + SECOND,
    )
    repair(site.engine)
    true = (TRUE, 13, "internet_message_id")
    assert credited(site, "azure_delivery_events") == {report: true, delivered: true}
    # What lies at the instant of a delivery was not made of it.
    assert counted(site, "bounces") == {1: (TRUE, 13), 2: (WRONG, READER)}


def test_a_row_of_ours_is_its_events_whatever_it_looks_like(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened = event(site, matched_by="link")
    view(site, reader=None, at=AT + 9 * SECOND, row=-opened)
    bounced = event(site, kind="Bounced", matched_by="header")
    site.change(
        "INSERT INTO bounces (subscriber_id, campaign_id, source, meta, created_at)"
        " VALUES (12, 64, 'azure', jsonb_build_object('event_row', %s::int), now())",
        bounced,
    )
    repair(site.engine)
    # listmonk was told to track no individuals: the row names nobody afterwards, either.
    assert counted(site) == {-opened: (TRUE, None)}
    assert counted(site, "bounces") == {1: (TRUE, READER)}
    assert counted_by(site, opened) == (None, None)


def test_without_listmonk_the_events_alone_are_corrected(lone_site: Site) -> None:
    track(lone_site, "<m@example.com>")
    opened, reported = event(lone_site), event(lone_site, kind="Bounced")
    planned, run = repair(lone_site.engine)
    assert planned.unproven == []
    assert credited(lone_site) == {opened: (TRUE, READER, "internet_message_id")}
    assert credited(lone_site, "azure_delivery_events") == {reported: (TRUE, READER, "internet_message_id")}
    assert undo(lone_site.engine, run).restored == {"azure_engagement_events": 1, "azure_delivery_events": 1}


def test_a_right_guess_gets_the_key_that_proves_it_and_nothing_else_changes(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site, campaign=TRUE), view(site, campaign=TRUE)
    planned, _ = repair(site.engine)
    assert (planned.corrections, planned.confirmable) == ([], 1)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (TRUE, READER)}
    assert repair(site.engine)[0].confirmable == 0
