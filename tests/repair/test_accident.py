"""The real accident in its true size: all that can be proven ends where it belongs, and can be taken back."""

from __future__ import annotations

import pytest

from simulator.accident import NEW, OLD, Size
from tests.repair.conftest import RESTORED, MakeSite, Site
from tests.repair.correcting import put_right, undo


def assert_put_right(site: Site) -> None:
    """Hold everything that can be proven against what the accident's maker knows."""
    true = site.accident
    assert site.per_campaign("campaign_views") == dict(true.true_views)
    assert site.per_campaign("link_clicks") == dict(true.true_clicks)
    assert site.per_campaign("bounces") == dict(true.true_bounces)
    for table, rightful in (("azure_engagement_events", true.engagements), ("azure_delivery_events", true.deliveries)):
        stored = {
            number: (campaign, key)
            for number, campaign, key in site.rows(f"SELECT id, campaign_id, matched_by::text FROM {table}")
        }
        assert stored == {
            number: (campaign, "internet_message_id") if campaign else (OLD, "replaced_system")
            for number, campaign in rightful.items()
        }


@pytest.mark.timeout(240)
def test_the_accident_is_put_right_and_undone_byte_for_byte(make_site: MakeSite) -> None:
    site = make_site(Size())
    before = site.dump(*RESTORED)
    assert site.per_campaign("campaign_views") == {OLD: 158, NEW: 54}
    assert site.per_campaign("link_clicks") == {OLD: 23, NEW: 9}

    planned, run = put_right(site.engine, size=500)

    changes = planned.changes()
    assert changes["campaign_views"] == {OLD: -146, NEW: 146}
    assert changes["link_clicks"] == {OLD: -20, NEW: 20}
    assert changes["bounces"] == {OLD: -25, NEW: 25}
    assert_put_right(site)
    assert site.rows(
        "SELECT count(*) FROM azure_message_tracking WHERE campaign_id = 65 AND internet_message_id IS NULL"
    ) == [(0,)]

    assert undo(site.engine, run, size=500).refused == []
    assert site.dump(*RESTORED) == before


def test_a_small_accident_with_acts_that_listmonk_counted_as_well_is_put_right(site: Site) -> None:
    planned, _ = put_right(site.engine)
    size = site.accident.size
    assert planned.changes()["campaign_views"] == {OLD: -size.views - size.twice_counted_views, NEW: size.views}
    assert_put_right(site)


def test_what_cannot_be_proven_is_listed_with_its_reason_and_stays(site: Site) -> None:
    size = site.accident.size
    planned, _ = put_right(site.engine)
    assert planned.reasons() == {
        "counted_once": size.redelivered,
        "message_unknown": size.unknown_views + size.unknown_clicks,
        "near_row": size.inexact_views + size.uncounted_views,
        # The native rows of the old campaign, the stray one, and the one that is off by seconds.
        "untraced": size.native_old_views + size.native_old_clicks + size.stray_views + size.inexact_views,
    }
    unknown = [each.row_id for each in planned.unproven if each.reason == "message_unknown"]
    assert sorted(unknown) == sorted(row for row, campaign in site.accident.engagements.items() if campaign is None)
    assert {each.campaign_id for each in planned.unproven} == {OLD}


def test_done_again_nothing_is_found(site: Site) -> None:
    put_right(site.engine)
    after = site.dump(*RESTORED)
    planned, _ = put_right(site.engine)
    assert (planned.corrections, planned.confirmable) == ([], 0)
    assert site.dump(*RESTORED) == after


def test_after_an_import_of_the_same_log_it_comes_to_the_same_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import tells stored events which they are, too. Whichever comes first, nothing is stored or counted twice."""
    from click.testing import CliRunner

    from cli.main import main

    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", site.url)
    assert CliRunner().invoke(main, ["import", "--webhook-logs"]).exit_code == 0
    put_right(site.engine)
    assert_put_right(site)
    assert CliRunner().invoke(main, ["import", "--webhook-logs", "--again"]).exit_code == 0
    assert_put_right(site)
