"""An act that listmonk counted itself in the true campaign is counted once."""

from __future__ import annotations

from simulator import listmonk
from tests.repair.conftest import Site
from tests.repair.correcting import repair
from tests.repair.rows import AT, OFFER, READER, SECOND, TRUE, WRONG, clicked, counted, counted_by, event, track, view


def test_a_row_goes_where_listmonk_counted_the_act_in_the_true_campaign(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, native = event(site), view(site, TRUE, at=AT + 4 * SECOND)
    view(site)
    planned, _ = repair(site.engine)
    assert planned.changes()["campaign_views"] == {WRONG: -1}
    assert counted(site) == {native: (TRUE, READER)}
    assert counted_by(site, opened) == ("native", native)


def test_one_native_row_counts_one_act_and_as_many_as_can_be_are_counted_once(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    # The second native row is within reach of the last open alone; the first is nearest to that one, too.
    opens = [event(site, at=AT), event(site, at=AT + 3 * SECOND), event(site, at=AT + 4 * SECOND)]
    for at in (AT, AT + 3 * SECOND, AT + 4 * SECOND):
        view(site, at=at)
    natives = [view(site, TRUE, at=AT + 4.4 * SECOND), view(site, TRUE, at=AT + 8.5 * SECOND)]
    repair(site.engine)
    kept = [counted_by(site, opened)[1] for opened in opens]
    assert set(natives) < set(kept)
    assert len(counted(site)) == 3
    assert {campaign for campaign, _ in counted(site).values()} == {TRUE}


def test_a_row_of_another_open_of_the_same_reader_seconds_before_is_not_the_act(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site, campaign=TRUE, at=AT - 3 * SECOND)
    earlier = view(site, TRUE, at=AT - 3 * SECOND)
    event(site)
    row = view(site)
    repair(site.engine)
    assert counted(site) == {earlier: (TRUE, READER), row: (TRUE, READER)}


def test_a_native_click_on_the_tracked_link_counts_the_click_on_it(listmonk_site: Site) -> None:
    import psycopg

    site = listmonk_site
    track(site, "<m@example.com>")
    with psycopg.connect(site.url, autocommit=True) as connection:
        link = listmonk.link(connection, OFFER)
        url = listmonk.tracked_link(connection, link, TRUE, READER)
        native = listmonk.click(connection, TRUE, READER, link, AT + SECOND)
    event(site, kind="click", url=url)
    clicked(site, url)  # the replaced system made a link of each reader's URL
    repair(site.engine)
    assert counted(site, "link_clicks") == {native: (TRUE, READER)}
