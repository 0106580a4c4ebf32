"""`attribution why` says where an event is counted, or by which rule it is not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import Engine

from simulator import listmonk as fake
from tests.cli.why.asking import execute, said, timeline, why
from tests.db.listmonk.acts import Listmonk, track, view
from tests.db.listmonk.counts import record, watch
from tests.db.rows import NOW, click, message, report


def test_an_act_that_listmonk_counted_itself_names_the_native_row(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    native = fake.view(listmonk, 7, 12, NOW)
    record(engine, view("v"))
    watch(engine)
    assert timeline("v")["absorbed"] == (
        f"counted once, in the native row {native} of campaign_views: listmonk counted the same act itself"
    )
    listmonk.execute("DELETE FROM campaign_views")
    assert f"native row {native} of campaign_views, which is gone" in timeline("v")["absorbed"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("unsubscribe_link", "a click on the way out (unsubscribe, preferences) shows no interest"),
        ("tracking_disabled", "listmonk's setting privacy.disable_tracking was on"),
        ("unknown_type", "it is neither a view nor a click"),
        ("no_url", "it names no URL that could be counted"),
        ("campaign_deleted", "the campaign was deleted"),
    ],
)
def test_an_act_that_is_not_counted_says_by_which_rule(
    engine: Engine, listmonk: Listmonk, rule: str, words: str
) -> None:
    track(engine)
    fields: dict[str, Any] = {"uncounted": rule} if rule in ("unsubscribe_link", "unknown_type") else {}
    if rule == "tracking_disabled":
        fake.set_setting(listmonk, "privacy.disable_tracking", True)
    record(engine, click("e", **fields, engagement_context="" if rule == "no_url" else "https://www.example.com/"))
    if rule == "campaign_deleted":  # only where listmonk came after us: its foreign key deletes the event as well
        execute(engine, "UPDATE azure_engagement_events SET uncounted = 'campaign_deleted'")
    told = timeline("e")
    assert told["not_counted"] == f"not counted: {words}"
    assert "counted" not in told


def test_a_row_that_was_deleted_is_missed(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, view("v"))
    listmonk.execute("DELETE FROM campaign_views")
    assert (
        timeline("v")["no_row"]
        == "counted in campaign_stats; no row in campaign_views: it was deleted, or never written"
    )


def test_without_listmonk_an_act_is_counted_in_the_view(alone: Engine) -> None:
    track(alone)
    record(alone, view("v"), report("d", status="Bounced", bounce_type="hard"))
    assert timeline("v")["counted"].startswith("counted in campaign_stats; this database has no table of listmonk's")
    assert timeline("d")["bounce"] == "a hard bounce in campaign_stats; there is no table bounces here"
    assert "opens 1 = 1 by the mail's own Message-ID = 1 counted in campaign_stats" in said("campaign:7")


def test_a_delivery_report_says_which_bounce_it_became_or_that_it_is_none(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(), message("<nobody@example.com>", subscriber=None))
    record(
        engine,
        report("ok"),
        report(
            "hard",
            status="Bounced",
            bounce_type="hard",
            recipient_domain="example.net",
            status_reason="550 5.1.1 <ada@example.net> user unknown",
        ),
        report("whose", "<nobody@example.com>", status="Bounced", bounce_type="soft"),
    )
    assert timeline("ok")["counted"] == "counted in campaign_stats; Delivered is no bounce"
    told = timeline("hard")
    assert told["happened"] == "the mail was reported Bounced, SMTP status 5.1.1, to example.net"
    assert listmonk.execute("SELECT id FROM bounces").fetchall() == [(1,)]
    assert told["bounce"] == "a hard bounce: row 1 of bounces, and in campaign_stats"
    assert "ada@" not in said("hard")
    assert timeline("whose")["bounce"] == "a soft bounce in campaign_stats alone: bounces needs a subscriber"


def test_a_clicked_url_is_told_without_what_may_name_its_reader(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    link = fake.tracked_link(listmonk, fake.link(listmonk, "https://www.example.com/"), 7, 12)
    record(
        engine,
        click("e", engagement_context="https://www.example.com/a/ada@example.net/b?email=ada%40example.net#x"),
        click("link", engagement_context=link),
    )
    result = why("e", "--format", "json")
    assert "https://www.example.com/a/nobody/b" in result.stdout
    assert "ada@" not in result.stdout + said("e")
    assert not set(re.findall(r"[0-9a-f-]{36}", link)) & set(re.findall(r"[0-9a-f-]{36}", timeline("link")["happened"]))
