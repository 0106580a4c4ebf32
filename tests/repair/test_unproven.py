"""What cannot be proven stays, and the plan says why."""

from __future__ import annotations

from datetime import timedelta

from tests.repair.conftest import Site
from tests.repair.correcting import reasons, repair
from tests.repair.rows import AT, READER, SECOND, TRUE, WRONG, counted, counted_by, credited, event, track, view


def test_a_row_near_the_instant_but_not_at_it_stays(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    opened, row = event(site), view(site, at=AT + timedelta(microseconds=1))
    assert reasons(site.engine) == {"near_row": 1, "untraced": 1}
    repair(site.engine)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {row: (WRONG, READER)}
    assert counted_by(site, opened) == (None, None)


def test_an_event_without_a_row_is_corrected_and_no_row_is_made(listmonk_site: Site) -> None:
    track(listmonk_site, "<m@example.com>")
    event(listmonk_site)
    assert reasons(listmonk_site.engine) == {"no_row": 1}
    repair(listmonk_site.engine)
    assert counted(listmonk_site) == {}


def test_an_event_of_an_unknown_message_stays_with_its_row(listmonk_site: Site) -> None:
    site = listmonk_site
    opened, row = event(site, None), view(site)
    assert reasons(site.engine) == {"message_unknown": 1}
    repair(site.engine)
    assert credited(site) == {opened: (WRONG, READER, "replaced_system")}
    assert counted(site) == {row: (WRONG, READER)}


def test_a_row_that_no_event_accounts_for_stays(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    event(site)
    view(site)
    stray = view(site, at=AT + timedelta(hours=1))
    assert reasons(site.engine) == {"untraced": 1}
    repair(site.engine)
    assert counted(site)[stray] == (WRONG, READER)


def test_an_event_that_a_native_row_of_the_wrong_campaign_counts_leaves_that_row(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    native = view(site, at=AT + SECOND)
    opened = event(site, matched_by="link", uncounted="native", native_id=native)
    assert reasons(site.engine) == {"counted_natively": 1}
    repair(site.engine)
    assert credited(site) == {opened: (TRUE, READER, "internet_message_id")}
    assert counted(site) == {native: (WRONG, READER)}


def test_ids_that_name_messages_of_different_campaigns_prove_nothing(listmonk_site: Site) -> None:
    site = listmonk_site
    track(site, "<m@example.com>")
    track(site, None, 63, azure=1)
    event(site, azure=1)
    assert reasons(site.engine) == {"ids_disagree": 1}
    assert repair(site.engine)[0].corrections == []


def test_what_listmonk_has_deleted_is_credited_with_nothing(listmonk_site: Site) -> None:
    site = listmonk_site
    site.change("ALTER TABLE azure_message_tracking DROP CONSTRAINT azure_message_tracking_campaign_id_fkey")
    track(site, "<m@example.com>", 4711)
    opened = event(site)
    assert reasons(site.engine) == {"deleted": 1}
    repair(site.engine)
    assert credited(site) == {opened: (WRONG, READER, "replaced_system")}
